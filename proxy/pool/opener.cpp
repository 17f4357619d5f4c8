#include "proxy/pool/opener.hpp"

#include "conf/log.hpp"
#include "proxy/io/spawn.hpp"

namespace pgsteer::proxy {

using routing::Clock;

namespace {

BudgetKey login_of(const PoolTarget& target) {
    return {target.server, target.database, target.user};
}

}  // namespace

awaitable<ConnectResult> Opener::open(ConnectionGroup& group, PoolTarget target, Place& place) {
    const ConnectionGroup::Use use{group};
    auto work = open_counted(std::move(target));
    co_return co_await unless_left(std::move(work), place);
}

awaitable<ConnectResult> Opener::connect(GenerationPtr generation,
                                         routing::ServerId server,
                                         ServerLogin login,
                                         Place& place) {
    auto work = connector_.connect(std::move(generation), server, std::move(login));
    co_return co_await unless_left(std::move(work), place);
}

// A server may take its time, and whoever waits for it need not.
awaitable<ConnectResult> Opener::unless_left(awaitable<ConnectResult> work, Place& place) {
    const auto opening = std::make_shared<Opening>(env_.executor);
    place.stand(opening);
    spawn(env_.executor, finish(std::move(work), opening), "pool.open");
    co_await opening->wait();
    place.step_out();
    if (opening->is_abandoned())
        co_return ConnectResult{{}, {ProxyErrc::query_canceled, {}, {}, {}}};
    co_return std::move(opening->result);
}

// An exception is a failure to whoever waits, and told in the log.
awaitable<void> Opener::finish(awaitable<ConnectResult> work, std::shared_ptr<Opening> opening) {
    opening->result.failure = {ProxyErrc::server_unreachable, {}, {}, "internal error"};
    const auto end = [](Opening* ending) { ending->end(); };
    const std::unique_ptr<Opening, decltype(end)> at_end{opening.get(), end};
    opening->result = co_await std::move(work);
    if (opening->is_abandoned() && opening->result.connection)
        connections_.keep_new(opening->result.connection);
}

// Its place in the budget was taken.
awaitable<ConnectResult> Opener::open_counted(PoolTarget target) {
    const BudgetKey login = login_of(target);
    ConnectionGroup& group = connections_.group_of(login);
    const ConnectionGroup::Use use{group};
    ConnectResult result;
    try {
        result = co_await alike_.open(std::move(target));
    } catch (...) {
        connections_.free_place(group);
        throw;
    }
    note(login, result);
    if (result.connection) {
        connections_.add(group, result.connection);
    } else {
        connections_.free_place(group);
    }
    co_return result;
}

void Opener::note(const BudgetKey& login, const ConnectResult& result) {
    if (result.connection) return env_.back_off->accepted(login, Clock::now());
    const auto& failure = result.failure;
    env_.counters->server_connect_failures[login.server.index].add();
    if (!env_.back_off->refused(login, failure.sqlstate, failure.text, Clock::now())) return;
    log::warning("cannot open a server connection", "server",
                 env_.generation->servers[login.server].name, "database", login.database, "user",
                 login.user, "sqlstate", failure.sqlstate, "error", failure.text);
}

awaitable<void> Opener::open_aside(PoolTarget target) {
    ConnectionGroup& group = connections_.group_of(login_of(target));
    const ConnectionGroup::Use use{group};
    if (!group.budget->try_take()) co_return;
    auto result = co_await open_counted(std::move(target));
    if (result.connection) connections_.keep_new(result.connection);
}

void Opener::log_accepted_logins(routing::TimePoint now) {
    for (const auto& login : env_.back_off->settle(now))
        log::info("server connections can be opened again", "server",
                  env_.generation->servers[login.server].name, "database", login.database, "user",
                  login.user);
}

}  // namespace pgsteer::proxy
