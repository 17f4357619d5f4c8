// The packets before the first typed message: StartupMessage, SSLRequest, GSSENCRequest,
// CancelRequest.
#pragma once

#include "proxy/errors.hpp"
#include "proxy/wire/bytes.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace pgsteer::proxy::wire {

using Parameters = std::vector<std::pair<std::string, std::string>>;  // in the order of the packet

struct StartupMessage {
    std::uint32_t protocol = 0;  // 3.x: high 16 bits are 3
    Parameters parameters;       // user, database, options, replication, any setting
    [[nodiscard]] std::string_view parameter(
        std::string_view name) const;  // "" if absent; the last one wins
    bool operator==(const StartupMessage&) const = default;
};
struct SslRequest {
    bool operator==(const SslRequest&) const = default;
};
struct GssEncRequest {
    bool operator==(const GssEncRequest&) const = default;
};
struct CancelRequest {
    std::uint32_t process_id = 0;
    std::uint32_t secret_key = 0;
    bool operator==(const CancelRequest&) const = default;
};
using StartupPacket = std::variant<StartupMessage, SslRequest, GssEncRequest, CancelRequest>;

// Bytes of the packet at the front of `in`, its length word included; nullopt: fewer than 4 bytes.
// Errors: invalid_startup (under 8 bytes, or more than kMaxStartupPacketBytes after the length
// word).
Result<std::optional<std::size_t>> startup_packet_bytes(Bytes in);
// `packet` is whole. Errors: invalid_startup, unsupported_protocol (major version other than 3).
Result<StartupPacket> decode_startup(Bytes packet);
[[nodiscard]] bool is_cancel_request(Bytes packet);  // whatever follows the code
void encode(Buffer& out, const StartupMessage& message);
void encode(Buffer& out, const CancelRequest& message);

}  // namespace pgsteer::proxy::wire
