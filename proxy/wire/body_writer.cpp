#include "proxy/wire/body_writer.hpp"

namespace pgsteer::proxy::wire {

BodyWriter::BodyWriter(Buffer& out, std::uint8_t type) : out_{out} {
    if (type != 0) out_.push_back(type);
    length_at_ = out_.size();
    u32(0);
}

BodyWriter& BodyWriter::u8(std::uint8_t value) {
    out_.push_back(value);
    return *this;
}

BodyWriter& BodyWriter::u16(std::uint16_t value) {
    out_.push_back(static_cast<std::uint8_t>(value >> 8));
    out_.push_back(static_cast<std::uint8_t>(value));
    return *this;
}

BodyWriter& BodyWriter::u32(std::uint32_t value) {
    u16(static_cast<std::uint16_t>(value >> 16));
    return u16(static_cast<std::uint16_t>(value));
}

BodyWriter& BodyWriter::cstr(std::string_view text) {
    bytes(as_bytes(text.substr(0, text.find('\0'))));
    return u8(0);
}

BodyWriter& BodyWriter::bytes(Bytes bytes) {
    out_.insert(out_.end(), bytes.begin(), bytes.end());
    return *this;
}

void BodyWriter::end() {
    if (ended_) return;
    ended_ = true;
    const auto length = static_cast<std::uint32_t>(out_.size() - length_at_);
    for (std::size_t i = 0; i < 4; ++i)
        out_[length_at_ + i] = static_cast<std::uint8_t>(length >> (24 - 8 * i));
}

}  // namespace pgsteer::proxy::wire
