// The routing rules, as one pure function. See decide.md for the order of the rules and why.
#pragma once

#include "routing/read_options.hpp"
#include "routing/route.hpp"
#include "routing/server_set.hpp"
#include "routing/statement.hpp"
#include "routing/topology.hpp"

#include <chrono>
#include <cstdint>
#include <optional>
#include <span>

namespace pgsteer::routing {

// What a session has seen, and therefore must not miss. Times are of the monotonic clock, read
// after the recv that brought the news.
struct Floor {
    TimePoint primary_seen = kNever;  // last answer of the primary that counts
    // The same as a position of the primary, asked for behind that answer; timeline 0: not known.
    WalPosition primary_position;
    TimePoint replica_seen = kNever;  // last answer of `last_replica`
    bool covers_replica = false;      // primary_position was asked for after that
    std::optional<ServerId> last_replica;
    // This run of `last_replica` was found to be at or beyond primary_position; 0: it was not.
    std::uint64_t proven_incarnation = 0;

    void raise(TimePoint seen) {
        primary_seen = seen;
        primary_position = {};
        covers_replica = false;
        proven_incarnation = 0;
    }
};

// Writes of any session of this proxy. A replica shows them if it shows all that was there `at`
// that time; or, where positions are known, all of `unpositioned` and what is up to `position`.
struct WrittenByAll {
    TimePoint at = kNever;
    TimePoint unpositioned = kNever;
    WalPosition position;  // timeline 0: not known
};

// What decide needs to know of a session.
struct SessionView {
    Consistency consistency = Consistency::session;
    Floor floor;
    TimePoint arrived = kNever;  // the request's first byte; for Consistency::strict
    WrittenByAll written;        // for Consistency::global
    std::optional<std::chrono::milliseconds> max_staleness;
    std::optional<WalPosition> min_lsn;
    // What servers have said of their positions since the topology was made, by ServerId; 0:
    // nothing. Positions of the runs that the topology speaks of.
    std::span<const Lsn> learnt;
    std::optional<ServerId> transaction_on;  // a transaction is open there
    // What is known of the transaction that is open, or that waits to be opened with this
    // statement.
    struct Transaction {
        bool waits = false;  // no server has it yet
        bool may_start_on_replica = true;
        bool may_move = false;   // it is open on a replica and can be opened anew elsewhere
        bool must_move = false;  // and it has to be, now
        bool read_only = false;
        bool tied_by_request = false;  // the request opens a portal that outlives it
    } transaction;
    std::optional<Pin> pin;             // state that only the primary connection has
    std::optional<ServerId> last_used;  // where the session control statements go
    std::optional<ServerId> cursor_on;  // where a holdable cursor is open
    bool prepared_in_sql = false;       // DEALLOCATE has to reach the primary
    bool degraded_reads = true;
    std::chrono::milliseconds tolerated_age{
        3'000};  // older evidence about a server counts for nothing
    // Those that this request must avoid: it failed there, or evidence newer than the topology
    // speaks against them.
    ServerSet avoid = {};
};

// Chooses where a statement may run. Same inputs, same Route: no I/O, no randomness.
// The first rule that applies wins, and its Reason names it in logs, metrics and tests.
Route decide(const Statement& statement,
             const SessionView& session,
             const Topology& topology,
             TimePoint now);

// For a read that no replica may serve and that the primary shall not have: at level eventual the
// replica that is least behind, unless it is UNHEALTHY or beyond what the statement allows. Else
// nowhere.
Route least_stale(const SessionView& session, const Topology& topology, TimePoint now);

// Whether a read went to the primary only because no replica could have it.
bool is_for_want_of_a_replica(Reason reason);

// Whether the hint `replica` outweighs this reason for the primary. A wrong hint on these costs one
// failed attempt at most: the replica's connection is read-only. On anything else it would be a
// failure for certain, or worse.
bool hint_may_override(Reason reason);

// The same for a request that may not leave the primary, for a reason of the caller's.
Route to_primary(const Topology& topology, Reason reason);

}  // namespace pgsteer::routing
