// What the text of a function, or of a DO block, does to its server process. Pure.
#pragma once

#include "routing/kept_state.hpp"

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace pgsteer::routing {

struct BodyFacts {
    Kept::What keeps = Kept::What::nothing;
    // Functions that it may call, as schema and name; at most kMaxCalls.
    std::vector<std::pair<std::string, std::string>> calls;
};

// By its words alone, in whatever language it is: also those in its literals, which may be run as
// SQL. What it finds may never be reached; what a text puts together while it runs is not found.
BodyFacts read_body(std::string_view text);

}  // namespace pgsteer::routing
