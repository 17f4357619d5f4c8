// All that we ourselves tell a client; message() of our category and sqlstate_of() both read
// kErrors.
#pragma once

#include <boost/system/error_code.hpp>
#include <boost/system/result.hpp>

#include <array>
#include <cstdint>
#include <string_view>
#include <type_traits>

namespace pgsteer::proxy {

template <class T>
using Result = boost::system::result<T>;
using boost::system::error_code;

enum class ProxyErrc : std::uint8_t {
    ok = 0,
    truncated,
    trailing_bytes,
    bad_length,
    message_too_large,
    unknown_message,
    protocol_violation,
    unsupported_protocol,
    invalid_startup,
    login_timeout,
    too_many_clients,
    unknown_database,
    authentication_failed,
    no_primary,
    server_unreachable,
    server_login_failed,
    server_protocol,
    server_lost,
    server_timeout,
    transaction_lost,
    transaction_lost_read_only,
    failed_transaction,
    acquire_timeout,
    settings_not_applied,
    shutting_down,
    out_of_memory,
    invalid_option,
    primary_read_limit,
    query_canceled,
    server_process_crashed,
    statement_crashes,
    portal_changed,
    other_columns,
};

struct ErrorInfo {
    ProxyErrc code;
    std::string_view name;
    std::string_view sqlstate;
    std::string_view message;
    std::string_view hint = {};
};

inline constexpr std::array kErrors{
    ErrorInfo{ProxyErrc::ok, "ok", "00000", "no error"},
    ErrorInfo{ProxyErrc::truncated, "truncated", "08P01", "insufficient data left in message"},
    ErrorInfo{ProxyErrc::trailing_bytes, "trailing_bytes", "08P01", "invalid message format"},
    ErrorInfo{ProxyErrc::bad_length, "bad_length", "08P01", "invalid message length"},
    ErrorInfo{ProxyErrc::message_too_large, "message_too_large", "08P01", "invalid message length"},
    ErrorInfo{ProxyErrc::unknown_message, "unknown_message", "08P01",
              "invalid frontend message type"},
    ErrorInfo{ProxyErrc::protocol_violation, "protocol_violation", "08P01",
              "malformed message from the client"},
    ErrorInfo{ProxyErrc::unsupported_protocol, "unsupported_protocol", "0A000",
              "unsupported frontend protocol"},
    ErrorInfo{ProxyErrc::invalid_startup, "invalid_startup", "08P01",
              "invalid startup packet layout"},
    ErrorInfo{ProxyErrc::login_timeout, "login_timeout", "08006",
              "the client did not log in within login_timeout"},
    ErrorInfo{ProxyErrc::too_many_clients, "too_many_clients", "53300",
              "sorry, too many clients already"},
    ErrorInfo{ProxyErrc::unknown_database, "unknown_database", "3D000", "database does not exist"},
    ErrorInfo{ProxyErrc::authentication_failed, "authentication_failed", "28P01",
              "password authentication failed"},
    ErrorInfo{ProxyErrc::no_primary, "no_primary", "57P03", "no primary is available"},
    ErrorInfo{ProxyErrc::server_unreachable, "server_unreachable", "08001",
              "could not connect to the server"},
    ErrorInfo{ProxyErrc::server_login_failed, "server_login_failed", "08001",
              "could not log in to the server"},
    ErrorInfo{ProxyErrc::server_protocol, "server_protocol", "08P01",
              "the server sent a malformed message"},
    ErrorInfo{ProxyErrc::server_lost, "server_lost", "08006",
              "the server closed the connection mid-request"},
    ErrorInfo{ProxyErrc::server_timeout, "server_timeout", "08006",
              "the server did not answer within query_timeout"},
    ErrorInfo{ProxyErrc::transaction_lost, "transaction_lost", "08006",
              "the server connection of the open transaction was lost"},
    ErrorInfo{ProxyErrc::transaction_lost_read_only, "transaction_lost_read_only", "08006",
              "the replica of the read-only transaction was lost"},
    ErrorInfo{ProxyErrc::failed_transaction, "failed_transaction", "25P02",
              "current transaction is aborted, commands ignored until end of transaction block"},
    ErrorInfo{ProxyErrc::acquire_timeout, "acquire_timeout", "53300",
              "no server connection became free within acquire_timeout"},
    ErrorInfo{ProxyErrc::settings_not_applied, "settings_not_applied", "08006",
              "the session's settings could not be applied to the server"},
    ErrorInfo{ProxyErrc::shutting_down, "shutting_down", "57P01",
              "terminating connection due to administrator command"},
    ErrorInfo{ProxyErrc::out_of_memory, "out_of_memory", "53200",
              "a limit of memory per session was reached"},
    ErrorInfo{ProxyErrc::invalid_option, "invalid_option", "22023",
              "invalid value for a parameter of pgsteer"},
    ErrorInfo{
        ProxyErrc::primary_read_limit, "primary_read_limit", "57P03",
        "no replica can serve this read, and the primary has as many such reads as it may have",
        "Retry later. At consistency eventual it would run on the least stale replica."},
    ErrorInfo{ProxyErrc::query_canceled, "query_canceled", "57014",
              "canceling statement due to user request"},
    ErrorInfo{
        ProxyErrc::server_process_crashed, "server_process_crashed", "08006",
        "the server process that ran this statement crashed",
        "It is not run again elsewhere, where it could do the same. See the log of the server."},
    ErrorInfo{ProxyErrc::statement_crashes, "statement_crashes", "08006",
              "this statement has crashed two server processes within a minute",
              "No server gets it before a minute has passed. See the logs of the servers."},
    ErrorInfo{ProxyErrc::portal_changed, "portal_changed", "40001",
              "what was fetched from a portal has changed on the server where it has to go on",
              "The request has changed nothing. Run it again."},
    ErrorInfo{ProxyErrc::other_columns, "other_columns", "0A000",
              "cached plan must not change result type"},
};

[[nodiscard]] constexpr const ErrorInfo& info(ProxyErrc code) {
    return kErrors[static_cast<std::size_t>(code)];
}
// The SQLSTATE for an error of ours; 08006 for any other (a socket error).
[[nodiscard]] std::string_view sqlstate_of(const error_code& error);

const boost::system::error_category& proxy_category();
inline error_code make_error_code(ProxyErrc code) {
    return {static_cast<int>(code), proxy_category()};
}

}  // namespace pgsteer::proxy

template <>
struct boost::system::is_error_code_enum<pgsteer::proxy::ProxyErrc> : std::true_type {};
