#include "proxy/wire/startup.hpp"

#include "proxy/wire/body_reader.hpp"
#include "proxy/wire/body_writer.hpp"
#include "proxy/wire/message_types.hpp"

namespace pgsteer::proxy::wire {
namespace {

constexpr std::size_t kLengthBytes = 4;
constexpr std::size_t kMinPacketBytes = 8;

// Name, value, name, value, ..., and one more NUL as the last byte of the packet.
Result<Parameters> decode_parameters(BodyReader& in) {
    Parameters parameters;
    for (;;) {
        const std::string_view name = in.cstr();
        if (name.empty()) break;
        const std::string_view value = in.cstr();
        if (in.failed()) break;
        parameters.emplace_back(name, value);
    }
    if (in.finish()) return ProxyErrc::invalid_startup;
    return parameters;
}

template <class Request>
Result<StartupPacket> without_fields(const BodyReader& in) {
    if (in.finish()) return ProxyErrc::invalid_startup;
    return StartupPacket{Request{}};
}

Result<StartupPacket> decode_cancel(BodyReader& in) {
    CancelRequest request;
    request.process_id = in.u32();
    request.secret_key = in.u32();
    if (in.finish()) return ProxyErrc::invalid_startup;
    return StartupPacket{request};
}

}  // namespace

std::string_view StartupMessage::parameter(std::string_view name) const {
    for (auto it = parameters.rbegin(); it != parameters.rend(); ++it)
        if (it->first == name) return it->second;
    return {};
}

Result<std::optional<std::size_t>> startup_packet_bytes(Bytes in) {
    if (in.size() < kLengthBytes) return std::optional<std::size_t>{};
    const std::size_t bytes = BodyReader{in.first(kLengthBytes)}.u32();
    if (bytes < kMinPacketBytes || bytes - kLengthBytes > kMaxStartupPacketBytes)
        return ProxyErrc::invalid_startup;
    return std::optional{bytes};
}

Result<StartupPacket> decode_startup(Bytes packet) {
    const auto bytes = startup_packet_bytes(packet);
    if (!bytes) return bytes.error();
    if (*bytes != packet.size()) return ProxyErrc::invalid_startup;

    BodyReader in{packet.subspan(kLengthBytes)};
    const std::uint32_t code = in.u32();
    switch (code) {
        case kSslRequestCode:
            return without_fields<SslRequest>(in);
        case kGssEncRequestCode:
            return without_fields<GssEncRequest>(in);
        case kCancelRequestCode:
            return decode_cancel(in);
        default:
            break;
    }
    if (code >> 16 != kProtocol30 >> 16) return ProxyErrc::unsupported_protocol;
    auto parameters = decode_parameters(in);
    if (!parameters) return parameters.error();
    return StartupPacket{StartupMessage{.protocol = code, .parameters = std::move(*parameters)}};
}

bool is_cancel_request(Bytes packet) {
    return packet.size() >= kMinPacketBytes &&
           BodyReader{packet.subspan(kLengthBytes, 4)}.u32() == kCancelRequestCode;
}

void encode(Buffer& out, const StartupMessage& message) {
    BodyWriter body{out, 0};
    body.u32(message.protocol);
    for (const auto& [name, value] : message.parameters) body.cstr(name).cstr(value);
    body.u8(0);
}

void encode(Buffer& out, const CancelRequest& message) {
    BodyWriter{out, 0}.u32(kCancelRequestCode).u32(message.process_id).u32(message.secret_key);
}

}  // namespace pgsteer::proxy::wire
