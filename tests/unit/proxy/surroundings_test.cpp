// What a worker lends its sessions, and the small objects in it.
#include "proxy/shared/surroundings.hpp"

#include "proxy/pool/pool.hpp"

#include <boost/asio/io_context.hpp>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <string>

namespace pgsteer::proxy {
namespace {

using namespace std::chrono_literals;
using routing::Lsn;
using routing::ServerId;
using routing::TimePoint;

const TimePoint kNow = TimePoint{} + 1h;

// --- statements ---

// It outlives all views of it.
const routing::Catalog* catalog_of(std::uint64_t epoch) {
    static std::map<std::uint64_t, std::shared_ptr<routing::Catalog>> catalogs;
    auto& catalog = catalogs[epoch];
    if (!catalog) {
        catalog = routing::build_catalog({}, std::make_shared<const routing::FunctionOverrides>());
        catalog->set_epoch(epoch);
    }
    return catalog.get();
}

routing::CatalogView view_of(std::uint64_t epoch, std::vector<std::string> path = {"public"}) {
    routing::CatalogView view;
    view.catalog = catalog_of(epoch);
    view.search_path.is_known = true;
    view.search_path.schemas = std::move(path);
    return view;
}

TEST(Statements, AreClassifiedOnce) {
    Statements statements{{1, 2}};
    health::WorkerCounters counters;
    const auto first = statements.classify("select 1");
    EXPECT_EQ(statements.classify("select 1"), first);
    statements.count(counters);
    EXPECT_EQ(counters.cache_misses.get(), 1U);
    EXPECT_EQ(counters.cache_hits.get(), 1U);
    EXPECT_GT(counters.cache_bytes.get(), 0U);
    (void)statements.classify("select 1");
    statements.count(counters);
    EXPECT_EQ(counters.cache_misses.get(), 1U) << "it is told of once";
    EXPECT_EQ(counters.cache_hits.get(), 2U);
}

TEST(Statements, CountWhatTheyNoLongerHold) {
    Statements statements{{1, 2}, 64 * 1024};
    health::WorkerCounters counters;
    for (int i = 0; i < 2'000; ++i) {
        (void)statements.classify("select x" + std::to_string(i) + " from y");
        if (i % 100 == 0) statements.count(counters);
    }
    statements.count(counters);
    EXPECT_GT(counters.cache_evictions.get(), 0U);
    EXPECT_LE(counters.cache_bytes.get(), 64U * 1024);
}

TEST(Statements, GiveEqualViewsTheSameNumberAndOthersAnotherOne) {
    Statements statements{{1, 2}};
    const auto number = statements.context(view_of(1));
    EXPECT_NE(number, 0U);
    EXPECT_EQ(statements.context(view_of(1)), number);
    EXPECT_NE(statements.context(view_of(2)), number);
    EXPECT_NE(statements.context(view_of(1, {"public", "shop"})), number);
    EXPECT_NE(statements.context(view_of(1, {})), number);
    auto view = view_of(1);
    view.may_be_serializable = !view.may_be_serializable;
    EXPECT_NE(statements.context(view), number);
    view = view_of(1);
    view.search_path.is_known = false;
    EXPECT_NE(statements.context(view), number);
    EXPECT_NE(statements.context({}), number);
    EXPECT_EQ(statements.context({}), statements.context({}));
}

TEST(Statements, GiveAForgottenViewANumberThatNoOtherHasHad) {
    Statements statements{{1, 2}, 1024, 2'000};
    std::uint64_t last = 0;
    for (int round = 0; round < 2; ++round)
        for (std::uint64_t epoch = 1; epoch <= 100; ++epoch) {
            const auto number = statements.context(view_of(epoch));
            EXPECT_GT(number, last);
            last = number;
        }
}

// --- parameters ---

TEST(LearntParameters, AreRememberedByTheirKeyUntilTheyAreForgotten) {
    LearntParameters parameters;
    EXPECT_EQ(parameters.find("app ann"), nullptr);
    parameters.remember("app ann", {{"TimeZone", "UTC"}});
    parameters.remember("app bob", {{"TimeZone", "CET"}});
    ASSERT_NE(parameters.find("app ann"), nullptr);
    EXPECT_EQ(parameters.find("app ann")->all().at("TimeZone"), "UTC");
    parameters.forget_all();
    EXPECT_EQ(parameters.find("app ann"), nullptr);
    EXPECT_EQ(parameters.find("app bob"), nullptr);
}

TEST(LearntParameters, AreForgottenWhenThereAreTooMany) {
    LearntParameters parameters{10'000};
    for (int i = 0; i < 1'000; ++i)
        parameters.remember(std::to_string(i), {{"TimeZone", std::string(100, 'x')}});
    EXPECT_EQ(parameters.find("0"), nullptr);
    EXPECT_NE(parameters.find("999"), nullptr);
}

// --- freshness ---

class SharedFreshnessTest : public testing::Test {
protected:
    LearntPositions learnt_{health::ServerIds::kMost};
    SharedWrites writes_;
    std::atomic<int> primary_reads_{0};
    SharedFreshness freshness_{learnt_, writes_, primary_reads_};
};

TEST_F(SharedFreshnessTest, TellsThePositionsOfTheRunsThatTheTopologyKnows) {
    routing::Topology topology;
    topology.servers.resize(4);
    topology.servers[1].incarnation.number = 1;
    topology.servers[3].incarnation.number = 2;
    freshness_.learnt().learn(ServerId{1}, 1, Lsn{100});
    freshness_.learnt().learn(ServerId{3}, 1, Lsn{200});  // of a run that is over
    EXPECT_THAT(freshness_.positions(topology),
                testing::ElementsAre(Lsn{}, Lsn{100}, Lsn{}, Lsn{}));
    topology.servers.resize(health::ServerIds::kMost + 5);
    EXPECT_EQ(freshness_.positions(topology).size(), health::ServerIds::kMost);
}

TEST_F(SharedFreshnessTest, SamplesOnceInAnInterval) {
    EXPECT_TRUE(freshness_.may_sample(kNow, 10ms));
    EXPECT_FALSE(freshness_.may_sample(kNow + 9ms, 10ms));
    EXPECT_TRUE(freshness_.may_sample(kNow + 10ms, 10ms));
    EXPECT_FALSE(freshness_.may_sample(kNow + 19ms, 10ms));
    EXPECT_TRUE(freshness_.may_sample(kNow + 19ms, 0ms));
}

TEST_F(SharedFreshnessTest, KeepsTheAccountOfEachReplica) {
    auto& last = freshness_.verification(ServerId{health::ServerIds::kMost - 1});
    for (unsigned i = 0; i < Verification::kForGood; ++i) last.ended(false, kNow);
    EXPECT_FALSE(last.is_worth_trying(kNow));
    EXPECT_TRUE(freshness_.verification(ServerId{0}).is_worth_trying(kNow));
}

// --- all of it ---

class SurroundingsTest : public testing::Test {
protected:
    static std::shared_ptr<conf::Config> config_of(int max_clients) {
        auto config = std::make_shared<conf::Config>();
        config->servers.resize(2);
        config->servers[0].name = "first";
        config->servers[1].name = "second";
        config->listen.max_clients = max_clients;
        config->routing.sample_interval = 10ms;
        return config;
    }

    boost::asio::io_context io_;
    Generations generations_{config_of(1)};
    health::TopologyStore topology_{health::first_topology(generations_.current()->servers)};
    health::Evidence evidence_{health::ServerIds::kMost};
    health::Catalogs catalogs_{generations_.current()->config, generations_.current()->servers,
                               topology_};
    ProcessFacts facts_{topology_, evidence_, catalogs_, {1, 2}, SessionNumbers{5}};
    LoginBackOff back_off_;
    ReplicaSettings replica_settings_;
    health::WorkerCounters counters_;
    Pool pool_{{.executor = io_.get_executor(),
                .generation = generations_.current(),
                .topology = &topology_,
                .evidence = &evidence_,
                .counters = &counters_,
                .back_off = &back_off_,
                .replica_settings = &replica_settings_,
                .workers = 1,
                .ask_other_workers = {},
                .tell_other_workers = {},
                .on_all_workers = {},
                .replicas_are_outdated = {}}};
    std::vector<std::pair<std::size_t, std::uint32_t>> cancels_;
    int login_changes_ = 0;
    Surroundings surroundings_{{.executor = io_.get_executor(),
                                .worker = 1,
                                .generation = generations_.current(),
                                .facts = facts_,
                                .pool = pool_,
                                .counters = counters_,
                                .cancel_on =
                                    [this](std::size_t worker, wire::CancelRequest request) {
                                        cancels_.emplace_back(worker, request.process_id);
                                    },
                                .logins_change = [this] { ++login_changes_; }}};
};

TEST_F(SurroundingsTest, TellTheLatestTopology) {
    EXPECT_EQ(surroundings_.topology().version, 0U);
    auto next = std::make_shared<routing::Topology>(*topology_.load());
    next->version = 1;
    next->primary = ServerId{1};
    topology_.publish(next);
    EXPECT_EQ(surroundings_.topology().primary, ServerId{1});
    evidence_.server_unreachable(ServerId{0});
    EXPECT_TRUE(surroundings_.suspects(surroundings_.topology()).contains(ServerId{0}));
    EXPECT_EQ(surroundings_.in_flight().size(), health::ServerIds::kMost);
}

TEST_F(SurroundingsTest, GiveNewSessionsTheCurrentGenerationAndOldOnesKeepTheirs) {
    const auto held = surroundings_.generation();  // by a session
    const auto next = generations_.prepare(config_of(2));
    generations_.publish(next);
    surroundings_.adopt(next);
    pool_.adopt(next);
    EXPECT_EQ(surroundings_.generation(), next);
    EXPECT_EQ(held->config->listen.max_clients, 1);
    EXPECT_EQ(surroundings_.servers()[ServerId{1}].name, "second");
}

TEST_F(SurroundingsTest, ForwardACancelToItsOwner) {
    surroundings_.forward_cancel({facts_.session_numbers.process_id({7, 1}), 0});
    surroundings_.forward_cancel({facts_.session_numbers.process_id({1, 1}), 0});
    ASSERT_EQ(cancels_.size(), 2U);
    EXPECT_EQ(cancels_[0].first, 7U);
    EXPECT_EQ(cancels_[1].first, 1U);
    surroundings_.logins_change();
    EXPECT_EQ(login_changes_, 1);
}

}  // namespace
}  // namespace pgsteer::proxy
