#pragma once

#include "proxy/errors.hpp"
#include "proxy/wire/bytes.hpp"

#include <cstdint>
#include <optional>

namespace pgsteer::proxy::wire {

inline constexpr std::size_t kHeaderBytes = 5;

struct Header {
    std::uint8_t type = 0;        // 'Q', 'P', 'Z', ...: message_types.hpp
    std::uint32_t body_size = 0;  // bytes after the length word; 0 for Sync
    [[nodiscard]] std::size_t message_bytes() const { return kHeaderBytes + body_size; }
};

// Reads the header at the front of `in`; consumes nothing. nullopt: fewer than 5 bytes so far.
// Errors: bad_length (length word < 4), message_too_large (body_size > max_body, in bytes).
// PostgreSQL docs, "Message Formats": the length word counts itself but not the type byte.
inline Result<std::optional<Header>> peek_header(Bytes in, std::uint32_t max_body) {
    if (in.size() < kHeaderBytes) return std::optional<Header>{};
    const std::uint32_t length = static_cast<std::uint32_t>(in[1]) << 24 | static_cast<std::uint32_t>(in[2]) << 16 |
                                 static_cast<std::uint32_t>(in[3]) << 8 | static_cast<std::uint32_t>(in[4]);
    if (length < 4) return ProxyErrc::bad_length;
    if (length - 4 > max_body) return ProxyErrc::message_too_large;
    return std::optional<Header>{Header{in[0], length - 4}};
}

}  // namespace pgsteer::proxy::wire
