#include "proxy/session/freshness.hpp"

#include <gtest/gtest.h>

namespace pgsteer::proxy {
namespace {

using namespace std::chrono_literals;
using routing::Consistency;
using routing::Lsn;
using routing::ServerId;
using routing::TransactionStatus;
using routing::WalPosition;

constexpr ServerId kReplica{1};
constexpr ServerId kOther{2};
constexpr routing::TimePoint kStart{1h};

TEST(Freshness, TheSessionsOwnLevelGoesBeforeTheConfigured) {
    Freshness freshness;
    freshness.start_with(Consistency::global);
    EXPECT_EQ(freshness.level({}), Consistency::global);
    routing::ReadOptions options;
    options.consistency = Consistency::eventual;
    EXPECT_EQ(freshness.level(options), Consistency::eventual);
}

TEST(Freshness, AnAnswerOfThePrimaryRaisesTheFloorAndForgetsPositions) {
    Freshness freshness;
    freshness.primary_has_answered(kStart);
    freshness.sampled({3, Lsn{100}}, kStart);
    freshness.proven(kReplica, 7, {3, Lsn{100}});
    EXPECT_EQ(freshness.floor().proven_incarnation, 7U);
    freshness.primary_has_answered(kStart + 1s);
    EXPECT_EQ(freshness.floor().primary_seen, kStart + 1s);
    EXPECT_EQ(freshness.floor().primary_position.timeline, 0U);
    EXPECT_EQ(freshness.floor().proven_incarnation, 0U);
    EXPECT_FALSE(freshness.floor().covers_replica);
}

TEST(Freshness, ASampleCoversWhatAReplicaHasShownBeforeItWasAskedFor) {
    Freshness freshness;
    freshness.replica_has_answered(kReplica, kStart);
    freshness.sampled({1, Lsn{5}}, kStart - 1ms);
    EXPECT_FALSE(freshness.floor().covers_replica);
    freshness.sampled({1, Lsn{6}}, kStart);
    EXPECT_TRUE(freshness.floor().covers_replica);
    freshness.replica_has_answered(kReplica, kStart + 1ms);
    EXPECT_FALSE(freshness.floor().covers_replica);
}

TEST(Freshness, AProofIsOfOneRunOfOneReplicaAndOfOneTimeline) {
    Freshness freshness;
    freshness.sampled({2, Lsn{50}}, kStart);
    freshness.proven(kReplica, 7, {2, Lsn{49}});
    EXPECT_EQ(freshness.floor().proven_incarnation, 0U) << "behind";
    freshness.proven(kReplica, 7, {3, Lsn{90}});
    EXPECT_EQ(freshness.floor().proven_incarnation, 0U) << "another timeline";
    freshness.proven(kReplica, 7, {2, Lsn{50}});
    EXPECT_EQ(freshness.floor().proven_incarnation, 7U);
    EXPECT_EQ(freshness.floor().last_replica, kReplica);
    freshness.replica_has_answered(kReplica, kStart);
    EXPECT_EQ(freshness.floor().proven_incarnation, 7U) << "the same one";
    freshness.replica_has_answered(kOther, kStart);
    EXPECT_EQ(freshness.floor().proven_incarnation, 0U);
    EXPECT_EQ(freshness.floor().last_replica, kOther);
}

TEST(Freshness, WhatWasWrittenAndRolledBackIsUnflushed) {
    Freshness freshness;
    freshness.primary_request_ended(true, false, TransactionStatus::idle);
    EXPECT_FALSE(freshness.is_unflushed()) << "COMMIT flushes";
    freshness.primary_request_ended(true, true, TransactionStatus::idle);
    EXPECT_TRUE(freshness.is_unflushed()) << "an error is a rollback";
    freshness.flushed();
    EXPECT_FALSE(freshness.is_unflushed());
    freshness.primary_request_ended(true, false, TransactionStatus::in_block);
    EXPECT_FALSE(freshness.is_unflushed()) << "it goes on";
    freshness.rolled_back();
    freshness.primary_request_ended(false, false, TransactionStatus::idle);
    EXPECT_TRUE(freshness.is_unflushed());
    freshness.primary_request_ended(true, false, TransactionStatus::idle);
    EXPECT_FALSE(freshness.is_unflushed()) << "a later commit flushes it as well";
}

TEST(Freshness, ARollbackOfReadsLeavesNothingToFlush) {
    Freshness freshness;
    freshness.rolled_back();
    freshness.primary_request_ended(false, true, TransactionStatus::idle);
    EXPECT_FALSE(freshness.is_unflushed());
}

TEST(Freshness, ASessionThatOnlyWritesIsSampledLessAndLess) {
    Freshness freshness;
    std::uint32_t worthwhile = 0;
    for (std::uint32_t i = 0; i < Freshness::kEveryUnread * 10; ++i)
        worthwhile += freshness.is_sample_worthwhile() ? 1 : 0;
    EXPECT_EQ(worthwhile, Freshness::kUnreadSamples + 10);
    freshness.reads();
    EXPECT_TRUE(freshness.is_sample_worthwhile());
}

}  // namespace
}  // namespace pgsteer::proxy
