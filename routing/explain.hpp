#pragma once

#include "routing/verdict.hpp"

#include <string>
#include <string_view>

namespace pgsteer::routing {

// What `pgsteer explain "SQL"` prints: what the text is taken for and why, one `name: value` a
// line. Where it would run also depends on the session. Without `view` what only a catalog can
// judge counts as a write; with it, it is judged.
std::string explain_text(std::string_view sql, const CatalogView* view = nullptr);

}  // namespace pgsteer::routing
