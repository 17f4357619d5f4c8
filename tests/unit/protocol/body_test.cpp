#include "proxy/wire/body_reader.hpp"
#include "proxy/wire/body_writer.hpp"
#include "tests/unit/protocol/wire_bytes.hpp"

namespace pgsteer::proxy::wire {
namespace {

TEST(BodyReader, ReadsFieldsInNetworkOrder) {
    const Buffer body = buffer_of("\x01\x02\x03\x84\x05\x06\x07text\0xyz"sv);
    BodyReader in{body};
    EXPECT_EQ(in.u8(), 1);
    EXPECT_EQ(in.u16(), 0x0203);
    EXPECT_EQ(in.u32(), 0x84050607);
    EXPECT_EQ(in.cstr(), "text");
    EXPECT_EQ(as_text(in.rest()), "xyz");
    EXPECT_EQ(as_text(in.bytes(3)), "xyz");
    EXPECT_FALSE(in.finish());
}

TEST(BodyReader, StaysFailedAfterAReadPastTheEnd) {
    const Buffer body = buffer_of("\x01\x02\x03"sv);
    BodyReader in{body};
    EXPECT_EQ(in.u32(), 0U);
    EXPECT_TRUE(in.failed());
    EXPECT_EQ(in.u8(), 0);
    EXPECT_EQ(in.u16(), 0);
    EXPECT_TRUE(in.cstr().empty());
    EXPECT_TRUE(in.bytes(0).empty());
    EXPECT_TRUE(in.rest().empty());
    EXPECT_EQ(in.finish(), ProxyErrc::truncated);
}

TEST(BodyReader, FailsOnTextWithoutAnEnd) {
    const Buffer body = buffer_of("text"sv);
    BodyReader in{body};
    EXPECT_TRUE(in.cstr().empty());
    EXPECT_EQ(in.finish(), ProxyErrc::truncated);
}

TEST(BodyReader, FailsOnACountFarBeyondTheBody) {
    const Buffer body = buffer_of("text"sv);
    BodyReader in{body};
    EXPECT_TRUE(in.bytes(SIZE_MAX).empty());
    EXPECT_EQ(in.finish(), ProxyErrc::truncated);
}

TEST(BodyReader, SaysWhenBytesAreLeft) {
    const Buffer body = buffer_of("\x01\x02"sv);
    BodyReader in{body};
    in.u8();
    EXPECT_EQ(in.finish(), ProxyErrc::trailing_bytes);
}

TEST(BodyReader, ReadsNothingFromNothing) {
    BodyReader in{Bytes{}};
    EXPECT_FALSE(in.finish());
    EXPECT_EQ(in.u8(), 0);
    EXPECT_EQ(in.finish(), ProxyErrc::truncated);
}

TEST(BodyWriter, WritesTypeLengthAndFields) {
    const std::string text = encoded([](Buffer& out) {
        BodyWriter{out, 'x'}.u8(1).u16(0x0203).u32(0x84050607).cstr("text").bytes(as_bytes("yz"));
    });
    EXPECT_EQ(text, "x\0\0\0\x12\x01\x02\x03\x84\x05\x06\x07text\0yz"sv);
}

TEST(BodyWriter, LeavesOutTheTypeOfStartupPackets) {
    EXPECT_EQ(encoded([](Buffer& out) { BodyWriter{out, 0}.u8(7); }), "\0\0\0\5\7"sv);
}

TEST(BodyWriter, EndsOnlyOnce) {
    Buffer out;
    {
        BodyWriter first{out, 'a'};
        first.end();
        out.push_back('!');  // not part of the message any more
    }
    EXPECT_EQ(text_of(out), "a\0\0\0\4!"sv);
}

TEST(BodyWriter, CutsTextAtANulInsideSoThatNoFieldShifts) {
    EXPECT_EQ(encoded([](Buffer& out) {
                  BodyWriter{out, 'x'}.cstr("a\0b"sv).u8(1);
              }),
              "x\0\0\0\7a\0\1"sv);
}

}  // namespace
}  // namespace pgsteer::proxy::wire
