#include "health/incarnation_tracker.hpp"

#include <gtest/gtest.h>

namespace pgsteer::health {
namespace {

using routing::Lsn;

constexpr std::int64_t kStart = 1'700'000'000'000'000;
constexpr std::uint64_t kSystem = 7'000'000'000'000'000'001;

IncarnationTracker seen_at(Lsn position) {
    IncarnationTracker tracker;
    tracker.observe(kStart, kSystem, 1, position);
    return tracker;
}

TEST(IncarnationTracker, CountsTheFirstRunAsOne) {
    EXPECT_EQ(IncarnationTracker{}.incarnation().number, 0U);
    EXPECT_EQ(seen_at(Lsn{100}).incarnation().number, 1U);
}

TEST(IncarnationTracker, KeepsTheNumberAfterAReconnectToTheSameRun) {
    auto tracker = seen_at(Lsn{100});
    EXPECT_FALSE(tracker.observe(kStart, kSystem, 1, Lsn{100}));
    EXPECT_FALSE(tracker.observe(kStart, kSystem, 1, Lsn{200}));
    EXPECT_EQ(tracker.incarnation().number, 1U);
    EXPECT_EQ(tracker.position(), Lsn{200});
}

TEST(IncarnationTracker, TellsARunFromTheNextByTheCheckpointerThatACrashRestarts) {
    IncarnationTracker tracker;
    tracker.observe(kStart, kSystem, 1, Lsn{100}, kStart + 5);
    EXPECT_FALSE(tracker.observe(kStart, kSystem, 1, Lsn{110}, kStart + 5));
    EXPECT_FALSE(tracker.observe(kStart, kSystem, 1, Lsn{120}, 0)) << "not told";
    EXPECT_TRUE(tracker.observe(kStart, kSystem, 1, Lsn{130}, kStart + 9));
    EXPECT_EQ(tracker.incarnation().number, 2U);
}

struct ChangeCase {
    const char* name;
    std::int64_t start;
    std::uint64_t system;
    std::uint32_t timeline;
    Lsn position;
};

class AnotherRun : public testing::TestWithParam<ChangeCase> {};

TEST_P(AnotherRun, GetsTheNextNumberAndItsOwnPosition) {
    const auto& test = GetParam();
    auto tracker = seen_at(Lsn{100});
    EXPECT_TRUE(tracker.observe(test.start, test.system, test.timeline, test.position));
    EXPECT_EQ(tracker.incarnation(),
              (routing::Incarnation{2, test.start, test.system, test.timeline}));
    EXPECT_EQ(tracker.position(), test.position);
}

INSTANTIATE_TEST_SUITE_P(
    Cases,
    AnotherRun,
    testing::Values(
        ChangeCase{"Restarted", kStart + 1, kSystem, 1, Lsn{200}},
        ChangeCase{"AnotherCluster", kStart, kSystem + 1, 1, Lsn{200}},
        ChangeCase{"Promoted", kStart, kSystem, 2, Lsn{200}},
        // A backend crashed: the postmaster lives on, recovery starts at the last restart point.
        ChangeCase{"PositionWentDown", kStart, kSystem, 1, Lsn{99}}),
    [](const auto& test) { return test.param.name; });

TEST(IncarnationTracker, KeepsTheTimelineWhenAProbeCannotTellIt) {
    auto tracker = seen_at(Lsn{100});
    EXPECT_FALSE(tracker.observe(kStart, kSystem, 0, Lsn{110}));
    EXPECT_EQ(tracker.incarnation().timeline, 1U);
}

TEST(IncarnationTracker, DoesNotInheritTheTimelineOfAnotherRun) {
    auto tracker = seen_at(Lsn{100});
    EXPECT_TRUE(tracker.observe(kStart + 1, kSystem, 0, Lsn{110}));
    EXPECT_EQ(tracker.incarnation().timeline, 0U);
}

TEST(IncarnationTracker, LearnsTheTimelineLaterWithoutCountingANewRun) {
    IncarnationTracker tracker;
    tracker.observe(kStart, kSystem, 0, Lsn{100});
    EXPECT_FALSE(tracker.observe(kStart, kSystem, 4, Lsn{100}));
    EXPECT_EQ(tracker.incarnation().timeline, 4U);
}

TEST(IncarnationTracker, SeesInACheapProbeThatThePositionWentDown) {
    auto tracker = seen_at(Lsn{100});
    EXPECT_FALSE(tracker.observe(Lsn{100}));
    EXPECT_TRUE(tracker.observe(Lsn{99}));
    EXPECT_EQ(tracker.incarnation().number, 2U);
}

}  // namespace
}  // namespace pgsteer::health
