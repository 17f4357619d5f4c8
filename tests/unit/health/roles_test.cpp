#include "health/roles.hpp"

#include <gtest/gtest.h>

namespace pgsteer::health {
namespace {

using conf::ServerRole;
using routing::Role;

constexpr std::uint64_t kOurs = 1001;
constexpr std::uint64_t kForeign = 2002;

Claim primary(std::uint32_t timeline = 1, std::uint64_t system = kOurs) {
    return {.is_known = true,
            .is_up = true,
            .in_recovery = false,
            .system_identifier = system,
            .timeline = timeline};
}
Claim replica(std::uint32_t timeline = 1, std::uint64_t system = kOurs) {
    Claim claim = primary(timeline, system);
    claim.in_recovery = true;
    return claim;
}
Claim down(Claim claim) {
    claim.is_up = false;
    return claim;
}
Claim unconfirmed(Claim claim) {
    claim.is_confirmed = false;
    return claim;
}
Claim configured(ServerRole role, Claim claim) {
    claim.configured = role;
    return claim;
}

struct Case {
    std::string name;
    std::vector<Claim> claims;
    std::optional<std::uint16_t> primary;
    std::vector<Role> roles;
    std::vector<std::string> faults;  // beginnings; "" = no fault
    bool is_split = false;
};

class RolesOf : public testing::TestWithParam<Case> {};

TEST_P(RolesOf, FollowFromWhatTheServersSay) {
    const auto& test = GetParam();
    RoleFinder finder;
    const auto roles = finder.find(test.claims);
    if (test.primary)
        EXPECT_EQ(roles.primary, std::size_t{*test.primary});
    else
        EXPECT_FALSE(roles.primary.has_value());
    EXPECT_EQ(roles.is_split, test.is_split);
    ASSERT_EQ(roles.servers.size(), test.roles.size());
    for (std::size_t i = 0; i < test.roles.size(); ++i) {
        EXPECT_EQ(roles.servers[i].role, test.roles[i]) << i;
        const auto& fault = test.faults[i];
        EXPECT_TRUE(fault.empty() ? roles.servers[i].fault.empty()
                                  : roles.servers[i].fault.starts_with(fault))
            << i << ": " << roles.servers[i].fault;
    }
}

INSTANTIATE_TEST_SUITE_P(
    Cases,
    RolesOf,
    testing::Values(
        Case{"Nothing", {Claim{}, Claim{}}, {}, {Role::unknown, Role::unknown}, {"", ""}},
        Case{"TheUsual", {replica(), primary()}, 1, {Role::replica, Role::primary}, {"", ""}},
        Case{"OnlyReplicas", {replica(), replica()}, {}, {Role::replica, Role::replica}, {"", ""}},
        Case{"PrimaryDown",
             {down(primary()), replica()},
             {},
             {Role::unknown, Role::replica},
             {"", ""}},
        Case{"LaterTimelineWins",
             {primary(1), primary(2), replica(2)},
             1,
             {Role::unknown, Role::primary, Role::replica},
             {"superseded", "", ""}},
        Case{"EqualTimelinesStopWrites",
             {primary(2), primary(2), replica(2)},
             {},
             {Role::primary, Role::primary, Role::replica},
             {"several", "several", ""},
             true},
        Case{"LaterTimelineWinsOverSeveralEqual",
             {primary(2), primary(2), primary(3)},
             2,
             {Role::unknown, Role::unknown, Role::primary},
             {"superseded", "superseded", ""}},
        Case{"APrimaryThatIsDownDoesNotCount",
             {down(primary(2)), primary(2)},
             1,
             {Role::unknown, Role::primary},
             {"", ""}},
        Case{"WhatADownServerClaimedIsNoRole",
             {primary(), down(replica()), down(primary())},
             0,
             {Role::primary, Role::unknown, Role::unknown},
             {"", "", ""}},
        Case{"AnUnconfirmedPrimaryDoesNotCount",
             {unconfirmed(primary()), replica()},
             {},
             {Role::primary, Role::replica},
             {"was lost", ""}},
        Case{"AnUnconfirmedPrimaryIsNoRival",
             {unconfirmed(primary(2)), primary(2)},
             1,
             {Role::unknown, Role::primary},
             {"was lost", ""}},
        Case{"ForeignServerAmongOurs",
             {primary(), replica(), replica(1, kForeign)},
             0,
             {Role::primary, Role::replica, Role::unknown},
             {"", "", "wrong system"}},
        Case{"ForeignPrimaryOfALaterTimeline",
             {primary(), replica(), primary(9, kForeign)},
             0,
             {Role::primary, Role::replica, Role::unknown},
             {"", "", "wrong system"}},
        Case{"ConfiguredPrimaryDecidesWhichClusterIsOurs",
             {primary(9, kForeign), replica(9, kForeign),
              configured(ServerRole::primary, primary())},
             2,
             {Role::unknown, Role::unknown, Role::primary},
             {"wrong system", "wrong system", ""}},
        Case{"ConfiguredReplicaIsNoPrimary",
             {configured(ServerRole::replica, primary()), replica()},
             {},
             {Role::primary, Role::replica},
             {"wrong role", ""}},
        Case{"ConfiguredPrimaryInRecovery",
             {configured(ServerRole::primary, replica()), primary()},
             1,
             {Role::replica, Role::primary},
             {"wrong role", ""}}),
    [](const auto& test) { return test.param.name; });

TEST(RoleFinder, NeverGoesBackToAnEarlierTimeline) {
    RoleFinder finder;
    EXPECT_EQ(finder.find(std::vector{primary(1), replica(1)}).primary, std::size_t{0});
    EXPECT_EQ(finder.find(std::vector{down(primary(1)), primary(2)}).primary, std::size_t{1});
    const auto roles = finder.find(std::vector{primary(1), down(primary(2))});
    EXPECT_FALSE(roles.primary.has_value());
    EXPECT_TRUE(roles.servers[0].fault.starts_with("superseded"));
}

TEST(RoleFinder, DoesNotHandTheWritesToAStrangerDuringAnOutage) {
    RoleFinder finder;
    EXPECT_EQ(finder.find(std::vector{primary(), replica(), primary(1, kForeign)}).primary,
              std::size_t{0});
    const auto roles =
        finder.find(std::vector{down(primary()), down(replica()), primary(1, kForeign)});
    EXPECT_FALSE(roles.primary.has_value());
    EXPECT_EQ(roles.servers[2].fault, "wrong system identifier");
}

TEST(RoleFinder, AcceptsAClusterThatWasRebuiltFromScratch) {
    RoleFinder finder;
    finder.find(std::vector{primary(7), replica(7)});
    const auto roles = finder.find(std::vector{primary(1, kForeign), replica(1, kForeign)});
    EXPECT_EQ(roles.primary, std::size_t{0});
    EXPECT_TRUE(roles.servers[1].fault.empty());
}

TEST(RoleFinder, ChangesItsMindAboutTheClusterWhileNotAllHaveSpoken) {
    RoleFinder finder;
    EXPECT_EQ(finder.find(std::vector{Claim{}, Claim{}, replica(1, kForeign)}).primary,
              std::nullopt);
    const auto roles = finder.find(std::vector{primary(), Claim{}, replica(1, kForeign)});
    EXPECT_EQ(roles.primary, std::size_t{0});
    EXPECT_EQ(roles.servers[2].fault, "wrong system identifier");
}

}  // namespace
}  // namespace pgsteer::health
