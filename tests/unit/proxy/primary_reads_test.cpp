#include "proxy/shared/primary_reads.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <utility>

namespace pgsteer::proxy {
namespace {

TEST(PrimaryRead, IsCountedAsLongAsItLives) {
    std::atomic<int> count{0};
    {
        PrimaryRead read;
        EXPECT_FALSE(read);
        EXPECT_TRUE(read.take(count, 2));
        EXPECT_TRUE(read);
        EXPECT_EQ(count, 1);
    }
    EXPECT_EQ(count, 0);
}

TEST(PrimaryRead, ThereAreNoMoreThanTheLimit) {
    std::atomic<int> count{0};
    PrimaryRead first, second;
    EXPECT_TRUE(first.take(count, 1));
    EXPECT_FALSE(second.take(count, 1));
    EXPECT_FALSE(second);
    EXPECT_EQ(count, 1) << "one that is refused counts for nothing";
    first = PrimaryRead{};
    EXPECT_TRUE(second.take(count, 1));
}

TEST(PrimaryRead, IsOneHoweverOftenItIsTaken) {
    std::atomic<int> count{0};
    PrimaryRead read;
    EXPECT_TRUE(read.take(count, 1));
    EXPECT_TRUE(read.take(count, 1));
    EXPECT_EQ(count, 1);
}

TEST(PrimaryRead, MovesWithItsRight) {
    std::atomic<int> count{0};
    PrimaryRead read;
    ASSERT_TRUE(read.take(count, 1));
    {
        const PrimaryRead moved{std::move(read)};
        EXPECT_TRUE(moved);
        EXPECT_FALSE(read);  // NOLINT(bugprone-use-after-move)
        EXPECT_EQ(count, 1);
    }
    EXPECT_EQ(count, 0);
}

}  // namespace
}  // namespace pgsteer::proxy
