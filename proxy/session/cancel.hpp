#pragma once

#include "proxy/server/server_connection.hpp"

namespace pgsteer::proxy {

class Surroundings;

// Asks the server to cancel what runs on `connection`, over a connection of its own that waits for
// no pool. Until it has arrived the connection is not given to another client.
void send_cancel(Surroundings& around, const ServerConnectionPtr& connection);

}  // namespace pgsteer::proxy
