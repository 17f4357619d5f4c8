// Server connections of one worker: those that nobody holds, and the way to get and give them back.
#pragma once

#include "conf/config.hpp"
#include "health/checker.hpp"
#include "health/metrics.hpp"
#include "proxy/io/signal.hpp"
#include "proxy/pool/budget.hpp"
#include "proxy/pool/connection_limit.hpp"
#include "proxy/pool/login_back_off.hpp"
#include "proxy/pool/replica_settings.hpp"
#include "proxy/server/server_connection.hpp"

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <set>
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
class Pool final : Exchange::Holder {
    struct Waiter;
    struct Opening;

public:
    struct Environment {
        Executor executor;
        std::shared_ptr<const conf::Config> config;
        Budgets* budgets;
        auth::Credentials* credentials;
        health::TopologyStore* topology;
        health::Evidence* evidence;
        health::WorkerCounters* counters;
        LoginBackOff* back_off;
        ReplicaSettings* replica_settings;
        std::size_t workers;  // how many there are
        std::function<void(const BudgetKey&)>
            ask_other_workers;  // a session waits: give idle ones back
        std::function<void(const BudgetKey&)> tell_other_workers;        // a place became free
        std::function<void(std::function<void(Pool&)>)> on_all_workers;  // this one, too
        // Replica connections of this database and user answer by values that the primary has no
        // more: on all workers.
        std::function<void(const SessionKind&)> replicas_are_outdated;
    };
    explicit Pool(Environment environment);
    ~Pool();

    // Where a session stands that waits for a connection; it may leave.
    class Place {
    public:
        void leave();

    private:
        friend class Pool;
        std::shared_ptr<Waiter> waiter_;
        std::shared_ptr<Opening> opening_;
    };
    // Fails with query_canceled once the place was left. A connection that is being opened for it
    // is the pool's then.
    awaitable<LeaseResult> acquire(const PoolTarget& target, Place& place);
    // A connection that is no part of the pool; but where a limit of connections is in its way, an
    // idle one of the pools makes room.
    awaitable<ConnectResult> connect(routing::ServerId server, ServerLogin login);
    // The same for a session that may leave its place, as in acquire(); the connection is closed
    // then.
    awaitable<ConnectResult> connect(routing::ServerId server, ServerLogin login, Place& place);
    // Whether all connections that the server's budget allows are in use, or somebody waits for
    // one.
    [[nodiscard]] bool is_exhausted(const BudgetKey& key);
    // Whether the server would let this login in, as far as is known, or an idle connection is
    // there. Where a look is due the caller asks for it: it is done aside, and no client waits.
    [[nodiscard]] LoginBackOff::Advice advise(const BudgetKey& login);
    void look_again(PoolTarget target);

    void close_idle(const BudgetKey& key);         // another worker starves
    void wake(const BudgetKey& key);               // a place became free elsewhere
    void close_idle_to(routing::ServerId server);  // it is UNHEALTHY, or not what it was
    void close_all_idle();
    // Whoever logs in from now on is to be told anew what the server says, also by connections that
    // are in use now: they are not kept.
    void retire(routing::ServerId server);
    void retire_all();  // replicas once more when they have got that far
    [[nodiscard]] bool is_retired(const ServerConnection& connection) const;
    // Nobody's connection to this database remains, on any server or worker, nor is any kept for a
    // while: a statement is about to run that fails while others are connected. Bounded in time.
    awaitable<void> empty_database(std::string database);
    void close_idle_replicas(const SessionKind& kind);
    // Asks the primary for what sessions start with there, where it may have changed.
    awaitable<void> look_at_settings_again();
    void close_expired(routing::TimePoint now);  // idle_timeout, max_lifetime; called every second
    void log_accepted_logins(routing::TimePoint now);

private:
    friend class Lease;
    struct Group;
    Group& group_of(const BudgetKey& key);
    ServerConnectionPtr take_idle(Group& group, const PoolTarget& target);
    awaitable<ConnectResult> open(const PoolTarget& target);
    // `seen`: what the server has said of itself. Parameters by value; `seen` outlives the
    // coroutine.
    awaitable<ConnectResult> open_and_check(PoolTarget target, ServerState& seen);
    // --- alike.cpp: sessions on a replica get the primary's settings ---
    awaitable<ConnectResult> open_replica(PoolTarget target);
    awaitable<ReplicaSettings::Start> start_on_primary(SessionKind kind, SettingSet wanted);
    awaitable<std::optional<SettingValues>> ask_primary(SessionKind kind);
    awaitable<SettingSet> try_settings(ServerConnectionPtr connection,
                                       SettingValues values,
                                       SettingSet chosen);
    [[nodiscard]] std::string unknown_columns(const PoolTarget& target) const;
    void learn_start(const PoolTarget& target, const ServerState& seen, std::uint64_t generation);
    void tell_differences(const std::vector<health::SettingDifference>& news);
    void count_opened(Group& group, const ServerConnection& connection);
    void note_refusal(const BudgetKey& login, const ConnectFailure& failure);
    awaitable<ConnectResult> unless_left(awaitable<ConnectResult> work, Place& place);
    awaitable<void> finish(awaitable<ConnectResult> work, std::shared_ptr<Opening> opening);
    awaitable<ConnectResult> open_counted(PoolTarget target);
    void keep_new(const ServerConnectionPtr& connection);
    awaitable<void> open_aside(PoolTarget target);
    class Use;
    void forget_unused();
    LeaseResult lease_of(ServerConnectionPtr connection);
    awaitable<bool> wait_for_place(Group& group, std::shared_ptr<Waiter> waiter);
    void take_back(ServerConnectionPtr connection);
    awaitable<void> reset(ServerConnectionPtr connection);
    void keep(const ServerConnectionPtr& connection);
    // idle_end.cpp: it holds what is idle
    void received(ServerConnection& connection) override { spoken_to(connection, false); }
    void ended(ServerConnection& connection, error_code) override { spoken_to(connection, true); }
    void spoken_to(ServerConnection& connection, bool has_ended);
    void note_end(const ServerConnection& connection, bool has_ended);
    void close(const ServerConnectionPtr& connection);
    void close_idle_where(Group& group, const std::function<bool(const ServerConnection&)>& leaves);
    // --- room.cpp: connections that are in the way of others, on all workers ---
    struct Occupant {  // the connection that has been idle for longest
        std::uint64_t connection = 0;
        routing::TimePoint idle_since = routing::TimePoint::max();
        bool others_are_reset = false;  // and will be idle in a moment
    };
    template <class Answer>
    using Question = std::function<awaitable<Answer>(Pool&)>;
    // `question` is a named object, no temporary: GCC 12 destroys those of a co_await twice.
    template <class Answer>
    awaitable<std::vector<Answer>> ask_all(const Question<Answer>& question);
    template <class Answer>
    struct Round;
    awaitable<bool> make_room(BudgetKey login, ConnectionLimit limit);
    awaitable<Occupant> longest_idle(BudgetKey login, ConnectionLimit limit);
    awaitable<bool> close_idle_one(std::uint64_t connection);
    awaitable<bool> leave_database(std::string database);
    awaitable<void> close_and_wait(std::vector<ServerConnectionPtr> connections);
    void free_place(Group& group);
    void wake_one(Group& group);
    // What speaks against using a fresh connection; "" = nothing.
    awaitable<std::string> check_replica(ServerConnection& connection,
                                         const routing::Server& known,
                                         const conf::ServerConfig& config,
                                         ServerState& seen);
    bool is_news(routing::ServerId server, const routing::Topology& known);
    awaitable<std::string> check_primary(ServerConnection& connection,
                                         const conf::ServerConfig& config,
                                         std::string columns,
                                         ServerState& seen);
    [[nodiscard]] bool is_worn_out(const ServerConnection& connection) const;

    Environment env_;
    std::map<BudgetKey, std::shared_ptr<Group>> groups_;
    std::map<std::uint64_t, Group*> group_by_connection_;
    std::vector<routing::TimePoint> retired_;  // by server: what was opened before is not kept
    std::vector<routing::TimePoint> retires_;  // replicas: again when they show what happened then
    std::map<std::string, routing::TimePoint> emptied_;  // databases, and until when
    std::set<SessionKind> asking_primary_;               // one of us does
    Signal primary_asked_;
    routing::TimePoint ask_primary_at_ = routing::kNever;  // not before: it did not answer
    bool closing_ = false;
};

}  // namespace pgsteer::proxy
