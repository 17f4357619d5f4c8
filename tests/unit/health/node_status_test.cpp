#include "health/node_status.hpp"

#include <gtest/gtest.h>

namespace pgsteer::health {
namespace {

using routing::Status;
using routing::TimePoint;
using namespace std::chrono_literals;

constexpr TimePoint kStart = TimePoint{} + 1h;

// A server, its surroundings, and a clock that only moves when told.
struct World {
    explicit World(StatusRules rules = {}) : status{rules} {}

    void good(std::chrono::microseconds response_time = 1ms) {
        status.probe_succeeded(response_time);
        status.update(around, now);
    }
    void bad() {
        status.probe_failed(now, "refused");
        status.update(around, now);
    }
    Status after(routing::Clock::duration time) {
        now += time;
        status.update(around, now);
        return status.status();
    }
    Status with_lag(std::optional<routing::Clock::duration> lag) {
        around.lag = lag;
        status.update(around, now);
        return status.status();
    }

    NodeStatus status;
    Circumstances around{.fault = {}, .is_replica = true, .lag = 0s, .best_response_time = 1ms};
    TimePoint now = kStart;
};

World healthy(StatusRules rules = {}) {
    World world{rules};
    world.good();
    return world;
}

World unhealthy() {
    World world = healthy();
    for (int i = 0; i < 3; ++i) world.bad();
    return world;
}

TEST(NodeStatus, IsUnknownBeforeTheFirstProbe) {
    World world;
    EXPECT_EQ(world.after(0s), Status::unknown);
    EXPECT_EQ(world.status.reason(), "not probed yet");
}

TEST(NodeStatus, IsHealthyAfterTheVeryFirstGoodProbe) {
    EXPECT_EQ(healthy().status.status(), Status::healthy);
    EXPECT_EQ(healthy().status.reason(), "");
}

TEST(NodeStatus, IsUnhealthyAfterFallBadProbesInARow) {
    World world = healthy();
    world.bad();
    world.bad();
    EXPECT_EQ(world.status.status(), Status::healthy);
    world.bad();
    EXPECT_EQ(world.status.status(), Status::unhealthy);
    EXPECT_EQ(world.status.reason(), "refused");
    EXPECT_EQ(world.status.consecutive_failures(), 3);
}

TEST(NodeStatus, CountsOnlyBadProbesInARow) {
    World world = healthy();
    for (int i = 0; i < 10; ++i) {
        world.bad();
        world.bad();
        world.good();
    }
    EXPECT_EQ(world.status.status(), Status::healthy);
}

TEST(NodeStatus, LosesPatienceWhenProbesTakeTooLongToFailOften) {
    World world = healthy({.fall = 3, .interval = 1s, .timeout = 2s});
    world.bad();  // started now; the next ones hang
    EXPECT_EQ(world.after(3999ms), Status::healthy);
    EXPECT_EQ(world.after(1ms), Status::unhealthy);
}

TEST(NodeStatus, IsBelievedAgainAfterRiseGoodProbes) {
    World world = unhealthy();
    world.good();
    EXPECT_EQ(world.status.status(), Status::unhealthy);
    EXPECT_EQ(world.status.reason(), "coming back");
    world.good();
    EXPECT_EQ(world.status.status(), Status::healthy);
}

TEST(NodeStatus, StartsToRiseAnewAfterABadProbe) {
    World world = unhealthy();
    world.good();
    world.bad();
    world.good();
    EXPECT_EQ(world.status.status(), Status::unhealthy);
}

TEST(NodeStatus, BelievesThePrimaryAtItsFirstAnswer) {
    World world = unhealthy();
    world.around.is_replica = false;
    world.good();
    EXPECT_EQ(world.status.status(), Status::healthy);
}

TEST(NodeStatus, IsUnhealthyAtOnceForAFaultWhateverTheProbesSay) {
    World world = healthy();
    world.around.fault = "wrong system identifier";
    EXPECT_EQ(world.after(0s), Status::unhealthy);
    EXPECT_EQ(world.status.reason(), "wrong system identifier");
    world.around.fault = {};
    EXPECT_EQ(world.after(0s), Status::healthy);
}

TEST(NodeStatus, HasHysteresisAroundMaxLag) {
    World world = healthy({.max_lag = 10s, .max_lag_hard = 100s});
    EXPECT_EQ(world.with_lag(10s), Status::healthy);
    EXPECT_EQ(world.with_lag(10s + 1ms), Status::degraded);
    EXPECT_EQ(world.status.reason(), "lag over max_lag");
    EXPECT_EQ(world.with_lag(9s), Status::degraded);
    EXPECT_EQ(world.with_lag(8s), Status::healthy);
    EXPECT_EQ(world.with_lag(9s), Status::healthy);
}

TEST(NodeStatus, HasHysteresisAroundMaxLagHard) {
    World world = healthy({.max_lag = 10s, .max_lag_hard = 100s});
    EXPECT_EQ(world.with_lag(100s), Status::degraded);
    EXPECT_EQ(world.with_lag(101s), Status::unhealthy);
    EXPECT_EQ(world.status.reason(), "lag over max_lag_hard");
    EXPECT_EQ(world.with_lag(90s), Status::unhealthy);
    EXPECT_EQ(world.with_lag(80s), Status::degraded);
}

TEST(NodeStatus, IsNotHealthyWhileItsFreshnessIsUnknown) {
    World fresh_start;
    fresh_start.around.lag = std::nullopt;
    fresh_start.good();
    EXPECT_EQ(fresh_start.status.status(), Status::unknown);
    EXPECT_EQ(fresh_start.with_lag(1ms), Status::healthy);
    EXPECT_EQ(fresh_start.with_lag(std::nullopt), Status::degraded);
    EXPECT_EQ(fresh_start.status.reason(), "freshness is not known");
}

TEST(NodeStatus, DoesNotMeasureAPrimaryByLagOrSlowness) {
    World world = healthy();
    world.around = {.fault = {}, .is_replica = false, .lag = 1h, .best_response_time = 1us};
    for (int i = 0; i < 20; ++i) world.good(1s);
    EXPECT_EQ(world.after(1h), Status::healthy);
}

TEST(NodeStatus, IsDegradedWhenSlowForSomeTimeBesideTheBest) {
    World world = healthy({.fall = 3, .interval = 1s, .slow_factor = 4});
    for (int i = 0; i < 50; ++i) world.good(100ms);
    EXPECT_EQ(world.after(2999ms), Status::healthy);
    EXPECT_EQ(world.after(1ms), Status::degraded);
    EXPECT_EQ(world.status.reason(), "slow beside the fastest replica");
    for (int i = 0; i < 50; ++i) world.good(1ms);
    EXPECT_EQ(world.status.status(), Status::healthy);
}

TEST(NodeStatus, ForgivesAShortSpellOfSlowness) {
    World world = healthy({.fall = 3, .interval = 1s, .slow_factor = 4});
    for (int i = 0; i < 50; ++i) world.good(100ms);
    world.after(2s);
    for (int i = 0; i < 50; ++i) world.good(1ms);
    for (int i = 0; i < 50; ++i) world.good(100ms);
    EXPECT_EQ(world.after(2s), Status::healthy);
}

TEST(NodeStatus, NeverCallsTwentyMillisecondsSlow) {
    World world = healthy({.slow_factor = 4});
    world.around.best_response_time = 100us;
    for (int i = 0; i < 50; ++i) world.good(20ms);
    EXPECT_EQ(world.after(1h), Status::healthy);
}

TEST(NodeStatus, IsComparedWithNobodyWhenItIsTheOnlyReplica) {
    World world = healthy({.slow_factor = 4});
    world.around.best_response_time = 0us;
    for (int i = 0; i < 50; ++i) world.good(800ms);
    EXPECT_EQ(world.after(1h), Status::healthy);
}

TEST(NodeStatus, IsAskedEverLessOftenWhileItCannotBeReached) {
    World world = healthy();
    EXPECT_EQ(world.status.probe_interval(), 1s);
    for (int i = 0; i < 3; ++i) world.bad();
    std::vector<std::chrono::milliseconds> intervals;
    for (int i = 0; i < 7; ++i) {
        intervals.push_back(world.status.probe_interval());
        world.bad();
    }
    EXPECT_EQ(intervals, (std::vector<std::chrono::milliseconds>{1s, 2s, 4s, 8s, 16s, 30s, 30s}));
}

TEST(NodeStatus, IsAskedOftenEnoughIfItMayBePromotedMeanwhile) {
    conf::ServerConfig server;
    World world = healthy(status_rules({}, server));
    for (int i = 0; i < 12; ++i) world.bad();
    EXPECT_EQ(world.status.probe_interval(), 4s);
    server.role = conf::ServerRole::replica;
    World replica = healthy(status_rules({}, server));
    for (int i = 0; i < 12; ++i) replica.bad();
    EXPECT_EQ(replica.status.probe_interval(), 30s);
}

TEST(NodeStatus, IsAskedAtTheUsualPaceAgainAfterASignOfLife) {
    World world = unhealthy();
    for (int i = 0; i < 5; ++i) world.bad();
    world.status.reset_back_off();
    EXPECT_EQ(world.status.probe_interval(), 1s);
    for (int i = 0; i < 5; ++i) world.bad();
    world.good();
    EXPECT_EQ(world.status.probe_interval(), 1s);
}

TEST(NodeStatus, IsNotAskedMoreOftenThanConfiguredWhenTheIntervalIsLong) {
    World world = healthy({.interval = 60s});
    for (int i = 0; i < 8; ++i) world.bad();
    EXPECT_EQ(world.status.probe_interval(), 60s);
}

}  // namespace
}  // namespace pgsteer::health
