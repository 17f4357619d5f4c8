#include "proxy/auth/saslprep.hpp"

#include <gtest/gtest.h>

namespace pgsteer::proxy::auth {
namespace {

struct Case {
    const char* why;
    std::string given, expected;
};

class Saslprep : public testing::TestWithParam<Case> {};

TEST_P(Saslprep, GivesWhatScramHashes) {
    EXPECT_EQ(saslprep(GetParam().given), GetParam().expected) << GetParam().why;
}

Case unchanged(const char* why, std::string text) { return {why, text, text}; }

INSTANTIATE_TEST_SUITE_P(
    Table,
    Saslprep,
    testing::Values(unchanged("empty", ""),
                    unchanged("ASCII", "p4ss w0rd!"),
                    unchanged("ASCII with a control character", "a\tb"),
                    unchanged("letters outside ASCII", "gr\xC3\xBC\xC3\x9F \xD0\xBF\xE2\x82\xAC"),
                    unchanged("four bytes", "\xF0\x9F\x90\x98"),
                    Case{"no-break space", "a\xC2\xA0z", "a z"},
                    Case{"ideographic space", "a\xE3\x80\x80z", "a z"},
                    Case{"zero width space is a space to PostgreSQL", "a\xE2\x80\x8Bz", "a z"},
                    Case{"soft hyphen", "I\xC2\xADX", "IX"},
                    Case{"byte order mark", "\xEF\xBB\xBFpw", "pw"},
                    Case{"decomposed", "e\xCC\x81", "\xC3\xA9"},
                    Case{"compatibility character", "x\xC2\xB2", "x2"},
                    Case{"one direction", "\xD7\x90\xC2\xA0\xD7\x90", "\xD7\x90 \xD7\x90"},
                    unchanged("mixed directions", "\xD7\x90\xC2\xA0z\xD7\x90"),
                    unchanged("right to left, but not at the end", "\xD7\x90\xC2\xA0\x31"),
                    unchanged("unassigned in Unicode 3.2", "\xF0\x9F\x90\x98\xC2\xA0"),
                    Case{"variation selector", "\xE2\x9D\xA4\xEF\xB8\x8F", "\xE2\x9D\xA4"},
                    unchanged("nothing left", "\xC2\xAD"),
                    unchanged("control character beside a soft hyphen", "a\xC2\xAD\tb"),
                    unchanged("private use beside a soft hyphen", "\xC2\xAD\xEE\x80\x80"),
                    unchanged("noncharacter beside a soft hyphen", "\xC2\xAD\xF0\x9F\xBF\xBE"),
                    unchanged("not UTF-8: stray continuation", "a\x80\xC2\xA0"),
                    unchanged("not UTF-8: cut off", "\xC2\xA0\xE2\x82"),
                    unchanged("not UTF-8: overlong", "\xC2\xA0\xC0\xAF"),
                    unchanged("not UTF-8: overlong, three bytes", "\xC2\xA0\xE0\x80\xAF"),
                    unchanged("not UTF-8: a surrogate", "\xC2\xA0\xED\xA0\x80"),
                    unchanged("not UTF-8: beyond U+10FFFF", "\xC2\xA0\xF4\x90\x80\x80")));

}  // namespace
}  // namespace pgsteer::proxy::auth
