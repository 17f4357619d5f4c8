#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace pgsteer::routing {

// A position in the WAL stream, in bytes. Ordered only within one timeline: after a promotion
// compare timelines first, or a diverged standby looks ahead of the new primary.
struct Lsn {
    std::uint64_t bytes = 0;
    auto operator<=>(const Lsn&) const = default;
};

// Parses pg_lsn text: high and low 32 bits in hex, e.g. "16/B374D848" -> 0x16'B374'D848.
// nullopt on anything else: no slash, an empty half, more than 8 digits in a half.
// Source: PostgreSQL docs, "pg_lsn Type".
std::optional<Lsn> parse_lsn(std::string_view text);

// "16/B374D848", as PostgreSQL prints it.
std::string to_string(Lsn lsn);

// Replay stops before a page header, while the insert position may point past one: where `insert` is
// just behind a short (24 bytes) or long (40 bytes, first page of a segment) header, the start of
// that page; else `insert` itself. Source: xlog_internal.h, SizeOfXLogShortPHD and SizeOfXLogLongPHD.
Lsn before_page_header(Lsn insert, std::uint64_t segment_bytes = 16 * 1024 * 1024);

}  // namespace pgsteer::routing
