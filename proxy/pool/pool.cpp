#include "proxy/pool/pool.hpp"

#include "conf/log.hpp"
#include "proxy/deadline.hpp"
#include "proxy/spawn.hpp"
#include "proxy/wire/frontend.hpp"

#include <atomic>
#include <cstdlib>

namespace pgsteer::proxy {

using routing::Clock;
using routing::TimePoint;

namespace {
constexpr std::chrono::seconds kResetTimeout{5};  // for DISCARD ALL
}  // namespace

struct Pool::Waiter {
    Waiter(Executor executor, TimePoint until) : timer{executor, until} {}
    Timer timer;
    bool woken = false;
};

struct Pool::Group {
    BudgetKey key;
    std::shared_ptr<Budget> budget;
    std::vector<ServerConnectionPtr> idle;  // used last at the end
    std::deque<std::shared_ptr<Waiter>> waiters;
};

Lease& Lease::operator=(Lease&& other) noexcept {
    if (this != &other) {
        give_back();
        pool_ = other.pool_;
        connection_ = std::move(other.connection_);
    }
    return *this;
}

void Lease::give_back() {
    if (connection_) pool_->take_back(std::exchange(connection_, nullptr));
}

void Lease::discard() {
    if (connection_) pool_->close(std::exchange(connection_, nullptr));
}

Pool::Pool(Environment environment) : env_{std::move(environment)} {}
Pool::~Pool() { closing_ = true; }

Pool::Group& Pool::group_of(const BudgetKey& key) {
    auto& group = groups_[key];
    if (!group) {
        group = std::make_unique<Group>();
        group->key = key;
        group->budget = env_.budgets->of(key);
    }
    return *group;
}

bool Pool::is_worn_out(const ServerConnection& connection) const {
    return Clock::now() - connection.opened_at > env_.config->pool.max_lifetime;
}

ServerConnectionPtr Pool::take_idle(Group& group, const PoolTarget& target) {
    const auto current = (*env_.topology->load())[target.server].incarnation.number;
    for (auto it = group.idle.rbegin(); it != group.idle.rend();) {
        const auto connection = *it;
        if (connection->stream.readable_now() || is_worn_out(*connection) ||
            connection->to_replica != target.replica ||  // the server's role has changed
            (target.replica && connection->incarnation != current)) {
            it = std::make_reverse_iterator(group.idle.erase(std::next(it).base()));
            close(connection);
        } else if (connection->startup_parameters == target.parameters_key) {
            group.idle.erase(std::next(it).base());
            return connection;
        } else {
            ++it;
        }
    }
    return nullptr;
}

bool Pool::is_exhausted(const BudgetKey& key) {
    const Group& group = group_of(key);
    return !group.waiters.empty() || (group.idle.empty() && group.budget->is_spent());
}

awaitable<LeaseResult> Pool::acquire(const PoolTarget& target) {
    Group& group = group_of({target.server, target.database, target.user});
    const auto until = Clock::now() + env_.config->pool.acquire_timeout;
    bool woken = false;
    for (;;) {
        if (woken || group.waiters.empty()) {
            if (auto connection = take_idle(group, target))
                co_return lease_of(std::move(connection));
            if (group.budget->try_take()) break;
            if (!group.idle.empty()) {  // one with other settings makes place
                const auto oldest = group.idle.front();
                group.idle.erase(group.idle.begin());
                close(oldest);
                continue;
            }
        }
        woken = co_await wait_for_place(group, until);
        if (!woken) {
            env_.counters->pool_timeouts.add();
            co_return LeaseResult{{}, {ProxyErrc::acquire_timeout, {}, {}, {}}};
        }
    }

    auto result = co_await open(target);
    if (!result.connection) {
        env_.counters->server_connect_failures[target.server.index].add();
        free_place(group);
        co_return LeaseResult{{}, std::move(result.failure)};
    }
    env_.counters->server_connections[target.server.index].add();
    env_.counters->server_connections_opened[target.server.index].add();
    group_by_connection_[result.connection->id] = &group;
    co_return lease_of(std::move(result.connection));
}

LeaseResult Pool::lease_of(ServerConnectionPtr connection) {
    static std::atomic<std::uint64_t> last_number{0};
    connection->lease_number = ++last_number;
    return {Lease{this, std::move(connection)}, {}};
}

awaitable<bool> Pool::wait_for_place(Group& group, TimePoint until) {
    const auto waiter = std::make_shared<Waiter>(env_.executor, until);
    group.waiters.push_back(waiter);
    group.budget->waiting.fetch_add(1);
    env_.counters->pool_waiting.add();
    env_.ask_other_workers(group.key);
    co_await waiter->timer.async_wait(as_result);
    env_.counters->pool_waiting.subtract();
    group.budget->waiting.fetch_sub(1);
    std::erase(group.waiters, waiter);
    co_return waiter->woken;
}

// Opens what `target` asks for and makes sure that it is that.
awaitable<ConnectResult> Pool::open(const PoolTarget& target) {
    const auto& config = env_.config->servers[target.server.index];
    const auto topology =
        env_.topology->load();  // before the position is read: that one must not be older
    ServerLogin login{target.database, target.user, target.parameters, false};
    if (target.replica) login.parameters.emplace_back("default_transaction_read_only", "on");

    auto result =
        co_await connect_to_server(env_.executor, config, std::move(login), *env_.credentials);
    if (!result.connection) {
        if (result.failure.speaks_of_the_server()) env_.evidence->server_unreachable(target.server);
        log::warning("cannot open a server connection", "server", config.name, "database",
                     target.database, "user", target.user, "error", result.failure.text);
        co_return result;
    }
    auto& connection = *result.connection;
    connection.server = target.server;
    connection.startup_parameters = target.parameters_key;
    std::string problem;
    if (target.replica) {  // no ?: around co_await: GCC 12 destroys its temporary twice
        problem = co_await check_replica(connection, (*topology)[target.server], config);
    } else {
        problem = check_primary(connection);
    }
    connection.to_replica = target.replica;
    if (!problem.empty()) {
        note_mismatch(target.server, *topology);
        log::warning("a server is not what it was", "server", config.name, "problem", problem);
        co_return ConnectResult{nullptr, {ProxyErrc::server_unreachable, {}, {}, problem}};
    }
    co_return result;
}

// A server that is not what `known` says: news, unless the health thread has found out meanwhile.
void Pool::note_mismatch(routing::ServerId server, const routing::Topology& known) {
    const auto now_known = env_.topology->load();
    if ((*now_known)[server].role == known[server].role &&
        (*now_known)[server].incarnation == known[server].incarnation)
        env_.evidence->server_changed(server);
}

awaitable<std::string> Pool::check_replica(ServerConnection& connection,
                                           const routing::Server& known,
                                           const conf::ServerConfig& config) {
    Deadline deadline{env_.executor, connection.stream, Clock::now() + config.connect_timeout};
    const auto position = co_await read_replica_position(connection);
    if (!position) co_return "its position cannot be read";
    if (!position->in_recovery) co_return "it is not in recovery";
    // Both sides read microseconds; a difference of a few comes from rounding.
    if (std::abs(position->postmaster_start_us - known.incarnation.postmaster_start_us) > 10)
        co_return "it was restarted";
    if (position->replayed < known.position) co_return "it is behind its former position";
    connection.incarnation = known.incarnation.number;
    co_return "";
}

std::string Pool::check_primary(const ServerConnection& connection) {
    const auto standby =
        connection.parameters.find("in_hot_standby");  // reported since PostgreSQL 14
    return standby != connection.parameters.end() && standby->second == "on" ? "it is in recovery"
                                                                             : "";
}

void Pool::take_back(ServerConnectionPtr connection) {
    if (connection->reading) {  // whoever reads it hands it over as soon as the read has ended
        connection->returning = true;
        connection->stream.cancel_read();
        return;
    }
    const bool usable =
        !closing_ && connection->stream.is_open() && connection->transaction_status == 'I' &&
        connection->replies.empty() && !connection->replies.skipping() &&
        (connection->in.empty() || connection->unclaimed > 0) && !connection->stream.backlogged() &&
        connection->cancels_in_flight == 0 && !connection->outlives_discard_all &&
        !is_worn_out(*connection);
    if (!usable) return close(connection);
    spawn(env_.executor, reset(std::move(connection)), "pool.reset");
}

awaitable<void> Pool::reset(ServerConnectionPtr connection) {
    bool clean = false;
    {
        Deadline deadline{env_.executor, connection->stream, Clock::now() + kResetTimeout};
        clean = co_await run_internal(*connection, "DISCARD ALL");
    }
    if (!clean || closing_ || !connection->in.empty()) co_return close(connection);
    connection->in.rest();
    connection->idle_since = Clock::now();
    auto& group = *group_by_connection_.at(connection->id);
    group.idle.push_back(std::move(connection));
    if (!group.waiters.empty()) {
        wake_one(group);
    } else if (group.budget->waiting.load() > 0) {
        close_idle(group.key);
    }
}

void Pool::close(const ServerConnectionPtr& connection) {
    if (connection->stream.is_open()) {
        wire::Buffer bye;
        wire::encode_terminate(bye);
        connection->stream.write(wire::Bytes{bye});
        connection->stream.close();
    }
    const auto entry = group_by_connection_.find(connection->id);
    if (entry == group_by_connection_.end()) return;  // closed before
    Group& group = *entry->second;
    group_by_connection_.erase(entry);
    env_.counters->server_connections[connection->server.index].subtract();
    free_place(group);
}

void Pool::free_place(Group& group) {
    group.budget->give_back();
    if (!group.waiters.empty()) {
        wake_one(group);
    } else if (group.budget->waiting.load() > 0) {
        env_.tell_other_workers(group.key);
    }
}

void Pool::wake_one(Group& group) {
    if (group.waiters.empty()) return;
    const auto waiter = group.waiters.front();
    group.waiters.pop_front();
    waiter->woken = true;
    waiter->timer.cancel();
}

void Pool::wake(const BudgetKey& key) {
    if (const auto group = groups_.find(key); group != groups_.end()) wake_one(*group->second);
}

void Pool::close_idle_where(Group& group,
                            const std::function<bool(const ServerConnection&)>& leaves) {
    std::vector<ServerConnectionPtr> leaving;
    std::erase_if(group.idle, [&](const ServerConnectionPtr& connection) {
        if (!leaves(*connection)) return false;
        leaving.push_back(connection);
        return true;
    });
    for (const auto& connection : leaving) close(connection);
}

void Pool::close_idle(const BudgetKey& key) {
    if (const auto group = groups_.find(key); group != groups_.end())
        close_idle_where(*group->second, [](const ServerConnection&) { return true; });
}

void Pool::close_idle_to(routing::ServerId server) {
    for (auto& [key, group] : groups_)
        if (key.server == server)
            close_idle_where(*group, [](const ServerConnection&) { return true; });
}

void Pool::close_all_idle() {
    for (auto& [key, group] : groups_)
        close_idle_where(*group, [](const ServerConnection&) { return true; });
}

void Pool::close_expired(TimePoint now) {
    for (auto& [key, group] : groups_) {
        close_idle_where(*group, [&](const ServerConnection& connection) {
            return now - connection.idle_since > env_.config->pool.idle_timeout ||
                   is_worn_out(connection);
        });
    }
}

}  // namespace pgsteer::proxy
