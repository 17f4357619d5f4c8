#include "proxy/auth/saslprep.hpp"

#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>
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

bool is_prohibited(char32_t c) { return contains(kProhibited, c) || (c & 0xFFFE) == 0xFFFE; }

// How many bytes the character beginning with `lead` has; 0 for a byte that begins none.
std::size_t utf8_length(std::uint8_t lead) {
    if (lead < 0x80) return 1;
    if (lead < 0xC2) return 0;
    if (lead < 0xE0) return 2;
    if (lead < 0xF0) return 3;
    return lead < 0xF5 ? 4 : 0;
}

// The character at the front of `text`, which loses it. nullopt: not UTF-8.
std::optional<char32_t> take_char(std::string_view& text) {
    constexpr std::array<char32_t, 5> kSmallest{0, 0, 0x80, 0x800, 0x10000};
    const auto lead = static_cast<std::uint8_t>(text.front());
    const std::size_t length = utf8_length(lead);
    if (length == 0 || length > text.size()) return std::nullopt;
    char32_t c = length == 1 ? lead : lead & (0x7FU >> length);
    for (const char next : text.substr(1, length - 1)) {
        const auto byte = static_cast<std::uint8_t>(next);
        if ((byte & 0xC0) != 0x80) return std::nullopt;
        c = c << 6 | (byte & 0x3FU);
    }
    if (c < kSmallest[length] || c > 0x10FFFF || (c >= 0xD800 && c <= 0xDFFF)) return std::nullopt;
    text.remove_prefix(length);
    return c;
}

bool is_ascii(std::string_view text) {
    return std::none_of(text.begin(), text.end(),
                        [](char c) { return static_cast<std::uint8_t>(c) >= 0x80; });
}

}  // namespace

std::string saslprep(std::string_view password) {
    const std::string as_given{password};
    if (is_ascii(password)) return as_given;
    std::string prepared;
    for (std::string_view rest = password; !rest.empty();) {
        const std::string_view before = rest;
        const auto c = take_char(rest);
        if (!c) return as_given;
        if (contains(kSpaces, *c)) {
            prepared += ' ';
        } else if (!contains(kMappedToNothing, *c)) {
            if (is_prohibited(*c)) return as_given;
            prepared += before.substr(0, before.size() - rest.size());
        }
    }
    return prepared.empty() ? as_given : prepared;
}

}  // namespace pgsteer::proxy::auth
