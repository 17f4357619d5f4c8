#include "proxy/shared/learnt_positions.hpp"

#include "proxy/shared/verification.hpp"

#include <gtest/gtest.h>

#include <thread>
#include <vector>

namespace pgsteer::proxy {
namespace {

using namespace std::chrono_literals;
using routing::Lsn;
using routing::ServerId;

constexpr ServerId kFirst{0};
constexpr ServerId kSecond{1};

TEST(LearntPositions, OnlyGrowWithinARun) {
    LearntPositions positions{2};
    EXPECT_EQ(positions.of(kFirst, 1), Lsn{0});
    positions.learn(kFirst, 1, Lsn{100});
    positions.learn(kFirst, 1, Lsn{90});
    EXPECT_EQ(positions.of(kFirst, 1), Lsn{100});
    EXPECT_EQ(positions.of(kSecond, 1), Lsn{0});
}

TEST(LearntPositions, OfAnotherRunCountForNothing) {
    LearntPositions positions{1};
    positions.learn(kFirst, 1, Lsn{100});
    EXPECT_EQ(positions.of(kFirst, 2), Lsn{0});
    positions.learn(kFirst, 2, Lsn{50});
    EXPECT_EQ(positions.of(kFirst, 2), Lsn{50});
    EXPECT_EQ(positions.of(kFirst, 1), Lsn{0});
}

TEST(LearntPositions, BeyondTheirBitsAreNotLearnt) {
    LearntPositions positions{1};
    positions.learn(kFirst, 1, Lsn{(std::uint64_t{1} << 52) - 1});
    EXPECT_EQ(positions.of(kFirst, 1), Lsn{(std::uint64_t{1} << 52) - 1});
    positions.learn(kFirst, 1, Lsn{std::uint64_t{1} << 52});
    EXPECT_EQ(positions.of(kFirst, 1), Lsn{(std::uint64_t{1} << 52) - 1});
}

TEST(LearntPositions, ManyThreadsLeaveTheLargest) {
    LearntPositions positions{1};
    std::vector<std::thread> threads;
    for (std::uint64_t thread = 0; thread < 4; ++thread)
        threads.emplace_back([&, thread] {
            for (std::uint64_t i = 0; i < 20'000; ++i)
                positions.learn(kFirst, 7, Lsn{i * 4 + thread});
        });
    for (auto& thread : threads) thread.join();
    EXPECT_EQ(positions.of(kFirst, 7), Lsn{19'999 * 4 + 3});
}

TEST(Verification, OutlastsABurstOfMissesAndThenAsksLessAndLess) {
    Verification verification;
    const auto start = routing::TimePoint{} + 1h;
    const auto asked_within = [&](auto from, auto to) {
        unsigned asked = 0;
        for (auto now = start + from; now < start + to; now += 100us) {
            if (!verification.is_worth_trying(now)) continue;
            verification.ended(false, now);
            ++asked;
        }
        return asked;
    };
    EXPECT_EQ(asked_within(0ms, 100ms), Verification::kBurst);
    EXPECT_EQ(asked_within(100ms, 300ms), 2'000 / Verification::kEvery);
    EXPECT_EQ(asked_within(300ms, 500ms), 2'000 / Verification::kEvery);
    EXPECT_LE(asked_within(500ms, 1500ms), 20U);
    verification.ended(true, start + 1500ms);
    EXPECT_EQ(asked_within(1500ms, 1600ms), Verification::kBurst);
}

}  // namespace
}  // namespace pgsteer::proxy
