// Logging for the whole program: a short sentence and key=value pairs, e.g.
//   log::info("server is healthy", "server", name, "lag_ms", 3);
// Thread-safe. Never pass passwords or parameter values; SQL text only at debug.
#pragma once

#include "conf/config.hpp"

#include <fmt/core.h>

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>

// A secret shows as ***, wherever it is formatted.
template <>
struct fmt::formatter<pgsteer::conf::Secret> {
    static constexpr auto parse(fmt::format_parse_context& context) { return context.begin(); }
    static auto format(const pgsteer::conf::Secret& /*secret*/, fmt::format_context& context) {
        return fmt::format_to(context.out(), "***");
    }
};

namespace pgsteer::log {

enum class FieldKind : std::uint8_t { text, literal };  // literal: a number or boolean

struct Field {
    std::string_view key;
    std::string value;
    FieldKind kind = FieldKind::text;
};

// Sets level and format; may be called again on reload. Before the first call: info, text. To
// stderr.
void configure(const conf::LogConfig& config);
[[nodiscard]] bool enabled(conf::LogLevel level);
void write(conf::LogLevel level, std::string_view sentence, std::initializer_list<Field> fields);

namespace detail {
template <class Value>
inline constexpr FieldKind kKindOf =
    std::is_arithmetic_v<Value> && !std::is_same_v<Value, char> ? FieldKind::literal
                                                                : FieldKind::text;

template <class Value>
Field field(std::string_view key, const Value& value) {
    return {key, fmt::format("{}", value), kKindOf<Value>};
}

template <class... KeyValues>
void line(conf::LogLevel level, std::string_view sentence, const KeyValues&... key_values) {
    if (!enabled(level)) return;
    constexpr std::size_t kCount = sizeof...(KeyValues) / 2;
    static_assert(sizeof...(KeyValues) % 2 == 0, "key, value, key, value...");
    [&]<std::size_t... I>(std::index_sequence<I...>, [[maybe_unused]] auto tuple) {
        write(level, sentence, {field(std::get<2 * I>(tuple), std::get<2 * I + 1>(tuple))...});
    }
    (std::make_index_sequence<kCount>{}, std::forward_as_tuple(key_values...));
}
}  // namespace detail

template <class... KeyValues>
void debug(std::string_view sentence, const KeyValues&... key_values) {
    detail::line(conf::LogLevel::debug, sentence, key_values...);
}
template <class... KeyValues>
void info(std::string_view sentence, const KeyValues&... key_values) {
    detail::line(conf::LogLevel::info, sentence, key_values...);
}
template <class... KeyValues>
void warning(std::string_view sentence, const KeyValues&... key_values) {
    detail::line(conf::LogLevel::warning, sentence, key_values...);
}
template <class... KeyValues>
void error(std::string_view sentence, const KeyValues&... key_values) {
    detail::line(conf::LogLevel::error, sentence, key_values...);
}

}  // namespace pgsteer::log
