#include "health/commit_watch.hpp"

#include "health/catalog_connection.hpp"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <utility>

namespace pgsteer::health {

namespace asio = boost::asio;
using routing::Clock;
using namespace std::chrono_literals;

namespace {

constexpr auto kTimeout = 2s;

constexpr std::string_view kStateSql =
    "SELECT pg_catalog.pg_is_in_recovery(), pg_catalog.concat_ws(' ',"
    " pg_catalog.pg_postmaster_start_time(), pg_catalog.pg_conf_load_time(),"
    " CASE WHEN NOT pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_current_snapshot() END)";
constexpr std::string_view kDatabasesSql = "SELECT datname FROM pg_catalog.pg_database";

}  // namespace

CommitWatch::CommitWatch(asio::any_io_executor executor,
                         std::shared_ptr<const conf::Config> config,
                         ServerTable servers)
    : executor_{executor},
      config_{std::move(config)},
      servers_{std::move(servers)},
      client_{executor},
      turn_{executor, asio::steady_timer::time_point::max()} {}

// A connection that has died meanwhile is opened again, once.
asio::awaitable<PgRows> CommitWatch::ask(routing::ServerId primary, std::string sql) {
    while (is_busy_) co_await turn_.async_wait(asio::as_tuple(asio::use_awaitable));
    is_busy_ = true;
    const auto deadline = Clock::now() + kTimeout;
    PgRows rows;
    rows.error = {PgError::Kind::lost, {}, "not connected"};
    if (client_.is_connected() && server_ == primary) rows = co_await client_.query(sql, deadline);
    if (rows.error.kind == PgError::Kind::lost) {
        server_ = primary;
        rows.error =
            co_await connect_to_catalog(client_, executor_, servers_[primary], config_->health,
                                        config_->health.database, deadline);
        if (!rows.error) rows = co_await client_.query(sql, deadline);
    }
    if (rows.error) client_.close();
    is_busy_ = false;
    turn_.cancel();
    co_return rows;
}

asio::awaitable<std::string> CommitWatch::state(routing::ServerId primary) {
    const auto rows = co_await ask(primary, std::string{kStateSql});
    if (rows.error || rows.rows.size() != 1 || rows.rows.front().size() != 2) co_return "";
    const auto& row = rows.rows.front();
    co_return row[0] == "f" ? row[1].value_or("") : "";
}

asio::awaitable<std::optional<std::vector<std::string>>> CommitWatch::databases(
    routing::ServerId primary) {
    const auto rows = co_await ask(primary, std::string{kDatabasesSql});
    std::vector<std::string> names;
    for (const auto& row : rows.rows)
        if (!row.empty() && row.front()) names.push_back(*row.front());
    if (rows.error || names.empty()) co_return std::nullopt;
    co_return names;
}

}  // namespace pgsteer::health
