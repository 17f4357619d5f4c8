#include "proxy/pool/pool.hpp"

#include "conf/log.hpp"
#include "proxy/io/deadline.hpp"
#include "proxy/io/spawn.hpp"
#include "proxy/pool/group.hpp"
#include "proxy/wire/frontend.hpp"

#include <atomic>
#include <cstdlib>

namespace pgsteer::proxy {

using routing::Clock;
using routing::TimePoint;
using routing::TransactionStatus;

namespace {
constexpr std::chrono::seconds kResetTimeout{5};  // for DISCARD ALL
}  // namespace

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

Pool::Pool(Environment environment)
    : env_{std::move(environment)},
      retired_(env_.config->servers.size(), routing::kNever),
      retires_(env_.config->servers.size(), routing::kNever),
      primary_asked_{env_.executor} {}
Pool::~Pool() { closing_ = true; }

Pool::Group& Pool::group_of(const BudgetKey& key) {
    auto& group = groups_[key];
    if (!group) {
        group = std::make_shared<Group>();
        group->key = key;
        group->budget = env_.budgets->of(key);
    }
    return *group;
}

bool Pool::is_worn_out(const ServerConnection& connection) const {
    return is_retired(connection) ||
           Clock::now() - connection.opened_at > env_.config->pool.max_lifetime;
}

bool Pool::is_retired(const ServerConnection& connection) const {
    return connection.opened_at <= retired_[connection.server.index];
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
            connection->exchange.detach();
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

void Pool::Place::leave() {
    if (opening_ && !opening_->has_ended) {
        opening_->is_abandoned = true;
        opening_->ended.notify_all();
    }
    if (!waiter_ || waiter_->woken) return;
    waiter_->has_left = true;
    waiter_->timer.cancel();
}

awaitable<LeaseResult> Pool::acquire(const PoolTarget& target, Place& place) {
    Group& group = group_of({target.server, target.database, target.user});
    const Use use{group};
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
        const auto waiter = std::make_shared<Waiter>(env_.executor, until);
        place.waiter_ = waiter;
        woken = co_await wait_for_place(group, waiter);
        place.waiter_.reset();
        if (waiter->has_left) co_return LeaseResult{{}, {ProxyErrc::query_canceled, {}, {}, {}}};
        if (!woken) {
            env_.counters->pool_timeouts.add();
            co_return LeaseResult{{}, {ProxyErrc::acquire_timeout, {}, {}, {}}};
        }
    }

    auto work = open_counted(target);
    auto result = co_await unless_left(std::move(work), place);
    if (!result.connection) co_return LeaseResult{{}, std::move(result.failure)};
    co_return lease_of(std::move(result.connection));
}

// A server may take its time, and whoever waits for it need not.
awaitable<ConnectResult> Pool::unless_left(awaitable<ConnectResult> work, Place& place) {
    const auto opening = std::make_shared<Opening>(env_.executor);
    place.opening_ = opening;
    spawn(env_.executor, finish(std::move(work), opening), "pool.open");
    while (!opening->has_ended && !opening->is_abandoned) co_await opening->ended.wait();
    place.opening_.reset();
    if (opening->is_abandoned) co_return ConnectResult{{}, {ProxyErrc::query_canceled, {}, {}, {}}};
    co_return std::move(opening->result);
}

// An exception is a failure to whoever waits, and told in the log.
awaitable<void> Pool::finish(awaitable<ConnectResult> work, std::shared_ptr<Opening> opening) {
    opening->result.failure = {ProxyErrc::server_unreachable, {}, {}, "internal error"};
    const auto end = [](Opening* ending) {
        ending->has_ended = true;
        ending->ended.notify_all();
    };
    const std::unique_ptr<Opening, decltype(end)> at_end{opening.get(), end};
    opening->result = co_await std::move(work);
    if (opening->is_abandoned && opening->result.connection)
        keep_new(opening->result.connection);
}

awaitable<ConnectResult> Pool::connect(routing::ServerId server,
                                       ServerLogin login,
                                       Place& place) {
    auto work = connect(server, std::move(login));
    co_return co_await unless_left(std::move(work), place);
}

// Its place in the budget was taken.
awaitable<ConnectResult> Pool::open_counted(PoolTarget target) {
    Group& group = group_of({target.server, target.database, target.user});
    const Use use{group};
    ConnectResult result;
    try {
        result = co_await open(target);
    } catch (...) {
        free_place(group);
        throw;
    }
    if (result.connection) {
        count_opened(group, *result.connection);
        Exchange::start(result.connection);
    } else {
        free_place(group);
    }
    co_return result;
}

// It was opened for nobody who still waits.
void Pool::keep_new(const ServerConnectionPtr& connection) {
    if (closing_ || !group_by_connection_.contains(connection->id)) return close(connection);
    keep(connection);
}

void Pool::count_opened(Group& group, const ServerConnection& connection) {
    env_.counters->server_connections[connection.server.index].add();
    env_.counters->server_connections_opened[connection.server.index].add();
    group_by_connection_[connection.id] = &group;
    ++group.connections;
}

LeaseResult Pool::lease_of(ServerConnectionPtr connection) {
    static std::atomic<std::uint64_t> last_number{0};
    connection->lease_number = ++last_number;
    return {Lease{this, std::move(connection)}, {}};
}

awaitable<bool> Pool::wait_for_place(Group& group, std::shared_ptr<Waiter> waiter) {
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

awaitable<ConnectResult> Pool::open(const PoolTarget& target) {
    const BudgetKey login{target.server, target.database, target.user};
    ServerState seen;
    ConnectResult result;
    if (target.replica) {  // no ?: around co_await: GCC 12 destroys its temporary twice
        result = co_await open_replica(target);
    } else {
        result = co_await open_and_check(target, seen);
    }
    if (result.connection) {
        env_.back_off->accepted(login, Clock::now());
    } else {
        env_.counters->server_connect_failures[target.server.index].add();
        note_refusal(login, result.failure);
    }
    co_return result;
}

void Pool::note_refusal(const BudgetKey& login, const ConnectFailure& failure) {
    const auto& server = env_.config->servers[login.server.index];
    if (!env_.back_off->refused(login, failure.sqlstate, failure.text, Clock::now())) return;
    log::warning("cannot open a server connection", "server", server.name, "database",
                 login.database, "user", login.user, "sqlstate", failure.sqlstate, "error",
                 failure.text);
}

void Pool::log_accepted_logins(TimePoint now) {
    for (const auto& login : env_.back_off->settle(now))
        log::info("server connections can be opened again", "server",
                  env_.config->servers[login.server.index].name, "database", login.database, "user",
                  login.user);
}

LoginBackOff::Advice Pool::advise(const BudgetKey& login) {
    const auto advice = env_.back_off->advise(login, Clock::now());
    if (advice != LoginBackOff::Advice::refused) return advice;
    const auto group = groups_.find(login);
    const bool has_idle = group != groups_.end() && !group->second->idle.empty();
    return has_idle ? LoginBackOff::Advice::try_it : advice;
}

void Pool::look_again(PoolTarget target) {
    spawn(env_.executor, open_aside(std::move(target)), "pool.look_again");
}

awaitable<void> Pool::open_aside(PoolTarget target) {
    Group& group = group_of({target.server, target.database, target.user});
    const Use use{group};
    if (!group.budget->try_take()) co_return;
    auto result = co_await open_counted(std::move(target));
    if (result.connection) keep_new(result.connection);
}

// Makes sure that what was opened is what it was meant to be.
awaitable<ConnectResult> Pool::open_and_check(PoolTarget target, ServerState& seen) {
    const auto& config = env_.config->servers[target.server.index];
    const auto topology =
        env_.topology->load();  // before the position is read: that one must not be older
    const auto generation = env_.replica_settings->generation();
    ServerLogin login{target.database, target.user, target.parameters, false};
    if (target.replica) login.parameters.emplace_back("default_transaction_read_only", "on");

    auto result = co_await connect(target.server, std::move(login));
    if (!result.connection) {
        if (result.failure.speaks_of_the_server()) env_.evidence->server_unreachable(target.server);
        co_return result;
    }
    auto& connection = *result.connection;
    connection.server = target.server;
    connection.startup_parameters = target.parameters_key;
    std::string problem;
    if (target.replica) {  // no ?: around co_await: GCC 12 destroys its temporary twice
        problem = co_await check_replica(connection, (*topology)[target.server], config, seen);
    } else {
        const std::string columns = unknown_columns(target);
        problem = co_await check_primary(connection, config, columns, seen);
    }
    connection.to_replica = target.replica;
    if (!problem.empty()) {
        if (is_news(target.server, *topology))
            log::warning("a server is not what it was", "server", config.name, "problem", problem);
        co_return ConnectResult{nullptr, {ProxyErrc::server_unreachable, {}, {}, problem}};
    }
    if (!target.replica) learn_start(target, seen, generation);
    co_return result;
}

// A server is not what `known` says: evidence, unless the health thread has found out meanwhile.
bool Pool::is_news(routing::ServerId server, const routing::Topology& known) {
    const auto now_known = env_.topology->load();
    return (*now_known)[server].role == known[server].role &&
           (*now_known)[server].incarnation == known[server].incarnation &&
           env_.evidence->server_changed(server);
}

awaitable<std::string> Pool::check_replica(ServerConnection& connection,
                                           const routing::Server& known,
                                           const conf::ServerConfig& config,
                                           ServerState& seen) {
    Deadline deadline{env_.executor, connection.stream, Clock::now() + config.connect_timeout};
    const std::string columns = reviewed_columns();
    auto state = co_await read_server_state(connection, columns);
    if (!state) co_return "its position cannot be read";
    seen = std::move(*state);
    if (!seen.in_recovery) co_return "it is not in recovery";
    // Both sides read microseconds; a difference of a few comes from rounding.
    if (std::abs(seen.postmaster_start_us - known.incarnation.postmaster_start_us) > 10)
        co_return "it was restarted";
    if (seen.replayed < known.position) co_return "it is behind its former position";
    connection.incarnation = known.incarnation.number;
    co_return "";
}

// Asks only where there is something to be learnt: PostgreSQL 14 and later say by themselves
// whether they are in recovery.
awaitable<std::string> Pool::check_primary(ServerConnection& connection,
                                           const conf::ServerConfig& config,
                                           std::string columns,
                                           ServerState& seen) {
    const auto standby = connection.parameters.find("in_hot_standby");
    if (standby != connection.parameters.end() && standby->second == "on")
        co_return "it is in recovery";
    if (columns.empty()) co_return "";
    Deadline deadline{env_.executor, connection.stream, Clock::now() + config.connect_timeout};
    auto state = co_await read_server_state(connection, std::move(columns));
    if (!state && state.error() != ProxyErrc::server_login_failed)
        co_return "its settings cannot be read";
    if (!state) co_return "";  // not worth a session
    seen = std::move(*state);
    if (seen.in_recovery) co_return "it is in recovery";
    co_return "";
}

void Pool::take_back(ServerConnectionPtr connection) {
    const auto entry = group_by_connection_.find(connection->id);
    if (entry == group_by_connection_.end()) return;  // closed before
    connection->exchange.detach();
    const bool usable = !closing_ && connection->stream.is_open() &&
                        connection->transaction_status == TransactionStatus::idle &&
                        (connection->replies.empty() ? connection->in.empty()
                                                     : connection->replies.has_only_questions()) &&
                        !connection->replies.skipping() &&
                        !connection->stream.backlogged() && connection->cancels_in_flight == 0 &&
                        !connection->outlives_discard_all && !is_worn_out(*connection);
    if (!usable) return close(connection);
    ++entry->second->resetting;
    spawn(env_.executor, reset(std::move(connection)), "pool.reset");
}

awaitable<void> Pool::reset(ServerConnectionPtr connection) {
    auto& group = *group_by_connection_.at(connection->id);
    const Use use{group};
    bool clean = false;
    {
        Deadline deadline{env_.executor, connection->stream, Clock::now() + kResetTimeout};
        clean = co_await run_last(connection, "DISCARD ALL");
    }
    --group.resetting;
    if (!clean || closing_ || !connection->in.empty()) co_return close(connection);
    keep(connection);
}

// Idle from now on. What a server says to an idle connection is not for the next client: it is
// closed, as one that the server has ended is.
void Pool::keep(const ServerConnectionPtr& connection) {
    auto& group = *group_by_connection_.at(connection->id);
    const auto emptied = emptied_.find(group.key.database);
    const auto now = Clock::now();
    if (is_retired(*connection) || (emptied != emptied_.end() && now < emptied->second))
        return close(connection);
    connection->idle_since = now;
    group.idle.push_back(connection);
    connection->exchange.attach(*this);
    if (!group.waiters.empty()) {
        wake_one(group);
    } else if (group.budget->waiting.load() > 0) {
        close_idle(group.key);
    }
}

void Pool::close(const ServerConnectionPtr& connection) {
    connection->exchange.detach();
    if (connection->stream.is_open()) {
        wire::Buffer bye;
        wire::encode_terminate(bye);
        connection->stream.write(wire::Bytes{bye});
        connection->stream.close();
    }
    connection->exchange.closed();
    const auto entry = group_by_connection_.find(connection->id);
    if (entry == group_by_connection_.end()) return;  // closed before
    Group& group = *entry->second;
    group_by_connection_.erase(entry);
    --group.connections;
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

void Pool::close_idle_replicas(const SessionKind& kind) {
    for (auto& [key, group] : groups_)
        if (key.database == kind.database && key.user == kind.user)
            close_idle_where(*group, [](const auto& connection) { return connection.to_replica; });
}

void Pool::close_all_idle() {
    for (auto& [key, group] : groups_)
        close_idle_where(*group, [](const ServerConnection&) { return true; });
}

// Databases are named by clients: what is kept of one ends with its last connection.
void Pool::forget_unused() {
    std::erase_if(groups_, [](const auto& entry) {
        const Group& group = *entry.second;
        return group.connections == 0 && group.uses == 0 && group.waiters.empty();
    });
    env_.budgets->forget_unused();
}

void Pool::retire(routing::ServerId server) {
    retired_[server.index] = Clock::now();
    close_idle_to(server);
}

void Pool::retire_all() {
    const auto now = Clock::now();
    for (std::uint16_t i = 0; i < retired_.size(); ++i) {
        retire({i});
        retires_[i] = now;
    }
}

void Pool::close_expired(TimePoint now) {
    const auto topology = env_.topology->load();
    for (std::uint16_t i = 0; i < retires_.size(); ++i) {
        const auto& server = topology->servers[i];
        if (retires_[i] == routing::kNever || server.fresh_as_of == routing::kNever ||
            server.fresh_as_of < retires_[i])
            continue;
        retires_[i] = routing::kNever;
        if (server.role != routing::Role::replica) continue;
        retire({i});
        env_.replica_settings->forget(routing::ServerId{i});
    }
    std::erase_if(emptied_, [&](const auto& entry) { return now >= entry.second; });
    forget_unused();
    for (auto& [key, group] : groups_) {
        close_idle_where(*group, [&](const ServerConnection& connection) {
            return now - connection.idle_since > env_.config->pool.idle_timeout ||
                   is_worn_out(connection);
        });
    }
}

}  // namespace pgsteer::proxy
