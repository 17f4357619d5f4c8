#include "conf/units.hpp"

#include <gtest/gtest.h>

#include <string>

namespace pgsteer::conf {
namespace {

using namespace std::chrono_literals;
using std::chrono::milliseconds;

struct DurationCase {
    std::string text;
    milliseconds expected;
};
void PrintTo(const DurationCase& c, std::ostream* out) { *out << c.text; }
class Duration : public testing::TestWithParam<DurationCase> {};

TEST_P(Duration, IsAWholeNumberWithAUnit) {
    const auto parsed = parse_duration(GetParam().text);
    ASSERT_TRUE(parsed.value) << parsed.error;
    EXPECT_EQ(*parsed.value, GetParam().expected);
    EXPECT_EQ(parsed.error, "");
}

INSTANTIATE_TEST_SUITE_P(Units,
                         Duration,
                         testing::Values(DurationCase{"500ms", 500ms},
                                         DurationCase{"15s", 15s},
                                         DurationCase{"15 s", 15s},
                                         DurationCase{"5m", 5min},
                                         DurationCase{"1h", 1h},
                                         DurationCase{"2d", 48h},
                                         DurationCase{"0", 0ms},
                                         DurationCase{"0s", 0ms},
                                         DurationCase{"007s", 7s}));

struct RefusedCase {
    std::string text;
    std::string error;
};
void PrintTo(const RefusedCase& c, std::ostream* out) { *out << c.text; }
class RefusedDuration : public testing::TestWithParam<RefusedCase> {};

TEST_P(RefusedDuration, SaysWhatToWriteInstead) {
    const auto parsed = parse_duration(GetParam().text);
    EXPECT_FALSE(parsed.value);
    EXPECT_EQ(parsed.error, GetParam().error);
}

INSTANTIATE_TEST_SUITE_P(
    Units,
    RefusedDuration,
    testing::Values(
        RefusedCase{"15", "15 needs a unit (ms, s, m, h or d), as in 15s"},
        RefusedCase{"99999999999999999999",
                    "99999999999999999999 needs a unit (ms, s, m, h or d), as in "
                    "99999999999999999999s"},
        RefusedCase{"15sec", "'sec' is not a unit: use ms, s, m, h or d"},
        RefusedCase{"15S", "'S' is not a unit: use ms, s, m, h or d"},
        RefusedCase{"1h30m", "'h30m' is not a unit: use ms, s, m, h or d"},
        RefusedCase{"1.5s", "'1.5s' is not a duration: use a whole number with ms, s, m, h or d"},
        RefusedCase{"-1s", "'-1s' is not a duration: use a whole number with ms, s, m, h or d"},
        RefusedCase{"", "'' is not a duration: use a whole number with ms, s, m, h or d"},
        RefusedCase{"soon", "'soon' is not a duration: use a whole number with ms, s, m, h or d"},
        RefusedCase{"99999999999999999999s", "99999999999999999999s is too large"},
        RefusedCase{"9223372036854775807h", "9223372036854775807h is too large"}));

struct SizeCase {
    std::string text;
    std::size_t expected;
};
void PrintTo(const SizeCase& c, std::ostream* out) { *out << c.text; }
class Size : public testing::TestWithParam<SizeCase> {};

TEST_P(Size, IsAWholeNumberWithABinaryUnit) {
    const auto parsed = parse_size(GetParam().text);
    ASSERT_TRUE(parsed.value) << parsed.error;
    EXPECT_EQ(*parsed.value, GetParam().expected);
}

INSTANTIATE_TEST_SUITE_P(Units,
                         Size,
                         testing::Values(SizeCase{"64KiB", 65'536},
                                         SizeCase{"1MiB", 1'048'576},
                                         SizeCase{"2GiB", 2'147'483'648},
                                         SizeCase{"100B", 100},
                                         SizeCase{"0", 0}));

class RefusedSize : public testing::TestWithParam<RefusedCase> {};

TEST_P(RefusedSize, SaysWhatToWriteInstead) {
    const auto parsed = parse_size(GetParam().text);
    EXPECT_FALSE(parsed.value);
    EXPECT_EQ(parsed.error, GetParam().error);
}

INSTANTIATE_TEST_SUITE_P(
    Units,
    RefusedSize,
    testing::Values(RefusedCase{"65536", "65536 needs a unit (B, KiB, MiB or GiB), as in 65536KiB"},
                    RefusedCase{"64kB", "'kB' is not a unit: use B, KiB, MiB or GiB"},
                    RefusedCase{"64K", "'K' is not a unit: use B, KiB, MiB or GiB"},
                    RefusedCase{"big",
                                "'big' is not a size: use a whole number with B, KiB, MiB or GiB"},
                    RefusedCase{"9999999999999GiB", "9999999999999GiB is too large"}));

TEST(Integer, TakesSignsAndRefusesAnythingElse) {
    EXPECT_EQ(parse_integer("5432").value, 5432);
    EXPECT_EQ(parse_integer("-3").value, -3);
    EXPECT_EQ(parse_integer("+3").value, 3);
    for (const std::string text : {"", "+", "-", "+-3", "3x", " 3", "3 ", "0x10", "3.0", "1e3"}) {
        EXPECT_FALSE(parse_integer(text).value) << text;
        EXPECT_EQ(parse_integer(text).error, "'" + text + "' is not a whole number");
    }
    EXPECT_EQ(parse_integer("9223372036854775808").error, "9223372036854775808 is too large");
}

TEST(Decimal, TakesFractionsAndRefusesInfinity) {
    EXPECT_EQ(parse_decimal("4").value, 4.0);
    EXPECT_EQ(parse_decimal("1.5").value, 1.5);
    for (const std::string text : {"", "inf", "nan", "1e999", "4x", "four"})
        EXPECT_EQ(parse_decimal(text).error, "'" + text + "' is not a number");
}

TEST(Boolean, TakesTheWordsOfYamlAndPostgres) {
    for (const std::string yes : {"true", "on", "yes"}) EXPECT_EQ(parse_boolean(yes).value, true);
    for (const std::string no : {"false", "off", "no"}) EXPECT_EQ(parse_boolean(no).value, false);
    EXPECT_EQ(parse_boolean("1").error, "'1' is not true or false");
}

TEST(Formatting, TakesTheLargestUnitWithoutAFraction) {
    EXPECT_EQ(format_duration(0ms), "0");
    EXPECT_EQ(format_duration(1ms), "1ms");
    EXPECT_EQ(format_duration(90s), "90s");
    EXPECT_EQ(format_duration(5min), "5m");
    EXPECT_EQ(format_duration(720h), "30d");
    EXPECT_EQ(format_size(65'536), "64KiB");
    EXPECT_EQ(format_size(65'537), "65537B");
    EXPECT_EQ(format_size(1'048'576), "1MiB");
}

}  // namespace
}  // namespace pgsteer::conf
