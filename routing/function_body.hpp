// What the text of a function, or of a DO block, does to its server process. Pure.
#pragma once

#include "routing/kept_state.hpp"

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace pgsteer::routing {

struct BodyFacts {
    using Names = std::vector<std::pair<std::string, std::string>>;  // schema, name; in lower case
    Kept::What keeps = Kept::What::nothing;
    Names calls;   // functions that it may call; at most 256
    Names writes;  // tables that it may write to; as many
};

// By its words alone, in whatever language it is: also those in its literals, which may be run as
// SQL. What it finds may never be reached; what a text puts together while it runs is not found.
BodyFacts read_body(std::string_view text);

// How BodyFacts spells the name of a function or table: in lower case, of several words the last.
std::string spelled_in_body(std::string_view name);

}  // namespace pgsteer::routing
