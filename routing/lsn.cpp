#include "routing/lsn.hpp"

#include <fmt/format.h>

#include <charconv>

namespace pgsteer::routing {
namespace {

// Source: PostgreSQL's XLOG_BLCKSZ; Debian and all common builds keep the default.
constexpr std::uint64_t kPageBytes = 8192;
constexpr std::uint64_t kShortHeaderBytes = 24;
constexpr std::uint64_t kLongHeaderBytes = 40;

bool is_hex(char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

// from_chars would also take a sign for signed types and stop at the first stranger: we do not.
std::optional<std::uint64_t> parse_half(std::string_view text) {
    if (text.empty() || text.size() > 8) return std::nullopt;
    for (const char c : text)
        if (!is_hex(c)) return std::nullopt;
    std::uint64_t value = 0;
    std::from_chars(text.data(), text.data() + text.size(), value, 16);
    return value;
}

}  // namespace

std::optional<Lsn> parse_lsn(std::string_view text) {
    const auto slash = text.find('/');
    if (slash == std::string_view::npos) return std::nullopt;
    const auto high = parse_half(text.substr(0, slash));
    const auto low = parse_half(text.substr(slash + 1));
    if (!high || !low) return std::nullopt;
    return Lsn{*high << 32 | *low};
}

std::string to_string(Lsn lsn) {
    return fmt::format("{:X}/{:X}", lsn.bytes >> 32, lsn.bytes & 0xFFFF'FFFF);
}

Lsn before_page_header(Lsn insert, std::uint64_t segment_bytes) {
    const bool first_page = insert.bytes % segment_bytes < kPageBytes;
    const std::uint64_t header = first_page ? kLongHeaderBytes : kShortHeaderBytes;
    if (insert.bytes % kPageBytes != header) return insert;
    return Lsn{insert.bytes - header};
}

}  // namespace pgsteer::routing
