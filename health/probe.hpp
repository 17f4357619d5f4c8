// One conversation with one server: what the checker asks, and what the answers mean.
#pragma once

#include "conf/config.hpp"
#include "health/observation.hpp"
#include "health/pg_client.hpp"
#include "routing/topology.hpp"

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <variant>

namespace pgsteer::health {

// The start of a postmaster as Incarnation keeps it. Whoever compares incarnations must ask in
// these words.
inline constexpr std::string_view kPostmasterStartSql =
    "(EXTRACT(epoch FROM pg_catalog.pg_postmaster_start_time())"
    " OPERATOR(pg_catalog.*) 1000000)::pg_catalog.int8";

using ProbeResult = std::variant<Observation, PgError>;

class Probe {
public:
    Probe(boost::asio::any_io_executor executor,
          const conf::ServerConfig& server,
          const conf::HealthConfig& health);

    // Whether to trust the connection at hand, or to see that the server takes new ones.
    enum class Connection { keep, renew };
    boost::asio::awaitable<ProbeResult> full(Connection connection, routing::TimePoint deadline);
    // Positions only, over the connection of the last full probe; is_connected() must hold.
    boost::asio::awaitable<ProbeResult> cheap(bool in_recovery, routing::TimePoint deadline);
    // Writes a little WAL and flushes it, so that the standbys get all that was written before.
    boost::asio::awaitable<PgError> nudge(routing::TimePoint deadline);

    // As PgClient::watch.
    void watch(std::function<void()> on_lost) { client_.watch(std::move(on_lost)); }
    [[nodiscard]] bool is_connected() const { return client_.is_connected(); }
    void close() { client_.close(); }

private:
    struct Lookup;
    boost::asio::awaitable<PgError> connect(Connection connection, routing::TimePoint deadline);
    boost::asio::awaitable<std::string> resolve(routing::TimePoint deadline);
    boost::asio::awaitable<std::uint32_t> identify_timeline(routing::TimePoint deadline);
    boost::asio::awaitable<void> check_privileges(routing::TimePoint deadline);
    [[nodiscard]] PgParameters parameters(const std::string& address) const;

    boost::asio::any_io_executor executor_;
    conf::ServerConfig server_;
    conf::HealthConfig health_;
    PgClient client_;
    std::string address_;             // last one resolved
    std::shared_ptr<Lookup> lookup_;  // the last one, maybe still going on
    bool has_checked_privileges_ = false;
    std::uint32_t identified_timeline_ = 0;  // by IDENTIFY_SYSTEM, of this run of the server
    std::int64_t identified_run_ = 0;
    routing::TimePoint identified_at_ = routing::kNever;
};

}  // namespace pgsteer::health
