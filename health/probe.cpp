#include "health/probe.hpp"

#include "conf/log.hpp"
#include "health/rows.hpp"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/ip/address.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <charconv>
#include <optional>

namespace pgsteer::health {

namespace asio = boost::asio;
using routing::Clock;
using routing::Lsn;
using routing::TimePoint;
using namespace std::chrono_literals;

namespace {

// A standby's timeline changes rarely; where only IDENTIFY_SYSTEM tells it, it is asked for this
// often.
constexpr auto kIdentifyInterval = 5s;

// On a primary the control file's timeline is right, but pg_walfile_name says it without a doubt.
// On a standby the WAL receiver knows (NULL without pg_monitor); the control file lags behind a
// promotion.
const std::string kFullSql =
    std::string{
        "SELECT r.standby,"
        " CASE WHEN r.standby THEN pg_catalog.pg_last_wal_replay_lsn()"
        " ELSE pg_catalog.pg_current_wal_insert_lsn() END,"
        " CASE WHEN r.standby THEN NULL ELSE pg_catalog.pg_current_wal_flush_lsn() END, "} +
    std::string{kPostmasterStartSql} +
    ", (SELECT system_identifier FROM pg_catalog.pg_control_system()),"
    " CASE WHEN r.standby THEN NULL"
    " ELSE pg_catalog.left(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_insert_lsn()), 8) "
    "END,"
    " CASE WHEN r.standby THEN (SELECT received_tli FROM pg_catalog.pg_stat_get_wal_receiver()) "
    "END,"
    " (SELECT timeline_id FROM pg_catalog.pg_control_checkpoint()),"
    " (EXTRACT(epoch FROM pg_catalog.pg_conf_load_time())"
    " OPERATOR(pg_catalog.*) 1000000)::pg_catalog.int8,"
    // NULL without pg_monitor.
    " (SELECT (EXTRACT(epoch FROM a.backend_start) OPERATOR(pg_catalog.*) 1000000)::pg_catalog.int8"
    " FROM pg_catalog.pg_stat_get_activity(NULL) AS a"
    " WHERE a.backend_type OPERATOR(pg_catalog.=) 'checkpointer')"
    " FROM (SELECT pg_catalog.pg_is_in_recovery() AS standby OFFSET 0) AS r";

// One row with the columns that only a standby has, or only a primary: its functions fail on the
// other, so a promotion in between ends in an error and the next probe is a full one.
constexpr std::string_view kCheapStandbySql =
    "SELECT pg_catalog.pg_is_in_recovery(), pg_catalog.pg_last_wal_replay_lsn()";
constexpr std::string_view kCheapPrimarySql =
    "SELECT pg_catalog.pg_is_in_recovery(), pg_catalog.pg_current_wal_insert_lsn(),"
    " pg_catalog.pg_current_wal_flush_lsn()";

// Transactional, so that its commit is flushed at once (a message that is not waits for the WAL
// writer: up to 400 ms with the default wal_writer_delay). See nudge.md.
constexpr std::string_view kNudgeSql =
    "SELECT pg_catalog.pg_logical_emit_message(true, 'pgsteer', '')";

constexpr std::string_view kPrivilegesSql =
    "SELECT r.rolsuper OR pg_catalog.pg_has_role(r.oid, 'pg_monitor', 'USAGE'),"
    " r.rolsuper OR r.rolreplication"
    " FROM pg_catalog.pg_roles AS r WHERE r.rolname OPERATOR(pg_catalog.=) CURRENT_USER";

template <class Number>
Number number(const Row& row, std::size_t column, int base = 10) {
    Number value{};
    if (column >= row.size() || !row[column]) return value;
    const std::string& text = *row[column];
    std::from_chars(text.data(), text.data() + text.size(), value, base);
    return value;
}

std::optional<Lsn> position(const Row& row, std::size_t column) {
    if (column >= row.size() || !row[column]) return std::nullopt;
    return routing::parse_lsn(*row[column]);
}

PgError unexpected(std::string text) { return {PgError::Kind::rejected, {}, std::move(text)}; }

// The columns that both probes have in common. A standby that has not replayed anything has no
// position.
ProbeResult read_position(const PgRows& answer) {
    if (answer.error) return answer.error;
    if (answer.rows.size() != 1) return unexpected("unexpected answer to a probe");
    const Row& row = answer.rows.front();
    const auto at = position(row, 1);
    if (!at) return unexpected("the server told no WAL position");
    Observation seen;
    seen.in_recovery = is_true(row, 0);
    seen.position = *at;
    seen.flushed = position(row, 2).value_or(*at);
    seen.sent_at = answer.sent_at;
    seen.response_time =
        std::chrono::duration_cast<std::chrono::microseconds>(Clock::now() - answer.sent_at);
    return seen;
}

}  // namespace

struct Probe::Lookup {
    explicit Lookup(const asio::any_io_executor& executor) : resolver{executor}, done{executor} {}
    asio::ip::tcp::resolver resolver;
    asio::steady_timer done;  // cancelled when `address` is there
    std::string address;      // "" = none was found
    bool is_done = false;
};

Probe::Probe(asio::any_io_executor executor,
             const conf::ServerConfig& server,
             const conf::HealthConfig& health)
    : executor_{executor}, server_{server}, health_{health}, client_{executor} {}

PgParameters Probe::parameters(const std::string& address) const {
    const auto timeout = std::to_string(health_.timeout.count());
    PgParameters parameters{
        {address.starts_with('/') ? "host" : "hostaddr", address},
        {"port", std::to_string(server_.port)},
        {"user", health_.user},
        {"password", health_.password.reveal()},
        {"passfile", "/dev/null/none"},  // nobody's ~/.pgpass
        {"dbname", health_.database},
        {"application_name", "pgsteer-health"},
        {"client_encoding", "UTF8"},
        {"sslmode", "allow"},
        {"gssencmode", "disable"},
        {"target_session_attrs", "any"},
        // A nudge must not wait for synchronous standbys. Nothing else of ours writes.
        {"options",
         "-c search_path=pg_catalog -c synchronous_commit=local"
         " -c statement_timeout=" +
             timeout},
    };
    return parameters;
}

// libpq would resolve names while everything waits: the resolver has a thread of its own. If it is
// slow or fails, the last address is tried.
asio::awaitable<std::string> Probe::resolve(TimePoint deadline) {
    boost::system::error_code error;
    asio::ip::make_address(server_.host, error);
    if (!error || server_.host.starts_with('/')) co_return server_.host;

    // One at a time: a resolver that hangs must not collect a queue of questions.
    if (!lookup_ || lookup_->is_done) {
        lookup_ = std::make_shared<Lookup>(executor_);
        lookup_->resolver.async_resolve(
            server_.host, "", [lookup = lookup_](boost::system::error_code, const auto& results) {
                // IPv4 first, as most servers listen there; the order of the answer otherwise.
                for (const auto& result : results)
                    if (lookup->address.empty() || (result.endpoint().address().is_v4() &&
                                                    lookup->address.find(':') != std::string::npos))
                        lookup->address = result.endpoint().address().to_string();
                lookup->is_done = true;
                lookup->done.cancel();
            });
    }
    const auto lookup = lookup_;
    lookup->done.expires_at(deadline);
    co_await lookup->done.async_wait(asio::as_tuple(asio::use_awaitable));
    if (!lookup->address.empty()) address_ = lookup->address;
    co_return address_;
}

// With `renew` the former connection is given up only for a new one, or when the server cannot be
// reached: a server that has no slot left is not down.
asio::awaitable<PgError> Probe::connect(Connection connection, TimePoint deadline) {
    if (connection == Connection::keep && client_.is_connected()) co_return PgError{};
    const auto address = co_await resolve(deadline);
    if (address.empty())
        co_return PgError{PgError::Kind::lost, {}, "cannot resolve host " + server_.host};
    PgClient fresh{executor_};
    auto error = co_await fresh.connect(parameters(address), deadline);
    if (error && error.kind == PgError::Kind::rejected && client_.is_connected())
        co_return PgError{};
    client_ = std::move(fresh);
    co_return error;
}

asio::awaitable<ProbeResult> Probe::full(Connection connection, TimePoint deadline) {
    if (auto error = co_await connect(connection, deadline)) co_return error;
    if (!has_checked_privileges_) co_await check_privileges(deadline);
    auto answer = co_await client_.query(kFullSql, deadline);
    auto result = read_position(answer);
    auto* const seen = std::get_if<Observation>(&result);
    if (!seen) co_return result;
    const Row& row = answer.rows.front();
    seen->is_full = true;
    seen->postmaster_start_us = number<std::int64_t>(row, 3);
    seen->configured_us = number<std::int64_t>(row, 8);
    seen->checkpointer_start_us = number<std::int64_t>(row, 9);
    seen->system_identifier = static_cast<std::uint64_t>(number<std::int64_t>(row, 4));
    if (!seen->in_recovery) {
        if (row.size() > 5 && row[5]) seen->timeline = number<std::uint32_t>(row, 5, 16);
        co_return result;
    }
    seen->timeline = number<std::uint32_t>(row, 6);
    if (seen->timeline != 0) co_return result;

    // No WAL receiver, or not allowed to see it.
    if (identified_run_ != seen->postmaster_start_us ||
        Clock::now() - kIdentifyInterval >= identified_at_) {
        identified_timeline_ = co_await identify_timeline(deadline);
        if (identified_timeline_ == 0) identified_timeline_ = number<std::uint32_t>(row, 7);
        identified_run_ = seen->postmaster_start_us;
        identified_at_ = Clock::now();
    }
    seen->timeline = identified_timeline_;
    co_return result;
}

asio::awaitable<ProbeResult> Probe::cheap(bool in_recovery, TimePoint deadline) {
    co_return read_position(co_await client_.query(
        std::string{in_recovery ? kCheapStandbySql : kCheapPrimarySql}, deadline));
}

asio::awaitable<PgError> Probe::nudge(TimePoint deadline) {
    co_return (co_await client_.query(std::string{kNudgeSql}, deadline)).error;
}

// The timeline being replayed, over a replication connection. 0: not told.
asio::awaitable<std::uint32_t> Probe::identify_timeline(TimePoint deadline) {
    auto with_replication = parameters(address_.empty() ? server_.host : address_);
    with_replication.emplace_back("replication", "true");
    PgClient walsender{executor_};
    if (auto error = co_await walsender.connect(std::move(with_replication), deadline)) {
        log::debug("no replication connection for IDENTIFY_SYSTEM", "server", server_.name, "error",
                   error.text);
        co_return 0;
    }
    const auto answer = co_await walsender.query("IDENTIFY_SYSTEM", deadline);
    if (answer.error || answer.rows.size() != 1) co_return 0;
    co_return number<std::uint32_t>(answer.rows.front(), 1);
}

asio::awaitable<void> Probe::check_privileges(TimePoint deadline) {
    const auto answer = co_await client_.query(std::string{kPrivilegesSql}, deadline);
    if (answer.error || answer.rows.size() != 1) co_return;
    has_checked_privileges_ = true;
    const Row& row = answer.rows.front();
    if (!is_true(row, 0))
        log::warning(
            "the health user lacks pg_monitor: a replica's timeline is found in a slower way",
            "server", server_.name, "user", health_.user);
    if (!is_true(row, 0) && !is_true(row, 1))
        log::warning("the health user lacks REPLICATION too: after a promotion replicas serve late",
                     "server", server_.name, "user", health_.user);
}

}  // namespace pgsteer::health
