#include "proxy/wire/startup.hpp"

#include "proxy/wire/message_types.hpp"
#include "tests/unit/protocol/wire_bytes.hpp"

namespace pgsteer::proxy::wire {
namespace {

constexpr auto kStartup =
    "\0\0\0\x1D"
    "\0\3\0\0user\0bob\0database\0d\0\0"sv;
constexpr auto kSsl = "\0\0\0\x08\x04\xD2\x16\x2F"sv;
constexpr auto kGss = "\0\0\0\x08\x04\xD2\x16\x30"sv;
constexpr auto kCancel = "\0\0\0\x10\x04\xD2\x16\x2E\0\0\1\2\xA1\xB2\xC3\xD4"sv;

// A packet of this code and these bytes behind it, with a true length word.
std::string packet(std::uint32_t code, std::string_view rest) {
    std::string text;
    for (const std::uint32_t word : {static_cast<std::uint32_t>(8 + rest.size()), code})
        for (int shift = 24; shift >= 0; shift -= 8) text += static_cast<char>(word >> shift);
    return text.append(rest);
}

TEST(Startup, DecodesParametersInTheirOrder) {
    const auto decoded = decode_startup(as_bytes(kStartup));
    ASSERT_TRUE(decoded);
    const StartupMessage expected{.protocol = kProtocol30,
                                  .parameters = {{"user", "bob"}, {"database", "d"}}};
    EXPECT_EQ(*decoded, StartupPacket{expected});
}

TEST(Startup, EncodesTheSameBytes) {
    const StartupMessage message{.protocol = kProtocol30,
                                 .parameters = {{"user", "bob"}, {"database", "d"}}};
    EXPECT_EQ(encoded([&](Buffer& out) { encode(out, message); }), kStartup);
}

TEST(Startup, AcceptsNoParametersAndEmptyValues) {
    const auto none = decode_startup(as_bytes(packet(kProtocol30, "\0"sv)));
    ASSERT_TRUE(none);
    EXPECT_TRUE(std::get<StartupMessage>(*none).parameters.empty());
    const auto empty = decode_startup(as_bytes(packet(kProtocol30, "options\0\0\0"sv)));
    ASSERT_TRUE(empty);
    EXPECT_EQ(std::get<StartupMessage>(*empty).parameters, (Parameters{{"options", ""}}));
}

TEST(Startup, LooksUpTheLastOfSeveralValues) {
    const StartupMessage message{.protocol = kProtocol30,
                                 .parameters = {{"user", "a"}, {"x", "y"}, {"user", "b"}}};
    EXPECT_EQ(message.parameter("user"), "b");
    EXPECT_EQ(message.parameter("absent"), "");
}

TEST(Startup, DecodesTheRequestsWithoutParameters) {
    EXPECT_EQ(*decode_startup(as_bytes(kSsl)), StartupPacket{SslRequest{}});
    EXPECT_EQ(*decode_startup(as_bytes(kGss)), StartupPacket{GssEncRequest{}});
    const CancelRequest cancel{.process_id = 0x102, .secret_key = 0xA1B2C3D4};
    EXPECT_EQ(*decode_startup(as_bytes(kCancel)), StartupPacket{cancel});
    EXPECT_EQ(encoded([&](Buffer& out) { encode(out, cancel); }), kCancel);
}

TEST(Startup, RejectsEveryPrefix) {
    for (const auto whole : {kStartup, kSsl, kGss, kCancel})
        expect_every_prefix_fails(decode_startup, whole);
}

TEST(Startup, RejectsEveryPrefixThatClaimsToBeWhole) {
    const auto rest = kStartup.substr(8);
    for (std::size_t size = 0; size < rest.size(); ++size)
        EXPECT_EQ(error_of(decode_startup, packet(kProtocol30, rest.substr(0, size))),
                  ProxyErrc::invalid_startup)
            << size;
}

struct BadPacket {
    const char* why;
    std::uint32_t code;
    std::string_view rest;
    ProxyErrc error;
};

class BadStartup : public testing::TestWithParam<BadPacket> {};

TEST_P(BadStartup, IsRejected) {
    const BadPacket& bad = GetParam();
    EXPECT_EQ(error_of(decode_startup, packet(bad.code, bad.rest)), bad.error) << bad.why;
}

using E = ProxyErrc;
INSTANTIATE_TEST_SUITE_P(
    Table,
    BadStartup,
    testing::Values(BadPacket{"no terminator", kProtocol30, "user\0bob\0"sv, E::invalid_startup},
                    BadPacket{"nothing at all", kProtocol30, ""sv, E::invalid_startup},
                    BadPacket{"name without value", kProtocol30, "user\0\0"sv, E::invalid_startup},
                    BadPacket{"one byte, no NUL", kProtocol30, "u"sv, E::invalid_startup},
                    BadPacket{"value without end", kProtocol30, "user\0bob"sv, E::invalid_startup},
                    BadPacket{"bytes behind", kProtocol30, "user\0bob\0\0x"sv, E::invalid_startup},
                    BadPacket{"second end", kProtocol30, "user\0bob\0\0\0"sv, E::invalid_startup},
                    BadPacket{"protocol 2.0", 0x20000, "\0"sv, E::unsupported_protocol},
                    BadPacket{"protocol 4.0", 0x40000, "\0"sv, E::unsupported_protocol},
                    BadPacket{"protocol 0", 0, "\0"sv, E::unsupported_protocol},
                    BadPacket{"HTTP", 0x47455420, "/ HTTP"sv, E::unsupported_protocol},
                    BadPacket{"long SSLRequest", kSslRequestCode, "x"sv, E::invalid_startup},
                    BadPacket{"long GSSENC", kGssEncRequestCode, "x"sv, E::invalid_startup},
                    BadPacket{"short cancel", kCancelRequestCode, "1234567"sv, E::invalid_startup},
                    BadPacket{"long cancel", kCancelRequestCode, "123456789"sv, E::invalid_startup},
                    BadPacket{"empty cancel", kCancelRequestCode, ""sv, E::invalid_startup}));

TEST(Startup, KeepsTheMinorVersionForNegotiation) {
    const auto decoded = decode_startup(as_bytes(packet(kProtocol32, "\0"sv)));
    ASSERT_TRUE(decoded);
    EXPECT_EQ(std::get<StartupMessage>(*decoded).protocol, kProtocol32);
}

TEST(StartupLength, IsNotKnownBeforeItsFourthByte) {
    for (std::size_t size = 0; size < 4; ++size) {
        const Buffer in = buffer_of(kStartup.substr(0, size));
        const auto bytes = startup_packet_bytes(in);
        ASSERT_TRUE(bytes) << size;
        EXPECT_FALSE(bytes->has_value()) << size;
    }
    for (std::size_t size = 4; size < kStartup.size(); ++size)
        EXPECT_EQ(**startup_packet_bytes(as_bytes(kStartup.substr(0, size))), kStartup.size());
}

TEST(StartupLength, HasBounds) {
    EXPECT_EQ(error_of(startup_packet_bytes, "\0\0\0\0"sv), ProxyErrc::invalid_startup);
    EXPECT_EQ(error_of(startup_packet_bytes, "\0\0\0\7"sv), ProxyErrc::invalid_startup);
    EXPECT_FALSE(error_of(startup_packet_bytes, "\0\0\0\x08"sv));
    EXPECT_FALSE(error_of(startup_packet_bytes, "\0\0\x27\x14"sv));  // 4 + 10,000
    EXPECT_EQ(error_of(startup_packet_bytes, "\0\0\x27\x15"sv), ProxyErrc::invalid_startup);
    EXPECT_EQ(error_of(startup_packet_bytes, "\xFF\xFF\xFF\xFF"sv), ProxyErrc::invalid_startup);
    EXPECT_EQ(error_of(startup_packet_bytes, "GET "sv), ProxyErrc::invalid_startup);
}

}  // namespace
}  // namespace pgsteer::proxy::wire
