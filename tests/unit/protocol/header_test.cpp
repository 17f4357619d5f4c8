#include "proxy/wire/header.hpp"

#include "tests/unit/protocol/wire_bytes.hpp"

namespace pgsteer::proxy::wire {
namespace {

auto peek = [](Bytes in) { return peek_header(in, 1000); };

TEST(Header, GivesTypeAndBodySizeWithoutTheLengthWord) {
    const Buffer in = buffer_of("Q\0\0\1\2rest"sv);
    const auto header = peek(in);
    ASSERT_TRUE(header && *header);
    EXPECT_EQ((*header)->type, 'Q');
    EXPECT_EQ((*header)->body_size, 0x102U - 4);
    EXPECT_EQ((*header)->message_bytes(), 0x102U + 1);
}

TEST(Header, OfAnEmptyMessageHasBodySizeZero) {
    const Buffer in = buffer_of("S\0\0\0\4"sv);
    const auto header = peek(in);
    ASSERT_TRUE(header && *header);
    EXPECT_EQ((*header)->body_size, 0U);
    EXPECT_EQ((*header)->message_bytes(), 5U);
}

TEST(Header, IsNotThereBeforeItsFifthByte) {
    for (std::size_t size = 0; size < kHeaderBytes; ++size) {
        const Buffer in = buffer_of("S\0\0\0\4"sv.substr(0, size));
        const auto header = peek(in);
        ASSERT_TRUE(header) << size;
        EXPECT_FALSE(header->has_value()) << size;
    }
}

TEST(Header, RejectsALengthThatDoesNotCountItself) {
    for (const auto text : {"Q\0\0\0\0"sv, "Q\0\0\0\1"sv, "Q\0\0\0\3"sv})
        EXPECT_EQ(error_of(peek, text), ProxyErrc::bad_length);
}

TEST(Header, RejectsABodyOverTheLimitAndAcceptsOneAtIt) {
    EXPECT_FALSE(error_of(peek, "Q\0\0\x03\xEC"sv));  // 1004
    EXPECT_EQ(error_of(peek, "Q\0\0\x03\xED"sv), ProxyErrc::message_too_large);
}

TEST(Header, TreatsANegativeLengthAsTooLarge) {
    EXPECT_EQ(error_of(peek, "Q\xFF\xFF\xFF\xFF"sv), ProxyErrc::message_too_large);
    EXPECT_EQ(error_of(peek, "Q\x80\0\0\0"sv), ProxyErrc::message_too_large);
}

}  // namespace
}  // namespace pgsteer::proxy::wire
