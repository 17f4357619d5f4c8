// What the parts of one session need around them, for unit tests: a client and two servers at the
// other ends of socket pairs, all played by the test on its own thread. Nothing connects, nothing
// is answered by itself; each test makes the one part that it is about.
#pragma once

#include "proxy/pool/connections.hpp"
#include "proxy/session/client.hpp"
#include "proxy/session/course.hpp"
#include "proxy/session/lodging.hpp"
#include "proxy/session/memory.hpp"
#include "proxy/session/sides.hpp"
#include "proxy/session/who.hpp"
#include "proxy/wire/frontend.hpp"
#include "routing/classify.hpp"
#include "tests/support/pool_world.hpp"
#include "tests/support/scripted_peers.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

namespace pgsteer::proxy {

// A worker with a pool and what it lends its sessions; PoolWorld's servers, "primary" and
// "replica", are healthy.
struct WorkerWorld {
    explicit WorkerWorld(const std::function<void(conf::Config&)>& change) : base{change} {}

    PoolWorld base;
    Pool pool{base.environment()};
    health::Catalogs catalogs{base.generations_.current()->config,
                              base.generations_.current()->servers, base.topology_};
    ProcessFacts facts{base.topology_, base.evidence, catalogs, {1, 2}, SessionNumbers{5}};
    int login_changes = 0;
    Surroundings around{{.executor = base.io.get_executor(),
                         .worker = 1,
                         .generation = base.generations_.current(),
                         .facts = facts,
                         .pool = pool,
                         .counters = base.counters,
                         .cancel_on = [](std::size_t, wire::CancelRequest) {},
                         .logins_change = [this] { ++login_changes; }}};
};

// Hears what a server connection says, and leaves it there.
class Ear final : public Exchange::Holder {
public:
    void received(ServerConnection& connection) override {
        heard += wire::as_text(connection.in.data());
        connection.in.consume(connection.in.size());
    }
    void ended(ServerConnection&, error_code) override { has_ended = true; }
    std::string heard;
    bool has_ended = false;
};

// The session of joe, who is logged in to the database app, has asked nothing yet and holds no
// server connection.
class SessionWorld : public testing::Test {
protected:
    using Slot = routing::Slot;
    using Clock = routing::Clock;
    using Change = std::function<void(conf::Config&)>;

    // What is known of the servers does not grow old while a test is held up.
    explicit SessionWorld(const Change& change = {})
        : worker_{[&change](conf::Config& config) {
              config.health.fall = 1'000'000;
              if (change) change(config);
          }} {
        course_.session = session_;
        who_.identity.user = "joe";
        who_.identity.database = who_.identity.server_database = "app";
        who_.key = {7, 42};
        who_.counters = std::make_shared<health::DatabaseCounters>();
        who_.is_registered = true;
        memory_.catalog.start(catalog(), "joe", std::nullopt, false);
        sides_.heard_by(ear(Slot::primary), ear(Slot::replica));
    }
    // Everybody hangs up: no coroutine is left that looks at what is gone.
    void TearDown() override {
        client_.stream.close();
        for (const Slot slot : {Slot::primary, Slot::replica}) {
            if (sides_[slot].lease) sides_.discard(slot);
            server(slot).close();
        }
        worker_.pool.close_all_idle();
        connections_.close_idle_where([](const auto&, const auto&) { return true; });
        run();
    }

    // --- the world ---

    [[nodiscard]] PoolWorld& base() { return worker_.base; }
    [[nodiscard]] health::WorkerCounters& counters() { return base().counters; }
    [[nodiscard]] static routing::ServerId id(Slot slot) {
        return slot == Slot::replica ? PoolWorld::kReplica : PoolWorld::kPrimary;
    }
    void run() { base().run(); }
    // Whatever was to happen before `end` has happened.
    void run_until(routing::TimePoint end) {
        bool has_come = false;
        Timer timer{base().io.get_executor(), end};
        timer.async_wait([&has_come](error_code) { has_come = true; });
        while (!has_come) run();
    }
    // Step by step; fails the test if it does not come to that.
    void run_until(const std::function<bool()>& is_so) {
        const auto end = Clock::now() + support::kPatience;
        base().io.restart();
        while (!is_so() && Clock::now() < end) base().io.run_one_until(end);
        EXPECT_TRUE(is_so()) << "it does not come to that";
    }
    // Starts what gives no result; the flag says that it has ended.
    std::shared_ptr<std::optional<bool>> start(awaitable<void> work) {
        return base().start(to_its_end(std::move(work)));
    }
    static awaitable<bool> to_its_end(awaitable<void> work) {
        co_await std::move(work);
        co_return true;
    }
    // `change` is done to a new version of what is known of the servers.
    void publish(const std::function<void(routing::Topology&)>& change) {
        auto next = std::make_shared<routing::Topology>(*base().topology_.load());
        ++next->version;
        change(*next);
        base().topology_.publish(next);
    }

    // The catalog of the database is known from now on; nothing is in it.
    void publish_catalog() {
        routing::CatalogFacts facts;
        facts.default_search_path = "public";
        facts.default_isolation = "read committed";
        auto next =
            routing::build_catalog(facts, std::make_shared<const routing::FunctionOverrides>());
        next->set_epoch(1);
        catalog()->publish(std::move(next));
    }

    [[nodiscard]] std::shared_ptr<health::CatalogStore> catalog() {
        return worker_.catalogs.database("app");
    }

    // --- servers ---

    // The test's end of the session's connection, and who of the session hears it.
    [[nodiscard]] OtherEnd& server(Slot slot) {
        return slot == Slot::replica ? replica_end_ : primary_end_;
    }
    [[nodiscard]] Ear& ear(Slot slot) { return ears_[static_cast<std::size_t>(slot)]; }
    // The session gets a connection. Once for each slot.
    ServerConnection& connect(Slot slot) {
        auto lease = lease_of(server(slot), id(slot));
        sides_.connected(slot, std::move(lease));
        run();
        return *sides_[slot].lease.connection();
    }
    Lease lease_of(OtherEnd& end, routing::ServerId server) {
        auto& group = connections_.group_of(PoolWorld::key(server));
        EXPECT_TRUE(group.budget->try_take()) << "pool.size";
        auto connection = PoolWorld::connected(end, server);
        connections_.add(group, connection);
        return connections_.lease_of(connection).lease;
    }
    // Owed by the server from now on, to the client.
    void owes(Slot slot, Expect what = Expect::query) {
        EXPECT_TRUE(sides_[slot].lease->replies.push({.what = what}));
    }
    // The same to us.
    void owes_us(Slot slot, Purpose purpose = Purpose::setting) {
        EXPECT_TRUE(sides_[slot].lease->replies.push(
            {.what = Expect::query, .internal = true, .purpose = purpose}));
    }

    // --- what the client asks ---

    static routing::StatementPtr statement(std::string_view sql) {
        return std::make_shared<const routing::CachedStatement>(
            routing::CachedStatement{routing::classify(sql)});
    }
    // A request in flight on `slot`.
    Request& request(Slot slot, std::string_view sql = "select 1") {
        auto& request = course_.requests.start(id(slot));
        request.slot = slot;
        request.statement = statement(sql);
        return request;
    }
    // What the client has sent is read up to the batcher's next step.
    Batcher::Step receive(std::string_view bytes) {
        const auto room = client_.in.prepare();
        EXPECT_GE(room.size(), bytes.size());
        std::ranges::copy(wire::as_bytes(bytes), room.begin());
        client_.in.commit(bytes.size());
        return client_.batcher.next([](std::string_view sql) { return statement(sql); });
    }
    static std::string query(std::string_view sql) {
        wire::Buffer out;
        wire::encode_query(out, sql);
        return std::string{wire::as_text(out)};
    }
    // A statement of the client's has completed there, and its transaction is now as `status`.
    void completed(Slot slot, std::string_view sql, routing::TransactionStatus status) {
        memory_.state.completed(slot, statement(sql)->statement, 0, "");
        memory_.state.ready(slot, status);
    }

    WorkerWorld worker_;
    OtherEnd client_end_{base().io};  // the test plays the client
    OtherEnd primary_end_{base().io};
    OtherEnd replica_end_{base().io};
    PoolEnvironment environment_ = base().environment();
    Retirement retirement_;
    Connections connections_{environment_, retirement_};
    std::array<Ear, 2> ears_;

    const std::shared_ptr<int> session_ = std::make_shared<int>();  // see Course::session
    Lodging lodging_{worker_.around, base().generations_.current()};
    Client client_{client_end_.take(), counters()};
    Who who_;
    Course course_{base().io.get_executor(), worker_.around.in_flight()};
    Memory memory_;
    Sides sides_{memory_};
};

}  // namespace pgsteer::proxy
