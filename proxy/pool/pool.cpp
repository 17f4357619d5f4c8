#include "proxy/pool/pool.hpp"

#include "proxy/io/spawn.hpp"

namespace pgsteer::proxy {

using routing::Clock;
using routing::TimePoint;

Pool::Pool(Environment environment)
    : env_{std::move(environment)},
      connections_{env_, retirement_},
      room_{env_, connections_, retirement_},
      connector_{env_, room_},
      alike_{env_, connector_, connections_, retirement_},
      opener_{env_, connections_, connector_, alike_} {}

awaitable<LeaseResult> Pool::acquire(const PoolTarget& target, Place& place) {
    ConnectionGroup& group = connections_.group_of({target.server, target.database, target.user});
    const ConnectionGroup::Use use{group};
    const auto& generation = target.generation ? target.generation : env_.generation;
    const auto until = Clock::now() + generation->config->pool.acquire_timeout;
    bool is_its_turn = group.waiters.empty();
    for (;;) {
        if (is_its_turn) {
            if (auto connection = connections_.take_idle(group, target))
                co_return connections_.lease_of(std::move(connection));
            if (group.budget->try_take()) break;
            if (!group.idle.empty()) {  // one with other settings makes place
                connections_.close_oldest_idle(group);
                continue;
            }
        }
        const auto waiter = std::make_shared<Waiter>(env_.executor, until);
        place.stand(waiter);
        co_await wait_in_line(group, waiter);
        place.step_out();
        if (waiter->has_left()) co_return LeaseResult{{}, {ProxyErrc::query_canceled, {}, {}, {}}};
        if (!waiter->is_woken()) {
            env_.counters->pool_timeouts.add();
            co_return LeaseResult{{}, {ProxyErrc::acquire_timeout, {}, {}, {}}};
        }
        is_its_turn = true;
    }
    auto result = co_await opener_.open(group, target, place);
    if (!result.connection) co_return LeaseResult{{}, std::move(result.failure)};
    co_return connections_.lease_of(std::move(result.connection));
}

awaitable<void> Pool::wait_in_line(ConnectionGroup& group, std::shared_ptr<Waiter> waiter) {
    group.waiters.push_back(waiter);
    group.budget->waiting.fetch_add(1);
    env_.counters->pool_waiting.add();
    env_.ask_other_workers(group.key);
    co_await waiter->wait();
    env_.counters->pool_waiting.subtract();
    group.budget->waiting.fetch_sub(1);
    std::erase(group.waiters, waiter);
}

bool Pool::is_exhausted(const BudgetKey& key) {
    const auto& group = connections_.group_of(key);
    return !group.waiters.empty() || (group.idle.empty() && group.budget->is_spent());
}

LoginBackOff::Advice Pool::advise(const BudgetKey& login) {
    const auto advice = env_.back_off->advise(login, Clock::now());
    if (advice != LoginBackOff::Advice::refused) return advice;
    const auto& groups = connections_.groups();
    const auto group = groups.find(login);
    const bool has_idle = group != groups.end() && !group->second->idle.empty();
    return has_idle ? LoginBackOff::Advice::try_it : advice;
}

void Pool::look_again(PoolTarget target) {
    spawn(env_.executor, opener_.open_aside(std::move(target)), "pool.look_again");
}

void Pool::close_idle_to(routing::ServerId server) {
    connections_.close_idle_where(
        [server](const BudgetKey& key, const auto&) { return key.server == server; });
}

void Pool::close_idle_replicas(const SessionKind& kind) {
    connections_.close_idle_where([&kind](const BudgetKey& key, const auto& connection) {
        return key.database == kind.database && key.user == kind.user &&
               connection.origin.to_replica;
    });
}

void Pool::close_all_idle() {
    connections_.close_idle_where([](const BudgetKey&, const auto&) { return true; });
}

void Pool::retire(routing::ServerId server) {
    retirement_.retire(server, Clock::now());
    close_idle_to(server);
}

void Pool::retire_all() {
    retirement_.retire_all(Clock::now());
    close_all_idle();
}

void Pool::close_expired(TimePoint now) {
    for (const auto replica : retirement_.due(*env_.topology->load())) {
        retire(replica);
        env_.replica_settings->forget(replica);
    }
    retirement_.forget(now);
    connections_.forget_unused();
    const auto idle_timeout = env_.generation->config->pool.idle_timeout;
    connections_.close_idle_where([&](const BudgetKey&, const ServerConnection& connection) {
        return now - connection.idle_since > idle_timeout || connections_.is_worn_out(connection);
    });
}

}  // namespace pgsteer::proxy
