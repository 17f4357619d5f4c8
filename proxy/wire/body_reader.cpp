#include "proxy/wire/body_reader.hpp"

#include <cstring>

namespace pgsteer::proxy::wire {

std::uint8_t BodyReader::u8() {
    const Bytes b = bytes(1);
    return b.empty() ? std::uint8_t{0} : b[0];
}

std::uint16_t BodyReader::u16() {
    const Bytes b = bytes(2);
    return b.empty() ? std::uint16_t{0} : static_cast<std::uint16_t>(b[0] << 8 | b[1]);
}

std::uint32_t BodyReader::u32() {
    const Bytes b = bytes(4);
    if (b.empty()) return 0;
    return std::uint32_t{b[0]} << 24 | std::uint32_t{b[1]} << 16 | std::uint32_t{b[2]} << 8 | b[3];
}

std::string_view BodyReader::cstr() {
    const void* nul = rest_.empty() ? nullptr : std::memchr(rest_.data(), 0, rest_.size());
    if (nul == nullptr) {
        failed_ = true;
        rest_ = {};
        return {};
    }
    const auto length =
        static_cast<std::size_t>(static_cast<const std::uint8_t*>(nul) - rest_.data());
    const std::string_view text = as_text(rest_.first(length));
    rest_ = rest_.subspan(length + 1);
    return text;
}

Bytes BodyReader::bytes(std::size_t count) {
    if (failed_ || count > rest_.size()) {
        failed_ = true;
        rest_ = {};
        return {};
    }
    const Bytes front = rest_.first(count);
    rest_ = rest_.subspan(count);
    return front;
}

error_code BodyReader::finish() const {
    if (failed_) return ProxyErrc::truncated;
    if (!rest_.empty()) return ProxyErrc::trailing_bytes;
    return {};
}

}  // namespace pgsteer::proxy::wire
