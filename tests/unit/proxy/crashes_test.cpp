#include "proxy/shared/crashes.hpp"

#include <gtest/gtest.h>

namespace pgsteer::proxy {
namespace {

using namespace std::chrono_literals;
using routing::StatementKey;

constexpr routing::TimePoint kStart{std::chrono::hours{1}};
constexpr StatementKey kStatement{1, 2};
constexpr StatementKey kOther{1, 3};

TEST(Crashes, AreKnownForTheServerThatHadOne) {
    Crashes crashes{2};
    EXPECT_FALSE(crashes.has_crashed_since({0}, kStart));
    crashes.noticed({0}, kStart);
    EXPECT_TRUE(crashes.has_crashed_since({0}, kStart));
    EXPECT_FALSE(crashes.has_crashed_since({0}, kStart + 1ms));
    EXPECT_FALSE(crashes.has_crashed_since({1}, kStart));
}

TEST(Crashes, RefuseAStatementAfterItsSecondForAMinute) {
    Crashes crashes{1};
    EXPECT_EQ(crashes.crashed(kStatement, kStart), 1);
    EXPECT_FALSE(crashes.is_refused(kStatement, kStart));
    EXPECT_EQ(crashes.crashed(kStatement, kStart + 59s), 2);
    EXPECT_TRUE(crashes.is_refused(kStatement, kStart + 59s));
    EXPECT_FALSE(crashes.is_refused(kOther, kStart + 59s));
    EXPECT_TRUE(crashes.is_refused(kStatement, kStart + 118s));
    EXPECT_FALSE(crashes.is_refused(kStatement, kStart + 119s));
}

TEST(Crashes, ForgetOneThatIsAMinuteOld) {
    Crashes crashes{1};
    crashes.crashed(kStatement, kStart);
    EXPECT_EQ(crashes.crashed(kStatement, kStart + 60s), 1);
    EXPECT_FALSE(crashes.is_refused(kStatement, kStart + 60s));
}

TEST(Crashes, OfTextsThatHaveNoKeyAreNotThoseOfOneStatement) {
    Crashes crashes{1};
    for (int round = 0; round < 3; ++round) EXPECT_EQ(crashes.crashed({}, kStart), 1);
    EXPECT_FALSE(crashes.is_refused({}, kStart));
}

TEST(Crashes, RememberTheLatestStatementsAndNoMore) {
    Crashes crashes{1};
    crashes.crashed(kStatement, kStart);
    for (std::uint64_t i = 10; i < 1000; ++i) crashes.crashed(StatementKey{i, i}, kStart);
    EXPECT_EQ(crashes.crashed(kStatement, kStart), 1) << "the oldest was forgotten";
    EXPECT_EQ(crashes.crashed(StatementKey{999, 999}, kStart), 2);
}

}  // namespace
}  // namespace pgsteer::proxy
