// OpenSSL's primitives under our own types: the only place that includes OpenSSL for
// authentication. What cannot fail on a working OpenSSL throws std::runtime_error if it does.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace pgsteer::proxy::auth {

using Digest = std::array<std::uint8_t, 32>;

inline std::string_view as_view(std::span<const std::uint8_t> bytes) {
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

Digest sha256(std::string_view data);
Digest hmac_sha256(std::string_view key, std::string_view data);
Digest pbkdf2_sha256(std::string_view password, std::string_view salt, std::uint32_t iterations);
std::string md5_hex(std::string_view data);  // 32 lower-case digits
std::string random_bytes(std::size_t count);
// Equal time for equal lengths, whatever the bytes.
bool equal_in_constant_time(std::string_view a, std::string_view b);
inline bool equal_digests(const Digest& a, const Digest& b) {
    return equal_in_constant_time(as_view(a), as_view(b));
}

std::string base64_encode(std::string_view bytes);
// RFC 4648 with padding, canonical; nullopt on anything else, also on white space.
std::optional<std::string> base64_decode(std::string_view text);

}  // namespace pgsteer::proxy::auth
