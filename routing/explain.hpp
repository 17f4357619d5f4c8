#pragma once

#include <string>
#include <string_view>

namespace pgsteer::routing {

// What `pgsteer explain "SQL"` prints: what the text is taken for and why, one `name: value` a
// line. No catalog, no servers: where it would run also depends on the session.
std::string explain_text(std::string_view sql);

}  // namespace pgsteer::routing
