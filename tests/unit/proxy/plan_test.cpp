#include "proxy/session/plan.hpp"

#include <gtest/gtest.h>

namespace pgsteer::proxy {
namespace {

using routing::Reason;
using routing::ServerId;
using routing::Slot;

constexpr ServerId kPrimary{0};
constexpr ServerId kReplica{1};
constexpr ServerId kOtherReplica{2};
constexpr std::uint64_t kRun = 7;

routing::Topology topology() {
    routing::Topology topology;
    topology.servers.resize(3);
    for (auto& server : topology.servers) server.incarnation.number = kRun;
    topology.primary = kPrimary;
    return topology;
}

routing::Route to(ServerId server) {
    routing::Route route;
    route.candidates = {server};
    route.to_replica = server != kPrimary;
    route.reason = route.to_replica ? Reason::fresh_replica : Reason::hint_primary;
    return route;
}

// With a connection to the primary and to one replica, and nothing in flight.
Situation at_rest() {
    Situation situation;
    situation.held = {Situation::Held{kPrimary, 0, false}, Situation::Held{kReplica, kRun, false}};
    return situation;
}

Plan plan(const Situation& situation, ServerId server) {
    return plan_by_route(situation, to(server), topology());
}

TEST(PlanByCourse, LeavesItToTheTopologyWhenNothingIsInTheWay) {
    EXPECT_FALSE(plan_by_course(at_rest()));
    auto behind_a_whole_request = at_rest();
    behind_a_whole_request.in_flight = {Slot::primary, false};
    EXPECT_FALSE(plan_by_course(behind_a_whole_request));
    auto behind_an_open_read = at_rest();
    behind_an_open_read.in_flight = {Slot::replica, true};
    EXPECT_FALSE(plan_by_course(behind_an_open_read)) << "it may have to move";
}

TEST(PlanByCourse, WaitsForWhatIsRunAgainBeforeIt) {
    auto situation = at_rest();
    situation.others_run_again = true;
    EXPECT_EQ(plan_by_course(situation)->next, Next::answer);
    situation.is_run_again = true;
    EXPECT_FALSE(plan_by_course(situation)) << "that is itself";
}

TEST(PlanByCourse, NothingIsSentWhileTheServerSkips) {
    auto situation = at_rest();
    situation.is_skipping = true;
    EXPECT_EQ(plan_by_course(situation)->next, Next::refused);
}

TEST(PlanByCourse, WhatComesInACopyIsForItsServer) {
    for (const auto slot : {Slot::primary, Slot::replica}) {
        auto situation = at_rest();
        situation.in_flight = {slot, false};
        situation.is_copying_in = true;
        const auto found = plan_by_course(situation);
        EXPECT_EQ(found->next, Next::chosen);
        EXPECT_EQ(found->slot, slot);
    }
}

TEST(PlanByCourse, WhatWasCancelledBeforeItWasSentIsRefused) {
    auto situation = at_rest();
    situation.is_cancelled = true;
    const auto found = plan_by_course(situation);
    EXPECT_EQ(found->next, Next::refused);
    EXPECT_EQ(found->why, ProxyErrc::query_canceled);
    situation.in_flight = {Slot::primary, false};
    EXPECT_FALSE(plan_by_course(situation)) << "the one in flight is meant";
}

TEST(PlanByCourse, AnOpenRequestOnThePrimaryGoesOnThere) {
    auto situation = at_rest();
    situation.in_flight = {Slot::primary, true};
    const auto found = plan_by_course(situation);
    EXPECT_EQ(found->next, Next::chosen);
    EXPECT_EQ(found->slot, Slot::primary);
    EXPECT_EQ(found->reason, Reason::in_transaction);
}

TEST(PlanByRoute, KeepsTheConnectionToACandidate) {
    for (const auto server : {kPrimary, kReplica}) {
        const auto found = plan(at_rest(), server);
        EXPECT_EQ(found.next, Next::chosen);
        EXPECT_EQ(found.slot, server == kPrimary ? Slot::primary : Slot::replica);
        EXPECT_EQ(found.reason, to(server).reason);
    }
}

TEST(PlanByRoute, WantsAConnectionWhereNoneIsHeld) {
    EXPECT_EQ(plan(Situation{}, kPrimary).next, Next::connection);
    const auto found = plan(at_rest(), kOtherReplica);
    EXPECT_EQ(found.next, Next::connection);
    EXPECT_EQ(found.slot, Slot::replica);
    EXPECT_EQ(found.reason, Reason::fresh_replica);
}

TEST(PlanByRoute, AnotherRunOfTheReplicaIsAnotherServer) {
    auto situation = at_rest();
    situation.held[1]->run = kRun - 1;
    EXPECT_EQ(plan(situation, kReplica).next, Next::connection);
    situation.held[0]->run = kRun - 1;
    EXPECT_EQ(plan(situation, kPrimary).next, Next::chosen) << "of the primary it is not asked";
}

TEST(PlanByRoute, FollowsWhatIsInFlightOnTheSameConnection) {
    auto situation = at_rest();
    situation.in_flight = {Slot::replica, false};
    EXPECT_EQ(plan(situation, kReplica).next, Next::chosen);
}

TEST(PlanByRoute, WaitsForWhatIsInFlightElsewhere) {
    auto situation = at_rest();
    situation.in_flight = {Slot::replica, false};
    EXPECT_EQ(plan(situation, kPrimary).next, Next::answers);
    EXPECT_EQ(plan(situation, kOtherReplica).next, Next::answers);
    situation.in_flight->is_open = true;
    EXPECT_EQ(plan(situation, kPrimary).next, Next::open_request);
}

TEST(PlanByRoute, WhatRunsAgainWaitsForNobody) {
    auto situation = at_rest();
    situation.in_flight = {Slot::replica, true};
    situation.is_run_again = true;
    EXPECT_EQ(plan(situation, kPrimary).next, Next::chosen);
}

TEST(PlanByRoute, ACancelOnItsWayMustNotHitIt) {
    auto situation = at_rest();
    situation.held[1]->has_cancel_in_flight = true;
    EXPECT_EQ(plan(situation, kReplica).next, Next::freshness);
    EXPECT_EQ(plan(situation, kPrimary).next, Next::chosen);
}

}  // namespace
}  // namespace pgsteer::proxy
