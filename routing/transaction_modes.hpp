// What BEGIN, SET TRANSACTION and SET SESSION CHARACTERISTICS say of a transaction. A value.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace pgsteer::routing {

// READ UNCOMMITTED is READ COMMITTED in PostgreSQL.
enum class Isolation : std::uint8_t { read_committed, repeatable_read, serializable };

struct TransactionModes {
    std::optional<Isolation> isolation;
    std::optional<bool> read_only;

    // What `other` says counts, for the rest what was said here.
    void overlay(const TransactionModes& other) {
        if (other.isolation) isolation = other.isolation;
        if (other.read_only) read_only = other.read_only;
    }
    bool operator==(const TransactionModes&) const = default;
};

// "repeatable read", as SET default_transaction_isolation takes it; nullopt: DEFAULT, or wrong.
std::optional<Isolation> parse_isolation(std::string_view text);
// As PostgreSQL reads a boolean setting: on, off, true, false, yes, no, 1, 0, and what is short for
// one of them only; nullopt: it is none.
std::optional<bool> parse_bool(std::string_view text);

// What holds in a session where BEGIN says nothing.
struct DefaultModes {
    TransactionModes modes;  // isolation nullopt: not known
    // The session set its isolation level by SET, which replicas are never told.
    bool isolation_is_the_sessions = false;
};

}  // namespace pgsteer::routing
