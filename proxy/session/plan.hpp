// What will happen to a request, before any of it does. Pure.
#pragma once

#include "proxy/errors.hpp"
#include "routing/decide.hpp"
#include "routing/session_settings.hpp"

#include <array>
#include <cstdint>
#include <optional>

namespace pgsteer::proxy {

// What a look comes to. What is not `chosen` is waited for, by Seek::choose(): the usual case needs
// no coroutine, which is dear.
enum class Next : std::uint8_t {
    chosen,          // Search::choice says what: a connection that is held, or why there is none
    refused,         // of a Plan only, whose `why` says it: nowhere
    chosen_in_turn,  // when all before it has been answered
    look_again,      // otherwise
    answer,          // a server has said something
    answers,         // all before it has been answered
    open_request,    // the same for the one that has no Sync yet, and moves
    freshness,       // a moment: replicas may have replayed more, a cancel have arrived
    probe,           // Search::next_look: the primary has been asked
    connection,      // to Search::server, as Choice::slot
};

// How a session stands when a request looks for a server.
struct Situation {
    using Slot = routing::Slot;

    // A connection that it holds.
    struct Held {
        routing::ServerId server;
        std::uint64_t run = 0;  // of the server; replicas only
        bool has_cancel_in_flight = false;
    };
    // What was sent before, and who sends.
    struct InFlight {
        Slot slot{};           // of the newest
        bool is_open = false;  // its Sync has not come yet
    };

    bool is_run_again = false;      // the request that looks; nobody else waits for that
    bool others_run_again = false;  // requests before it are between two servers
    bool is_skipping = false;       // up to a Sync: nothing is sent
    bool is_copying_in = false;     // its server takes copy data, and nothing else
    bool is_cancelled = false;      // before it was sent
    std::optional<InFlight> in_flight;
    std::array<std::optional<Held>, 2> held;  // by Slot
};

// Where to, or what for.
struct Plan {
    Next next = Next::look_again;
    routing::Slot slot{};      // chosen, connection
    routing::Reason reason{};  // chosen, connection
    ProxyErrc why{};           // refused
};

// What the topology has no part in: nullopt: it has.
[[nodiscard]] std::optional<Plan> plan_by_course(const Situation& situation);

// To a server of `route`, which has some. The connection that is held is kept if it is one to them.
[[nodiscard]] Plan plan_by_route(const Situation& situation,
                                 const routing::Route& route,
                                 const routing::Topology& topology);

}  // namespace pgsteer::proxy
