// How a server is looked for, by one request.
#pragma once

#include "proxy/server/server_connection.hpp"
#include "proxy/session/patience.hpp"
#include "proxy/session/plan.hpp"
#include "proxy/shared/primary_reads.hpp"
#include "routing/decide.hpp"
#include "routing/statement_cache.hpp"

#include <optional>

namespace pgsteer::proxy {

// What comes of it: the connection on `slot`, or a failure.
struct Choice {
    routing::Slot slot{};
    routing::Reason reason{};
    std::optional<ConnectFailure> failure = {};
    routing::WalPosition needed = {};  // see Request::needed
    PrimaryRead primary_read = {};
};

// What a request needs to know of itself while a server is looked for.
struct Demand {
    bool again = false;         // it is being run again, and nobody else waits for that
    bool primary_only = false;  // it failed on a replica
    routing::ServerSet avoid = {};
    bool may_verify = false;  // its answer can be thrown away
    bool ties = false;  // it leaves something that its transaction needs on the same connection
    routing::TimePoint arrived = routing::kNever;
};

// One request's, from its first look until it is sent.
struct Search {
    const routing::CachedStatement& statement;  // outlives it
    Demand demand = {};
    Choice choice = {};
    Patience patience = {};
    routing::TimePoint next_look = {};  // Next::probe: when
    routing::ServerId server = {};      // Next::connection: to which

    // --- what a look comes to ---

    Next chosen(routing::Slot slot, routing::Reason reason) {
        choice.slot = slot;
        choice.reason = reason;
        return Next::chosen;
    }
    // Choice::failure says why. What was chosen before is forgotten.
    Next fail(ConnectFailure failure) {
        choice = {};
        choice.failure = std::move(failure);
        return Next::chosen;
    }
    Next fail(ProxyErrc reason) { return fail(ConnectFailure{reason, {}, {}, {}}); }
    // The client hears of it behind the answers to what it sent before.
    Next fail_in_turn(ProxyErrc reason) {
        fail(reason);
        return demand.again ? Next::chosen : Next::chosen_in_turn;
    }
    // False: they are avoided already.
    bool avoid_all(const routing::Candidates& candidates) {
        const auto before = demand.avoid;
        for (const auto id : candidates) demand.avoid.add(id);
        return demand.avoid != before;
    }
};

}  // namespace pgsteer::proxy
