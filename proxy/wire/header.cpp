#include "proxy/wire/header.hpp"

#include "proxy/wire/body_reader.hpp"

namespace pgsteer::proxy::wire {

Result<std::optional<Header>> peek_header(Bytes in, std::uint32_t max_body) {
    if (in.size() < kHeaderBytes) return std::optional<Header>{};
    BodyReader reader{in.first(kHeaderBytes)};
    const std::uint8_t type = reader.u8();
    const std::uint32_t length = reader.u32();
    if (length < 4) return ProxyErrc::bad_length;
    if (length - 4 > max_body) return ProxyErrc::message_too_large;
    return std::optional{Header{.type = type, .body_size = length - 4}};
}

}  // namespace pgsteer::proxy::wire
