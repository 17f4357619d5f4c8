#include "health/server_table.hpp"

#include "health/checker.hpp"
#include "health/cluster.hpp"
#include "health/metrics.hpp"
#include "routing/decide.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace pgsteer::health {
namespace {

using routing::Lsn;
using routing::Role;
using routing::ServerId;
using routing::Status;
using routing::TimePoint;
using testing::ElementsAre;
using namespace std::chrono_literals;

std::shared_ptr<const conf::Config> config_of(const std::vector<std::string>& names) {
    auto config = std::make_shared<conf::Config>();
    for (const auto& name : names) {
        auto& server = config->servers.emplace_back();
        server.name = name;
        server.host = name + ".example";
    }
    return config;
}

std::vector<ServerId> ids_of(const ServerTable& table) {
    return {table.ids().begin(), table.ids().end()};
}

TEST(ServerTable, NumbersTheFirstConfigurationInItsOrder) {
    ServerIds ids;
    const auto table = ServerTable::number(config_of({"a", "b", "c"}), ids);
    ASSERT_TRUE(table);
    EXPECT_THAT(ids_of(*table), ElementsAre(ServerId{0}, ServerId{1}, ServerId{2}));
    EXPECT_EQ(table->bound(), 3U);
    EXPECT_EQ((*table)[ServerId{1}].name, "b");
    EXPECT_EQ(ids_of(ServerTable{config_of({"a", "b", "c"})}), ids_of(*table));
}

TEST(ServerTable, KeepsTheNumbersOfServersThatStayWhateverIsRemovedAddedOrMoved) {
    ServerIds ids;
    const auto before = ServerTable::number(config_of({"a", "b", "c"}), ids);
    const auto after = ServerTable::number(config_of({"d", "c", "a"}), ids);
    ASSERT_TRUE(before && after);
    EXPECT_THAT(ids_of(*after), ElementsAre(ServerId{3}, ServerId{2}, ServerId{0}));
    EXPECT_EQ((*after)[ServerId{0}].name, "a");
    EXPECT_EQ((*after)[ServerId{2}].name, "c");
    EXPECT_EQ((*after)[ServerId{3}].name, "d");
    EXPECT_EQ(after->position(ServerId{3}), 0);
    EXPECT_EQ(after->bound(), 4U);
    EXPECT_EQ((*before)[ServerId{1}].name, "b") << "the former table is as it was";
}

TEST(ServerTable, KnowsWhichServersItDoesNotHave) {
    ServerIds ids;
    const auto before = ServerTable::number(config_of({"a", "b"}), ids);
    const auto after = ServerTable::number(config_of({"a", "c"}), ids);
    ASSERT_TRUE(before && after);
    EXPECT_FALSE(after->contains(ServerId{1}));
    EXPECT_EQ(after->position(ServerId{1}), -1);
    EXPECT_EQ((*after)[ServerId{1}].name, "(removed)");
    EXPECT_FALSE(before->contains(ServerId{2}));
    EXPECT_EQ((*before)[ServerId{2}].host, "");
    EXPECT_EQ((*before)[ServerId{60'000}].host, "");
    EXPECT_FALSE(ServerTable{}.contains(ServerId{0}));
}

TEST(ServerIds, TakesAServerAtAnotherAddressForAnotherOne) {
    ServerIds ids;
    auto config = std::make_shared<conf::Config>(*config_of({"a"}));
    ASSERT_TRUE(ServerTable::number(config, ids));
    auto moved = std::make_shared<conf::Config>(*config);
    moved->servers[0].port = 6543;
    EXPECT_THAT(ids_of(*ServerTable::number(moved, ids)), ElementsAre(ServerId{1}));
    auto weighted = std::make_shared<conf::Config>(*config);
    weighted->servers[0].weight = 7;
    EXPECT_THAT(ids_of(*ServerTable::number(weighted, ids)), ElementsAre(ServerId{0}));
}

TEST(ServerIds, GivesTheFormerNumberToAServerThatComesBack) {
    ServerIds ids;
    for (int i = 0; i < 100; ++i) {
        ASSERT_TRUE(ServerTable::number(config_of({"a", "b"}), ids));
        const auto without = ServerTable::number(config_of({"b"}), ids);
        ASSERT_TRUE(without);
        EXPECT_THAT(ids_of(*without), ElementsAre(ServerId{1}));
    }
}

TEST(ServerIds, RefusesAConfigurationForWhichThereAreNotEnoughNumbersLeft) {
    ServerIds ids;
    for (std::size_t i = 1; i < ServerIds::kMost; ++i)
        ASSERT_TRUE(ServerTable::number(config_of({"server" + std::to_string(i)}), ids));
    EXPECT_FALSE(ServerTable::number(config_of({"server1", "x", "y"}), ids));
    const auto one_more = ServerTable::number(config_of({"server1", "y"}), ids);
    ASSERT_TRUE(one_more) << "what was refused has taken no number";
    EXPECT_THAT(ids_of(*one_more), ElementsAre(ServerId{0}, ServerId{31}));
    EXPECT_TRUE(routing::ServerSet{ServerId{31}}.contains(ServerId{31}));
}

// --- what works by number goes on working when numbers have gaps ---

class WithGaps : public testing::Test {
protected:
    WithGaps() {
        ServerIds ids;
        (void)ServerTable::number(config_of({"gone", "a", "gone too"}), ids);
        table = *ServerTable::number(config, ids);  // b is 3, a is 1, c is 4
    }
    static Observation seen(bool in_recovery, std::uint64_t position) {
        return {.in_recovery = in_recovery,
                .position = Lsn{0x1000'0100 + position},
                .flushed = Lsn{0x1000'0100 + position},
                .sent_at = TimePoint{} + 1h,
                .response_time = 1ms,
                .is_full = true,
                .postmaster_start_us = 1'000,
                .system_identifier = 42,
                .timeline = 1};
    }

    std::shared_ptr<const conf::Config> config = config_of({"b", "a", "c"});
    ServerTable table;
    const ServerId a{1}, b{3}, c{4};
};

TEST_F(WithGaps, ATopologyTellsWhatIsKnownOfEachServer) {
    Cluster cluster{config, table};
    cluster.succeeded(c, seen(false, 100));
    cluster.succeeded(a, seen(true, 100));
    cluster.succeeded(b, seen(true, 50));
    const auto topology = cluster.assess(TimePoint{} + 1h + 1ms);
    EXPECT_EQ(cluster.primary(), c);
    EXPECT_EQ(topology.primary, c);
    EXPECT_EQ(topology.servers.size(), 5U);
    EXPECT_EQ(topology[a].role, Role::replica);
    EXPECT_EQ(topology[a].position, Lsn{0x1000'0100 + 100});
    EXPECT_EQ(topology[b].position, Lsn{0x1000'0100 + 50});
    for (const auto gap : {ServerId{0}, ServerId{2}}) {
        EXPECT_EQ(topology[gap].role, Role::unknown);
        EXPECT_EQ(topology[gap].fresh_as_of, routing::kNever);
    }
    EXPECT_EQ(topology[ServerId{5}].role, Role::unknown) << "a server that is newer";
}

TEST_F(WithGaps, AClusterIsWholeWhenAllOfItsOwnServersHaveSpoken) {
    Cluster cluster{config, table};
    cluster.succeeded(c, seen(false, 100));
    cluster.failed(a, TimePoint{} + 2h, "gone");
    cluster.succeeded(b, seen(true, 100));
    EXPECT_TRUE(cluster.has_sound_primary());
    EXPECT_FALSE(cluster.must_be_asked(a));
    EXPECT_EQ(cluster.answered_as(b), Role::replica);
    EXPECT_EQ(cluster.answered_as(a), Role::unknown);
}

TEST_F(WithGaps, ReadsGoToReplicasAndToNoGap) {
    auto topology = *first_topology(table);
    for (const auto id : {a, b, c}) {
        auto& server = topology.servers[id.index];
        server.role = id == c ? Role::primary : Role::replica;
        server.status = Status::healthy;
        server.incarnation = {1, 1, 1, 1};
        server.fresh_as_of = server.checked_at = TimePoint{} + 1h;
    }
    topology.primary = c;
    routing::SessionView session;
    session.consistency = routing::Consistency::eventual;
    routing::Statement statement;
    statement.access = routing::Access::read_only;
    const auto route = routing::decide(statement, session, topology, TimePoint{} + 1h);
    EXPECT_THAT(route.candidates, testing::UnorderedElementsAre(a, b));
    session.avoid = routing::ServerSet{a, b};
    EXPECT_THAT(routing::decide(statement, session, topology, TimePoint{} + 1h).candidates,
                ElementsAre(c));
}

TEST_F(WithGaps, MetricsTellOfTheServersOfTheConfiguration) {
    WorkerCounters worker;
    worker.server_connections[b.index].add(7);
    worker.server_connections[0].add(5);  // of one that is gone
    worker.databases.of("shop")->servers[c.index].failed.add(3);
    worker.databases.of("shop")->servers[2].failed.add(9);
    Sources sources;
    sources.config = config.get();
    sources.servers = table;
    sources.workers = {&worker};
    const auto text = Metrics{sources}.text();
    EXPECT_THAT(text, testing::HasSubstr("pgsteer_server_connections{server=\"b\"} 7\n"));
    EXPECT_THAT(text, testing::HasSubstr("{database=\"shop\",server=\"c\"} 3\n"));
    EXPECT_THAT(text, testing::HasSubstr("{database=\"shop\",server=\"a\"} 0\n"));
    EXPECT_THAT(text, testing::Not(testing::HasSubstr("} 5\n")));
    EXPECT_THAT(text, testing::Not(testing::HasSubstr("} 9\n")));
    EXPECT_THAT(text, testing::Not(testing::HasSubstr("(removed)")));
}

TEST_F(WithGaps, EvidenceHoldsAgainstTheServerItWasFoundAgainst) {
    Evidence evidence{ServerIds::kMost};
    EXPECT_TRUE(evidence.server_unreachable(b));
    const auto topology = *first_topology(table);
    EXPECT_EQ(evidence.suspects(topology), routing::ServerSet{b});
}

}  // namespace
}  // namespace pgsteer::health
