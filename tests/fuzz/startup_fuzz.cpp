// decode_startup on any bytes: what it accepts must come out of encode() byte for byte.
#include "proxy/wire/startup.hpp"

#include <cstdlib>

using namespace pgsteer::proxy::wire;

namespace {

void require(bool truth) {
    if (!truth) std::abort();
}

Buffer encoded(const StartupPacket& packet) {
    Buffer out;
    if (const auto* startup = std::get_if<StartupMessage>(&packet)) encode(out, *startup);
    if (const auto* cancel = std::get_if<CancelRequest>(&packet)) encode(out, *cancel);
    return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const Bytes in{data, size};
    const auto bytes = startup_packet_bytes(in);
    if (!bytes || !*bytes || **bytes > size) {
        require(!decode_startup(in));  // not whole
        return 0;
    }
    const Bytes whole = in.first(**bytes);
    const auto packet = decode_startup(whole);
    if (!packet) return 0;
    const Buffer again = encoded(*packet);
    require(again.empty() ? size_t{8} == whole.size()
                          : Buffer(whole.begin(), whole.end()) == again);
    for (std::size_t shorter = 0; shorter < whole.size(); ++shorter)
        require(!decode_startup(whole.first(shorter)));
    return 0;
}
