#include "proxy/pool/alike.hpp"

#include "conf/log.hpp"
#include "proxy/io/deadline.hpp"

// GCC 12, depending on what it inlines: a coroutine's frame comes from Asio's own operator new, and
// goes by its operator delete.
#pragma GCC diagnostic ignored "-Wmismatched-new-delete"

namespace pgsteer::proxy {

using routing::Clock;

namespace {

constexpr int kMaxAttempts = 4;  // to open a replica connection that is like one to the primary
constexpr std::chrono::seconds kAskAgain{
    1};  // a primary that has not said what sessions start with

// A login that failed by what a startup packet asked for: an invalid value, no such setting, no
// right to set it.
bool may_be_about_settings(const ConnectFailure& failure) {
    return failure.sqlstate.starts_with("22") || failure.sqlstate.starts_with("42");
}

}  // namespace

// Once for sessions of a kind, and not where there are no replicas.
std::string Alike::unknown_columns(const PoolTarget& target) const {
    if (env_.generation->config->servers.size() < 2) return {};
    const auto kind = kind_of_session(target.database, target.user, target.parameters);
    const auto wanted = ~brought_along(target.parameters);
    return env_.replica_settings->start(kind).covers(wanted) ? std::string{} : reviewed_columns();
}

void Alike::learn_start(const PoolTarget& target,
                        const ServerState& seen,
                        std::uint64_t generation) {
    if (seen.columns.empty()) return;
    const auto kind = kind_of_session(target.database, target.user, target.parameters);
    const bool is_other = env_.replica_settings->learn(
        kind, setting_values(seen.columns), ~brought_along(target.parameters), generation);
    if (is_other) env_.replicas_are_outdated(kind);
}

awaitable<ConnectResult> Alike::open(PoolTarget target) {
    if (target.replica) co_return co_await open_replica(std::move(target));
    co_return co_await open_primary(std::move(target));
}

awaitable<ConnectResult> Alike::open_primary(PoolTarget target) {
    const auto generation = env_.replica_settings->generation();
    ServerState seen;
    std::string columns = unknown_columns(target);
    auto result = co_await connector_.open(target, std::move(columns), seen);
    if (result.connection) learn_start(target, seen, generation);
    co_return result;
}

// What it has to be told is known after the first one; that one is given up.
awaitable<ConnectResult> Alike::open_replica(PoolTarget target) {
    auto& replicas = *env_.replica_settings;
    const auto kind = kind_of_session(target.database, target.user, target.parameters);
    const auto wanted = ~brought_along(target.parameters);
    std::optional<ReplicaSettings::Start> certain;
    for (int attempt = 1;; ++attempt) {
        ReplicaSettings::Start start;
        if (certain) {
            start = *certain;
        } else {
            start = co_await start_on_primary(kind, wanted);
        }
        const auto remedy = replicas.remedy(target.server, kind);
        const auto sent = remedy.sent & start.known;
        PoolTarget told = target;
        told.parameters = with_settings(target.parameters, start.values, sent);
        ServerState seen;
        std::string columns = reviewed_columns();
        auto result = co_await connector_.open(std::move(told), std::move(columns), seen);
        if (!result.connection) {
            if (sent.none() || attempt == kMaxAttempts || !may_be_about_settings(result.failure))
                co_return result;
            replicas.forget(target.server, kind);
            continue;
        }
        const auto own = setting_values(seen.columns);
        const auto differs = differing(start.values, own) & start.known & wanted & ~remedy.refused;
        if (attempt == kMaxAttempts) co_return result;
        if (differs.none()) {
            const auto now = replicas.start(kind);
            const auto changed = differing(now.values, start.values) & now.known & wanted;
            if (certain || changed.none()) co_return result;
        } else if (!certain && start.is_current) {
            // What was set for a role or database past pgsteer may not have been seen yet.
            const auto values = co_await ask_primary(kind);
            certain = values ? ReplicaSettings::Start{*values, ~SettingSet{}, true} : start;
        } else {
            const auto in_vain = differs & sent;
            const auto untried = differs & ~sent;
            const auto accepted = co_await try_settings(result.connection, start.values, untried);
            const bool is_settled = retirement_.is_settled(target.server);
            const auto news =
                replicas.found(target.server, kind, start.values, own,
                               {accepted, (untried & ~accepted) | in_vain}, is_settled);
            tell_differences(news);
            if (accepted.none() && result.connection->stream.is_open()) co_return result;
        }
        std::vector<ServerConnectionPtr> leaving{result.connection};
        co_await connections_.close_and_wait(std::move(leaving));
    }
}

// Known, or asked over a connection of its own: the session may have no other to the primary.
awaitable<ReplicaSettings::Start> Alike::start_on_primary(SessionKind kind, SettingSet wanted) {
    while (asking_primary_.contains(kind)) co_await primary_asked_.wait();
    const auto known = env_.replica_settings->start(kind);
    if (known.covers(wanted)) co_return known;
    const auto generation = env_.replica_settings->generation();
    const auto values = co_await ask_primary(kind);
    if (!values) {
        env_.replica_settings->miss(kind);
    } else if (env_.replica_settings->learn(kind, *values, ~SettingSet{}, generation)) {
        env_.replicas_are_outdated(kind);
    }
    co_return env_.replica_settings->start(kind);
}

awaitable<std::optional<SettingValues>> Alike::ask_primary(SessionKind kind) {
    const auto primary = env_.topology->load()->primary;
    if (!primary || connections_.is_closing() || Clock::now() < ask_primary_at_)
        co_return std::nullopt;
    asking_primary_.insert(kind);
    auto values = co_await values_on_primary(kind, *primary);
    asking_primary_.erase(kind);
    primary_asked_.notify_all();
    co_return values;
}

awaitable<std::optional<SettingValues>> Alike::values_on_primary(SessionKind kind,
                                                                 routing::ServerId server) {
    ServerLogin login{kind.database, kind.user, {}, false};
    if (!kind.date_style.empty()) login.parameters.emplace_back("options", kind.date_style);
    auto generation = env_.generation;
    const auto result =
        co_await connector_.connect(std::move(generation), server, std::move(login));
    std::optional<SettingValues> values;
    if (result.connection) {
        result.connection->server = server;
        ServerState seen;
        std::string columns = reviewed_columns();
        const auto problem =
            co_await connector_.check_primary(result.connection, std::move(columns), seen);
        if (problem.empty() && !seen.columns.empty()) values = setting_values(seen.columns);
        hang_up(result.connection);
    }
    if (!values && !result.failure.rejected()) ask_primary_at_ = Clock::now() + kAskAgain;
    co_return values;
}

// Which of them the replica lets this user set. Not at the start, where one that is refused ends
// the login and hides the rest.
awaitable<SettingSet> Alike::try_settings(ServerConnectionPtr connection,
                                          SettingValues values,
                                          SettingSet chosen) {
    const auto limit = env_.generation->servers[connection->server].connect_timeout;
    Deadline deadline{env_.executor, connection->stream, Clock::now() + limit};
    SettingSet accepted;
    for (std::size_t i = 0; i < chosen.size(); ++i) {
        if (!chosen[i] || !values[i]) continue;
        const std::string sql = set_statement(i, *values[i]);
        accepted[i] = co_await run_internal(*connection, sql);
    }
    co_return accepted;
}

void Alike::tell_differences(const std::vector<health::SettingDifference>& news) {
    for (const auto& difference : news) {
        const auto& server = env_.generation->servers[difference.server].name;
        if (difference.is_made_up) {
            log::info("a replica is configured otherwise; its sessions get the primary's value",
                      "server", server, "setting", difference.setting, "primary",
                      difference.primary, "replica", difference.replica);
        } else {
            log::warning("a replica is configured otherwise, and answers so", "server", server,
                         "setting", difference.setting, "primary", difference.primary, "replica",
                         difference.replica, "database", difference.database, "user",
                         difference.user);
        }
    }
}

// One after the other: there is no hurry, and the primary has other things to do.
awaitable<void> Alike::look_again() {
    const auto kinds = env_.replica_settings->outdated();
    for (const auto& kind : kinds) {
        if (connections_.is_closing()) co_return;
        co_await start_on_primary(kind, ~SettingSet{});
    }
}

}  // namespace pgsteer::proxy
