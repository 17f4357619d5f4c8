// Unicode data as text, so that it costs nothing until a password outside ASCII is met. Entries end
// in a space; numbers are hexadecimal.
#pragma once

#include <string_view>

namespace pgsteer::proxy::auth::tables {

// "first-last" or "only".
extern const std::string_view kUnassigned;
extern const std::string_view kRightToLeft;
extern const std::string_view kLeftToRight;
// "first-last=class" or "only=class".
extern const std::string_view kCombiningClasses;
// "from=to,to,..." or "first-last=to", where the n-th becomes to + n.
extern const std::string_view kDecompositions;
// "first,second=composed".
extern const std::string_view kCompositions;

}  // namespace pgsteer::proxy::auth::tables
