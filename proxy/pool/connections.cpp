#include "proxy/pool/connections.hpp"

#include "proxy/io/deadline.hpp"
#include "proxy/io/spawn.hpp"
#include "proxy/wire/frontend.hpp"

#include <atomic>
#include <iterator>

namespace pgsteer::proxy {

using routing::Clock;
using routing::TransactionStatus;

namespace {

constexpr std::chrono::seconds kResetTimeout{5};  // for DISCARD ALL
constexpr std::chrono::seconds kLeaveTimeout{2};  // for a server to end a connection

bool any(const BudgetKey&, const ServerConnection&) { return true; }

void say_good_bye(ServerConnection& connection) {
    wire::Buffer bye;
    wire::encode_terminate(bye);
    connection.stream.write(wire::Bytes{bye});
}

}  // namespace

Lease::Lease(Connections* pool, ServerConnectionPtr connection)
    : pool_{pool}, connection_{std::move(connection)} {
    static std::atomic<std::uint64_t> last_number{0};
    connection_->lease_number = ++last_number;
}

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

void hang_up(const ServerConnectionPtr& connection) {
    connection->exchange.detach();
    if (connection->stream.is_open()) {
        say_good_bye(*connection);
        connection->stream.close();
    }
    connection->exchange.closed();
}

ConnectionGroup& Connections::group_of(const BudgetKey& key) {
    auto& group = groups_[key];
    if (!group) group = std::make_shared<ConnectionGroup>(key, env_.generation->budgets->of(key));
    return *group;
}

void Connections::forget_unused() {
    std::erase_if(groups_, [](const auto& entry) { return entry.second->is_unused(); });
    env_.generation->budgets->forget_unused();
}

bool Connections::is_worn_out(const ServerConnection& connection) const {
    return retirement_.is_retired(connection.server, connection.origin.opened_at) ||
           Clock::now() - connection.origin.opened_at > env_.generation->config->pool.max_lifetime;
}

ServerConnectionPtr Connections::take_idle(ConnectionGroup& group, const PoolTarget& target) {
    const auto current = (*env_.topology->load())[target.server].incarnation.number;
    for (auto it = group.idle.rbegin(); it != group.idle.rend();) {
        const auto connection = *it;
        if (connection->stream.readable_now() || is_worn_out(*connection) ||
            connection->origin.to_replica != target.replica ||  // the server's role has changed
            (target.replica && connection->origin.incarnation != current)) {
            it = std::make_reverse_iterator(group.idle.erase(std::next(it).base()));
            close(connection);
        } else if (connection->origin.startup_parameters == target.parameters_key) {
            group.idle.erase(std::next(it).base());
            connection->exchange.detach();
            return connection;
        } else {
            ++it;
        }
    }
    return nullptr;
}

void Connections::add(ConnectionGroup& group, const ServerConnectionPtr& connection) {
    env_.counters->server_connections[connection->server.index].add();
    env_.counters->server_connections_opened[connection->server.index].add();
    group_by_connection_[connection->id] = &group;
    ++group.connections;
    connection->parameters.share(group.reported);
    group.reported = connection->parameters;
    connection->exchange.start();
}

bool Connections::is_reusable(const ServerConnection& connection) const {
    const auto& replies = connection.replies;
    const bool is_answered = replies.empty() ? connection.in.empty() : owes_only_questions(replies);
    return !is_closing_ && connection.stream.is_open() &&
           connection.transaction_status == TransactionStatus::idle && is_answered &&
           !replies.skipping() && !connection.stream.backlogged() &&
           connection.cancels_in_flight == 0 && !connection.outlives_discard_all &&
           !is_worn_out(connection);
}

void Connections::take_back(ServerConnectionPtr connection) {
    const auto entry = group_by_connection_.find(connection->id);
    if (entry == group_by_connection_.end()) return;  // closed before
    connection->exchange.detach();
    if (!is_reusable(*connection)) return close(connection);
    ++entry->second->resetting;
    spawn(env_.executor, reset(std::move(connection)), "pool.reset");
}

awaitable<void> Connections::reset(ServerConnectionPtr connection) {
    auto& group = *group_by_connection_.at(connection->id);
    const ConnectionGroup::Use use{group};
    bool clean = false;
    {
        Deadline deadline{env_.executor, connection->stream, Clock::now() + kResetTimeout};
        clean = co_await discard_all(connection);
    }
    --group.resetting;
    if (!clean || is_closing_ || !connection->in.empty()) co_return close(connection);
    keep(connection);
}

void Connections::keep_new(const ServerConnectionPtr& connection) {
    if (is_closing_ || !group_by_connection_.contains(connection->id)) return close(connection);
    keep(connection);
}

// Idle from now on.
void Connections::keep(const ServerConnectionPtr& connection) {
    auto& group = *group_by_connection_.at(connection->id);
    const auto now = Clock::now();
    if (retirement_.is_retired(connection->server, connection->origin.opened_at) ||
        retirement_.is_kept_empty(group.key.database, now))
        return close(connection);
    connection->idle_since = now;
    connection->parameters.share(group.reported);  // they may have been set, and reset
    group.idle.push_back(connection);
    connection->exchange.attach(*this);
    if (!group.waiters.empty()) {
        group.wake_one();
    } else if (group.budget->waiting.load() > 0) {
        close_idle_in(group, any);
    }
}

void Connections::close(const ServerConnectionPtr& connection) {
    hang_up(connection);
    const auto entry = group_by_connection_.find(connection->id);
    if (entry == group_by_connection_.end()) return;
    ConnectionGroup& group = *entry->second;
    group_by_connection_.erase(entry);
    --group.connections;
    env_.counters->server_connections[connection->server.index].subtract();
    free_place(group);
}

void Connections::free_place(ConnectionGroup& group) {
    group.budget->give_back();
    if (!group.waiters.empty()) {
        group.wake_one();
    } else if (group.budget->waiting.load() > 0) {
        env_.tell_other_workers(group.key);
    }
}

void Connections::wake(const BudgetKey& key) {
    if (const auto group = groups_.find(key); group != groups_.end()) group->second->wake_one();
}

void Connections::close_idle(const BudgetKey& key) {
    if (const auto group = groups_.find(key); group != groups_.end())
        close_idle_in(*group->second, any);
}

void Connections::take_idle_in(ConnectionGroup& group,
                               const Test& leaves,
                               std::vector<ServerConnectionPtr>& taken) {
    std::erase_if(group.idle, [&](const ServerConnectionPtr& connection) {
        if (!leaves(group.key, *connection)) return false;
        taken.push_back(connection);
        return true;
    });
}

void Connections::close_idle_in(ConnectionGroup& group, const Test& leaves) {
    std::vector<ServerConnectionPtr> leaving;
    take_idle_in(group, leaves, leaving);
    for (const auto& connection : leaving) close(connection);
}

std::vector<ServerConnectionPtr> Connections::take_idle_where(const Test& leaves) {
    std::vector<ServerConnectionPtr> taken;
    for (auto& [key, group] : groups_) take_idle_in(*group, leaves, taken);
    return taken;
}

// The end of the connection is the server's last word: its place is free by then.
awaitable<void> Connections::close_and_wait(std::vector<ServerConnectionPtr> connections) {
    const auto until = Clock::now() + kLeaveTimeout;
    for (const auto& connection : connections) {
        connection->exchange.detach();
        say_good_bye(*connection);
    }
    for (const auto& connection : connections) {
        {
            Deadline deadline{env_.executor, connection->stream, until};
            co_await until_end(connection);
        }
        connection->stream.close();
        close(connection);
    }
}

void Connections::close_idle_where(const Test& leaves) {
    for (auto& [key, group] : groups_) close_idle_in(*group, leaves);
}

void Connections::close_oldest_idle(ConnectionGroup& group) {
    const auto oldest = group.idle.front();
    group.idle.erase(group.idle.begin());
    close(oldest);
}

}  // namespace pgsteer::proxy
