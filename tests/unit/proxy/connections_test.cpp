// The connections of one worker, each with its server at the other end of a socket pair; and the
// room that idle ones make.
#include "proxy/pool/connections.hpp"

#include "proxy/pool/room.hpp"
#include "tests/support/pool_world.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace pgsteer::proxy {
namespace {

using namespace std::chrono_literals;
using namespace std::string_literals;
using routing::Clock;
using testing::HasSubstr;

const std::string kDone =
    "C\0\0\0\x10"
    "DISCARD ALL\0"s +
    "Z\0\0\0\x05I"s;
const std::string kFailed =
    "E\0\0\0\x0d"
    "C42P01\0\0\0"s +
    "Z\0\0\0\x05I"s;
const std::string kNotice =
    "N\0\0\0\x0d"
    "C00000\0\0\0"s;
const std::string kShutdown =
    "E\0\0\0\x13"
    "SFATAL\0C57P01\0\0"s;
const std::string kTerminate = "X\0\0\0\4"s;

class ConnectionsTest : public testing::Test {
protected:
    // One whose place in the budget is taken.
    ServerConnectionPtr added(OtherEnd& server, routing::ServerId id = PoolWorld::kPrimary) {
        auto& group = connections_.group_of(PoolWorld::key(id));
        EXPECT_TRUE(group.budget->try_take());
        auto connection = PoolWorld::connected(server, id);
        connections_.add(group, connection);
        world_.run();
        return connection;
    }
    ServerConnectionPtr idle(OtherEnd& server, routing::ServerId id = PoolWorld::kPrimary) {
        auto connection = added(server, id);
        connections_.keep_new(connection);
        world_.run();
        return connection;
    }
    ConnectionGroup& group(routing::ServerId id = PoolWorld::kPrimary) {
        return connections_.group_of(PoolWorld::key(id));
    }
    std::uint64_t open() const { return world_.counters.server_connections[0].get(); }
    void TearDown() override {
        connections_.close_idle_where([](const auto&, const auto&) { return true; });
        world_.run();
    }

    PoolWorld world_;
    PoolEnvironment env_ = world_.environment();
    Retirement retirement_;
    Connections connections_{env_, retirement_};
    OtherEnd server_{world_.io};
    OtherEnd other_{world_.io};
};

TEST_F(ConnectionsTest, AreGivenOutAgainWhenTheyWereReset) {
    const auto connection = added(server_);
    auto given = connections_.lease_of(connection);
    EXPECT_GT(connection->lease_number, 0U);
    given.lease.give_back();
    world_.run();
    EXPECT_THAT(server_.heard(), HasSubstr("DISCARD ALL"));
    EXPECT_TRUE(group().idle.empty());
    EXPECT_EQ(group().resetting, 1);
    server_.say(kDone);
    EXPECT_EQ(group().idle.size(), 1U);
    EXPECT_EQ(group().resetting, 0);
    EXPECT_EQ(connections_.take_idle(group(), PoolWorld::target()), connection);
    EXPECT_EQ(connections_.take_idle(group(), PoolWorld::target()), nullptr);
    connections_.close(connection);
}

TEST_F(ConnectionsTest, ThatCannotBeResetAreClosed) {
    auto given = connections_.lease_of(added(server_));
    given.lease = Lease{};  // another lease in its place gives it back
    world_.run();
    server_.say(kFailed);
    EXPECT_EQ(open(), 0U);
    EXPECT_EQ(group().budget->used(), 0);
    EXPECT_THAT(server_.heard(), HasSubstr(kTerminate));
}

TEST_F(ConnectionsTest, AreClosedOnceWhoeverClosesThem) {
    const auto connection = added(server_);
    auto given = connections_.lease_of(connection);
    connections_.close(connection);
    connections_.close(connection);
    given.lease.give_back();
    EXPECT_EQ(open(), 0U);
    EXPECT_EQ(group().budget->used(), 0);
    auto discarded = connections_.lease_of(added(other_));
    discarded.lease.discard();
    EXPECT_FALSE(discarded.lease);
    EXPECT_EQ(open(), 0U);
}

struct Unusable {
    const char* why;
    std::function<void(ServerConnection&)> spoil;
};
class UnusableTest : public ConnectionsTest, public testing::WithParamInterface<Unusable> {};

TEST_P(UnusableTest, IsClosedWhenItComesBack) {
    const auto connection = added(server_);
    auto given = connections_.lease_of(connection);
    GetParam().spoil(*connection);
    given.lease.give_back();
    EXPECT_EQ(open(), 0U);
    EXPECT_FALSE(connection->stream.is_open());
}

INSTANTIATE_TEST_SUITE_P(
    Connections,
    UnusableTest,
    testing::Values(
        Unusable{"it is in a transaction",
                 [](auto& c) { c.transaction_status = routing::TransactionStatus::in_block; }},
        Unusable{"a cancel is on its way", [](auto& c) { c.cancels_in_flight = 1; }},
        Unusable{"DISCARD ALL would not undo all", [](auto& c) { c.outlives_discard_all = true; }},
        Unusable{"it is too old", [](auto& c) { c.origin.opened_at -= 2h; }},
        Unusable{"it is closed", [](auto& c) { c.stream.close(); }}),
    [](const auto& test) { return "No" + std::to_string(test.index); });

TEST_F(ConnectionsTest, ThatAreRetiredOrOfADatabaseThatIsKeptEmptyAreNotKept) {
    const auto connection = added(server_);
    retirement_.retire(PoolWorld::kPrimary, Clock::now());
    connections_.keep_new(connection);
    EXPECT_EQ(open(), 0U);
    retirement_.keep_empty("app", Clock::now());
    connections_.keep_new(added(other_));
    EXPECT_EQ(open(), 0U);
}

TEST_F(ConnectionsTest, AreSharedOnlyAmongEqualSettings) {
    const auto connection = idle(server_);
    EXPECT_EQ(connections_.take_idle(group(), PoolWorld::target({0}, "DateStyle=German")), nullptr);
    EXPECT_EQ(group().idle.size(), 1U) << "it is for others";
    connections_.close_oldest_idle(group());
    EXPECT_EQ(open(), 0U);
}

TEST_F(ConnectionsTest, OfAFormerRunOrRoleAreClosedInstead) {
    const auto of_former_run = idle(server_, PoolWorld::kReplica);
    of_former_run->origin.incarnation = 7;
    EXPECT_EQ(
        connections_.take_idle(group(PoolWorld::kReplica), PoolWorld::target(PoolWorld::kReplica)),
        nullptr);
    EXPECT_FALSE(of_former_run->stream.is_open());
    const auto of_former_role = idle(other_, PoolWorld::kReplica);
    auto target = PoolWorld::target(PoolWorld::kReplica);
    target.replica = false;
    EXPECT_EQ(connections_.take_idle(group(PoolWorld::kReplica), target), nullptr);
    EXPECT_FALSE(of_former_role->stream.is_open());
}

TEST_F(ConnectionsTest, ThatAreSpokenToWhileTheyAreIdleAreClosed) {
    idle(server_);
    server_.say(kNotice);
    EXPECT_EQ(open(), 0U);
    EXPECT_EQ(world_.counters.idle_connections_ended[0].get(), 1U);
    EXPECT_EQ(world_.evidence.look_wanted_at({0}), routing::kNever) << "a notice is no end";
    idle(other_);
    other_.say(kShutdown);
    EXPECT_EQ(open(), 0U);
    EXPECT_NE(world_.evidence.look_wanted_at({0}), routing::kNever);
}

TEST_F(ConnectionsTest, ThatEndWithoutAWordAreEvidence) {
    idle(server_);
    server_.close();
    world_.run();
    EXPECT_EQ(open(), 0U);
    EXPECT_NE(world_.evidence.doubted_at({0}), routing::kNever);
}

TEST_F(ConnectionsTest, GoToWhoWaitsHereElseToWhoWaitsElsewhere) {
    const auto waiter = std::make_shared<Waiter>(world_.io.get_executor(), Clock::now() + 1h);
    group().waiters.push_back(waiter);
    group().budget->waiting = 1;
    idle(server_);
    EXPECT_TRUE(waiter->is_woken());
    EXPECT_EQ(group().idle.size(), 1U);
    idle(other_);
    EXPECT_TRUE(group().idle.empty()) << "another worker's session gets their places";
    EXPECT_EQ(world_.told_others, 2);
    group().budget->waiting = 0;
}

TEST_F(ConnectionsTest, GiveAPlaceThatComesBackToWhoWaits) {
    const auto connection = added(server_);
    const auto waiter = std::make_shared<Waiter>(world_.io.get_executor(), Clock::now() + 1h);
    group().waiters.push_back(waiter);
    connections_.close(connection);
    EXPECT_TRUE(waiter->is_woken());
    EXPECT_TRUE(group().waiters.empty());
    connections_.wake(PoolWorld::key());                     // nobody is there
    connections_.wake(PoolWorld::key(PoolWorld::kReplica));  // not even a group
}

TEST_F(ConnectionsTest, CloseIdleOnesOfAKey) {
    idle(server_);
    idle(other_, PoolWorld::kReplica);
    connections_.close_idle(PoolWorld::key());
    EXPECT_EQ(open(), 0U);
    EXPECT_EQ(group(PoolWorld::kReplica).idle.size(), 1U);
    connections_.close_idle({PoolWorld::kPrimary, "unknown", "joe"});
}

TEST_F(ConnectionsTest, ForgetGroupsThatNobodyUses) {
    {
        const ConnectionGroup::Use use{group()};
        connections_.forget_unused();
        EXPECT_EQ(connections_.groups().size(), 1U);
    }
    const auto connection = added(server_);
    connections_.forget_unused();
    EXPECT_EQ(connections_.groups().size(), 1U);
    connections_.close(connection);
    connections_.forget_unused();
    EXPECT_TRUE(connections_.groups().empty());
    EXPECT_EQ(env_.generation->budgets->size(), 0U);
}

TEST_F(ConnectionsTest, AreClosedWhenTheirServersHaveEndedThem) {
    const auto connection = added(server_);
    const auto closed =
        world_.start([](Connections& connections, ServerConnectionPtr leaving) -> awaitable<bool> {
            std::vector<ServerConnectionPtr> all{leaving};
            co_await connections.close_and_wait(std::move(all));
            co_return true;
        }(connections_, connection));
    EXPECT_EQ(server_.heard(), kTerminate);
    EXPECT_FALSE(*closed);
    EXPECT_EQ(open(), 1U) << "it counts against the server's limit";
    server_.close();
    world_.run();
    EXPECT_TRUE(*closed);
    EXPECT_EQ(open(), 0U);
}

// --- room ---

class RoomTest : public ConnectionsTest {
protected:
    void SetUp() override {
        env_.workers = other_env_.workers = 2;
        world_.rooms = {&room_, &other_room_};
    }
    ServerConnectionPtr idle_elsewhere(OtherEnd& server) {
        auto& group = other_connections_.group_of(PoolWorld::key());
        EXPECT_TRUE(group.budget->try_take());
        auto connection = PoolWorld::connected(server);
        other_connections_.add(group, connection);
        other_connections_.keep_new(connection);
        world_.run();
        return connection;
    }
    void TearDown() override {
        other_connections_.close_idle_where([](const auto&, const auto&) { return true; });
        ConnectionsTest::TearDown();
    }

    Room room_{env_, connections_, retirement_};
    PoolEnvironment other_env_ = world_.environment();
    Retirement other_retirement_;
    Connections other_connections_{other_env_, other_retirement_};
    Room other_room_{other_env_, other_connections_, other_retirement_};
};

TEST_F(RoomTest, IsMadeByTheLongestIdleConnectionOfAnyWorker) {
    const auto newer = idle(server_);
    const auto older = idle_elsewhere(other_);
    older->idle_since -= 1min;
    const auto made = world_.start(room_.make(PoolWorld::key(), ConnectionLimit::server));
    EXPECT_EQ(other_.heard(), kTerminate);
    EXPECT_FALSE(*made) << "the server has not let it go yet";
    other_.close();
    world_.run();
    EXPECT_EQ(*made, true);
    EXPECT_TRUE(newer->stream.is_open());
    EXPECT_EQ(world_.counters.connections_made_room[0].get(), 1U);
}

TEST_F(RoomTest, CannotBeMadeWithoutAnIdleConnectionThatCounts) {
    idle(server_, PoolWorld::kReplica);
    EXPECT_FALSE(world_.result_of(room_.make(PoolWorld::key(), ConnectionLimit::server)));
    idle_elsewhere(other_);
    const BudgetKey of_another{PoolWorld::kPrimary, "other", "ann"};
    EXPECT_FALSE(world_.result_of(room_.make(of_another, ConnectionLimit::role)));
    EXPECT_FALSE(world_.result_of(room_.make(of_another, ConnectionLimit::database)));
}

TEST_F(RoomTest, IsMadeByOneThatIsBeingReset) {
    auto given = connections_.lease_of(added(server_));
    given.lease.give_back();
    world_.run();
    const auto made = world_.start(room_.make(PoolWorld::key(), ConnectionLimit::role));
    EXPECT_FALSE(*made);
    server_.say(kDone);
    for (int i = 0; i < 100 && group().idle.size() > 0; ++i) world_.run();
    server_.close();
    const auto end = Clock::now() + 60s;
    while (!*made && Clock::now() < end) world_.run();
    EXPECT_EQ(*made, true);
}

TEST_F(RoomTest, IsADatabaseThatNobodyIsIn) {
    idle(server_);
    idle_elsewhere(other_);
    const auto empty = world_.start([](Room& room) -> awaitable<bool> {
        co_await room.empty_database("app");
        co_return true;
    }(room_));
    server_.close();
    world_.run();
    EXPECT_FALSE(*empty);
    other_.close();
    world_.run();
    EXPECT_TRUE(*empty);
    EXPECT_TRUE(retirement_.is_kept_empty("app", Clock::now()));
    EXPECT_TRUE(other_retirement_.is_kept_empty("app", Clock::now()));
}

}  // namespace
}  // namespace pgsteer::proxy
