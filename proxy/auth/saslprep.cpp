#include "proxy/auth/saslprep.hpp"

#include "proxy/auth/unicode.hpp"

#include <algorithm>
#include <array>
#include <cstdint>
#include <span>

namespace pgsteer::proxy::auth {
namespace {

struct Range {
    char32_t first, last;
};

// RFC 3454, table C.1.2. U+200B is also in B.1; PostgreSQL looks here first.
constexpr std::array kSpaces{
    Range{0xA0, 0xA0},     Range{0x1680, 0x1680}, Range{0x2000, 0x200B},
    Range{0x202F, 0x202F}, Range{0x205F, 0x205F}, Range{0x3000, 0x3000},
};
// RFC 3454, table B.1.
constexpr std::array kMappedToNothing{
    Range{0xAD, 0xAD},     Range{0x34F, 0x34F},   Range{0x1806, 0x1806}, Range{0x180B, 0x180D},
    Range{0x200C, 0x200D}, Range{0x2060, 0x2060}, Range{0xFE00, 0xFE0F}, Range{0xFEFF, 0xFEFF},
};
// RFC 3454, tables C.2.1 to C.9, without what the two tables above have replaced.
constexpr std::array kProhibited{
    Range{0x0, 0x1F},        Range{0x7F, 0x9F},       Range{0x340, 0x341},
    Range{0x6DD, 0x6DD},     Range{0x70F, 0x70F},     Range{0x180E, 0x180E},
    Range{0x200E, 0x200F},   Range{0x2028, 0x202E},   Range{0x2061, 0x2063},
    Range{0x206A, 0x206F},   Range{0x2FF0, 0x2FFB},   Range{0xD800, 0xF8FF},
    Range{0xFDD0, 0xFDEF},   Range{0xFFF9, 0xFFFF},   Range{0x1D173, 0x1D17A},
    Range{0xE0001, 0xE0001}, Range{0xE0020, 0xE007F}, Range{0xF0000, 0x10FFFF},
};

bool contains(std::span<const Range> ranges, char32_t c) {
    return std::any_of(ranges.begin(), ranges.end(),
                       [c](const Range& range) { return c >= range.first && c <= range.last; });
}

bool is_prohibited(char32_t c) {
    return contains(kProhibited, c) || (c & 0xFFFE) == 0xFFFE || is_unassigned(c);
}

std::u32string map(std::u32string_view text) {
    std::u32string mapped;
    for (const char32_t c : text) {
        if (contains(kSpaces, c)) {
            mapped += U' ';
        } else if (!contains(kMappedToNothing, c)) {
            mapped += c;
        }
    }
    return mapped;
}

// RFC 3454, section 6: text with a right-to-left character begins and ends with one, and holds none
// that is written from left to right.
bool mixes_directions(std::u32string_view text) {
    if (std::none_of(text.begin(), text.end(), is_right_to_left)) return false;
    return !is_right_to_left(text.front()) || !is_right_to_left(text.back()) ||
           std::any_of(text.begin(), text.end(), is_left_to_right);
}

bool is_ascii(std::string_view text) {
    return std::none_of(text.begin(), text.end(),
                        [](char c) { return static_cast<std::uint8_t>(c) >= 0x80; });
}

}  // namespace

// What is prohibited is looked for before normalization, as in PostgreSQL; RFC 4013 has it after.
std::string saslprep(std::string_view password) {
    const std::string as_given{password};
    if (is_ascii(password)) return as_given;
    const auto decoded = decode_utf8(password);
    if (!decoded) return as_given;
    const std::u32string mapped = map(*decoded);
    if (mapped.empty() || std::any_of(mapped.begin(), mapped.end(), is_prohibited) ||
        mixes_directions(mapped))
        return as_given;
    return encode_utf8(nfkc(mapped));
}

}  // namespace pgsteer::proxy::auth
