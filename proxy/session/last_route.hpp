// What a client may ask about its routes: SHOW pgsteer.last_route and pgsteer.lsn, and the notice
// of pgsteer.explain.
#pragma once

#include "proxy/session/client.hpp"
#include "proxy/session/course.hpp"
#include "proxy/session/lodging.hpp"
#include "proxy/session/memory.hpp"
#include "proxy/session/search.hpp"
#include "proxy/session/sides.hpp"

#include <optional>
#include <string>

namespace pgsteer::proxy {

// Worker-local.
class LastRoute {
public:
    LastRoute(const Lodging& lodging, Client& client, Course& course, Memory& memory, Sides& sides)
        : lodging_{lodging}, client_{client}, course_{course}, memory_{memory}, sides_{sides} {}
    LastRoute(const LastRoute&) = delete;
    LastRoute& operator=(const LastRoute&) = delete;

    // A request has been answered by `slot`. Those that ask for this are not noted.
    void note(routing::Slot slot, const Request& request);
    // Appends what gives the server the value that `request` asks for, if it is SHOW pgsteer.*:
    // behind that, SHOW runs there like any other, in any protocol.
    void add_shown(routing::Slot slot, wire::Buffer& out, const Request& request);
    // Sends the notice. While nothing is in flight, where it is in no answer's way.
    void explain(const Choice& choice);

private:
    struct Known {
        routing::ServerId server;
        routing::Slot slot = routing::Slot::primary;
        routing::Reason reason{};
        bool retried = false;
        routing::Clock::duration staleness{-1};  // of the replica; negative: not known
    };
    [[nodiscard]] std::string text() const;

    // All of them outlive it.
    const Lodging& lodging_;
    Client& client_;
    Course& course_;
    Memory& memory_;
    Sides& sides_;

    std::optional<Known> known_;
};

}  // namespace pgsteer::proxy
