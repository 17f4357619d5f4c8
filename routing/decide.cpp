#include "routing/decide.hpp"

#include <algorithm>

namespace pgsteer::routing {
namespace {

bool avoids(const SessionView& session, ServerId id) { return session.avoid.contains(id); }

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
    const bool deallocates =
        session.prepared_in_sql &&
        std::any_of(statement.effects.begin(), statement.effects.end(), [](const Effect& e) {
            return e.kind == Effect::Kind::deallocate || e.kind == Effect::Kind::deallocate_all;
        });
    if (deallocates || concerns_the_primary_only(statement))
        return primary_or_nowhere(session, topology, reason);
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

bool has_replayed(ServerId id,
                  const Server& server,
                  const SessionView& session,
                  const WalPosition& token) {
    if (server.incarnation.timeline != token.timeline) return false;
    if (server.position >= token.lsn) return true;
    return id.index < session.learnt.size() && session.learnt[id.index] >= token.lsn;
}

bool shows_what_was_seen_elsewhere(ServerId id, const Server& server, const SessionView& session) {
    const Floor& floor = session.floor;
    if (floor.last_replica == id || server.fresh_as_of >= floor.replica_seen) return true;
    return floor.covers_replica && has_replayed(id, server, session, floor.primary_position);
}

// What the session has seen on the primary, by whatever proof there is.
bool shows_what_the_primary_showed(ServerId id, const Server& server, const SessionView& session) {
    const Floor& floor = session.floor;
    if (server.fresh_as_of >= floor.primary_seen) return true;
    if (floor.primary_position.timeline == 0) return false;
    if (has_replayed(id, server, session, floor.primary_position)) return true;
    return floor.last_replica == id && floor.proven_incarnation != 0 &&
           floor.proven_incarnation == server.incarnation.number;
}

bool shows_what_all_have_written(ServerId id, const Server& server, const SessionView& session) {
    const WrittenByAll& written = session.written;
    if (server.fresh_as_of >= written.at) return true;
    return written.position.timeline != 0 && server.fresh_as_of >= written.unpositioned &&
           has_replayed(id, server, session, written.position);
}

bool has_passed_the_floor(ServerId id, const Server& server, const SessionView& session) {
    if (session.consistency == Consistency::eventual) return true;
    if (!shows_what_the_primary_showed(id, server, session)) return false;
    if (!shows_what_was_seen_elsewhere(id, server, session)) return false;
    if (session.consistency == Consistency::session) return true;
    if (!shows_what_all_have_written(id, server, session)) return false;
    return session.consistency != Consistency::strict || server.fresh_as_of >= session.arrived;
}

bool is_within_bounds(ServerId id,
                      const Server& server,
                      const SessionView& session,
                      TimePoint now) {
    if (session.max_staleness && server.fresh_as_of < now - *session.max_staleness) return false;
    return !session.min_lsn || has_replayed(id, server, session, *session.min_lsn);
}

// How far a server that may not be fresh enough must have replayed: asking it for its position
// would be proof. nullopt: no position proves it.
std::optional<WalPosition> to_be_proven(ServerId id,
                                        const Server& server,
                                        const SessionView& session,
                                        TimePoint now) {
    WalPosition needed{server.incarnation.timeline, {}};
    const auto require = [&](const WalPosition& position) {
        needed.lsn = std::max(needed.lsn, position.lsn);
        return position.timeline != 0 && position.timeline == needed.timeline;
    };
    if (session.consistency == Consistency::eventual) return std::nullopt;
    const bool has_all_seen_elsewhere = shows_what_was_seen_elsewhere(id, server, session);
    if (!has_all_seen_elsewhere && !session.floor.covers_replica) return std::nullopt;
    const bool has_floor =
        has_all_seen_elsewhere && shows_what_the_primary_showed(id, server, session);
    if (!has_floor && !require(session.floor.primary_position)) return std::nullopt;
    if (session.consistency >= Consistency::global &&
        !shows_what_all_have_written(id, server, session) &&
        (server.fresh_as_of < session.written.unpositioned || !require(session.written.position)))
        return std::nullopt;
    if (session.consistency == Consistency::strict && server.fresh_as_of < session.arrived)
        return std::nullopt;
    if (session.max_staleness && server.fresh_as_of < now - *session.max_staleness)
        return std::nullopt;
    if (session.min_lsn && !require(*session.min_lsn)) return std::nullopt;
    return needed.lsn.bytes != 0 ? std::optional{needed} : std::nullopt;
}

struct Replicas {
    Candidates
        eligible;  // of the best priority; the session's own replica alone if it is one of them
    bool any_behind = false;  // one failed by what it must not miss, and nothing else
    Candidates unproven;      // of those, the ones that may have caught up
    WalPosition needed;       // what they have to prove
};

// Only those of the best priority stay.
void add_best(Candidates& candidates, ServerId id, const Topology& topology) {
    if (!candidates.empty()) {
        const int best = topology[candidates.front()].priority;
        if (topology[id].priority > best) return;
        if (topology[id].priority < best) candidates.clear();
    }
    candidates.push_back(id);
}

void prefer(Candidates& candidates, std::optional<ServerId> id) {
    if (id && std::find(candidates.begin(), candidates.end(), *id) != candidates.end())
        candidates = {*id};
}

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
        if (!has_passed_the_floor(id, server, session) ||
            !is_within_bounds(id, server, session, now)) {
            found.any_behind = true;
            if (const auto needed = to_be_proven(id, server, session, now)) {
                add_best(found.unproven, id, topology);
                if (found.needed.lsn < needed->lsn) found.needed = *needed;
            }
            continue;
        }
        add_best(found.eligible, id, topology);
    }
    prefer(found.eligible, session.floor.last_replica);
    return found;
}

Reason reason_to_read_on_replica(const Statement& statement, const SessionView& session) {
    const bool opens = statement.access == Access::begin_read_only ||
                       statement.access == Access::begin || session.transaction.waits;
    if (opens)
        return session.transaction.read_only || statement.access == Access::begin_read_only
                   ? Reason::read_only_transaction
                   : Reason::lazy_transaction;
    return statement.hint == Hint::replica ? Reason::hint_replica : Reason::fresh_replica;
}

Route read(const Statement& statement,
           const SessionView& session,
           const Topology& topology,
           TimePoint now) {
    const auto healthy = replicas_of_status(Status::healthy, session, topology, now);
    if (!healthy.eligible.empty())
        return {healthy.eligible, reason_to_read_on_replica(statement, session), true};

    const auto degraded = replicas_of_status(Status::degraded, session, topology, now);
    if (session.degraded_reads && !degraded.eligible.empty())
        return {degraded.eligible, Reason::degraded_replica, true};

    Reason reason = Reason::no_replica;
    if (healthy.any_behind || (session.degraded_reads && degraded.any_behind))
        reason = Reason::replica_behind;
    else if (degraded.any_behind || !degraded.eligible.empty())
        reason = Reason::replica_lagging;
    Route route = primary_or_nowhere(session, topology, reason);
    if (route.candidates.empty())
        route.is_for_the_next_look =
            std::ranges::any_of(topology.servers, [](const Server& server) {
                return server.role != Role::unknown && server.status != Status::unhealthy;
            });
    if (reason == Reason::replica_behind && !healthy.unproven.empty()) {
        route.unproven = healthy.unproven;
        route.needed = healthy.needed;
    }
    return route;
}

// Whether a transaction on a replica keeps it there. One that may write is not tied to a replica.
bool may_follow(const Statement& statement, const SessionView& session) {
    auto follows = statement.may_follow();
    if (session.transaction.tied_by_request && follows == InTransaction::stays)
        follows = InTransaction::ties;
    return follows == InTransaction::stays ||
           (follows == InTransaction::ties && session.transaction.read_only);
}

Reason reason_to_leave(const Statement& statement, const SessionView& session) {
    if (session.transaction.must_move) return Reason::in_transaction;
    const bool is_read = statement.access == Access::read_only;
    return is_read ? Reason::transaction_time : statement.reason;
}

Route in_transaction(const Statement& statement,
                     const SessionView& session,
                     const Topology& topology,
                     TimePoint now) {
    const ServerId server = *session.transaction_on;
    const auto stay = exactly(server, topology, Reason::in_transaction);
    if (!session.transaction.may_move) return stay;
    const bool cursor_is_elsewhere =
        statement.uses_cursor && session.cursor_on && *session.cursor_on != server;
    if (session.transaction.must_move || cursor_is_elsewhere || !may_follow(statement, session))
        return primary_or_nowhere(session, topology, reason_to_leave(statement, session));
    if (statement.access != Access::read_only) return stay;
    const auto& where = topology[server];
    const bool is_fresh = has_evidence(where, session, now) &&
                          has_passed_the_floor(server, where, session) &&
                          is_within_bounds(server, where, session, now);
    if (is_fresh || !topology.primary || avoids(session, *topology.primary)) return stay;
    return to_primary(topology, Reason::replica_behind);
}

// A transaction is opened where its first statement runs.
Route open_transaction(const Statement& statement,
                       const SessionView& session,
                       const Topology& topology,
                       TimePoint now) {
    if (!may_follow(statement, session))
        return primary_or_nowhere(session, topology, reason_to_leave(statement, session));
    if (!session.transaction.may_start_on_replica) {
        const bool is_read = statement.access == Access::read_only;
        return primary_or_nowhere(session, topology,
                                  is_read ? Reason::in_transaction : statement.reason);
    }
    if (session.pin) return primary_or_nowhere(session, topology, Reason::pinned);
    return read(statement, session, topology, now);
}

}  // namespace

Route least_stale(const SessionView& session, const Topology& topology, TimePoint now) {
    if (session.consistency != Consistency::eventual || session.pin) return {};
    std::optional<ServerId> best;
    for (std::size_t i = 0; i < known_servers(topology); ++i) {
        const ServerId id{static_cast<std::uint16_t>(i)};
        const Server& server = topology.servers[i];
        if (!is_replica(id, topology) || !is_usable(id, session, topology)) continue;
        if (!has_evidence(server, session, now) || !is_within_bounds(id, server, session, now))
            continue;
        if (!best || server.fresh_as_of > topology[*best].fresh_as_of) best = id;
    }
    if (!best) return {};
    return {{*best}, Reason::stale_replica, true};
}

bool is_for_want_of_a_replica(Reason reason) {
    return reason == Reason::replica_behind || reason == Reason::replica_lagging ||
           reason == Reason::no_replica;
}

bool hint_may_override(Reason reason) {
    return reason == Reason::unknown_function || reason == Reason::unknown_operator ||
           reason == Reason::unknown_relation || reason == Reason::effect_function ||
           reason == Reason::server_local || reason == Reason::volatile_function ||
           reason == Reason::volatile_type || reason == Reason::foreign_table ||
           reason == Reason::catalog_unknown;
}

Route decide(const Statement& statement,
             const SessionView& session,
             const Topology& topology,
             TimePoint now) {
    if (session.transaction_on) return in_transaction(statement, session, topology, now);
    if (statement.hint == Hint::primary)
        return primary_or_nowhere(session, topology, Reason::hint_primary);
    if (statement.uses_cursor && session.cursor_on)
        return exactly(*session.cursor_on, topology, Reason::cursor);
    if (session.transaction.waits) return open_transaction(statement, session, topology, now);
    if (statement.access == Access::session_control)
        return session_control(statement, session, topology);

    const bool hinted = statement.hint == Hint::replica && hint_may_override(statement.reason);
    if (statement.access == Access::write && !hinted)
        return primary_or_nowhere(session, topology, statement.reason);
    const bool begins =
        statement.access == Access::begin_read_only || statement.access == Access::begin;
    const bool ties = session.transaction.tied_by_request && !session.transaction.read_only;
    if (begins && (!session.transaction.may_start_on_replica || ties))
        return primary_or_nowhere(session, topology, Reason::transaction_control);
    if (session.pin) return primary_or_nowhere(session, topology, Reason::pinned);
    return read(statement, session, topology, now);
}

Route to_primary(const Topology& topology, Reason reason) {
    if (!topology.primary) return {};
    return {{*topology.primary}, reason, false};
}

}  // namespace pgsteer::routing
