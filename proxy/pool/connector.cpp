#include "proxy/pool/connector.hpp"

#include "conf/log.hpp"
#include "proxy/io/deadline.hpp"

#include <cstdlib>

namespace pgsteer::proxy {

using routing::Clock;

namespace {

constexpr int kLoginAttempts = 4;  // of a login that meets a limit of connections
// Both sides read microseconds; a difference of a few comes from rounding.
constexpr std::int64_t kRounding = 10;

}  // namespace

routing::TimePoint Connector::time_limit(routing::ServerId server) const {
    return Clock::now() + env_.generation->servers[server].connect_timeout;
}

awaitable<ConnectResult> Connector::connect(GenerationPtr generation,
                                            routing::ServerId server,
                                            ServerLogin login) {
    const auto current = env_.generation;
    if (!generation) generation = current;
    if (!current->servers.contains(server))
        co_return ConnectResult{
            nullptr, {ProxyErrc::server_unreachable, {}, {}, "it is not in the configuration"}};
    for (int attempts = 1;; ++attempts) {
        auto result = co_await connect_to_server(env_.executor, current->servers[server], login,
                                                 *generation->credentials);
        if (result.failure.sqlstate != "53300" || attempts == kLoginAttempts) co_return result;
        const auto limit = limit_reached(result.failure.routine);
        // max_wal_senders is a limit of its own, of which nothing is idle here.
        if (login.replication && limit == ConnectionLimit::server) co_return result;
        const BudgetKey refused{server, login.database, login.user};
        const bool has_room = co_await room_.make(refused, limit);
        if (!has_room) co_return result;
    }
}

awaitable<ConnectResult> Connector::open(PoolTarget target,
                                         std::string columns,
                                         ServerState& seen) {
    const auto topology =
        env_.topology->load();  // before the position is read: that one must not be older
    ServerLogin login{target.database, target.user, target.parameters, false};
    if (target.replica) login.parameters.emplace_back("default_transaction_read_only", "on");

    auto result = co_await connect(target.generation, target.server, std::move(login));
    if (!result.connection) {
        if (result.failure.speaks_of_the_server()) env_.evidence->server_unreachable(target.server);
        co_return result;
    }
    auto& connection = *result.connection;
    connection.server = target.server;
    connection.origin.startup_parameters = target.parameters_key;
    std::string problem;
    if (target.replica) {  // no ?: around co_await: GCC 12 destroys its temporary twice
        problem = co_await check_replica(result.connection, (*topology)[target.server],
                                         std::move(columns), seen);
    } else {
        problem = co_await check_primary(result.connection, std::move(columns), seen);
    }
    connection.origin.to_replica = target.replica;
    if (problem.empty()) co_return result;
    if (is_news(target.server, *topology))
        log::warning("a server is not what it was", "server",
                     env_.generation->servers[target.server].name, "problem", problem);
    co_return ConnectResult{nullptr, {ProxyErrc::server_unreachable, {}, {}, problem}};
}

// A server is not what `known` says: evidence, unless the health thread has found out meanwhile.
bool Connector::is_news(routing::ServerId server, const routing::Topology& known) {
    const auto now_known = env_.topology->load();
    return (*now_known)[server].role == known[server].role &&
           (*now_known)[server].incarnation == known[server].incarnation &&
           env_.evidence->server_changed(server);
}

awaitable<std::string> Connector::check_replica(ServerConnectionPtr connection,
                                                routing::Server known,
                                                std::string columns,
                                                ServerState& seen) {
    Deadline deadline{env_.executor, connection->stream, time_limit(connection->server)};
    auto state = co_await read_server_state(*connection, std::move(columns));
    if (!state) co_return "its position cannot be read";
    seen = std::move(*state);
    if (!seen.in_recovery) co_return "it is not in recovery";
    if (std::abs(seen.postmaster_start_us - known.incarnation.postmaster_start_us) > kRounding)
        co_return "it was restarted";
    if (seen.replayed < known.position) co_return "it is behind its former position";
    connection->origin.incarnation = known.incarnation.number;
    co_return "";
}

// Asks only where there is something to be learnt: PostgreSQL 14 and later say by themselves
// whether they are in recovery.
awaitable<std::string> Connector::check_primary(ServerConnectionPtr connection,
                                                std::string columns,
                                                ServerState& seen) {
    const auto* standby = connection->parameters.find("in_hot_standby");
    if (standby != nullptr && *standby == "on") co_return "it is in recovery";
    if (columns.empty()) co_return "";
    Deadline deadline{env_.executor, connection->stream, time_limit(connection->server)};
    auto state = co_await read_server_state(*connection, std::move(columns));
    if (!state && state.error() != ProxyErrc::server_login_failed)
        co_return "its settings cannot be read";
    if (!state) co_return "";  // not worth a session
    seen = std::move(*state);
    if (seen.in_recovery) co_return "it is in recovery";
    co_return "";
}

}  // namespace pgsteer::proxy
