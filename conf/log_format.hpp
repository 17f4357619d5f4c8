// What one log line looks like. Pure.
#pragma once

#include "conf/log.hpp"

#include <chrono>
#include <span>
#include <string>
#include <string_view>

namespace pgsteer::log {

using TimePoint = std::chrono::system_clock::time_point;

// "2026-03-01T09:30:00.125Z info server is healthy server=pg2 lag_ms=3". A value with spaces,
// quotes,
// '=' or control bytes is put in double quotes and escaped, so that a line stays one line.
[[nodiscard]] std::string format_text(TimePoint time,
                                      conf::LogLevel level,
                                      std::string_view sentence,
                                      std::span<const Field> fields);
// The same as one JSON object: time, level, message, then the fields. A field of one of these three
// names gets a '_' behind it. Bytes that are not UTF-8 become U+FFFD.
[[nodiscard]] std::string format_json(TimePoint time,
                                      conf::LogLevel level,
                                      std::string_view sentence,
                                      std::span<const Field> fields);

}  // namespace pgsteer::log
