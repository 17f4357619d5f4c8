// One statement of a text: what it asks for and which session state it changes. Included only by
// classify*.cpp.
#pragma once

#include "routing/parse_tree.hpp"
#include "routing/statement.hpp"

#include <memory>

namespace pgsteer::routing {

struct Part {
    Access access = Access::write;
    Reason reason = Reason::write;
    std::string detail;
    bool raises_floor = true;
    bool uses_cursor = false;
    bool copies_in = false;
    // BEGIN READ ONLY; and what may stand in one text with it: COMMIT, ROLLBACK, savepoints.
    bool begins_read_only = false;
    bool fits_read_only_transaction = false;
    InTransaction in_transaction = InTransaction::leaves;
    std::vector<Effect> effects;
    // As in Statement; of the records there may be doubles.
    Access if_harmless = Access::write;
    bool fits_if_harmless = false;  // fits_read_only_transaction then
    CatalogChange catalog_change = CatalogChange::none;
    Shows shows = Shows::nothing;
    std::shared_ptr<Part> prepares;  // PREPARE
    std::string executes;            // EXECUTE with constants
    std::string name_used;           // by EXECUTE, also inside of EXPLAIN or CREATE TABLE AS
    std::vector<std::string> uses;
    std::vector<std::string> written;
};

// `text` is the statement's own text, without its semicolon; what Effect::sql holds.
Part classify_part(const Message* statement, std::string_view text, std::uint16_t index);

}  // namespace pgsteer::routing
