#include "health/checker.hpp"

#include <gtest/gtest.h>

namespace pgsteer::health {
namespace {

using routing::Clock;
using routing::kNever;
using routing::ServerId;
using routing::TimePoint;
using namespace std::chrono_literals;

routing::Topology checked_at(TimePoint time) {
    routing::Topology topology;
    topology.servers.resize(2);
    for (auto& server : topology.servers) server.checked_at = time;
    return topology;
}

TEST(Evidence, SuspectsNobodyAtFirst) {
    const Evidence evidence{2};
    EXPECT_EQ(evidence.suspects(checked_at(kNever)), 0U);
}

TEST(Evidence, SuspectsAServerUntilAProbeSentLaterWasGood) {
    Evidence evidence{2};
    const auto before = Clock::now();
    evidence.connection_lost(ServerId{1});
    EXPECT_EQ(evidence.suspects(checked_at(before)), 0b10U);
    EXPECT_EQ(evidence.suspects(checked_at(kNever)), 0b10U);
    EXPECT_EQ(evidence.suspects(checked_at(evidence.lost_at(ServerId{1}))), 0b10U);
    EXPECT_EQ(evidence.suspects(checked_at(evidence.lost_at(ServerId{1}) + 1ns)), 0U);
}

TEST(Evidence, IgnoresAServerThatDoesNotExist) {
    Evidence evidence{2};
    evidence.connection_lost(ServerId{2});
    EXPECT_EQ(evidence.suspects(checked_at(kNever)), 0U);
}

TEST(Evidence, WakesTheCheckerForEveryLoss) {
    Evidence evidence{2};
    int wakes = 0;
    evidence.on_wake([&] { ++wakes; });
    evidence.connection_lost(ServerId{0});
    evidence.connection_lost(ServerId{0});
    EXPECT_EQ(wakes, 2);
}

TEST(Evidence, WakesTheCheckerOnlyAtTheFirstWishForFreshness) {
    Evidence evidence{2};
    int wakes = 0;
    evidence.on_wake([&] { ++wakes; });
    EXPECT_FALSE(evidence.is_freshness_wanted(Clock::now()));
    for (int i = 0; i < 100; ++i) evidence.freshness_wanted();
    EXPECT_EQ(wakes, 1);
    EXPECT_TRUE(evidence.is_freshness_wanted(Clock::now()));
    EXPECT_FALSE(evidence.is_freshness_wanted(Clock::now() + 1s));
}

}  // namespace
}  // namespace pgsteer::health
