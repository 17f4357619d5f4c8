#include "proxy/pool/replica_settings.hpp"

#include <gtest/gtest.h>

namespace pgsteer::proxy {
namespace {

using routing::ServerId;

constexpr ServerId kReplica{1};
constexpr ServerId kOther{2};
const SessionKind kAlice{"app", "alice", ""};
const SessionKind kBob{"app", "bob", ""};
const SettingSet kAll = ~SettingSet{};

SettingSet only(std::size_t place) { return SettingSet{}.set(place); }

SettingValues values(std::string_view first, std::string_view second = "b") {
    SettingValues result;
    result[0] = first;
    result[1] = second;
    return result;
}

struct Settings : testing::Test {
    ReplicaSettings settings;

    bool learn(const SettingValues& learnt,
               const SessionKind& kind = kAlice,
               SettingSet known = kAll) {
        return settings.learn(kind, learnt, known, settings.generation());
    }
    std::vector<health::SettingDifference> found(ReplicaSettings::Remedy remedy,
                                                 const SessionKind& kind = kAlice,
                                                 ServerId server = kReplica,
                                                 bool is_settled = true) {
        return settings.found(server, kind, values("a"), values("x", "y"), remedy, is_settled);
    }
};

TEST_F(Settings, AreKnownOnceThePrimaryWasAsked) {
    EXPECT_FALSE(settings.start(kAlice).covers(kAll));
    EXPECT_FALSE(learn(values("a")));
    EXPECT_TRUE(settings.start(kAlice).covers(kAll));
    EXPECT_EQ(settings.start(kAlice).values, values("a"));
    EXPECT_FALSE(settings.start(kBob).covers(SettingSet{}));
}

TEST_F(Settings, ThatAClientHasBroughtAlongAreLearntFromOthers) {
    learn(values("alice's"), kAlice, ~only(0));
    EXPECT_FALSE(settings.start(kAlice).covers(kAll));
    EXPECT_TRUE(settings.start(kAlice).covers(~only(0)));
    EXPECT_FALSE(learn(values("a"), kAlice, kAll)) << "nobody was given another value";
    EXPECT_EQ(settings.start(kAlice).values, values("a"));
    learn(values("alice's"), kAlice, ~only(0));
    EXPECT_EQ(settings.start(kAlice).values, values("a"));
}

TEST_F(Settings, OfAPrimaryThatHasChangedAreAskedForAgain) {
    learn(values("a"));
    found({only(0), {}});
    EXPECT_TRUE(settings.outdated().empty());
    const auto before = settings.generation();
    settings.primary_has_changed();
    EXPECT_EQ(settings.outdated(), std::vector{kAlice});
    EXPECT_FALSE(settings.start(kAlice).covers(kAll));
    EXPECT_EQ(settings.start(kAlice).values, values("a")) << "better than nothing";
    EXPECT_FALSE(settings.learn(kAlice, values("late"), kAll, before));
    EXPECT_EQ(settings.start(kAlice).values, values("a"));

    EXPECT_FALSE(learn(values("a"))) << "the same";
    EXPECT_EQ(settings.remedy(kReplica, kAlice).sent, only(0));
    settings.primary_has_changed();
    EXPECT_TRUE(learn(values("c")));
    EXPECT_TRUE(settings.remedy(kReplica, kAlice).sent.none()) << "may be equal by now";
}

TEST_F(Settings, ThatWereMissedMakeConnectionsOutdatedWhenTheyAreKnown) {
    settings.miss(kAlice);
    EXPECT_FALSE(settings.start(kAlice).is_current);
    EXPECT_TRUE(learn(values("a")));
    EXPECT_FALSE(learn(values("a")));
}

TEST_F(Settings, OfRolesThatHaveChangedConcernNewSessionsOnly) {
    learn(values("a"));
    found({only(0), {}});
    settings.logins_have_changed();
    EXPECT_TRUE(settings.outdated().empty());
    EXPECT_FALSE(learn(values("c")));
    EXPECT_TRUE(settings.remedy(kReplica, kAlice).sent.none());
    EXPECT_TRUE(settings.report().empty());
}

TEST_F(Settings, ThatDifferAreRememberedByServerAndKind) {
    found({only(0), only(1)});
    EXPECT_EQ(settings.remedy(kReplica, kAlice).sent, only(0));
    EXPECT_EQ(settings.remedy(kReplica, kAlice).refused, only(1));
    EXPECT_TRUE(settings.remedy(kReplica, kBob).sent.none());
    EXPECT_TRUE(settings.remedy(kOther, kAlice).sent.none());
    settings.forget(kReplica, kAlice);
    EXPECT_TRUE(settings.remedy(kReplica, kAlice).sent.none());
}

TEST_F(Settings, AreReportedWhileTheyDiffer) {
    found({only(0), only(1)});
    found({only(0), only(1)}, kAlice, kOther);
    const auto report = settings.report();
    ASSERT_EQ(report.size(), 4U);
    const auto& first = report[0].setting == kReviewedSettings[0] ? report[0] : report[1];
    const auto& second = report[0].setting == kReviewedSettings[0] ? report[1] : report[0];
    EXPECT_EQ(first.setting, kReviewedSettings[0]);
    EXPECT_EQ(first.primary, "a");
    EXPECT_EQ(first.replica, "x");
    EXPECT_TRUE(first.is_made_up);
    EXPECT_FALSE(second.is_made_up);
    settings.forget(kReplica);
    EXPECT_EQ(settings.report().size(), 2U);
}

TEST_F(Settings, AreReportedForThoseWhoAnswerOtherwise) {
    found({only(0), {}}, kAlice);
    found({{}, only(0)}, kBob);
    const auto report = settings.report();
    ASSERT_EQ(report.size(), 1U);
    EXPECT_EQ(report[0].user, "bob");
    EXPECT_FALSE(report[0].is_made_up);
}

TEST_F(Settings, AreNewsOnce) {
    EXPECT_EQ(found({only(0), only(1)}).size(), 2U);
    EXPECT_EQ(found({only(0), only(1)}, kBob).size(), 0U);
    EXPECT_EQ(found({{}, only(0)}, kBob).size(), 1U) << "bob may not set it";
    EXPECT_EQ(found({only(0), only(1)}, kAlice, kOther).size(), 2U);
    settings.forget(kReplica);
    EXPECT_EQ(found({only(0), only(1)}).size(), 0U) << "it still is so";
    EXPECT_EQ(
        settings.found(kReplica, kAlice, values("a"), values("z"), {only(0), {}}, true).size(), 1U);
}

TEST_F(Settings, OfAReplicaThatIsBehindARoleAreNotToldOf) {
    EXPECT_TRUE(found({only(0), only(1)}, kAlice, kReplica, false).empty());
    EXPECT_TRUE(settings.report().empty());
    EXPECT_EQ(settings.remedy(kReplica, kAlice).sent, only(0));
}

TEST_F(Settings, AreBounded) {
    for (int i = 0; i < 5000; ++i) {
        const SessionKind kind{"app", std::to_string(i), ""};
        learn(values("a"), kind);
        settings.miss({"app", "missed" + std::to_string(i), ""});
        found({only(0), {}}, kind);
    }
    settings.primary_has_changed();
    EXPECT_LE(settings.outdated().size(), ReplicaSettings::kMaxKinds);
    EXPECT_EQ(settings.report().size(), 1U);
}

}  // namespace
}  // namespace pgsteer::proxy
