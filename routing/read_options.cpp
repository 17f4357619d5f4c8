#include "routing/read_options.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

namespace pgsteer::routing {
namespace {

using std::chrono::milliseconds;

constexpr double kMostMilliseconds = 24.0 * 60 * 60 * 1000;

struct Level {
    std::string_view name;
    Consistency level;
};
constexpr std::array kLevels{
    Level{"eventual", Consistency::eventual}, Level{"session", Consistency::session},
    Level{"global", Consistency::global}, Level{"strict", Consistency::strict}};

bool same_word(std::string_view text, std::string_view lower) {
    return std::equal(text.begin(), text.end(), lower.begin(), lower.end(), [](char a, char b) {
        return (a >= 'A' && a <= 'Z' ? static_cast<char>(a + 32) : a) == b;
    });
}

struct Unit {
    std::string_view name;
    double milliseconds;
};
constexpr std::array kUnits{Unit{"", 1},          Unit{"us", 0.001},    Unit{"ms", 1},
                            Unit{"s", 1000},      Unit{"min", 60'000},  Unit{"m", 60'000},
                            Unit{"h", 3'600'000}, Unit{"d", 86'400'000}};

std::optional<bool> parse_bool(std::string_view text) {
    for (const std::string_view yes : {"on", "true", "yes", "1"})
        if (same_word(text, yes)) return true;
    for (const std::string_view no : {"off", "false", "no", "0"})
        if (same_word(text, no)) return false;
    return std::nullopt;
}

template <class T>
ReadOptions::Outcome take(std::optional<T>& option,
                          std::string_view value,
                          std::optional<T> parsed) {
    if (!value.empty() && !parsed) return ReadOptions::Outcome::bad_value;
    option = value.empty() ? std::nullopt : parsed;
    return ReadOptions::Outcome::done;
}

}  // namespace

std::optional<Consistency> parse_consistency(std::string_view text) {
    for (const Level& level : kLevels)
        if (same_word(text, level.name)) return level.level;
    return std::nullopt;
}

std::string_view name(Consistency level) {
    for (const Level& known : kLevels)
        if (known.level == level) return known.name;
    return "unknown";
}

std::optional<WalPosition> parse_wal_position(std::string_view text) {
    const auto slash = text.find('/');
    if (slash == std::string_view::npos || slash == 0) return std::nullopt;
    WalPosition token;
    const auto* end = text.data() + slash;
    const auto [stopped, error] = std::from_chars(text.data(), end, token.timeline);
    if (error != std::errc{} || stopped != end || token.timeline == 0) return std::nullopt;
    const auto lsn = parse_lsn(text.substr(slash + 1));
    if (!lsn) return std::nullopt;
    token.lsn = *lsn;
    return token;
}

std::string to_string(const WalPosition& token) {
    return fmt::format("{}/{}", token.timeline, to_string(token.lsn));
}

std::optional<milliseconds> parse_milliseconds(std::string_view text) {
    double number = 0;
    const auto* end = text.data() + text.size();
    const auto [stopped, error] =
        std::from_chars(text.data(), end, number, std::chars_format::fixed);
    if (error != std::errc{} || std::signbit(number)) return std::nullopt;
    std::string_view unit{stopped, static_cast<std::size_t>(end - stopped)};
    while (!unit.empty() && unit.front() == ' ') unit.remove_prefix(1);
    for (const Unit& known : kUnits) {
        if (unit != known.name) continue;
        const double total = number * known.milliseconds;
        if (!(total <= kMostMilliseconds)) return std::nullopt;
        return milliseconds{std::llround(total)};
    }
    return std::nullopt;
}

ReadOptions::Outcome ReadOptions::set(std::string_view name, std::string_view value) {
    if (name == "consistency") return take(consistency, value, parse_consistency(value));
    if (name == "freshness_wait") return take(freshness_wait, value, parse_milliseconds(value));
    if (name == "max_staleness") return take(max_staleness, value, parse_milliseconds(value));
    if (name == "min_lsn") return take(min_lsn, value, parse_wal_position(value));
    if (name == "explain") return take(explain, value, parse_bool(value));
    if (name == "lsn" || name == "last_route") return Outcome::read_only;
    return Outcome::unknown_name;
}

ReadOptions ReadOptions::overlaid_by(const ReadOptions& wish) const {
    ReadOptions both = *this;
    if (wish.consistency) both.consistency = wish.consistency;
    if (wish.freshness_wait) both.freshness_wait = wish.freshness_wait;
    if (wish.max_staleness) both.max_staleness = wish.max_staleness;
    if (wish.explain) both.explain = wish.explain;
    if (wish.min_lsn) {
        const bool is_stronger =
            !min_lsn || wish.min_lsn->timeline > min_lsn->timeline ||
            (wish.min_lsn->timeline == min_lsn->timeline && wish.min_lsn->lsn > min_lsn->lsn);
        if (is_stronger) both.min_lsn = wish.min_lsn;
    }
    return both;
}

}  // namespace pgsteer::routing
