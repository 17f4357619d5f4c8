#include "routing/safety_net.hpp"

#include <algorithm>
#include <array>

namespace pgsteer::routing {
namespace {

// Not here, on purpose: 57014 (may be the client's own cancel or statement_timeout), 55P03 and
// 25P03 (time limits the client asked for). A code nobody thought of is the client's to see.
constexpr std::array<std::string_view, 18> kRunsAgain{
    "25006",                             // a write after all: the replica's connection is read-only
    "0A000", "55000",                    // not possible during recovery
    "40001", "40P01", "57P04",           // recovery conflicts
    "42P01", "42703", "42704", "42883",  // table, column, object, function: DDL has not arrived yet
    "3F000", "42501", "22P02", "XX000",  // schema, grant, enum value, a cache look-up: the same
    "57P01", "57P02", "57P03", "53300",  // shutting down, crashed, starting up, full
};

}  // namespace

bool runs_again_on_primary(std::string_view sqlstate) {
    return std::find(kRunsAgain.begin(), kRunsAgain.end(), sqlstate) != kRunsAgain.end();
}

bool may_be_the_catalogs_fault(std::string_view sqlstate) {
    return sqlstate == "25006" || sqlstate == "0A000" || sqlstate == "42P01" ||
           sqlstate == "42883" || sqlstate == "42704";
}

}  // namespace pgsteer::routing
