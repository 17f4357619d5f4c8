// A worker's pool before scripted servers.
#include "proxy/pool/pool.hpp"

#include "tests/support/pool_world.hpp"
#include "tests/support/scripted_peers.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace pgsteer::proxy {
namespace {

using namespace std::chrono_literals;
using routing::Clock;
using support::Fault;
using support::ScriptedServers;

class PoolTest : public testing::Test {
protected:
    explicit PoolTest(Fault fault = {}) : servers_{fault} { world_.rooms = {&pool_.room()}; }
    ~PoolTest() override {
        pool_.close_all_idle();
        world_.run();
    }
    LeaseResult acquire(routing::ServerId server, const std::string& settings = {}) {
        const auto target = PoolWorld::target(server, settings);
        Place place;
        return world_.result_of(pool_.acquire(target, place));
    }
    // What was given back is idle, or closed.
    void settle(LeaseResult& result) {
        result.lease.give_back();
        const auto end = Clock::now() + 60s;
        while (pool_.is_exhausted(PoolWorld::key()) && Clock::now() < end) world_.run();
    }

    ScriptedServers servers_;
    PoolWorld world_{[this](conf::Config& config) {
        config.servers[0].host = servers_.host(ScriptedServers::primary);
        config.servers[1].host = servers_.host(ScriptedServers::replica);
        config.auth.users.emplace_back().name = "joe";
        config.pool.size = 1;
    }};
    Pool pool_{world_.environment()};
};

TEST_F(PoolTest, OpensWhatItIsAskedForAndGivesItOutAgain) {
    auto first = acquire(PoolWorld::kPrimary);
    ASSERT_TRUE(first.lease) << first.failure.text;
    EXPECT_FALSE(first.lease->origin.to_replica);
    const auto id = first.lease->id;
    EXPECT_TRUE(pool_.is_exhausted(PoolWorld::key()));
    settle(first);
    EXPECT_FALSE(pool_.is_exhausted(PoolWorld::key()));
    auto second = acquire(PoolWorld::kPrimary);
    ASSERT_TRUE(second.lease);
    EXPECT_EQ(second.lease->id, id);
    EXPECT_EQ(world_.counters.server_connections_opened[0].get(), 1U);
}

TEST_F(PoolTest, ChecksAReplicaAndMakesItAlike) {
    auto result = acquire(PoolWorld::kReplica);
    ASSERT_TRUE(result.lease) << result.failure.text;
    EXPECT_TRUE(result.lease->origin.to_replica);
    EXPECT_EQ(result.lease->origin.incarnation, 1U);
    EXPECT_EQ(result.lease->server, PoolWorld::kReplica);
}

TEST_F(PoolTest, ReplacesAnIdleOneThatHasOtherSettings) {
    auto first = acquire(PoolWorld::kPrimary, "a");
    ASSERT_TRUE(first.lease);
    const auto id = first.lease->id;
    settle(first);
    auto second = acquire(PoolWorld::kPrimary, "b");
    ASSERT_TRUE(second.lease);
    EXPECT_NE(second.lease->id, id);
    EXPECT_EQ(world_.counters.server_connections[0].get(), 1U);
}

TEST_F(PoolTest, LetsWaitWhoComesTooLateUntilOneIsGivenBack) {
    auto first = acquire(PoolWorld::kPrimary);
    const auto target = PoolWorld::target();
    Place place;
    const auto second = world_.start(pool_.acquire(target, place));
    EXPECT_FALSE(*second);
    EXPECT_EQ(world_.asked_others, 1);
    EXPECT_EQ(world_.counters.pool_waiting.get(), 1U);
    first.lease.give_back();
    const auto end = Clock::now() + 60s;
    while (!*second && Clock::now() < end) world_.run();
    ASSERT_TRUE(*second);
    EXPECT_TRUE((*second)->lease);
    EXPECT_EQ(world_.counters.pool_waiting.get(), 0U);
}

TEST_F(PoolTest, LetsGoWhoLeavesTheLine) {
    auto first = acquire(PoolWorld::kPrimary);
    const auto target = PoolWorld::target();
    Place place;
    const auto second = world_.start(pool_.acquire(target, place));
    place.leave();
    world_.run();
    ASSERT_TRUE(*second);
    EXPECT_EQ((*second)->failure.reason(), ProxyErrc::query_canceled);
    EXPECT_FALSE(world_.counters.pool_timeouts.get());
}

TEST_F(PoolTest, FailsWhenNoneBecomesFreeInTheTimeOfTheGeneration) {
    auto first = acquire(PoolWorld::kPrimary);
    auto target = PoolWorld::target();
    auto config = std::make_shared<conf::Config>(*world_.generations_.current()->config);
    config->pool.acquire_timeout = 1ms;
    target.generation = world_.generations_.prepare(config);
    Place place;
    const auto second = world_.result_of(pool_.acquire(target, place));
    EXPECT_EQ(second.failure.reason(), ProxyErrc::acquire_timeout);
    EXPECT_EQ(world_.counters.pool_timeouts.get(), 1U);
}

TEST_F(PoolTest, KeepsWhatWasOpenedForSomebodyWhoHasLeft) {
    const auto target = PoolWorld::target();
    Place place;
    const auto result = world_.spawn(pool_.acquire(target, place));
    world_.io.restart();
    world_.io.poll_one();  // it begins; the server has not been asked anything
    place.leave();
    const auto end = Clock::now() + 60s;
    while (world_.counters.server_connections[0].get() == 0 && Clock::now() < end) world_.run();
    ASSERT_TRUE(*result);
    EXPECT_EQ((*result)->failure.reason(), ProxyErrc::query_canceled);
    EXPECT_FALSE(pool_.is_exhausted(PoolWorld::key())) << "it is idle";
}

TEST_F(PoolTest, RemembersALoginThatIsRefusedUntilItIsLetIn) {
    world_.back_off.refused(PoolWorld::key(), "28000", "no", Clock::now() - 1s);
    EXPECT_NE(pool_.advise(PoolWorld::key()), LoginBackOff::Advice::try_it);
    pool_.look_again(PoolWorld::target());
    const auto end = Clock::now() + 60s;
    while (world_.counters.server_connections[0].get() == 0 && Clock::now() < end) world_.run();
    EXPECT_EQ(pool_.advise(PoolWorld::key()), LoginBackOff::Advice::try_it);
    pool_.look_again(PoolWorld::target());  // there is no place for another one
    world_.run();
    EXPECT_EQ(world_.counters.server_connections_opened[0].get(), 1U);
    pool_.log_accepted_logins(Clock::now() + 1h);
}

TEST_F(PoolTest, RetiresWhatWasOpenedBefore) {
    auto first = acquire(PoolWorld::kPrimary);
    ASSERT_TRUE(first.lease);
    EXPECT_FALSE(pool_.is_retired(*first.lease.connection()));
    pool_.retire_all();
    EXPECT_TRUE(pool_.is_retired(*first.lease.connection()));
    settle(first);
    EXPECT_EQ(world_.counters.server_connections[0].get(), 0U);
}

TEST_F(PoolTest, RetiresReplicasOnceMoreWhenTheyHaveGotThatFar) {
    pool_.retire_all();
    auto first = acquire(PoolWorld::kReplica);
    ASSERT_TRUE(first.lease);
    EXPECT_FALSE(pool_.is_retired(*first.lease.connection()));
    auto next = std::make_shared<routing::Topology>(*world_.topology_.load());
    next->version = 2;
    next->servers[1].fresh_as_of = Clock::now();
    world_.topology_.publish(next);
    pool_.close_expired(Clock::now());
    EXPECT_TRUE(pool_.is_retired(*first.lease.connection()));
}

TEST_F(PoolTest, ClosesWhatHasBeenIdleForTooLong) {
    auto first = acquire(PoolWorld::kPrimary);
    settle(first);
    pool_.close_expired(Clock::now());
    EXPECT_EQ(world_.counters.server_connections[0].get(), 1U);
    pool_.close_expired(Clock::now() + 11min);
    EXPECT_EQ(world_.counters.server_connections[0].get(), 0U);
}

TEST_F(PoolTest, ClosesIdleOnesByServerAndKind) {
    auto first = acquire(PoolWorld::kPrimary);
    auto second = acquire(PoolWorld::kReplica);
    ASSERT_TRUE(first.lease && second.lease);
    settle(first);
    second.lease.give_back();
    const auto end = Clock::now() + 60s;
    while (pool_.is_exhausted(PoolWorld::key(PoolWorld::kReplica)) && Clock::now() < end)
        world_.run();
    SessionKind kind;
    kind.database = "app";
    kind.user = "joe";
    pool_.close_idle_replicas(kind);
    EXPECT_EQ(world_.counters.server_connections[1].get(), 0U);
    EXPECT_EQ(world_.counters.server_connections[0].get(), 1U);
    pool_.close_idle_to(PoolWorld::kPrimary);
    EXPECT_EQ(world_.counters.server_connections[0].get(), 0U);
}

TEST_F(PoolTest, OpensNothingToAServerThatIsConfiguredNoMore) {
    auto config = std::make_shared<conf::Config>(*world_.generations_.current()->config);
    config->servers.erase(config->servers.begin());
    const auto before = world_.generations_.current();
    const auto after = world_.generations_.prepare(config);
    pool_.adopt(after);
    Place place;
    ServerLogin login{"app", "joe", {}, false};
    const auto result = world_.result_of(pool_.connect(before, PoolWorld::kPrimary, login, place));
    EXPECT_EQ(result.failure.reason(), ProxyErrc::server_unreachable);
    EXPECT_THAT(result.failure.text, testing::HasSubstr("not in the configuration"));
    const auto replica = world_.result_of(pool_.connect(after, PoolWorld::kReplica, login, place));
    EXPECT_TRUE(replica.connection) << "the one that is left keeps its number";
    hang_up(replica.connection);
}

TEST_F(PoolTest, LooksAtWhatSessionsStartWithAgain) {
    auto first = acquire(PoolWorld::kReplica);
    world_.replica_settings.primary_has_changed();
    const auto outdated = world_.replica_settings.outdated();
    EXPECT_FALSE(outdated.empty());
    world_.result_of([](Pool& pool) -> awaitable<bool> {
        co_await pool.look_at_settings_again();
        co_return true;
    }(pool_));
    EXPECT_TRUE(world_.replica_settings.outdated().empty());
}

// What sessions begin with on the primary is known, and the primary cannot be asked again.
TEST_F(PoolTest, TellsAReplicaWhatThePrimaryHasOtherwise) {
    auto next = std::make_shared<routing::Topology>(*world_.topology_.load());
    next->version = 2;
    next->primary.reset();
    world_.topology_.publish(next);
    SettingValues values;
    for (auto& value : values) value = "another value";
    auto& settings = world_.replica_settings;
    settings.learn(kind_of_session("app", "joe", {}), values, ~SettingSet{}, settings.generation());
    auto result = acquire(PoolWorld::kReplica);
    ASSERT_TRUE(result.lease) << result.failure.text;
    EXPECT_FALSE(settings.report().empty());
}

TEST(PoolWithoutServers, GivesThePlaceBackAndRemembersTheFailure) {
    PoolWorld world{[](conf::Config& config) {
        config.servers[0].host = "127.0.0.1";
        config.servers[0].port = 1;  // nobody listens there
    }};
    Pool pool{world.environment()};
    const auto target = PoolWorld::target();
    Place place;
    const auto result = world.result_of(pool.acquire(target, place));
    EXPECT_FALSE(result.lease);
    EXPECT_EQ(result.failure.reason(), ProxyErrc::server_unreachable);
    EXPECT_EQ(world.counters.server_connect_failures[0].get(), 1U);
    EXPECT_FALSE(pool.is_exhausted(PoolWorld::key()));
    EXPECT_NE(world.evidence.doubted_at({0}), routing::kNever);
    const auto group = world.generations_.current()->budgets->of(PoolWorld::key());
    EXPECT_EQ(group->used(), 0);
}

}  // namespace
}  // namespace pgsteer::proxy
