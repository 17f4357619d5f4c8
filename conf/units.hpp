// Text of a scalar -> value, and back: whole numbers, decimals, yes or no, durations, sizes. Pure.
#pragma once

#include "conf/text.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace pgsteer::conf {

// Decimal digits with an optional sign.
[[nodiscard]] Parsed<std::int64_t> parse_integer(std::string_view text);
// A decimal number such as 4, 1.5 or 2e3; no infinity.
[[nodiscard]] Parsed<double> parse_decimal(std::string_view text);
// true, on, yes or false, off, no.
[[nodiscard]] Parsed<bool> parse_boolean(std::string_view text);
// A whole number with ms, s, m, h or d: "500ms", "15s". Only 0 may go without a unit.
[[nodiscard]] Parsed<std::chrono::milliseconds> parse_duration(std::string_view text);
// A whole number with B, KiB, MiB or GiB: "64KiB", "1MiB". Only 0 may go without a unit.
[[nodiscard]] Parsed<std::size_t> parse_size(std::string_view text);

// In the largest unit that needs no fraction: 90'000 ms -> "90s", 65'536 -> "64KiB", 0 -> "0".
[[nodiscard]] std::string format_duration(std::chrono::milliseconds duration);
[[nodiscard]] std::string format_size(std::size_t bytes);

}  // namespace pgsteer::conf
