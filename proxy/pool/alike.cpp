// Sessions on a replica begin with the values that they would begin with on the primary:
// replica_settings.md.
#include "conf/log.hpp"
#include "proxy/io/deadline.hpp"
#include "proxy/pool/group.hpp"

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
std::string Pool::unknown_columns(const PoolTarget& target) const {
    if (env_.config->servers.size() < 2) return {};
    const auto kind = kind_of_session(target.database, target.user, target.parameters);
    const auto wanted = ~brought_along(target.parameters);
    return env_.replica_settings->start(kind).covers(wanted) ? std::string{} : reviewed_columns();
}

void Pool::learn_start(const PoolTarget& target,
                       const ServerState& seen,
                       std::uint64_t generation) {
    if (seen.columns.empty()) return;
    const auto kind = kind_of_session(target.database, target.user, target.parameters);
    const bool is_other = env_.replica_settings->learn(
        kind, setting_values(seen.columns), ~brought_along(target.parameters), generation);
    if (is_other) env_.replicas_are_outdated(kind);
}

// A connection that is as one to the primary would be, as far as the replica lets this user have it
// so. What it has to be told is known after the first one; that one is given up.
awaitable<ConnectResult> Pool::open_replica(PoolTarget target) {
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
        auto result = co_await open_and_check(told, seen);
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
            const bool is_settled = retires_[target.server.index] == routing::kNever;
            const auto news =
                replicas.found(target.server, kind, start.values, own,
                               {accepted, (untried & ~accepted) | in_vain}, is_settled);
            tell_differences(news);
            if (accepted.none() && result.connection->stream.is_open()) co_return result;
        }
        std::vector<ServerConnectionPtr> leaving{result.connection};
        co_await close_and_wait(std::move(leaving));
    }
}

// Known, or asked over a connection of its own: the session may have no other to the primary.
awaitable<ReplicaSettings::Start> Pool::start_on_primary(SessionKind kind, SettingSet wanted) {
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

awaitable<std::optional<SettingValues>> Pool::ask_primary(SessionKind kind) {
    const auto topology = env_.topology->load();
    if (!topology->primary || closing_ || Clock::now() < ask_primary_at_) co_return std::nullopt;
    const auto server = *topology->primary;
    asking_primary_.insert(kind);
    PoolTarget target{server, false, kind.database, kind.user, {}, {}};
    if (!kind.date_style.empty()) target.parameters.emplace_back("options", kind.date_style);
    ServerLogin login{target.database, target.user, target.parameters, false};
    const auto result = co_await connect(server, std::move(login));
    std::optional<SettingValues> values;
    if (result.connection) {
        ServerState seen;
        const std::string columns = reviewed_columns();
        const auto problem = co_await check_primary(
            *result.connection, env_.config->servers[server.index], columns, seen);
        if (problem.empty() && !seen.columns.empty()) values = setting_values(seen.columns);
        close(result.connection);
    }
    if (!values && !result.failure.rejected()) ask_primary_at_ = Clock::now() + kAskAgain;
    asking_primary_.erase(kind);
    primary_asked_.notify_all();
    co_return values;
}

// Which of them the replica lets this user set. Not at the start, where one that is refused ends
// the login and hides the rest.
awaitable<SettingSet> Pool::try_settings(ServerConnectionPtr connection,
                                         SettingValues values,
                                         SettingSet chosen) {
    Deadline deadline{
        env_.executor, connection->stream,
        Clock::now() + env_.config->servers[connection->server.index].connect_timeout};
    SettingSet accepted;
    for (std::size_t i = 0; i < chosen.size(); ++i) {
        if (!chosen[i] || !values[i]) continue;
        const std::string sql = set_statement(i, *values[i]);
        accepted[i] = co_await run_internal(*connection, sql);
    }
    co_return accepted;
}

void Pool::tell_differences(const std::vector<health::SettingDifference>& news) {
    for (const auto& difference : news) {
        const auto& server = env_.config->servers[difference.server].name;
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
awaitable<void> Pool::look_at_settings_again() {
    const auto kinds = env_.replica_settings->outdated();
    for (const auto& kind : kinds) {
        if (closing_) co_return;
        co_await start_on_primary(kind, ~SettingSet{});
    }
}

}  // namespace pgsteer::proxy
