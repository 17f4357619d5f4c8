#include "health/lsn_clock.hpp"

#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <vector>

namespace pgsteer::health {
namespace {

using routing::kNever;
using routing::Lsn;
using routing::TimePoint;
using namespace std::chrono_literals;

constexpr std::uint32_t kTimeline = 3;
constexpr std::uint64_t kBase = 0x1000'0100;  // nowhere near a page header

TimePoint at(int milliseconds) { return TimePoint{} + std::chrono::milliseconds{milliseconds}; }
Lsn lsn(std::uint64_t offset) { return Lsn{kBase + offset}; }

struct Sample {
    int sent_ms;
    std::uint64_t insert;
    std::optional<std::uint64_t> flush;  // nullopt: all is flushed
};

LsnClock clock_with(const std::vector<Sample>& samples) {
    LsnClock clock;
    for (const auto& sample : samples)
        clock.sample(kTimeline, at(sample.sent_ms), lsn(sample.insert),
                     lsn(sample.flush.value_or(sample.insert)));
    return clock;
}

struct FreshCase {
    std::string name;
    std::vector<Sample> samples;
    std::uint64_t replayed;
    std::optional<int> fresh_as_of_ms;  // nullopt: never
};

class FreshAsOf : public testing::TestWithParam<FreshCase> {};

TEST_P(FreshAsOf, IsTheLastTimeWhosePositionWasReplayed) {
    const auto& test = GetParam();
    const auto expected = test.fresh_as_of_ms ? at(*test.fresh_as_of_ms) : kNever;
    EXPECT_EQ(clock_with(test.samples).fresh_as_of(kTimeline, lsn(test.replayed)), expected);
}

INSTANTIATE_TEST_SUITE_P(
    Cases,
    FreshAsOf,
    testing::Values(
        FreshCase{"NothingKnown", {}, 100, std::nullopt},
        FreshCase{"BehindTheOldestSample", {{10, 50, {}}}, 49, std::nullopt},
        FreshCase{"ExactlyThere", {{10, 50, {}}}, 50, 10},
        FreshCase{"BetweenTwoSamples", {{10, 50, {}}, {20, 60, {}}}, 59, 10},
        FreshCase{"AheadOfAllSamples", {{10, 50, {}}, {20, 60, {}}}, 1000, 20},
        FreshCase{"AnIdlePrimaryMakesOldPositionsNew", {{10, 50, {}}, {500, 50, {}}}, 50, 500},
        FreshCase{
            "OneByteBehindAnIdlePrimary", {{10, 50, {}}, {20, 51, {}}, {500, 51, {}}}, 50, 10},
        // The primary crashed and lost unflushed WAL: what is written now at those positions is
        // something else.
        FreshCase{"APositionThatWentDownForgetsWhatWasAbove",
                  {{10, 50, {}}, {20, 90, {}}, {30, 70, {}}},
                  95,
                  30},
        FreshCase{"AndDoesNotCountForLess", {{10, 50, {}}, {20, 90, {}}, {30, 70, {}}}, 60, 10}),
    [](const auto& test) { return test.param.name; });

TEST(LsnClock, CountsNoPositionOfAnotherTimeline) {
    const auto clock = clock_with({{10, 50, {}}});
    EXPECT_EQ(clock.fresh_as_of(kTimeline - 1, lsn(100)), kNever);
    EXPECT_EQ(clock.fresh_as_of(kTimeline + 1, lsn(100)), kNever);
    EXPECT_EQ(clock.fresh_as_of(0, lsn(100)), kNever);
}

TEST(LsnClock, DropsAllSamplesAtAPromotion) {
    auto clock = clock_with({{10, 50, {}}, {20, 60, {}}});
    clock.sample(kTimeline + 1, at(30), lsn(80), lsn(80));
    EXPECT_EQ(clock.fresh_as_of(kTimeline + 1, lsn(70)), kNever);
    EXPECT_EQ(clock.fresh_as_of(kTimeline + 1, lsn(80)), at(30));
    EXPECT_EQ(clock.fresh_as_of(kTimeline, lsn(100)), kNever);
}

TEST(LsnClock, IgnoresASampleWithoutTimeline) {
    LsnClock clock;
    clock.sample(0, at(10), lsn(50), lsn(50));
    EXPECT_EQ(clock.size(), 0U);
}

TEST(LsnClock, KnowsThatReplayStopsBeforeAPageHeader) {
    constexpr std::uint64_t kPage = 0x2000'2000;  // a short header, 24 bytes, begins here
    LsnClock clock;
    clock.sample(kTimeline, at(10), Lsn{kPage + 24}, Lsn{kPage});
    EXPECT_EQ(clock.fresh_as_of(kTimeline, Lsn{kPage}), at(10));
    EXPECT_EQ(clock.fresh_as_of(kTimeline, Lsn{kPage - 1}), kNever);
}

TEST(LsnClock, StaysBoundedAndStillReachesFarBack) {
    LsnClock clock;
    constexpr int kCount = 300'000;  // ten minutes at 500 a second
    for (int i = 0; i < kCount; ++i)
        clock.sample(kTimeline, at(2 * i), lsn(static_cast<std::uint64_t>(i)), lsn(0));
    EXPECT_LE(clock.size(), LsnClock::kMaxSamples);
    // A replica of five minutes ago: an answer, not too new, and not older by more than a minute.
    constexpr int kOld = kCount / 2;
    const auto fresh_as_of = clock.fresh_as_of(kTimeline, lsn(kOld));
    EXPECT_LE(fresh_as_of, at(2 * kOld));
    EXPECT_GE(fresh_as_of, at(2 * kOld - 60'000));
    // The latest ones are all there.
    EXPECT_EQ(clock.fresh_as_of(kTimeline, lsn(kCount - 50)), at(2 * (kCount - 50)));
}

TEST(LsnClock, NeverClaimsMoreThanTheSamplesSaidHoweverItIsThinned) {
    LsnClock clock;
    constexpr int kStep = 16;  // never hits the first byte behind a page header
    for (int i = 0; i < 20'000; ++i) {
        clock.sample(kTimeline, at(i), lsn(static_cast<std::uint64_t>(kStep * i)), lsn(0));
        if (i % 97 != 0) continue;
        for (int replayed = 0; replayed <= kStep * i; replayed += 1 + i / 3) {
            const auto truth = at(replayed / kStep);
            ASSERT_LE(clock.fresh_as_of(kTimeline, lsn(static_cast<std::uint64_t>(replayed))),
                      truth);
        }
    }
}

struct HeldUpCase {
    std::string name;
    std::vector<Sample> samples;
    std::uint64_t replayed;
    int held_up_ms;  // -1: not
};

class HeldUp : public testing::TestWithParam<HeldUpCase> {};

TEST_P(HeldUp, IsTheTimeThatTheNextStepWaitsForAFlush) {
    const auto& test = GetParam();
    const auto held_up = clock_with(test.samples).held_up(kTimeline, lsn(test.replayed));
    if (test.held_up_ms < 0)
        EXPECT_LT(held_up, 0ns);
    else
        EXPECT_EQ(held_up, std::chrono::milliseconds{test.held_up_ms});
}

INSTANTIATE_TEST_SUITE_P(
    Cases,
    HeldUp,
    testing::Values(
        HeldUpCase{"NothingKnown", {}, 0, -1},
        HeldUpCase{"AllReplayed", {{10, 50, {}}}, 50, -1},
        HeldUpCase{"FlushedButNotReplayed", {{10, 50, {}}, {20, 60, {}}}, 50, -1},
        HeldUpCase{"JustWritten", {{10, 50, {}}, {20, 60, 50}}, 50, 0},
        HeldUpCase{"WrittenLongAgo", {{10, 50, {}}, {20, 60, 50}, {270, 60, 50}}, 50, 250},
        HeldUpCase{"WritingGoesOnWithoutFlush", {{10, 50, {}}, {20, 60, 50}, {30, 70, 50}}, 50, 10},
        // Behind for reasons of its own: a flush would not help it.
        HeldUpCase{
            "StillReplayingWhatIsFlushed", {{10, 50, {}}, {20, 60, {}}, {90, 70, 60}}, 50, -1}),
    [](const auto& test) { return test.param.name; });

}  // namespace
}  // namespace pgsteer::health
