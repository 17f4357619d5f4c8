#pragma once

#include "proxy/wire/bytes.hpp"

#include <cstdint>
#include <string_view>

namespace pgsteer::proxy::wire {

// Appends one message to a buffer; the length word is filled in by end() or the destructor.
class BodyWriter {
public:
    BodyWriter(Buffer& out, std::uint8_t type);  // type 0: no type byte (startup packets)
    ~BodyWriter() { end(); }
    BodyWriter(const BodyWriter&) = delete;
    BodyWriter& operator=(const BodyWriter&) = delete;
    BodyWriter& u8(std::uint8_t value);
    BodyWriter& u16(std::uint16_t value);
    BodyWriter& u32(std::uint32_t value);
    BodyWriter& cstr(std::string_view text);  // with a NUL behind it
    BodyWriter& bytes(Bytes bytes);
    void end();

private:
    Buffer& out_;
    std::size_t length_at_;
    bool ended_ = false;
};

}  // namespace pgsteer::proxy::wire
