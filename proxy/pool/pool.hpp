// Server connections of one worker: those that nobody holds, and the way to get and give them back.
#pragma once

#include "conf/config.hpp"
#include "health/checker.hpp"
#include "health/metrics.hpp"
#include "proxy/pool/budget.hpp"
#include "proxy/server_connection.hpp"

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace pgsteer::proxy {

class Pool;

// The right to use one server connection. Gives it back when destroyed: to the pool if it can be
// used again, else it is closed. Move-only, worker-local.
class Lease {
public:
    Lease() = default;
    Lease(Pool* pool, ServerConnectionPtr connection)
        : pool_{pool}, connection_{std::move(connection)} {}
    Lease(Lease&& other) noexcept : pool_{other.pool_}, connection_{std::move(other.connection_)} {}
    Lease& operator=(Lease&& other) noexcept;
    ~Lease() { give_back(); }

    [[nodiscard]] explicit operator bool() const { return connection_ != nullptr; }
    [[nodiscard]] const ServerConnectionPtr& connection() const { return connection_; }
    ServerConnection* operator->() const { return connection_.get(); }
    void give_back();  // clean: is reset and kept
    void discard();    // closed at once

private:
    Pool* pool_ = nullptr;
    ServerConnectionPtr connection_;
};

struct LeaseResult {
    Lease lease;
    ConnectFailure failure;  // if there is no lease; ProxyErrc::acquire_timeout: none became free
};

// What the connection is to be.
struct PoolTarget {
    routing::ServerId server;
    bool replica = false;  // the connection gets default_transaction_read_only=on and is checked
                           // for its position
    std::string database;  // as the server calls it
    std::string user;
    wire::Parameters parameters;  // of the client's startup packet
    std::string
        parameters_key;  // the same as one string: connections are shared only where it is equal
};

// Worker-local.
class Pool {
public:
    struct Environment {
        Executor executor;
        std::shared_ptr<const conf::Config> config;
        Budgets* budgets;
        auth::Credentials* credentials;
        health::TopologyStore* topology;
        health::Evidence* evidence;
        health::WorkerCounters* counters;
        std::function<void(const BudgetKey&)>
            ask_other_workers;  // a session waits: give idle ones back
        std::function<void(const BudgetKey&)> tell_other_workers;  // a place became free
    };
    explicit Pool(Environment environment);
    ~Pool();

    awaitable<LeaseResult> acquire(const PoolTarget& target);
    // Whether all connections that the server's budget allows are in use, or somebody waits for one.
    [[nodiscard]] bool is_exhausted(const BudgetKey& key);

    void close_idle(const BudgetKey& key);         // another worker starves
    void wake(const BudgetKey& key);               // a place became free elsewhere
    void close_idle_to(routing::ServerId server);  // it is UNHEALTHY, or not what it was
    void close_all_idle();
    void close_expired(routing::TimePoint now);  // idle_timeout, max_lifetime; called every second

    // For the reader of a connection that was given back while it was being read.
    void finish_return(ServerConnectionPtr connection) { take_back(std::move(connection)); }

private:
    friend class Lease;
    struct Waiter;
    struct Group;
    Group& group_of(const BudgetKey& key);
    ServerConnectionPtr take_idle(Group& group, const PoolTarget& target);
    awaitable<ConnectResult> open(const PoolTarget& target);
    LeaseResult lease_of(ServerConnectionPtr connection);
    awaitable<bool> wait_for_place(Group& group, routing::TimePoint until);
    void take_back(ServerConnectionPtr connection);
    awaitable<void> reset(ServerConnectionPtr connection);
    void close(const ServerConnectionPtr& connection);
    void close_idle_where(Group& group, const std::function<bool(const ServerConnection&)>& leaves);
    void free_place(Group& group);
    void wake_one(Group& group);
    // What speaks against using a fresh connection; "" = nothing.
    awaitable<std::string> check_replica(ServerConnection& connection,
                                         const routing::Server& known,
                                         const conf::ServerConfig& config);
    void note_mismatch(routing::ServerId server, const routing::Topology& known);
    static std::string check_primary(const ServerConnection& connection);
    [[nodiscard]] bool is_worn_out(const ServerConnection& connection) const;

    Environment env_;
    std::map<BudgetKey, std::unique_ptr<Group>> groups_;
    std::map<std::uint64_t, Group*> group_by_connection_;
    bool closing_ = false;
};

}  // namespace pgsteer::proxy
