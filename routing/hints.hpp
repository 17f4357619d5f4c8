// What a comment at either end of a statement asks for: /* pgsteer: primary */.
#pragma once

#include "routing/statement.hpp"

#include <string_view>

namespace pgsteer::routing {

// The hint in one block comment, given with its /* and */. Letter case and blanks do not matter.
Hint hint_in(std::string_view comment);

// Where two hints disagree, the primary is never wrong.
constexpr Hint stronger(Hint a, Hint b) {
    if (a == Hint::primary || b == Hint::primary) return Hint::primary;
    return a == Hint::none ? b : a;
}

}  // namespace pgsteer::routing
