#pragma once

#include "proxy/errors.hpp"
#include "proxy/wire/bytes.hpp"

#include <cstdint>
#include <string_view>

namespace pgsteer::proxy::wire {

// Reads the fields of one message body in order. A read past the end makes this and all later reads
// yield zero or nothing, and finish() say `truncated`. Views point into the body.
class BodyReader {
public:
    explicit BodyReader(Bytes body) : rest_{body} {}
    std::uint8_t u8();
    std::uint16_t u16();
    std::uint32_t u32();
    std::string_view cstr();  // up to and without the next NUL
    Bytes bytes(std::size_t count);
    [[nodiscard]] Bytes rest() const { return rest_; }
    [[nodiscard]] bool failed() const { return failed_; }
    // truncated, trailing_bytes or no error.
    [[nodiscard]] error_code finish() const;

private:
    Bytes rest_;
    bool failed_ = false;
};

}  // namespace pgsteer::proxy::wire
