// What SQL text says, without any catalog: the result of classify(), cached by the text's key.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "routing/read_options.hpp"
#include "routing/reason.hpp"
#include "routing/transaction_modes.hpp"
#include "routing/uses.hpp"

namespace pgsteer::routing {

// What a text as a whole asks for. A text of several statements has the strictest of them.
enum class Access : std::uint8_t {
    read_only,        // may run on a replica, and again elsewhere
    begin_read_only,  // opens a READ ONLY transaction (and otherwise only reads): may run on a replica
    begin,            // opens one that may write
    session_control,  // SET, RESET, DEALLOCATE, CLOSE, UNLISTEN: any server, no effect on data
    write,            // everything else: the primary
};

enum class Hint : std::uint8_t { none, primary, replica };

// One change of session state, in the order of the text. `statement_index` counts statements from 0,
// as their CommandComplete messages arrive.
struct Effect {
    enum class Kind : std::uint8_t {
        begin,             // modes, sql; form: start
        commit,            // also END and PREPARE TRANSACTION; form: chain, prepare
        rollback,          // also ABORT; form: chain
        savepoint,         // name; sql
        release,           // name
        rollback_to,       // name
        set,               // name; sql = the statement to replay (SET, or SELECT set_config(...) with constants)
        set_local,         // SET LOCAL: ends with the transaction; sql, to be repeated in it; modes as below
        set_transaction,   // form: modes, modes and sql; else SET LOCAL transaction_* and the like, name, and
                           // of default_transaction_* modes
        set_on_primary,    // name: default_transaction_*, or form: modes; never copied; modes: those that
                           // were set, none: DEFAULT
        reset,             // name; sql = the statement to replay
        reset_all,         // RESET ALL; sql
        opaque_settings,   // set_config() with arguments that are not constants. With a name: this setting
                           // is what the statement's one row says in `column`
        backend_state,     // name: a function that sets what DISCARD ALL does not undo, whether or not
                           // the statement fails later on: told when it is sent, not when it completes
        prepare,           // name, sql
        deallocate,        // name
        deallocate_all,    // also DISCARD PLANS does not do this: only DEALLOCATE ALL
        discard_all,       // DISCARD ALL
        create_temporary,  // CREATE TEMP ..., SELECT INTO TEMP, a name in pg_temp: the session is pinned
        discard_temporary, // DISCARD TEMP
        declare_hold,      // name: DECLARE ... WITH HOLD
        close,             // name
        close_all,         // CLOSE ALL
        listen,            // name
        unlisten,          // name
        unlisten_all,      // UNLISTEN *
        notify,            // name
        lock,              // pg_advisory_lock() and its like: may hold a lock of the session's from here on
        unlock_all,        // pg_advisory_unlock_all()
        empties_database,  // name: fails (55006) as long as anybody else is connected to that database
        changes_logins,    // what a new session begins with, or who may begin one: ALTER ROLE ... SET
    };
    // Which of the forms that the grammar has for it, where that makes a difference.
    enum class Form : std::uint8_t {
        plain,
        start,    // START TRANSACTION instead of BEGIN
        chain,    // AND CHAIN
        prepare,  // PREPARE TRANSACTION
        modes,    // SET TRANSACTION, SET SESSION CHARACTERISTICS AS TRANSACTION
    };
    Kind kind;
    std::uint16_t statement_index = 0;
    std::string name;  // folded as the grammar does (unquoted: lower case)
    std::string sql;   // empty unless said above
    // set: of search_path the new value as PostgreSQL would show it, empty: not known; of a pgsteer.*
    // option its value, empty: DEFAULT.
    std::string value = {};
    TransactionModes modes = {};
    std::uint16_t column = 0;
    bool needs_row = false;  // opaque_settings: without a row nothing was set
    Form form = Form::plain;
};

// Whether a statement may run in a transaction of which a replica takes care for the time being.
enum class InTransaction : std::uint8_t {
    leaves,  // it needs the primary
    stays,   // reads, savepoints, settings, COMMIT: it can be repeated elsewhere
    ties,    // reads the transaction's time, or opens or uses a cursor: the transaction stays there
};

// The first SHOW pgsteer.* of a text: it runs on a server like any other, once that has been told
// the value.
enum class Shows : std::uint8_t { nothing, lsn, last_route, option };

// Whether the facts in a Catalog may be others once the statement has completed.
enum class CatalogChange : std::uint8_t {
    none,
    possible,  // CALL, DO, and what was not parsed
    certain,   // CREATE, ALTER, DROP, ...
};

struct CachedStatement;

// `access` and `reason` are what holds where no catalog is known. verdict() judges with one.
struct Statement {
    Access access = Access::write;
    Reason reason = Reason::write;  // fresh_replica where access is read_only
    Hint hint = Hint::none;
    ReadOptions options;  // of a comment at either end
    std::uint16_t statement_count = 0;  // 0: empty text, or not parsed
    bool raises_floor = true;           // false: pure session control (design: never raises the floor)
    bool copies_in = false;             // COPY FROM STDIN: the client sends data
    bool row_tells_settings = false;    // all its opaque_settings have names: its row has the values
    // It may leave in the server process what DISCARD ALL does not undo: state, or the name of a custom
    // setting, which reads '' there ever after.
    bool outlives_discard_all = false;
    InTransaction in_transaction = InTransaction::leaves;  // of a read: if it is harmless
    bool uses_cursor = false;           // FETCH, MOVE or CLOSE: runs where the named cursor lives
    std::string detail;                 // what the reason points at, e.g. the function's name; for explain
    std::vector<Effect> effects;
    std::shared_ptr<const CachedStatement> prepares;  // PREPARE, alone in its text: what it prepares
    std::string executes;  // EXECUTE with constants, alone in its text: name of the prepared statement
    std::vector<std::string> names_used;  // of prepared statements, by EXECUTE wherever it stands
    // What it is if nothing in `uses` stands against it; `access` if that does not depend on them.
    Access if_harmless = Access::write;
    CatalogChange catalog_change = CatalogChange::none;
    Shows shows = Shows::nothing;
    Uses uses;  // of what is read; of a text that is no read the functions alone that it calls
    Uses written;  // relations that it writes to

    [[nodiscard]] bool may_read() const {
        return if_harmless == Access::read_only || if_harmless == Access::begin_read_only;
    }

    // In a transaction that a replica has: as in_transaction says, of a read only if it is harmless.
    [[nodiscard]] InTransaction may_follow() const {
        return access == Access::write && may_read() ? InTransaction::leaves : in_transaction;
    }

    // Bytes on the heap and in the struct, for the cache's budget.
    [[nodiscard]] std::size_t memory_bytes() const;
};

}  // namespace pgsteer::routing
