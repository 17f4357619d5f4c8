// What the tests of decoders share.
#pragma once

#include "proxy/errors.hpp"
#include "proxy/wire/bytes.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace pgsteer::proxy::wire {

using namespace std::string_view_literals;

inline Buffer buffer_of(std::string_view text) { return {text.begin(), text.end()}; }
inline std::string text_of(const Buffer& buffer) { return {buffer.begin(), buffer.end()}; }

// What one encode call appends, as text. It must not touch what is in the buffer already.
template <class Encode>
std::string encoded(Encode encode_into) {
    Buffer out = buffer_of("before"sv);
    encode_into(out);
    const std::string text = text_of(out);
    EXPECT_EQ(text.substr(0, 6), "before");
    return text.substr(6);
}

// Decodes each proper prefix of `body`, in an allocation of exactly its size so that
// AddressSanitizer sees a read past the end, and expects every one to fail.
template <class Decode>
void expect_every_prefix_fails(Decode decode, std::string_view body) {
    for (std::size_t size = 0; size < body.size(); ++size) {
        const Buffer prefix = buffer_of(body.substr(0, size));
        EXPECT_FALSE(decode(Bytes{prefix})) << size << " of " << body.size() << " bytes";
    }
}

template <class Decode>
error_code error_of(Decode decode, std::string_view body) {
    const Buffer exact = buffer_of(body);
    const auto result = decode(Bytes{exact});
    return result ? error_code{} : result.error();
}

}  // namespace pgsteer::proxy::wire
