#pragma once

#include "proxy/primary_reads.hpp"
#include "proxy/session/prepared_statements.hpp"
#include "proxy/wire/bytes.hpp"
#include "proxy/wire/message_types.hpp"
#include "routing/route.hpp"
#include "routing/statement_cache.hpp"
#include "routing/topology.hpp"

#include <boost/container/small_vector.hpp>

#include <optional>

namespace pgsteer::proxy {

// One request on its way: a Query, a FunctionCall, or the messages up to a Sync. Answered in order.
struct Request {
    routing::Reason reason{};
    routing::ServerId server;
    routing::Slot slot = routing::Slot::primary;
    routing::TimePoint started{};
    routing::StatementPtr statement;  // the one that decided the route; null: unclassified
    bool open = false;                // the client's Sync has not come yet
    bool bare = false;                // a Sync and nothing else
    bool raises_floor = true;
    PrimaryRead primary_read;  // held if the primary has it for want of a replica
    bool writes = false;       // what other sessions' reads may not miss under consistency global
    bool may_commit = false;   // also a transaction that was open before it
    bool queries = false;      // it reads, in a transaction as well
    bool ties = false;         // a transaction on a replica cannot leave it once this has completed
    bool failed = false;       // an ErrorResponse has been passed on
    bool own_error = false;    // a message of ours in front of it was answered with one
    // The replica is asked right before it whether it has replayed up to here; timeline 0: it is
    // not.
    routing::WalPosition needed;
    // A read whose answer is held back until it is known to be good; it may run elsewhere instead.
    bool retryable = false;
    bool retried = false;    // it ran elsewhere before
    bool rows_seen = false;  // something else than descriptions has been received
    wire::Buffer messages;   // what the client sent, while retryable
    wire::Buffer released;   // descriptions already passed on, while retryable
    boost::container::small_vector<StatementChange, 1> changes;
    std::size_t changes_done = 0;
};

// The type of an item that no decoder understands; its own is in `target`.
inline constexpr std::uint8_t kMalformed = 0;

// Messages of the client in one go: one Query, or extended messages up to Sync, Flush or a limit.
// Offsets are counted from the batch's first byte, so that they hold while the input buffer moves.
struct BatchItem {
    std::uint8_t type = 0;
    std::uint8_t target = 0;  // Describe, Close: 'S' or 'P'; see kMalformed
    std::size_t begin = 0;
    std::size_t end = 0;      // behind the message, also where it has not arrived in full
    std::size_t name_at = 0;  // Parse, Bind, Describe S, Close S: statement; Execute: portal
    std::size_t name_size = 0;
    std::size_t portal_at = 0;  // Bind
    std::size_t portal_size = 0;
    bool limited = false;  // Execute: with a limit of rows, so that the portal may go on later
    routing::StatementPtr statement = nullptr;  // Parse, Query: classified; null: too large to be
};

struct Batch {
    std::vector<BatchItem> items;
    std::size_t bytes = 0;  // of all items
    bool ends = false;      // Sync, Query or FunctionCall: the request is complete
    void clear() {
        items.clear();
        bytes = 0;
        ends = false;
    }
};

// Also a malformed one.
inline bool is_sync(const BatchItem& item) {
    return (item.type == kMalformed ? item.target : item.type) == wire::frontend::kSync;
}

inline std::string_view name_of(const BatchItem& item, wire::Bytes batch) {
    return wire::as_text(batch.subspan(item.name_at, item.name_size));
}
inline std::string_view portal_of(const BatchItem& item, wire::Bytes batch) {
    return wire::as_text(batch.subspan(item.portal_at, item.portal_size));
}

}  // namespace pgsteer::proxy
