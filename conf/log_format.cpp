#include "conf/log_format.hpp"

#include <algorithm>
#include <cstdint>
#include <ctime>
#include <optional>

namespace pgsteer::log {
namespace {

std::string_view level_name(conf::LogLevel level) {
    switch (level) {
        case conf::LogLevel::debug:
            return "debug";
        case conf::LogLevel::info:
            return "info";
        case conf::LogLevel::warning:
            return "warning";
        case conf::LogLevel::error:
            return "error";
    }
    return "error";
}

// UTC, ISO 8601, milliseconds.
std::string timestamp(TimePoint time) {
    const auto whole = std::chrono::floor<std::chrono::milliseconds>(time).time_since_epoch();
    const auto seconds = std::chrono::floor<std::chrono::seconds>(whole);
    const std::time_t unix_time = seconds.count();
    std::tm utc{};
    gmtime_r(&unix_time, &utc);
    return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z", utc.tm_year + 1900,
                       utc.tm_mon + 1, utc.tm_mday, utc.tm_hour, utc.tm_min, utc.tm_sec,
                       (whole - seconds).count());
}

// The length of the UTF-8 sequence at the front of `text`; 0: none. Overlong forms, surrogates and
// what is beyond U+10FFFF do not count.
std::size_t utf8_length(std::string_view text) {
    const auto byte = [&](std::size_t i) { return static_cast<std::uint8_t>(text[i]); };
    const std::uint8_t lead = byte(0);
    if (lead < 0x80) return 1;
    const std::size_t length = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
    if (lead < 0xC2 || lead > 0xF4 || text.size() < length) return 0;
    for (std::size_t i = 1; i < length; ++i)
        if ((byte(i) & 0xC0) != 0x80) return 0;
    const bool overlong = (lead == 0xE0 && byte(1) < 0xA0) || (lead == 0xF0 && byte(1) < 0x90);
    const bool beyond = (lead == 0xED && byte(1) > 0x9F) || (lead == 0xF4 && byte(1) > 0x8F);
    return overlong || beyond ? 0 : length;
}

std::optional<std::string_view> short_escape(char c) {
    switch (c) {
        case '"':
            return "\\\"";
        case '\\':
            return "\\\\";
        case '\n':
            return "\\n";
        case '\r':
            return "\\r";
        case '\t':
            return "\\t";
        default:
            return std::nullopt;
    }
}

bool is_control(char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7F; }

enum class Escapes : std::uint8_t { text, json };

void append_escaped(std::string& out, std::string_view text, Escapes escapes) {
    while (!text.empty()) {
        const char c = text.front();
        const std::size_t length = utf8_length(text);
        if (const auto escape = short_escape(c))
            out += *escape;
        else if (length == 0)
            out += escapes == Escapes::json
                       ? std::string{"\\ufffd"}
                       : fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
        else if (is_control(c))
            out += fmt::format(fmt::runtime(escapes == Escapes::json ? "\\u{:04x}" : "\\x{:02x}"),
                               static_cast<unsigned char>(c));
        else
            out += text.substr(0, length);
        text.remove_prefix(std::max<std::size_t>(length, 1));
    }
}

bool needs_quotes(std::string_view value) {
    if (value.empty()) return true;
    while (!value.empty()) {
        const char c = value.front();
        const std::size_t length = utf8_length(value);
        if (length == 0 || c == ' ' || c == '=' || c == '"' || c == '\\' || is_control(c))
            return true;
        value.remove_prefix(length);
    }
    return false;
}

void append_quoted(std::string& out, std::string_view text, Escapes escapes) {
    out += '"';
    append_escaped(out, text, escapes);
    out += '"';
}

// Numbers and booleans as such; JSON has no inf or nan.
bool is_json_literal(const Field& field) {
    if (field.kind != FieldKind::literal || field.value.empty()) return false;
    const std::string& text = field.value;
    if (text == "true" || text == "false") return true;
    const char first = text[text[0] == '-' && text.size() > 1 ? 1 : 0];
    return first >= '0' && first <= '9';
}

}  // namespace

std::string format_text(TimePoint time,
                        conf::LogLevel level,
                        std::string_view sentence,
                        std::span<const Field> fields) {
    std::string out = timestamp(time);
    out.append(" ").append(level_name(level)).append(" ");
    append_escaped(out, sentence, Escapes::text);
    for (const Field& field : fields) {
        out.append(" ").append(field.key).append("=");
        if (needs_quotes(field.value))
            append_quoted(out, field.value, Escapes::text);
        else
            out += field.value;
    }
    return out;
}

std::string format_json(TimePoint time,
                        conf::LogLevel level,
                        std::string_view sentence,
                        std::span<const Field> fields) {
    std::string out =
        fmt::format(R"({{"time":"{}","level":"{}","message":)", timestamp(time), level_name(level));
    append_quoted(out, sentence, Escapes::json);
    for (const Field& field : fields) {
        const bool taken = field.key == "time" || field.key == "level" || field.key == "message";
        out += ',';
        append_quoted(out, std::string{field.key} + (taken ? "_" : ""), Escapes::json);
        out += ':';
        if (is_json_literal(field))
            out += field.value;
        else
            append_quoted(out, field.value, Escapes::json);
    }
    return out + '}';
}

}  // namespace pgsteer::log
