#include "routing/decide.hpp"

#include <algorithm>

namespace pgsteer::routing {
namespace {

bool avoids(const SessionView& session, ServerId id) {
    return id.index < 32 && (session.avoid >> id.index & 1U) != 0;
}

bool is_replica(ServerId id, const Topology& topology) {
    return topology[id].role == Role::replica && topology.primary != id;
}

// A server that is not known to be a replica is taken for the primary: its answers raise the floor,
// and nothing that failed there is run again.
Route exactly(ServerId id, const Topology& topology, Reason reason) {
    return {{id}, reason, id.index < topology.servers.size() && is_replica(id, topology)};
}

Route primary_or_nowhere(const SessionView& session, const Topology& topology, Reason reason) {
    if (topology.primary && avoids(session, *topology.primary)) return {};
    return to_primary(topology, reason);
}

std::size_t known_servers(const Topology& topology) {
    constexpr std::size_t most = Candidates::static_capacity;
    return std::min(topology.servers.size(), most);
}

bool is_usable(ServerId id, const SessionView& session, const Topology& topology) {
    if (id.index >= topology.servers.size() || avoids(session, id)) return false;
    return topology[id].role != Role::unknown && topology[id].status != Status::unhealthy;
}

// State that only the primary's connection can have: LISTEN, and what must never reach a replica.
bool concerns_the_primary_only(const Statement& statement) {
    return std::any_of(statement.effects.begin(), statement.effects.end(), [](const Effect& e) {
        return e.kind == Effect::Kind::unlisten || e.kind == Effect::Kind::unlisten_all ||
               e.kind == Effect::Kind::set_on_primary || e.kind == Effect::Kind::discard_all ||
               e.kind == Effect::Kind::discard_temporary;
    });
}

Route session_control(const Statement& statement,
                      const SessionView& session,
                      const Topology& topology) {
    constexpr auto reason = Reason::session_control;
    if (concerns_the_primary_only(statement)) return primary_or_nowhere(session, topology, reason);
    if (session.last_used && is_usable(*session.last_used, session, topology))
        return exactly(*session.last_used, topology, reason);
    if (auto route = primary_or_nowhere(session, topology, reason); !route.candidates.empty())
        return route;

    Route route{{}, reason, true};
    for (std::size_t i = 0; i < known_servers(topology); ++i) {
        const ServerId id{static_cast<std::uint16_t>(i)};
        if (is_replica(id, topology) && is_usable(id, session, topology))
            route.candidates.push_back(id);
    }
    return route.candidates.empty() ? Route{} : route;
}

bool has_evidence(const Server& server, const SessionView& session, TimePoint now) {
    return server.fresh_as_of != kNever && server.checked_at != kNever &&
           server.checked_at >= now - session.tolerated_age;
}

bool has_passed_the_floor(ServerId id, const Server& server, const SessionView& session) {
    if (session.consistency == Consistency::eventual) return true;
    const Floor& floor = session.floor;
    if (server.fresh_as_of < floor.primary_seen) return false;
    return floor.last_replica == id || server.fresh_as_of >= floor.replica_seen;
}

struct Replicas {
    Candidates
        eligible;  // of the best priority; the session's own replica alone if it is one of them
    bool any_behind = false;  // one failed by the session's floor and nothing else
};

Replicas replicas_of_status(Status status,
                            const SessionView& session,
                            const Topology& topology,
                            TimePoint now) {
    Replicas found;
    for (std::size_t i = 0; i < known_servers(topology); ++i) {
        const ServerId id{static_cast<std::uint16_t>(i)};
        const Server& server = topology.servers[i];
        if (!is_replica(id, topology) || server.status != status || avoids(session, id)) continue;
        if (!has_evidence(server, session, now)) continue;
        if (!has_passed_the_floor(id, server, session)) {
            found.any_behind = true;
            continue;
        }
        if (!found.eligible.empty()) {
            const int best = topology[found.eligible.front()].priority;
            if (server.priority > best) continue;
            if (server.priority < best) found.eligible.clear();
        }
        found.eligible.push_back(id);
    }
    const auto last = session.floor.last_replica;
    if (last &&
        std::find(found.eligible.begin(), found.eligible.end(), *last) != found.eligible.end())
        found.eligible = {*last};
    return found;
}

Reason reason_to_read_on_replica(const Statement& statement) {
    if (statement.access == Access::begin_read_only) return Reason::read_only_transaction;
    return statement.hint == Hint::replica ? Reason::hint_replica : Reason::fresh_replica;
}

Route read(const Statement& statement,
           const SessionView& session,
           const Topology& topology,
           TimePoint now) {
    const auto healthy = replicas_of_status(Status::healthy, session, topology, now);
    if (!healthy.eligible.empty())
        return {healthy.eligible, reason_to_read_on_replica(statement), true};

    const auto degraded = replicas_of_status(Status::degraded, session, topology, now);
    if (session.degraded_reads && !degraded.eligible.empty())
        return {degraded.eligible, Reason::degraded_replica, true};

    Reason reason = Reason::no_replica;
    if (healthy.any_behind || (session.degraded_reads && degraded.any_behind))
        reason = Reason::replica_behind;
    else if (degraded.any_behind || !degraded.eligible.empty())
        reason = Reason::replica_lagging;
    return primary_or_nowhere(session, topology, reason);
}

}  // namespace

bool hint_may_override(Reason reason) {
    return reason == Reason::unknown_function || reason == Reason::unknown_operator ||
           reason == Reason::effect_function || reason == Reason::server_local ||
           reason == Reason::volatile_function || reason == Reason::volatile_type ||
           reason == Reason::foreign_table || reason == Reason::catalog_unknown;
}

Route decide(const Statement& statement,
             const SessionView& session,
             const Topology& topology,
             TimePoint now) {
    if (session.transaction_on)
        return exactly(*session.transaction_on, topology, Reason::in_transaction);
    if (statement.hint == Hint::primary)
        return primary_or_nowhere(session, topology, Reason::hint_primary);
    if (statement.uses_cursor && session.cursor_on)
        return exactly(*session.cursor_on, topology, Reason::cursor);
    if (statement.access == Access::session_control)
        return session_control(statement, session, topology);

    const bool hinted = statement.hint == Hint::replica && hint_may_override(statement.reason);
    if (statement.access == Access::write && !hinted)
        return primary_or_nowhere(session, topology, statement.reason);
    if (session.pin) return primary_or_nowhere(session, topology, Reason::pinned);
    return read(statement, session, topology, now);
}

Route to_primary(const Topology& topology, Reason reason) {
    if (!topology.primary) return {};
    return {{*topology.primary}, reason, false};
}

}  // namespace pgsteer::routing
