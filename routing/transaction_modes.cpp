#include "routing/transaction_modes.hpp"

#include "routing/lower.hpp"

#include <algorithm>

namespace pgsteer::routing {
namespace {

bool same(std::string_view text, std::string_view word) {
    return std::equal(text.begin(), text.end(), word.begin(), word.end(),
                      [](char a, char b) { return lower(a) == b; });
}

// The beginning of `word`, of at least `least` letters.
bool is_short_for(std::string_view word, std::size_t least, std::string_view text) {
    return text.size() >= least && text.size() <= word.size() &&
           same(text, word.substr(0, text.size()));
}

}  // namespace

std::optional<Isolation> parse_isolation(std::string_view text) {
    if (same(text, "read committed") || same(text, "read uncommitted"))
        return Isolation::read_committed;
    if (same(text, "repeatable read")) return Isolation::repeatable_read;
    if (same(text, "serializable")) return Isolation::serializable;
    return std::nullopt;
}

std::optional<bool> parse_bool(std::string_view text) {
    if (is_short_for("true", 1, text) || is_short_for("yes", 1, text) || same(text, "on") ||
        text == "1")
        return true;
    if (is_short_for("false", 1, text) || is_short_for("no", 1, text) ||
        is_short_for("off", 2, text) || text == "0")
        return false;
    return std::nullopt;
}

}  // namespace pgsteer::routing
