// What a worker's pool needs around it, for unit tests: two servers, a primary and a replica, that
// are healthy; all on the test's own thread.
#pragma once

#include "proxy/pool/pool.hpp"
#include "tests/support/other_end.hpp"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <gtest/gtest.h>

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace pgsteer::proxy {

class PoolWorld {
public:
    static constexpr routing::ServerId kPrimary{0};
    static constexpr routing::ServerId kReplica{1};

    explicit PoolWorld(const std::function<void(conf::Config&)>& change = {})
        : generations_{config(change)}, topology_{healthy()} {}

    static std::shared_ptr<conf::Config> config(const std::function<void(conf::Config&)>& change) {
        auto config = std::make_shared<conf::Config>();
        config->servers.resize(2);
        config->servers[0].name = "primary";
        config->servers[1].name = "replica";
        for (auto& server : config->servers) server.host = "/nowhere";
        config->auth.method = conf::AuthMethod::trust;
        config->pool.size = 2;
        config->log.level = conf::LogLevel::error;
        if (change) change(*config);
        return config;
    }
    static health::TopologyPtr healthy() {
        auto topology = std::make_shared<routing::Topology>();
        topology->version = 1;
        topology->servers.resize(2);
        for (auto& server : topology->servers) {
            server.role = routing::Role::replica;
            server.status = routing::Status::healthy;
            server.incarnation = {1, 1, 1, 1};
            server.fresh_as_of = server.checked_at = routing::Clock::now();
        }
        topology->servers[0].role = routing::Role::primary;
        topology->primary = kPrimary;
        return topology;
    }

    // Of a pool; `rooms` are those of all workers.
    PoolEnvironment environment() {
        return {.executor = io.get_executor(),
                .generation = generations_.current(),
                .topology = &topology_,
                .evidence = &evidence,
                .counters = &counters,
                .back_off = &back_off,
                .replica_settings = &replica_settings,
                .workers = 1,
                .ask_other_workers = [this](const BudgetKey&) { ++asked_others; },
                .tell_other_workers = [this](const BudgetKey&) { ++told_others; },
                .on_all_workers =
                    [this](const std::function<void(Room&)>& work) {
                        for (auto* room : rooms) work(*room);
                    },
                .replicas_are_outdated = [this](const SessionKind&) { ++outdated; }};
    }
    // Until nothing more happens by itself.
    void run() {
        io.restart();
        io.run_for(std::chrono::milliseconds{2});
        while (io.poll() > 0) {
        }
    }
    // The result of a coroutine that has to come; what it waits for may be on another thread.
    template <class T>
    T result_of(awaitable<T> work) {
        auto result = start(std::move(work));
        const auto end = routing::Clock::now() + std::chrono::seconds{60};
        while (!*result && routing::Clock::now() < end) run();
        EXPECT_TRUE(*result) << "it does not end";
        return std::move(**result);
    }
    // Has not begun.
    template <class T>
    std::shared_ptr<std::optional<T>> spawn(awaitable<T> work) {
        auto result = std::make_shared<std::optional<T>>();
        asio::co_spawn(io, std::move(work), [result](const std::exception_ptr&, T value) {
            result->emplace(std::move(value));
        });
        return result;
    }
    template <class T>
    std::shared_ptr<std::optional<T>> start(awaitable<T> work) {
        auto result = spawn(std::move(work));
        run();
        return result;
    }
    // An established connection to the server whose other end this is.
    static ServerConnectionPtr connected(OtherEnd& server, routing::ServerId id = kPrimary) {
        static std::uint64_t last_id = 1'000'000;
        auto connection = std::make_shared<ServerConnection>(server.take());
        connection->id = ++last_id;
        connection->server = id;
        connection->origin.to_replica = id == kReplica;
        connection->origin.incarnation = id == kReplica ? 1 : 0;
        connection->origin.opened_at = routing::Clock::now();
        return connection;
    }
    static PoolTarget target(routing::ServerId id = kPrimary, const std::string& settings = {}) {
        return {id, id == kReplica, "app", "joe", {}, settings};
    }
    static BudgetKey key(routing::ServerId id = kPrimary) { return {id, "app", "joe"}; }

    asio::io_context io;
    Generations generations_;
    health::TopologyStore topology_;
    health::Evidence evidence{health::ServerIds::kMost};
    health::WorkerCounters counters;
    LoginBackOff back_off;
    ReplicaSettings replica_settings;
    std::vector<Room*> rooms;
    int asked_others = 0;
    int told_others = 0;
    int outdated = 0;
};

}  // namespace pgsteer::proxy
