#include "proxy/pool/retirement.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace pgsteer::proxy {
namespace {

using namespace std::chrono_literals;
using routing::Role;
using routing::ServerId;
using routing::TimePoint;
using testing::ElementsAre;
using testing::IsEmpty;

constexpr ServerId kPrimary{0};
constexpr ServerId kReplica{1};
constexpr ServerId kOther{2};
const TimePoint kNow = TimePoint{} + 1h;

routing::Topology fresh_as_of(TimePoint replica, TimePoint other) {
    routing::Topology topology;
    topology.servers.resize(3);
    topology.servers[0].role = Role::primary;
    topology.servers[0].fresh_as_of = kNow + 1h;
    topology.servers[1].role = topology.servers[2].role = Role::replica;
    topology.servers[1].fresh_as_of = replica;
    topology.servers[2].fresh_as_of = other;
    return topology;
}

TEST(Retirement, IsOfWhatWasOpenedBefore) {
    Retirement retirement;
    EXPECT_FALSE(retirement.is_retired(kReplica, TimePoint{}));
    retirement.retire(kReplica, kNow);
    EXPECT_TRUE(retirement.is_retired(kReplica, kNow - 1s));
    EXPECT_TRUE(retirement.is_retired(kReplica, kNow));
    EXPECT_FALSE(retirement.is_retired(kReplica, kNow + 1ns));
    EXPECT_FALSE(retirement.is_retired(kOther, kNow - 1s));
    EXPECT_TRUE(retirement.is_settled(kReplica));
}

TEST(Retirement, OfAllComesOnceMoreWhenAReplicaHasGotThatFar) {
    Retirement retirement;
    retirement.retire_all(kNow);
    for (const auto server : {kPrimary, kReplica, kOther}) {
        EXPECT_TRUE(retirement.is_retired(server, kNow));
        EXPECT_FALSE(retirement.is_settled(server));
    }
    EXPECT_THAT(retirement.due(fresh_as_of(kNow - 1ms, routing::kNever)), IsEmpty());
    EXPECT_FALSE(retirement.is_settled(kReplica));
    EXPECT_THAT(retirement.due(fresh_as_of(kNow, routing::kNever)), ElementsAre(kReplica));
    EXPECT_TRUE(retirement.is_settled(kReplica));
    EXPECT_FALSE(retirement.is_settled(kOther));
    EXPECT_THAT(retirement.due(fresh_as_of(kNow + 1s, kNow + 1s)), ElementsAre(kOther));
    EXPECT_THAT(retirement.due(fresh_as_of(kNow + 2s, kNow + 2s)), IsEmpty());
}

TEST(Retirement, IsNotWaitedForOnThePrimary) {
    Retirement retirement;
    retirement.retire_all(kNow);
    EXPECT_THAT(retirement.due(fresh_as_of(routing::kNever, routing::kNever)), IsEmpty());
    EXPECT_TRUE(retirement.is_settled(kPrimary));
}

TEST(Retirement, IsOfServersBeyondTheTopologyToo) {
    Retirement retirement;
    retirement.retire_all(kNow);
    const ServerId last{health::ServerIds::kMost - 1};
    EXPECT_TRUE(retirement.is_retired(last, kNow));
    EXPECT_THAT(retirement.due({}), IsEmpty());
    EXPECT_FALSE(retirement.is_settled(last));
}

TEST(Retirement, KeepsADatabaseEmptyForAWhile) {
    Retirement retirement;
    retirement.keep_empty("app", kNow);
    EXPECT_TRUE(retirement.is_kept_empty("app", kNow));
    EXPECT_FALSE(retirement.is_kept_empty("other", kNow));
    retirement.forget(kNow + Retirement::kKeptEmpty - 1ms);
    EXPECT_TRUE(retirement.is_kept_empty("app", kNow + Retirement::kKeptEmpty - 1ms));
    EXPECT_FALSE(retirement.is_kept_empty("app", kNow + Retirement::kKeptEmpty));
    retirement.forget(kNow + Retirement::kKeptEmpty);
    EXPECT_FALSE(retirement.is_kept_empty("app", kNow)) << "it is not remembered";
}

}  // namespace
}  // namespace pgsteer::proxy
