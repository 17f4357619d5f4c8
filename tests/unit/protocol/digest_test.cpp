#include "proxy/auth/digest.hpp"

#include "proxy/auth/md5.hpp"

#include <gtest/gtest.h>

#include <array>
#include <utility>

namespace pgsteer::proxy::auth {
namespace {

using namespace std::string_view_literals;

std::string hex(const Digest& digest) {
    std::string text;
    for (const std::uint8_t byte : digest) {
        text += "0123456789abcdef"[byte >> 4];
        text += "0123456789abcdef"[byte & 15];
    }
    return text;
}

TEST(Digest, MatchesThePublishedExamples) {
    EXPECT_EQ(hex(sha256("abc")),
              "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    // RFC 4231, test case 2.
    EXPECT_EQ(hex(hmac_sha256("Jefe", "what do ya want for nothing?")),
              "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    // RFC 7914, section 11: the first 32 bytes.
    EXPECT_EQ(hex(pbkdf2_sha256("passwd", "salt", 1)),
              "55ac046e56e3089fec1691c22544b605f94185216dde0465e68b9d57c20dacbc");
    EXPECT_EQ(md5_hex("abc"), "900150983cd24fb0d6963f7d28e17f72");
}

TEST(Digest, AcceptsNothingAsInput) {
    EXPECT_EQ(hex(sha256("")), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    EXPECT_EQ(md5_hex(""), "d41d8cd98f00b204e9800998ecf8427e");
    EXPECT_EQ(hmac_sha256("", ""), hmac_sha256({}, {}));
}

class Base64 : public testing::TestWithParam<std::pair<std::string_view, std::string_view>> {};

TEST_P(Base64, GoesBothWays) {
    const auto& [bytes, text] = GetParam();
    EXPECT_EQ(base64_encode(bytes), text);
    EXPECT_EQ(base64_decode(text), bytes);
}

INSTANTIATE_TEST_SUITE_P(Table,
                         Base64,
                         testing::Values(std::pair{""sv, ""sv},
                                         std::pair{"f"sv, "Zg=="sv},
                                         std::pair{"fo"sv, "Zm8="sv},
                                         std::pair{"foo"sv, "Zm9v"sv},
                                         std::pair{"foob"sv, "Zm9vYg=="sv},
                                         std::pair{"foobar"sv, "Zm9vYmFy"sv},
                                         std::pair{"\0\0"sv, "AAA="sv},
                                         std::pair{"\xFB\xFF\xBF"sv, "+/+/"sv}));

class BadBase64 : public testing::TestWithParam<std::string_view> {};

TEST_P(BadBase64, IsRejected) { EXPECT_EQ(base64_decode(GetParam()), std::nullopt); }

INSTANTIATE_TEST_SUITE_P(Table,
                         BadBase64,
                         testing::Values("Z"sv,
                                         "Zg"sv,
                                         "Zg="sv,
                                         "Zm9"sv,
                                         "Z==="sv,
                                         "===="sv,
                                         "Zg==Zg=="sv,
                                         "Zm=v"sv,
                                         "Zm9v\n"sv,
                                         "Zm9v Zg="sv,
                                         " m9v"sv,
                                         "Zh=="sv,  // bits set that belong to no byte
                                         "Zm9="sv,
                                         "Zm-_"sv,
                                         "Zm9\0"sv,
                                         "\xC3\xA4zz"sv));

TEST(RandomBytes, DifferEachTime) {
    EXPECT_EQ(random_bytes(18).size(), 18U);
    EXPECT_NE(random_bytes(18), random_bytes(18));
}

TEST(EqualInConstantTime, ComparesAllBytesAndTheLength) {
    EXPECT_TRUE(equal_in_constant_time("secret", "secret"));
    EXPECT_FALSE(equal_in_constant_time("secret", "secreT"));
    EXPECT_FALSE(equal_in_constant_time("secret", "Secret"));
    EXPECT_FALSE(equal_in_constant_time("secret", "secre"));
    EXPECT_TRUE(equal_in_constant_time("", ""));
}

// The expected value comes from Python's hashlib and the formula of PostgreSQL's documentation.
TEST(Md5Response, IsWhatPostgresExpects) {
    const std::array<std::uint8_t, 4> salt{0x01, 0x00, 0xFE, 0x7F};
    EXPECT_EQ(md5_response("alice", "secret", salt), "md5a6c5c0a1520a8909a25569182327ae45");
    EXPECT_NE(md5_response("alicf", "secret", salt), md5_response("alice", "secret", salt));
}

}  // namespace
}  // namespace pgsteer::proxy::auth
