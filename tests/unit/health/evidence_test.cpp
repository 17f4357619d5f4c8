#include "health/evidence.hpp"

#include <gtest/gtest.h>

namespace pgsteer::health {
namespace {

using routing::Clock;
using routing::kNever;
using routing::ServerId;
using routing::ServerSet;
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
    EXPECT_EQ(evidence.suspects(checked_at(kNever)), ServerSet{});
}

TEST(Evidence, SuspectsAServerUntilAProbeSentLaterWasGood) {
    Evidence evidence{2};
    const auto before = Clock::now();
    evidence.server_unreachable(ServerId{1});
    EXPECT_EQ(evidence.suspects(checked_at(before)), ServerSet{ServerId{1}});
    EXPECT_EQ(evidence.suspects(checked_at(kNever)), ServerSet{ServerId{1}});
    EXPECT_EQ(evidence.suspects(checked_at(evidence.doubted_at(ServerId{1}))), ServerSet{ServerId{1}});
    EXPECT_EQ(evidence.suspects(checked_at(evidence.doubted_at(ServerId{1}) + 1ns)), ServerSet{});
}

TEST(Evidence, IgnoresAServerThatDoesNotExist) {
    Evidence evidence{2};
    evidence.server_unreachable(ServerId{2});
    EXPECT_EQ(evidence.suspects(checked_at(kNever)), ServerSet{});
}

TEST(Evidence, WakesTheCheckerForEveryDoubt) {
    Evidence evidence{2};
    int wakes = 0;
    evidence.on_wake([&] { ++wakes; });
    evidence.server_unreachable(ServerId{0});
    evidence.server_unreachable(ServerId{0});
    EXPECT_EQ(wakes, 2);
}

TEST(Evidence, SuspectsNobodyForWhatHappenedToOneSession) {
    Evidence evidence{2};
    int wakes = 0;
    evidence.on_wake([&] { ++wakes; });
    evidence.look_again(ServerId{1});
    EXPECT_EQ(evidence.suspects(checked_at(kNever)), ServerSet{});
    EXPECT_EQ(evidence.doubted_at(ServerId{1}), kNever);
    EXPECT_NE(evidence.look_wanted_at(ServerId{1}), kNever);
    EXPECT_EQ(evidence.look_wanted_at(ServerId{0}), kNever);
    EXPECT_EQ(wakes, 1);
}

TEST(Evidence, IsNewsOnceForOneTrouble) {
    Evidence evidence{2};
    EXPECT_TRUE(evidence.server_unreachable(ServerId{0}));
    EXPECT_FALSE(evidence.server_unreachable(ServerId{0}));
    EXPECT_FALSE(evidence.server_changed(ServerId{0}));
    EXPECT_TRUE(evidence.server_unreachable(ServerId{1}));
    EXPECT_FALSE(evidence.server_unreachable(ServerId{2}));
}

TEST(Evidence, KeepsTheLaterOfTwoDoubts) {
    Evidence evidence{2};
    int wakes = 0;
    evidence.on_wake([&] { ++wakes; });
    const auto now = Clock::now();
    evidence.doubt(ServerId{0}, now);
    EXPECT_EQ(evidence.doubted_at(ServerId{0}), now);
    evidence.doubt(ServerId{0}, now - 1s);
    EXPECT_EQ(evidence.doubted_at(ServerId{0}), now);
    EXPECT_EQ(evidence.suspects(checked_at(now)), ServerSet{ServerId{0}});
    EXPECT_EQ(wakes, 0);
}

TEST(Evidence, SuspectsAServerThatIsNotWhatItWas) {
    Evidence evidence{2};
    evidence.server_changed(ServerId{0});
    EXPECT_EQ(evidence.suspects(checked_at(kNever)), ServerSet{ServerId{0}});
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
