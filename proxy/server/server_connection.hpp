#pragma once

#include "conf/config.hpp"
#include "proxy/auth/credentials.hpp"
#include "proxy/io/asio.hpp"
#include "proxy/io/stream.hpp"
#include "proxy/server/exchange.hpp"
#include "proxy/server/farewell.hpp"
#include "proxy/server/reply_queue.hpp"
#include "proxy/shared/parameter_map.hpp"
#include "proxy/wire/backend.hpp"
#include "proxy/wire/startup.hpp"
#include "routing/topology.hpp"

#include <memory>
#include <string>

namespace pgsteer::proxy {

// The incarnation of a connection that is held and shall not be used for anything new.
inline constexpr std::uint64_t kOutdated = 0;

// How a connection was made.
struct Origin {
    bool to_replica = false;         // read-only for good
    std::uint64_t incarnation = 0;   // of the server at that time; replicas only
    std::string startup_parameters;  // part of the pool's key
    routing::TimePoint opened_at{};
    wire::BackendKeyData key;
};

// One logged-in connection to a server. Worker-local; owned by the pool or by one session's lease.
struct ServerConnection : std::enable_shared_from_this<ServerConnection> {
    explicit ServerConnection(Socket socket)
        : exchange{socket.get_executor(), *this}, stream{std::move(socket)} {}

    Exchange exchange;
    Stream stream;
    InputBuffer in;
    Ledger ledger;  // of what this connection has
    ReplyQueue replies{ledger};
    std::uint64_t id = 0;            // unique in this process
    std::uint64_t lease_number = 0;  // of the lease that holds it now; unique in this process
    routing::ServerId server;
    Origin origin;
    ReportedParameters parameters;
    Farewell farewell;
    routing::TimePoint idle_since{};
    routing::TransactionStatus transaction_status = routing::TransactionStatus::idle;
    int cancels_in_flight = 0;  // not given to anybody before they have arrived
    // Something was asked of it that DISCARD ALL may not undo: nobody else gets it.
    bool outlives_discard_all = false;
};
using ServerConnectionPtr = std::shared_ptr<ServerConnection>;

// Whom to log in as, and with which settings.
struct ServerLogin {
    std::string database;
    std::string user;
    wire::Parameters parameters;  // settings and options of the startup packet
    bool replication = false;     // parameters hold `replication`: no checks of our own
};

// Why a connection could not be made.
struct ConnectFailure {
    error_code error;
    wire::Buffer error_response;  // the server's own ErrorResponse, whole; empty if there was none
    std::string sqlstate;         // of error_response
    std::string text;             // for logs
    std::string routine = {};     // field R of error_response
    [[nodiscard]] bool rejected() const { return !error_response.empty(); }
    // What a client is told that was to be served there.
    [[nodiscard]] ProxyErrc reason() const {
        return error.category() == proxy_category() ? static_cast<ProxyErrc>(error.value())
                                                    : ProxyErrc::server_unreachable;
    }
    // Whether it speaks against the server, not only against this user, database or our own side.
    [[nodiscard]] bool speaks_of_the_server() const {
        return rejected() ? rejects_everybody(sqlstate) : is_unreachable(error);
    }
};

struct ConnectResult {
    ServerConnectionPtr connection;  // null: see failure
    ConnectFailure failure;
};

// Connects, authenticates, reads parameters up to ReadyForQuery. Bounded by the server's
// connect_timeout. Refused with 53300 it returns when the server has closed the connection: until
// then that counts against the limit as well.
awaitable<ConnectResult> connect_to_server(Executor executor,
                                           const conf::ServerConfig& config,
                                           ServerLogin login,
                                           auth::Credentials& credentials);

// What a server says of itself on a fresh connection, in a transaction of its own.
struct ServerState {
    bool in_recovery = false;
    std::int64_t postmaster_start_us = 0;
    routing::Lsn replayed;                            // standbys only
    std::vector<std::optional<std::string>> columns;  // what else was asked for
};
// `columns`: of a SELECT. Outlived by the connection alone.
awaitable<Result<ServerState>> read_server_state(ServerConnection& connection, std::string columns);

// Sends a Sync of ours: what it ends there runs elsewhere, or not at all.
void end_by_sync(ServerConnection& connection);

// Runs one internal SQL text and reads up to ReadyForQuery; true if no error came. These read by
// themselves: before the connection's Exchange has started.
awaitable<bool> run_internal(ServerConnection& connection, std::string_view sql);

// Reads, and throws away, until the server closes the connection or somebody here does.
awaitable<void> read_to_end(ServerConnection& connection);

// Opens a socket to the server, TCP or Unix. Errors: timed_out when `until` has come.
awaitable<Result<Socket>> open_socket(Executor executor,
                                      const conf::ServerConfig& config,
                                      routing::TimePoint until);

}  // namespace pgsteer::proxy
