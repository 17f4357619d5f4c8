#include "routing/hints.hpp"

#include <string>

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

// The list behind "pgsteer:"; empty if there is none.
std::string_view wishes_in(std::string_view comment) {
    if (comment.size() < 4) return {};
    const std::string_view inside = comment.substr(2, comment.size() - 4);
    const auto colon = inside.find(':');
    if (colon == std::string_view::npos) return {};
    if (!same_word(trimmed(inside.substr(0, colon)), "pgsteer")) return {};
    return inside.substr(colon + 1);
}

template <class Action>
void for_each_wish(std::string_view wishes, Action action) {
    while (!wishes.empty()) {
        const auto comma = wishes.find(',');
        action(trimmed(wishes.substr(0, comma)));
        wishes = comma == std::string_view::npos ? std::string_view{} : wishes.substr(comma + 1);
    }
}

}  // namespace

CommentHint hint_in(std::string_view comment) {
    CommentHint hint;
    for_each_wish(wishes_in(comment), [&](std::string_view wish) {
        if (same_word(wish, "primary")) hint.place = stronger(hint.place, Hint::primary);
        if (same_word(wish, "replica")) hint.place = stronger(hint.place, Hint::replica);
        hint.has_options = hint.has_options || wish.find('=') != std::string_view::npos;
    });
    return hint;
}

ReadOptions options_in(std::string_view comment) {
    ReadOptions options;
    for_each_wish(wishes_in(comment), [&](std::string_view wish) {
        const auto equals = wish.find('=');
        if (equals == std::string_view::npos) return;
        std::string name{trimmed(wish.substr(0, equals))};
        for (char& c : name)
            if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + 32);
        std::string_view value = trimmed(wish.substr(equals + 1));
        if (value.size() >= 2 && value.front() == '\'' && value.back() == '\'')
            value = value.substr(1, value.size() - 2);
        options.set(name, value);
    });
    return options;
}

}  // namespace pgsteer::routing
