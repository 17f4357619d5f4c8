#include "proxy/auth/unicode.hpp"

#include <gtest/gtest.h>

namespace pgsteer::proxy::auth {
namespace {

struct Case {
    const char* why;
    std::u32string given, expected;
};

class Nfkc : public testing::TestWithParam<Case> {};

TEST_P(Nfkc, Normalizes) {
    EXPECT_EQ(nfkc(GetParam().given), GetParam().expected) << GetParam().why;
    EXPECT_EQ(nfkc(GetParam().expected), GetParam().expected) << "again: " << GetParam().why;
}

INSTANTIATE_TEST_SUITE_P(
    Table,
    Nfkc,
    testing::Values(Case{"nothing", U"", U""},
                    Case{"composed already", U"\u00E9", U"\u00E9"},
                    Case{"base and accent", U"e\u0301", U"\u00E9"},
                    Case{"two accents, given in the wrong order", U"s\u0307\u0323", U"\u1E69"},
                    Case{"a long s as well (UAX #15)", U"\u1E9B\u0323", U"\u1E69"},
                    Case{"singleton", U"\u212B", U"\u00C5"},
                    Case{"ligature", U"\uFB01", U"fi"},
                    Case{"superscript", U"2\u2075", U"25"},
                    Case{"micro sign", U"\u00B5", U"\u03BC"},
                    Case{"full width", U"\uFF21\uFF3A", U"AZ"},
                    Case{"half width kana with its mark", U"\uFF76\uFF9E", U"\u30AC"},
                    Case{"bold letters, a run of the table", U"\U0001D400\U0001D419", U"AZ"},
                    Case{"Hangul from its parts", U"\u1112\u1161\u11AB", U"\uD55C"},
                    Case{"Hangul, tail added", U"\uD558\u11AB", U"\uD55C"},
                    Case{"Hangul with a tail takes no other", U"\uD55C\u11AB", U"\uD55C\u11AB"},
                    Case{"excluded from composition", U"\u0958", U"\u0915\u093C"},
                    Case{"a starter between", U"ex\u0301", U"ex\u0301"},
                    Case{"same class blocks", U"a\u0327\u0317\u0316", U"a\u0327\u0317\u0316"},
                    Case{"accent alone", U"\u0301", U"\u0301"},
                    Case{"accent split in two", U"\u0344", U"\u0308\u0301"}));

TEST(Utf8, GoesBothWaysAtEveryBoundary) {
    for (const char32_t c : {U'\0', U'\x7F', U'\x80', U'\u07FF', U'\u0800', U'\uD7FF', U'\uE000',
                             U'\uFFFF', U'\U00010000', U'\U0010FFFF'}) {
        const std::u32string text{U'a', c, U'z'};
        EXPECT_EQ(decode_utf8(encode_utf8(text)), text) << static_cast<std::uint32_t>(c);
    }
    EXPECT_EQ(encode_utf8(U"\u20AC"), "\xE2\x82\xAC");
}

TEST(Utf8, RejectsWhatIsNotAnEncoding) {
    for (const char* text :
         {"\x80", "\xC0\xAF", "\xC1\xBF", "\xE0\x9F\xBF", "\xED\xA0\x80", "\xF0\x8F\xBF\xBF",
          "\xF4\x90\x80\x80", "\xF5\x80\x80\x80", "\xFF", "\xE2\x82", "\xE2\x28\xA1"})
        EXPECT_FALSE(decode_utf8(text)) << text;
}

TEST(Unicode, TablesOfStringprepHoldTheirEnds) {
    EXPECT_TRUE(is_unassigned(0x221));  // the first entry of A.1, and its neighbours
    EXPECT_FALSE(is_unassigned(0x220));
    EXPECT_FALSE(is_unassigned(0x222));
    EXPECT_TRUE(is_unassigned(0x1F418));
    EXPECT_TRUE(is_unassigned(0xEFFFD));
    EXPECT_TRUE(is_right_to_left(0x5D0));
    EXPECT_FALSE(is_right_to_left('a'));
    EXPECT_TRUE(is_left_to_right('a'));
    EXPECT_FALSE(is_left_to_right('1'));
    EXPECT_FALSE(is_left_to_right(0x5D0));
}

}  // namespace
}  // namespace pgsteer::proxy::auth
