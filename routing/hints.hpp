// What a comment at either end of a statement asks for: /* pgsteer: primary */, or
// /* pgsteer: consistency=global, max_staleness=200ms */.
#pragma once

#include "routing/read_options.hpp"
#include "routing/statement.hpp"

#include <string_view>

namespace pgsteer::routing {

// One block comment, given with its /* and */. Letter case and blanks do not matter; what is not
// understood is no hint.
struct CommentHint {
    Hint place = Hint::none;
    bool has_options = false;  // options_in() finds some
};
CommentHint hint_in(std::string_view comment);
ReadOptions options_in(std::string_view comment);

// Where two hints disagree, the primary is never wrong.
constexpr Hint stronger(Hint a, Hint b) {
    if (a == Hint::primary || b == Hint::primary) return Hint::primary;
    return a == Hint::none ? b : a;
}

}  // namespace pgsteer::routing
