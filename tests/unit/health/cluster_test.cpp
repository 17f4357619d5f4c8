#include "health/cluster.hpp"

#include <gtest/gtest.h>

namespace pgsteer::health {
namespace {

using routing::kNever;
using routing::Lsn;
using routing::Role;
using routing::ServerId;
using routing::Status;
using routing::TimePoint;
using namespace std::chrono_literals;

constexpr ServerId kPrimary{0};
constexpr ServerId kReplica{1};
constexpr ServerId kOther{2};
constexpr std::uint64_t kBase = 0x1000'0100;  // nowhere near a page header
constexpr std::int64_t kFirstRun = 1'000;

TimePoint at(int milliseconds) {
    return TimePoint{} + 1h + std::chrono::milliseconds{milliseconds};
}
Lsn lsn(std::uint64_t offset) { return Lsn{kBase + offset}; }

Observation full(Role role, int sent_ms, std::uint64_t position, std::uint32_t timeline = 1) {
    return {.in_recovery = role == Role::replica,
            .position = lsn(position),
            .flushed = lsn(position),
            .sent_at = at(sent_ms),
            .response_time = 1ms,
            .is_full = true,
            .postmaster_start_us = kFirstRun,
            .system_identifier = 42,
            .timeline = timeline};
}

Observation cheap(Role role, int sent_ms, std::uint64_t position) {
    Observation seen = full(role, sent_ms, position);
    seen.is_full = false;
    seen.postmaster_start_us = 0;
    seen.system_identifier = 0;
    seen.timeline = 0;
    return seen;
}

std::shared_ptr<const conf::Config> config_of_three() {
    auto config = std::make_shared<conf::Config>();
    config->servers.resize(3);
    return config;
}

// A primary at position 100 and two replicas that have replayed all of it, asked at 0 ms.
class ClusterTest : public testing::Test {
protected:
    ClusterTest() {
        cluster.succeeded(kPrimary, full(Role::primary, 0, 100));
        cluster.succeeded(kReplica, full(Role::replica, 1, 100));
        cluster.succeeded(kOther, full(Role::replica, 1, 100));
        cluster.assess(at(2));
    }
    TimePoint fresh_as_of(ServerId server, int now_ms = 10) {
        return cluster.assess(at(now_ms))[server].fresh_as_of;
    }

    Cluster cluster{config_of_three()};
};

TEST(Cluster, KnowsNothingAtFirst) {
    Cluster cluster{config_of_three()};
    const auto topology = cluster.assess(at(0));
    EXPECT_FALSE(topology.primary.has_value());
    for (const auto& server : topology.servers) {
        EXPECT_EQ(server.role, Role::unknown);
        EXPECT_EQ(server.status, Status::unknown);
        EXPECT_EQ(server.fresh_as_of, kNever);
    }
}

TEST_F(ClusterTest, ServesAfterTheFirstAnswers) {
    const auto topology = cluster.assess(at(2));
    EXPECT_EQ(topology.primary, kPrimary);
    for (const auto& server : topology.servers) EXPECT_EQ(server.status, Status::healthy);
    EXPECT_EQ(topology[kReplica].fresh_as_of, at(0));
    EXPECT_EQ(topology[kReplica].checked_at, at(1));
}

TEST_F(ClusterTest, DatesAReplicaByThePrimarysSamplesAlone) {
    cluster.succeeded(kPrimary, cheap(Role::primary, 5, 100));
    EXPECT_EQ(fresh_as_of(kReplica), at(5));
    cluster.succeeded(kPrimary, cheap(Role::primary, 7, 101));
    EXPECT_EQ(fresh_as_of(kReplica), at(5));
    cluster.succeeded(kReplica, cheap(Role::replica, 8, 101));
    EXPECT_EQ(fresh_as_of(kReplica), at(7));
}

TEST_F(ClusterTest, ForgetsFreshnessAtOnceWhenAConnectionBreaks) {
    cluster.discard(kReplica, at(3));
    EXPECT_EQ(fresh_as_of(kReplica), kNever);
    EXPECT_EQ(fresh_as_of(kOther), at(0));
    EXPECT_EQ(cluster.assess(at(4))[kReplica].status, Status::healthy);
}

TEST_F(ClusterTest, BelievesOnlyWhatWasAskedAfterTheConnectionBroke) {
    cluster.discard(kReplica, at(3));
    cluster.succeeded(kReplica, full(Role::replica, 2, 100));
    EXPECT_EQ(fresh_as_of(kReplica), kNever);
    cluster.succeeded(kReplica, full(Role::replica, 4, 100));
    EXPECT_EQ(fresh_as_of(kReplica), at(0));
    EXPECT_EQ(cluster.assess(at(5))[kReplica].incarnation.number, 1U);
}

TEST_F(ClusterTest, DoesNotBelieveACheapProbeAfterABrokenConnection) {
    cluster.discard(kReplica, at(3));
    cluster.succeeded(kReplica, cheap(Role::replica, 4, 100));
    EXPECT_EQ(fresh_as_of(kReplica), kNever);
    EXPECT_EQ(cluster.answered_as(kReplica), Role::unknown);
}

TEST_F(ClusterTest, SeesThatARestartedStandbyIsBehindWhereItHadBeen) {
    cluster.succeeded(kPrimary, cheap(Role::primary, 3, 100));
    cluster.failed(kReplica, at(4), "refused");
    EXPECT_EQ(fresh_as_of(kReplica), kNever);
    auto restarted = full(Role::replica, 6, 40);
    restarted.postmaster_start_us = kFirstRun + 1;
    cluster.succeeded(kReplica, restarted);
    const auto topology = cluster.assess(at(7));
    EXPECT_EQ(topology[kReplica].incarnation.number, 2U);
    EXPECT_EQ(topology[kReplica].fresh_as_of, kNever);  // behind all that the clock knows
    cluster.succeeded(kReplica, cheap(Role::replica, 8, 100));
    EXPECT_EQ(fresh_as_of(kReplica), at(3));
}

TEST_F(ClusterTest, KeepsThePrimaryThroughAFewBadProbesAndDropsItThen) {
    cluster.failed(kPrimary, at(10), "timeout");
    cluster.failed(kPrimary, at(1'010), "timeout");
    EXPECT_EQ(cluster.assess(at(1'020)).primary, kPrimary);
    cluster.failed(kPrimary, at(2'010), "timeout");
    EXPECT_FALSE(cluster.assess(at(2'020)).primary.has_value());
    EXPECT_EQ(cluster.assess(at(2'020))[kPrimary].role, Role::unknown);
    EXPECT_FALSE(cluster.has_sound_primary());
}

TEST_F(ClusterTest, BelievesALostPrimaryWhenAllOthersHaveBeenAskedSinceItCameBack) {
    for (int i = 0; i < 3; ++i) cluster.failed(kPrimary, at(10 + i), "refused");
    cluster.assess(at(14));
    cluster.succeeded(kReplica, full(Role::replica, 15, 100));
    cluster.succeeded(kOther, full(Role::replica, 15, 100));
    cluster.succeeded(kPrimary, full(Role::primary, 20, 100));
    EXPECT_FALSE(cluster.assess(at(21)).primary.has_value());
    EXPECT_EQ(cluster.assess(at(21))[kPrimary].status, Status::unhealthy);
    EXPECT_TRUE(cluster.status(kPrimary).reason().starts_with("was lost"));
    EXPECT_TRUE(cluster.must_be_asked(kReplica));
    EXPECT_FALSE(cluster.must_be_asked(kPrimary));

    cluster.succeeded(kReplica, cheap(Role::replica, 22, 100));
    EXPECT_FALSE(cluster.must_be_asked(kReplica));
    EXPECT_FALSE(cluster.assess(at(23)).primary.has_value());
    cluster.failed(kOther, at(19), "timeout");  // it was asked before
    EXPECT_FALSE(cluster.assess(at(24)).primary.has_value());
    cluster.failed(kOther, at(24), "timeout");
    const auto topology = cluster.assess(at(25));
    EXPECT_EQ(topology.primary, kPrimary);
    EXPECT_EQ(topology[kPrimary].status, Status::healthy);
    EXPECT_EQ(topology[kPrimary].checked_at, at(20));
    EXPECT_TRUE(cluster.has_sound_primary());
}

TEST_F(ClusterTest, TheNewPrimaryEndsTheClaimOfTheOneThatCameBack) {
    for (int i = 0; i < 3; ++i) cluster.failed(kPrimary, at(10 + i), "refused");
    cluster.assess(at(14));
    cluster.succeeded(kPrimary, full(Role::primary, 20, 100));
    cluster.succeeded(kReplica, full(Role::primary, 21, 150, 2));
    cluster.succeeded(kOther, full(Role::replica, 21, 100));
    const auto topology = cluster.assess(at(22));
    EXPECT_EQ(topology.primary, kReplica);
    EXPECT_EQ(topology[kPrimary].role, Role::unknown);
    EXPECT_TRUE(cluster.status(kPrimary).reason().starts_with("superseded"));
}

// It was away for a moment only: it stays the primary, but in doubt (see Evidence::suspects).
TEST_F(ClusterTest, AnotherRunOfThePrimaryIsInDoubtUntilAllOthersHaveBeenAsked) {
    auto restarted = full(Role::primary, 20, 100);
    restarted.postmaster_start_us = kFirstRun + 1;
    cluster.succeeded(kPrimary, restarted);
    auto topology = cluster.assess(at(21));
    EXPECT_EQ(topology.primary, kPrimary);
    EXPECT_EQ(topology[kPrimary].checked_at, at(0));
    EXPECT_EQ(cluster.unconfirmed_since(kPrimary), at(20));
    EXPECT_FALSE(cluster.has_sound_primary());
    restarted.sent_at = at(30);
    cluster.succeeded(kPrimary, restarted);
    EXPECT_EQ(cluster.assess(at(31))[kPrimary].checked_at, at(0));

    cluster.succeeded(kReplica, full(Role::replica, 32, 100));
    cluster.succeeded(kOther, full(Role::replica, 32, 100));
    topology = cluster.assess(at(33));
    EXPECT_EQ(topology[kPrimary].checked_at, at(30));
    EXPECT_EQ(cluster.unconfirmed_since(kPrimary), kNever);
}

TEST_F(ClusterTest, APrimaryThatWasLostIsToBeConfirmedWhenItIsBack) {
    for (int i = 0; i < 3; ++i) cluster.failed(kPrimary, at(10 + i), "refused");
    EXPECT_FALSE(cluster.assess(at(14)).primary);
    EXPECT_FALSE(cluster.assess(at(14))[kPrimary].is_to_be_confirmed);
    cluster.succeeded(kPrimary, full(Role::primary, 20, 100));
    auto topology = cluster.assess(at(21));
    EXPECT_FALSE(topology.primary);
    EXPECT_TRUE(topology[kPrimary].is_to_be_confirmed);
    cluster.succeeded(kReplica, full(Role::replica, 22, 100));
    cluster.succeeded(kOther, full(Role::replica, 22, 100));
    topology = cluster.assess(at(23));
    EXPECT_EQ(topology.primary, kPrimary);
    EXPECT_FALSE(topology[kPrimary].is_to_be_confirmed);
}

TEST_F(ClusterTest, APromotedStandbyNeedsNobodysConfirmation) {
    for (int i = 0; i < 3; ++i) cluster.failed(kReplica, at(10 + i), "refused");
    cluster.assess(at(14));
    auto promoted = full(Role::primary, 20, 150, 2);
    promoted.postmaster_start_us = kFirstRun + 1;
    cluster.succeeded(kReplica, promoted);
    EXPECT_EQ(cluster.assess(at(21)).primary, kReplica);
}

// Its verdict must not depend on itself: "superseded" made it count as gone, and gone as not
// superseded.
TEST_F(ClusterTest, ASupersededPrimaryThatGoesAwayKeepsOneStatusUntilItIsGivenUp) {
    cluster.succeeded(kReplica, full(Role::primary, 10, 150, 2));
    EXPECT_EQ(cluster.assess(at(11))[kPrimary].status, Status::unhealthy);
    cluster.discard(kPrimary, at(12));
    for (int i = 0; i < 20; ++i)
        EXPECT_EQ(cluster.assess(at(13 + i))[kPrimary].status, Status::unhealthy) << i;
    for (int i = 0; i < 4; ++i) {
        cluster.failed(kPrimary, at(40 + i), "refused");
        EXPECT_EQ(cluster.assess(at(41 + i))[kPrimary].status, Status::unhealthy) << i;
    }
    EXPECT_EQ(cluster.assess(at(50))[kPrimary].role, Role::unknown);
}

TEST_F(ClusterTest, CountsNoPositionOfTheFormerTimelineAfterAPromotion) {
    for (int i = 0; i < 3; ++i) cluster.failed(kPrimary, at(10 + i), "refused");
    cluster.assess(at(14));
    cluster.succeeded(kReplica, full(Role::primary, 20, 150, 2));
    auto topology = cluster.assess(at(21));
    EXPECT_EQ(topology.primary, kReplica);
    EXPECT_EQ(topology[kReplica].incarnation.number, 2U);
    EXPECT_EQ(topology[kOther].fresh_as_of, kNever);
    EXPECT_TRUE(cluster.is_off_timeline(kOther));

    cluster.succeeded(kOther, full(Role::replica, 22, 900, 1));  // ahead, but of another history
    EXPECT_EQ(fresh_as_of(kOther, 23), kNever);
    cluster.succeeded(kOther, full(Role::replica, 24, 150, 2));
    EXPECT_EQ(fresh_as_of(kOther, 25), at(20));
    EXPECT_FALSE(cluster.is_off_timeline(kOther));
}

TEST_F(ClusterTest, SeesAPromotionInACheapProbeAndWaitsForTheFullOne) {
    cluster.succeeded(kReplica, cheap(Role::primary, 5, 120));
    EXPECT_EQ(cluster.answered_as(kReplica), Role::unknown);
    EXPECT_EQ(cluster.assess(at(6)).primary, kPrimary);
}

TEST_F(ClusterTest, StopsWritesWhenTwoClaimOneTimeline) {
    cluster.succeeded(kReplica, full(Role::primary, 5, 120, 1));
    const auto topology = cluster.assess(at(6));
    EXPECT_FALSE(topology.primary.has_value());
    EXPECT_TRUE(cluster.is_split());
    EXPECT_EQ(topology[kPrimary].status, Status::unhealthy);
    EXPECT_EQ(topology[kReplica].status, Status::unhealthy);
    // And goes on when only one of them does.
    cluster.succeeded(kReplica, full(Role::replica, 7, 120, 1));
    EXPECT_EQ(cluster.assess(at(8)).primary, kPrimary);
}

TEST_F(ClusterTest, DegradesAReplicaThatFallsBehind) {
    cluster.succeeded(kPrimary, cheap(Role::primary, 5, 200));
    const auto topology = cluster.assess(at(30'500));
    EXPECT_EQ(topology[kReplica].status, Status::degraded);
    EXPECT_EQ(topology[kReplica].fresh_as_of, at(0));
    EXPECT_EQ(cluster.assess(at(300'500))[kReplica].status, Status::unhealthy);
    EXPECT_EQ(cluster.assess(at(300'500))[kReplica].fresh_as_of, kNever);
}

TEST_F(ClusterTest, AsksForANudgeWhenReplicasWaitForUnflushedWal) {
    EXPECT_EQ(cluster.nudge(5ms), Cluster::Nudge::no);
    auto unflushed = cheap(Role::primary, 10, 200);
    unflushed.flushed = lsn(100);
    cluster.succeeded(kPrimary, unflushed);
    EXPECT_EQ(cluster.nudge(5ms), Cluster::Nudge::soon);
    unflushed.sent_at = at(15);
    cluster.succeeded(kPrimary, unflushed);
    EXPECT_EQ(cluster.nudge(5ms), Cluster::Nudge::now);
    EXPECT_EQ(cluster.nudge(250ms), Cluster::Nudge::soon);
    cluster.succeeded(kPrimary, cheap(Role::primary, 16, 210));
    EXPECT_EQ(cluster.nudge(5ms), Cluster::Nudge::no);
}

TEST_F(ClusterTest, DoesNotNudgeForReplicasThatAreGone) {
    auto unflushed = cheap(Role::primary, 10, 200);
    unflushed.flushed = lsn(100);
    cluster.succeeded(kPrimary, unflushed);
    cluster.discard(kReplica, at(11));
    cluster.discard(kOther, at(11));
    EXPECT_EQ(cluster.nudge(0ms), Cluster::Nudge::no);
}

}  // namespace
}  // namespace pgsteer::health
