#include "routing/reason.hpp"

namespace pgsteer::routing {

// Switches without a default: the compiler names the enumerator that was forgotten.
std::string_view name(Reason reason) {
    switch (reason) {
        case Reason::fresh_replica:
            return "fresh_replica";
        case Reason::verified_replica:
            return "verified_replica";
        case Reason::degraded_replica:
            return "degraded_replica";
        case Reason::read_only_transaction:
            return "read_only_transaction";
        case Reason::stale_replica:
            return "stale_replica";
        case Reason::lazy_transaction:
            return "lazy_transaction";
        case Reason::hint_replica:
            return "hint_replica";
        case Reason::write:
            return "write";
        case Reason::unknown_function:
            return "unknown_function";
        case Reason::effect_function:
            return "effect_function";
        case Reason::backend_state:
            return "backend_state";
        case Reason::unknown_operator:
            return "unknown_operator";
        case Reason::unknown_relation:
            return "unknown_relation";
        case Reason::volatile_function:
            return "volatile_function";
        case Reason::volatile_type:
            return "volatile_type";
        case Reason::unlogged_table:
            return "unlogged_table";
        case Reason::foreign_table:
            return "foreign_table";
        case Reason::serializable_default:
            return "serializable_default";
        case Reason::catalog_unknown:
            return "catalog_unknown";
        case Reason::server_local:
            return "server_local";
        case Reason::temporary_object:
            return "temporary_object";
        case Reason::transaction_control:
            return "transaction_control";
        case Reason::session_control:
            return "session_control";
        case Reason::cursor:
            return "cursor";
        case Reason::sql_prepare:
            return "sql_prepare";
        case Reason::multi_statement:
            return "multi_statement";
        case Reason::syntax_error:
            return "syntax_error";
        case Reason::too_complex:
            return "too_complex";
        case Reason::unclassified_encoding:
            return "unclassified_encoding";
        case Reason::request_too_large:
            return "request_too_large";
        case Reason::function_call:
            return "function_call";
        case Reason::replication:
            return "replication";
        case Reason::hint_primary:
            return "hint_primary";
        case Reason::transaction_time:
            return "transaction_time";
        case Reason::in_transaction:
            return "in_transaction";
        case Reason::pinned:
            return "pinned";
        case Reason::failed_on_replica:
            return "failed_on_replica";
        case Reason::repeated_error:
            return "repeated_error";
        case Reason::replica_behind:
            return "replica_behind";
        case Reason::replica_lagging:
            return "replica_lagging";
        case Reason::no_replica:
            return "no_replica";
        case Reason::no_primary:
            return "no_primary";
    }
    return "unknown";
}

std::string_view name(Pin pin) {
    switch (pin) {
        case Pin::temporary_table:
            return "temporary_table";
        case Pin::backend_state:
            return "backend_state";
        case Pin::opaque_settings:
            return "opaque_settings";
        case Pin::settings_failed:
            return "settings_failed";
    }
    return "unknown";
}

}  // namespace pgsteer::routing
