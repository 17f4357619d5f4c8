// What sessions ask a pool for, and what they get.
#pragma once

#include "proxy/server/server_connection.hpp"
#include "proxy/shared/generation.hpp"
#include "proxy/wire/startup.hpp"
#include "routing/topology.hpp"

#include <memory>
#include <string>
#include <utility>

namespace pgsteer::proxy {

class Connections;

// The right to use one server connection. Gives it back when destroyed: to the pool if it can be
// used again, else it is closed. Move-only, worker-local.
class Lease {
public:
    Lease() = default;
    // A new number for the connection: ServerConnection::lease_number.
    Lease(Connections* pool, ServerConnectionPtr connection);
    Lease(Lease&& other) noexcept : pool_{other.pool_}, connection_{std::move(other.connection_)} {}
    Lease& operator=(Lease&& other) noexcept;
    ~Lease() { give_back(); }

    [[nodiscard]] explicit operator bool() const { return connection_ != nullptr; }
    [[nodiscard]] const ServerConnectionPtr& connection() const { return connection_; }
    ServerConnection* operator->() const { return connection_.get(); }
    void give_back();  // clean: is reset and kept
    void discard();    // closed at once

private:
    Connections* pool_ = nullptr;
    ServerConnectionPtr connection_;
};

struct LeaseResult {
    Lease lease;
    ConnectFailure failure;  // if there is no lease; ProxyErrc::acquire_timeout: none became free
};

// What the connection is to be.
struct PoolTarget {
    routing::ServerId server;
    // The connection gets default_transaction_read_only=on and is checked for its position.
    bool replica = false;
    std::string database;  // as the server calls it
    std::string user;
    wire::Parameters parameters;  // of the client's startup packet
    // The same as one string: connections are shared only where it is equal.
    std::string parameters_key;
    // Whose credentials and limits hold; null: those of the current one.
    GenerationPtr generation = nullptr;
};

}  // namespace pgsteer::proxy
