// From a server's number to a connection that is what it is meant to be.
#pragma once

#include "proxy/pool/environment.hpp"
#include "proxy/pool/lease.hpp"
#include "proxy/pool/room.hpp"
#include "proxy/server/server_connection.hpp"

#include <string>

namespace pgsteer::proxy {

// Worker-local. What it opens is no part of the pool yet.
class Connector {
public:
    Connector(PoolEnvironment& environment, Room& room) : env_{environment}, room_{room} {}

    // Logs in with the credentials of `generation` (null: the current one) to a server of the
    // current one. Where a limit of connections is in its way, an idle one of the pools makes room.
    awaitable<ConnectResult> connect(GenerationPtr generation,
                                     routing::ServerId server,
                                     ServerLogin login);
    // The same, and makes sure of the server's role, of a replica also its run and position, and
    // asks it for `columns` ("": on the primary, nothing). `seen` outlives the coroutine. What
    // speaks against the server is told to Evidence.
    awaitable<ConnectResult> open(PoolTarget target, std::string columns, ServerState& seen);
    // What speaks against using a fresh connection to the primary; "" = nothing.
    awaitable<std::string> check_primary(ServerConnectionPtr connection,
                                         std::string columns,
                                         ServerState& seen);

private:
    awaitable<std::string> check_replica(ServerConnectionPtr connection,
                                         routing::Server known,
                                         std::string columns,
                                         ServerState& seen);
    bool is_news(routing::ServerId server, const routing::Topology& known);
    [[nodiscard]] routing::TimePoint time_limit(routing::ServerId server) const;

    PoolEnvironment& env_;
    Room& room_;
};

}  // namespace pgsteer::proxy
