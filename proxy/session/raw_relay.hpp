// Replication connections: after the login every byte passes unread between the client and the
// primary.
#pragma once

#include "proxy/io/asio.hpp"
#include "proxy/session/client.hpp"
#include "proxy/session/course.hpp"
#include "proxy/session/lodging.hpp"
#include "proxy/session/who.hpp"
#include "proxy/wire/message_boundary.hpp"

#include <optional>

namespace pgsteer::proxy {

// connect(), then relay(), each once. Worker-local.
class RawRelay {
public:
    RawRelay(const Lodging& lodging, Client& client, Who& who, Course& course)
        : lodging_{lodging}, client_{client}, who_{who}, course_{course} {}
    RawRelay(const RawRelay&) = delete;
    RawRelay& operator=(const RawRelay&) = delete;

    // To the primary; the client is told what the primary says of itself, or by `login` why it
    // cannot be served. False: it has been refused, or has gone.
    awaitable<bool> connect(Login& login);
    // Until either side closes.
    awaitable<void> relay();

    // Of the connection that is relayed; nullopt: there is none.
    [[nodiscard]] std::optional<routing::ServerId> server() const;
    // Passes a cancel on, whatever runs there: PostgreSQL ignores one that comes when nothing does.
    // While there is a connection.
    void cancel();

private:
    void greet(ServerConnection& server);
    awaitable<void> copy_from_server();

    // All of them outlive it.
    const Lodging& lodging_;
    Client& client_;
    Who& who_;
    Course& course_;

    ServerConnectionPtr server_;
    wire::MessageBoundary to_client_;
    bool is_copying_ = false;  // from the server
};

}  // namespace pgsteer::proxy
