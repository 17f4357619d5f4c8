#include "routing/hints.hpp"

namespace pgsteer::routing {
namespace {

constexpr std::string_view kBlanks = " \t\r\n\f";

std::string_view trimmed(std::string_view text) {
    const auto first = text.find_first_not_of(kBlanks);
    if (first == std::string_view::npos) return {};
    return text.substr(first, text.find_last_not_of(kBlanks) - first + 1);
}

bool same_word(std::string_view text, std::string_view lower) {
    if (text.size() != lower.size()) return false;
    for (std::size_t i = 0; i < text.size(); ++i) {
        const char c = text[i] >= 'A' && text[i] <= 'Z' ? static_cast<char>(text[i] + 32) : text[i];
        if (c != lower[i]) return false;
    }
    return true;
}

}  // namespace

Hint hint_in(std::string_view comment) {
    if (comment.size() < 4) return Hint::none;
    const std::string_view inside = comment.substr(2, comment.size() - 4);
    const auto colon = inside.find(':');
    if (colon == std::string_view::npos) return Hint::none;
    if (!same_word(trimmed(inside.substr(0, colon)), "pgsteer")) return Hint::none;
    const std::string_view wish = trimmed(inside.substr(colon + 1));
    if (same_word(wish, "primary")) return Hint::primary;
    if (same_word(wish, "replica")) return Hint::replica;
    return Hint::none;
}

}  // namespace pgsteer::routing
