#include "proxy/auth/unicode.hpp"

#include "proxy/auth/unicode_tables.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdint>
#include <map>
#include <utility>
#include <vector>

namespace pgsteer::proxy::auth {
namespace {

// Hangul syllables are put together by arithmetic: UAX #15, "Hangul".
constexpr char32_t kSyllable = 0xAC00, kLead = 0x1100, kVowel = 0x1161, kTail = 0x11A7;
constexpr char32_t kLeads = 19, kVowels = 21, kTails = 28, kSyllables = kLeads * kVowels * kTails;

struct Entry {
    char32_t first, last;
    std::u32string value;
};
using Table = std::vector<Entry>;  // in the order of first

// Cuts off the front of `text` up to `separator`, which goes too.
std::string_view take(std::string_view& text, char separator) {
    const std::string_view front = text.substr(0, text.find(separator));
    text.remove_prefix(std::min(text.size(), front.size() + 1));
    return front;
}

char32_t number(std::string_view hex) {
    std::uint32_t value = 0;
    std::from_chars(hex.data(), hex.data() + hex.size(), value, 16);
    return value;
}

std::u32string numbers(std::string_view list) {
    std::u32string values;
    while (!list.empty()) values += number(take(list, ','));
    return values;
}

Table read_table(std::string_view text) {
    Table table;
    while (!text.empty()) {
        std::string_view value = take(text, ' ');
        std::string_view range = take(value, '=');
        const char32_t first = number(take(range, '-'));
        table.push_back({first, range.empty() ? first : number(range), numbers(value)});
    }
    std::sort(table.begin(), table.end(),
              [](const Entry& a, const Entry& b) { return a.first < b.first; });
    return table;
}

// nullptr if no entry holds `c`.
const Entry* find(const Table& table, char32_t c) {
    auto after = std::upper_bound(table.begin(), table.end(), c,
                                  [](char32_t x, const Entry& e) { return x < e.first; });
    if (after == table.begin() || c > (--after)->last) return nullptr;
    return &*after;
}

std::map<std::u32string, char32_t> read_compositions() {
    std::map<std::u32string, char32_t> composed;
    for (std::string_view text = tables::kCompositions; !text.empty();) {
        std::string_view entry = take(text, ' ');
        const std::u32string pair = numbers(take(entry, '='));
        composed[pair] = number(entry);
    }
    return composed;
}

char32_t combining_class(char32_t c) {
    static const Table table = read_table(tables::kCombiningClasses);
    const Entry* entry = find(table, c);
    return entry == nullptr ? 0 : entry->value.front();
}

void append_decomposed(std::u32string& out, char32_t c) {
    static const Table table = read_table(tables::kDecompositions);
    if (c >= kSyllable && c < kSyllable + kSyllables) {
        const char32_t index = c - kSyllable;
        out += kLead + index / (kVowels * kTails);
        out += kVowel + index / kTails % kVowels;
        if (index % kTails != 0) out += kTail + index % kTails;
        return;
    }
    const Entry* entry = find(table, c);
    if (entry == nullptr) {
        out += c;
    } else if (entry->first != entry->last) {
        out += entry->value.front() + (c - entry->first);
    } else {
        out += entry->value;
    }
}

// Sorts every run of combining characters by class.
void reorder(std::u32string& text) {
    const auto is_starter = [](char32_t c) { return combining_class(c) == 0; };
    for (auto begin = text.begin(); begin != text.end();) {
        begin = std::find_if_not(begin, text.end(), is_starter);
        const auto end = std::find_if(begin, text.end(), is_starter);
        std::stable_sort(begin, end, [](char32_t a, char32_t b) {
            return combining_class(a) < combining_class(b);
        });
        begin = end;
    }
}

// 0 if the two do not compose.
char32_t composed(char32_t first, char32_t second) {
    static const auto pairs = read_compositions();
    if (first >= kLead && first < kLead + kLeads && second >= kVowel && second < kVowel + kVowels)
        return kSyllable + ((first - kLead) * kVowels + (second - kVowel)) * kTails;
    if (first >= kSyllable && first < kSyllable + kSyllables && (first - kSyllable) % kTails == 0 &&
        second > kTail && second < kTail + kTails)
        return first + (second - kTail);
    const auto pair = pairs.find(std::u32string{first, second});
    return pair == pairs.end() ? 0 : pair->second;
}

// Joins each character to the starter before it, unless one of its own class or higher is between.
std::u32string compose(std::u32string_view text) {
    std::u32string out;
    std::size_t starter = std::u32string::npos;
    char32_t class_before = 0;
    for (const char32_t c : text) {
        const char32_t own_class = combining_class(c);
        if (starter != std::u32string::npos) {
            const bool adjacent = out.size() == starter + 1;
            const char32_t joined = composed(out[starter], c);
            if (joined != 0 && (adjacent || class_before < own_class)) {
                out[starter] = joined;
                continue;
            }
        }
        if (own_class == 0) starter = out.size();
        class_before = own_class;
        out += c;
    }
    return out;
}

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

}  // namespace

std::optional<std::u32string> decode_utf8(std::string_view text) {
    std::u32string decoded;
    while (!text.empty()) {
        const auto c = take_char(text);
        if (!c) return std::nullopt;
        decoded += *c;
    }
    return decoded;
}

std::string encode_utf8(std::u32string_view text) {
    std::string encoded;
    for (const char32_t c : text) {
        if (c < 0x80) {
            encoded += static_cast<char>(c);
            continue;
        }
        const int rest = c < 0x800 ? 1 : c < 0x10000 ? 2 : 3;  // continuation bytes
        constexpr std::array<char32_t, 4> kLeadBits{0, 0xC0, 0xE0, 0xF0};
        encoded += static_cast<char>(kLeadBits[static_cast<std::size_t>(rest)] | c >> (6 * rest));
        for (int shift = 6 * (rest - 1); shift >= 0; shift -= 6)
            encoded += static_cast<char>(0x80 | (c >> shift & 0x3F));
    }
    return encoded;
}

std::u32string nfkc(std::u32string_view text) {
    std::u32string decomposed;
    for (const char32_t c : text) append_decomposed(decomposed, c);
    reorder(decomposed);
    return compose(decomposed);
}

bool is_unassigned(char32_t c) {
    static const Table table = read_table(tables::kUnassigned);
    return find(table, c) != nullptr;
}

bool is_right_to_left(char32_t c) {
    static const Table table = read_table(tables::kRightToLeft);
    return find(table, c) != nullptr;
}

bool is_left_to_right(char32_t c) {
    static const Table table = read_table(tables::kLeftToRight);
    return find(table, c) != nullptr;
}

}  // namespace pgsteer::proxy::auth
