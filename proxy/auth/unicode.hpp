// The little of Unicode that SASLprep needs.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace pgsteer::proxy::auth {

std::optional<std::u32string> decode_utf8(std::string_view text);  // nullopt: not UTF-8
std::string encode_utf8(std::u32string_view text);                 // of Unicode characters

// Normalization form KC of Unicode 14.0 (UAX #15).
std::u32string nfkc(std::u32string_view text);

bool is_unassigned(char32_t c);     // in Unicode 3.2: RFC 3454, table A.1
bool is_right_to_left(char32_t c);  // table D.1
bool is_left_to_right(char32_t c);  // table D.2

}  // namespace pgsteer::proxy::auth
