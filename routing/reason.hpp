// Why a request went where it went: the same names in logs, metrics, explain and tests. reasons.md
// says for each what to do about it.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace pgsteer::routing {

enum class Reason : std::uint8_t {
    // to a replica
    fresh_replica,        // a read, and a replica is known to be fresh enough
    verified_replica,     // a read, and the replica itself said right before it that it is fresh enough
    degraded_replica,     // the same, but only a DEGRADED one was left
    read_only_transaction,  // BEGIN READ ONLY
    stale_replica,        // level eventual, and the primary may have no more reads: the least stale one
    lazy_transaction,     // BEGIN and a read, with transactions: lazy
    hint_replica,         // /* pgsteer: replica */
    // to the primary: what the statement is
    write,                // may change data, or locks rows
    unknown_function,     // calls a function that is not known to be harmless
    effect_function,      // calls a built-in function that has effects (nextval, pg_notify, ...)
    backend_state,        // calls a function that sets state of its server process (setseed, set_limit, ...)
    unknown_operator,     // uses an operator that is not a known built-in
    unknown_relation,     // reads a relation that the catalog, as last looked at, does not have
    volatile_function,    // calls a function or operator of the database's own that may write
    volatile_type,        // casts, types or domain checks of the database may write
    unlogged_table,       // reads one, or a view or parent of one: replicas do not have it
    foreign_table,        // the same of a foreign table
    serializable_default,  // the session's transactions are SERIALIZABLE, which replicas refuse
    catalog_unknown,      // a read, but the database's catalog is not loaded yet
    server_local,         // reads what differs between servers (pg_stat_*, sequences, SHOW, ...)
    temporary_object,     // names a temporary table or pg_temp
    transaction_control,  // BEGIN (not READ ONLY), COMMIT, SAVEPOINT, ... as a request of its own
    session_control,      // SET, RESET, DEALLOCATE, CLOSE, UNLISTEN: runs where the session was last
    cursor,               // DECLARE, FETCH, MOVE outside of a transaction
    sql_prepare,          // PREPARE, EXECUTE
    multi_statement,      // several statements that may not all run on a replica
    syntax_error,         // libpg_query cannot parse it
    too_complex,          // longer or deeper than what is parsed
    unclassified_encoding,  // standard_conforming_strings=off or an encoding that is not safe to lex
    request_too_large,    // a read that is too large to be kept for a retry
    function_call,        // FunctionCall message
    replication,          // replication connection
    hint_primary,         // /* pgsteer: primary */
    transaction_time,     // now() and the like, or a cursor, in a transaction that may have to move
    // to the primary: what the session or the servers are
    in_transaction,       // stays where its transaction is open
    pinned,               // stays where its session state is (see Pin)
    failed_on_replica,    // ran on a replica, failed there, and was run again
    repeated_error,       // failed lately on a replica and on the primary alike
    replica_behind,       // no replica has replayed what this session has seen
    replica_lagging,      // every replica is over its max_lag
    no_replica,           // no replica is configured, reachable and healthy
    no_primary,           // no primary is known: the request cannot run
};

inline constexpr std::size_t kReasonCount = static_cast<std::size_t>(Reason::no_primary) + 1;

// The name in logs, metric labels and explain: the enumerator's own spelling.
std::string_view name(Reason reason);

// Session state that lives on one server connection only.
enum class Pin : std::uint8_t {
    temporary_table,
    backend_state,  // of the primary's server process, set by a function
    opaque_settings,
    settings_failed,
};
inline constexpr std::size_t kPinCount = static_cast<std::size_t>(Pin::settings_failed) + 1;
std::string_view name(Pin pin);

}  // namespace pgsteer::routing
