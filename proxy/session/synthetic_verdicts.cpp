#include "proxy/session/synthetic_verdicts.hpp"

namespace pgsteer::proxy {

using routing::Access;
using routing::CatalogChange;
using routing::Reason;
using routing::StatementPtr;

namespace {

StatementPtr synthetic(Access access,
                       Reason reason,
                       bool raises_floor = true,
                       CatalogChange catalog_change = CatalogChange::none,
                       bool uses_cursor = false) {
    auto cached = std::make_shared<routing::CachedStatement>();
    cached->statement.access = access;
    cached->statement.reason = reason;
    cached->statement.raises_floor = raises_floor;
    cached->statement.catalog_change = catalog_change;
    cached->statement.uses_cursor = uses_cursor;
    if (access == Access::session_control)
        cached->statement.in_transaction = routing::InTransaction::stays;
    return cached;
}

}  // namespace

SyntheticVerdicts::SyntheticVerdicts()
    : neutral{synthetic(Access::session_control, Reason::session_control, false)},
      unclassified_encoding{synthetic(Access::write, Reason::unclassified_encoding)},
      too_complex{synthetic(Access::write, Reason::too_complex, true, CatalogChange::possible)},
      mixed{synthetic(Access::write, Reason::multi_statement)},
      unknown_statement{synthetic(Access::write, Reason::sql_prepare)},
      unknown_portal{synthetic(Access::write, Reason::cursor)},
      beside_cursors{synthetic(Access::write, Reason::cursor, true, CatalogChange::none, true)},
      function_call{synthetic(Access::write, Reason::function_call)},
      too_large{synthetic(Access::write, Reason::request_too_large)} {}

const SyntheticVerdicts& synthetic_verdicts() {
    static const SyntheticVerdicts kVerdicts;
    return kVerdicts;
}

}  // namespace pgsteer::proxy
