#pragma once

#include "proxy/errors.hpp"
#include "proxy/wire/bytes.hpp"

#include <cstdint>
#include <cstring>
#include <string_view>

namespace pgsteer::proxy::wire {

// Reads the fields of one message body in order. A read past the end makes this and all later reads
// yield zero or nothing, and finish() say `truncated`. Views point into the body.
class BodyReader {
public:
    explicit BodyReader(Bytes body) : rest_{body} {}
    std::uint8_t u8() {
        const Bytes b = bytes(1);
        return b.empty() ? std::uint8_t{0} : b[0];
    }
    std::uint16_t u16() {
        const Bytes b = bytes(2);
        return b.empty() ? std::uint16_t{0} : static_cast<std::uint16_t>(b[0] << 8 | b[1]);
    }
    std::uint32_t u32() {
        const Bytes b = bytes(4);
        if (b.empty()) return 0;
        return std::uint32_t{b[0]} << 24 | std::uint32_t{b[1]} << 16 | std::uint32_t{b[2]} << 8 |
               b[3];
    }
    std::string_view cstr();  // up to and without the next NUL
    Bytes bytes(std::size_t count) {
        if (failed_ || count > rest_.size()) return fail();
        const Bytes front = rest_.first(count);
        rest_ = rest_.subspan(count);
        return front;
    }
    [[nodiscard]] Bytes rest() const { return rest_; }
    [[nodiscard]] bool failed() const { return failed_; }
    // truncated, trailing_bytes or no error.
    [[nodiscard]] error_code finish() const;

private:
    Bytes fail() {
        failed_ = true;
        return rest_ = {};
    }

    Bytes rest_;
    bool failed_ = false;
};

inline std::string_view BodyReader::cstr() {
    if (rest_.empty()) return as_text(fail());
    std::size_t length = 0;
    if (rest_[0] != 0) {  // most names are empty
        const void* const nul = std::memchr(rest_.data(), 0, rest_.size());
        if (nul == nullptr) return as_text(fail());
        length = static_cast<std::size_t>(static_cast<const std::uint8_t*>(nul) - rest_.data());
    }
    const std::string_view text = as_text(rest_.first(length));
    rest_ = rest_.subspan(length + 1);
    return text;
}

inline error_code BodyReader::finish() const {
    if (failed_) return ProxyErrc::truncated;
    if (!rest_.empty()) return ProxyErrc::trailing_bytes;
    return {};
}

}  // namespace pgsteer::proxy::wire
