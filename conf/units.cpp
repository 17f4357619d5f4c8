#include "conf/units.hpp"

#include <fmt/core.h>

#include <array>
#include <charconv>
#include <cmath>
#include <limits>
#include <span>

namespace pgsteer::conf {
namespace {

struct Unit {
    std::string_view name;
    std::uint64_t factor;
};

// Largest first: formatting takes the first one that divides.
constexpr std::array kDurationUnits{
    Unit{"d", 86'400'000}, Unit{"h", 3'600'000}, Unit{"m", 60'000}, Unit{"s", 1'000}, Unit{"ms", 1},
};
constexpr std::array kSizeUnits{
    Unit{"GiB", 1'073'741'824},
    Unit{"MiB", 1'048'576},
    Unit{"KiB", 1'024},
    Unit{"B", 1},
};

// What a value with a unit is called in messages.
struct Measure {
    std::span<const Unit> units;
    std::string_view noun;
    std::string_view unit_list;
    std::string_view usual_unit;
};
constexpr Measure kDuration{kDurationUnits, "duration", "ms, s, m, h or d", "s"};
constexpr Measure kSize{kSizeUnits, "size", "B, KiB, MiB or GiB", "KiB"};

bool is_digit(char c) { return c >= '0' && c <= '9'; }

template <class T>
Parsed<T> refuse(std::string error) {
    return {std::nullopt, std::move(error)};
}

Parsed<std::uint64_t> parse_measure(std::string_view text, const Measure& measure) {
    std::size_t digits = 0;
    while (digits < text.size() && is_digit(text[digits])) ++digits;
    std::string_view unit_name = text.substr(digits);
    while (!unit_name.empty() && unit_name.front() == ' ') unit_name.remove_prefix(1);
    if (digits == 0 ||
        (!unit_name.empty() && !std::isalpha(static_cast<unsigned char>(unit_name[0]))))
        return refuse<std::uint64_t>(fmt::format("'{}' is not a {}: use a whole number with {}",
                                                 printable(text), measure.noun, measure.unit_list));

    std::uint64_t number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + digits, number);
    const bool overflow = error != std::errc{};
    if (unit_name.empty()) {
        if (!overflow && number == 0) return {0, {}};
        return refuse<std::uint64_t>(fmt::format("{0} needs a unit ({1}), as in {0}{2}",
                                                 printable(text), measure.unit_list,
                                                 measure.usual_unit));
    }
    for (const Unit& unit : measure.units) {
        if (unit.name != unit_name) continue;
        constexpr auto kMax = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
        if (overflow || number > kMax / unit.factor)
            return refuse<std::uint64_t>(fmt::format("{} is too large", printable(text)));
        return {number * unit.factor, {}};
    }
    return refuse<std::uint64_t>(
        fmt::format("'{}' is not a unit: use {}", printable(unit_name), measure.unit_list));
}

std::string format_measure(std::uint64_t value, std::span<const Unit> units) {
    if (value == 0) return "0";
    for (const Unit& unit : units)
        if (value % unit.factor == 0) return fmt::format("{}{}", value / unit.factor, unit.name);
    return fmt::format("{}", value);  // not reached: the last factor is 1
}

}  // namespace

Parsed<std::int64_t> parse_integer(std::string_view text) {
    std::string_view digits = text;
    if (digits.starts_with('+')) digits.remove_prefix(1);
    std::int64_t value = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
    if (error == std::errc::result_out_of_range)
        return refuse<std::int64_t>(fmt::format("{} is too large", printable(text)));
    if (error != std::errc{} || end != digits.data() + digits.size() || text.starts_with("+-"))
        return refuse<std::int64_t>(fmt::format("'{}' is not a whole number", printable(text)));
    return {value, {}};
}

Parsed<double> parse_decimal(std::string_view text) {
    double value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc{} || end != text.data() + text.size() || !std::isfinite(value))
        return refuse<double>(fmt::format("'{}' is not a number", printable(text)));
    return {value, {}};
}

Parsed<bool> parse_boolean(std::string_view text) {
    for (const std::string_view yes : {"true", "on", "yes"})
        if (text == yes) return {true, {}};
    for (const std::string_view no : {"false", "off", "no"})
        if (text == no) return {false, {}};
    return refuse<bool>(fmt::format("'{}' is not true or false", printable(text)));
}

Parsed<std::chrono::milliseconds> parse_duration(std::string_view text) {
    auto [value, error] = parse_measure(text, kDuration);
    if (!value) return refuse<std::chrono::milliseconds>(std::move(error));
    return {std::chrono::milliseconds{static_cast<std::int64_t>(*value)}, {}};
}

Parsed<std::size_t> parse_size(std::string_view text) {
    auto [value, error] = parse_measure(text, kSize);
    if (!value) return refuse<std::size_t>(std::move(error));
    return {static_cast<std::size_t>(*value), {}};
}

std::string format_duration(std::chrono::milliseconds duration) {
    return format_measure(static_cast<std::uint64_t>(duration.count()), kDurationUnits);
}

std::string format_size(std::size_t bytes) { return format_measure(bytes, kSizeUnits); }

}  // namespace pgsteer::conf
