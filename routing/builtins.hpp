// The reviewed lists of PostgreSQL's own functions, operators and types: builtins_*.inc.
#pragma once

#include <cstdint>
#include <string_view>

namespace pgsteer::routing {

enum class BuiltinKind : std::uint8_t {
    harmless,      // leaves nothing behind, and every server gives the same answer
    effect,        // changes data, session state or the server
    state,         // sets state of its server process that DISCARD ALL does not undo
    server_local,  // answers with what only this server or session has
    unknown,
};

struct Builtin {
    BuiltinKind kind = BuiltinKind::unknown;
    std::string_view why;  // for effect and server_local: "sequence", "advisory lock", ...
};

// By name alone: harmless only if every built-in function of this name is. The name of a type is a
// function too: int4(x) is a cast.
Builtin builtin_function(std::string_view name);
// Takes an advisory lock that outlives the transaction. Which of them pg_advisory_unlock() ends is
// not followed.
bool takes_session_lock(std::string_view function);
bool is_builtin_operator(std::string_view name);
bool is_builtin_type(std::string_view name);

// A table or view of the system catalog that shows the state of one server or session.
bool is_server_local_relation(std::string_view name);
// current_setting() of these is the same wherever the session's settings are: extension settings
// (their names have a dot) and a few that applications ask for.
bool is_session_setting(std::string_view name);

}  // namespace pgsteer::routing
