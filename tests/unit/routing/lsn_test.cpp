#include "routing/lsn.hpp"

#include <gtest/gtest.h>

#include <random>
#include <string>

namespace pgsteer::routing {
namespace {

TEST(Lsn, ReadsBothHalves) {
    EXPECT_EQ(parse_lsn("16/B374D848"), Lsn{0x16'B374'D848});
    EXPECT_EQ(parse_lsn("0/0"), Lsn{0});
    EXPECT_EQ(parse_lsn("ffffffff/FFFFFFFF"), Lsn{0xFFFF'FFFF'FFFF'FFFF});
    EXPECT_EQ(parse_lsn("1/2"), Lsn{0x1'0000'0002});
}

TEST(Lsn, RejectsEverythingElse) {
    for (const char* text : {"", "/", "0", "0/", "/0", "0/0/0", "123456789/0", "0/123456789",
                             "0x1/0", "-1/0", "+1/0", " 1/0", "1/0 ", "1 /0", "g/0", "0/g", "1\\0"})
        EXPECT_EQ(parse_lsn(text), std::nullopt) << '"' << text << '"';
    EXPECT_EQ(parse_lsn(std::string_view{"0/0\0", 4}), std::nullopt);
}

TEST(Lsn, PrintsAsPostgresDoes) {
    EXPECT_EQ(to_string(Lsn{0x16'B374'D848}), "16/B374D848");
    EXPECT_EQ(to_string(Lsn{0x1'0000'002A}), "1/2A");
    EXPECT_EQ(to_string(Lsn{0}), "0/0");
}

TEST(Lsn, WhatIsPrintedReadsBack) {
    std::mt19937_64 random{7};
    for (int i = 0; i < 1000; ++i) {
        const Lsn lsn{random() >> (random() % 64)};
        EXPECT_EQ(parse_lsn(to_string(lsn)), lsn);
    }
}

constexpr std::uint64_t kSegment = 16 * 1024 * 1024;

TEST(BeforePageHeader, StepsBackOverAShortHeader) {
    EXPECT_EQ(before_page_header(Lsn{kSegment + 8192 + 24}), Lsn{kSegment + 8192});
    EXPECT_EQ(before_page_header(Lsn{2 * kSegment - 8192 + 24}), Lsn{2 * kSegment - 8192});
}

TEST(BeforePageHeader, StepsBackOverTheLongHeaderOfASegment) {
    EXPECT_EQ(before_page_header(Lsn{kSegment + 40}), Lsn{kSegment});
}

TEST(BeforePageHeader, LeavesPositionsWithARecordBeforeThem) {
    for (const std::uint64_t bytes :
         {kSegment + 24,         // inside the long header
          kSegment + 48,         // a record behind the long header
          kSegment + 8192 + 40,  // 16 bytes of a record
          kSegment + 8192 + 32, kSegment + 8192, kSegment + 8192 + 16, kSegment, std::uint64_t{0}})
        EXPECT_EQ(before_page_header(Lsn{bytes}), Lsn{bytes}) << bytes;
}

TEST(BeforePageHeader, KnowsOtherSegmentSizes) {
    const std::uint64_t small = 1024 * 1024;
    EXPECT_EQ(before_page_header(Lsn{17 * small + 40}, small), Lsn{17 * small});
    EXPECT_EQ(before_page_header(Lsn{17 * small + 40}), Lsn{17 * small + 40});
}

}  // namespace
}  // namespace pgsteer::routing
