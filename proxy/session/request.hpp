#pragma once

#include "proxy/server/statement_names.hpp"
#include "proxy/session/fetched_rows.hpp"
#include "proxy/shared/primary_reads.hpp"
#include "proxy/wire/bytes.hpp"
#include "routing/route.hpp"
#include "routing/session_settings.hpp"
#include "routing/statement_cache.hpp"
#include "routing/topology.hpp"

#include <memory>
#include <optional>

namespace pgsteer::proxy {

// What a request does, as far as its messages have come.
struct Doing {
    bool raises_floor = true;
    bool writes = false;      // what other sessions' reads may not miss under consistency global
    bool may_commit = false;  // also a transaction that was open before it
    bool queries = false;     // it reads, in a transaction as well
    bool ties = false;        // a transaction on a replica cannot leave it once this has completed
};

// A read whose answer is held back until it is known to be good may run elsewhere instead.
struct Again {
    bool retryable = false;
    bool retried = false;    // it ran elsewhere before
    bool rows_seen = false;  // something else than descriptions has been received
    bool whole = false;      // `messages` are all of them; always while retryable
    wire::Buffer messages;   // what the client sent, while whole
    wire::Buffer released;   // descriptions already passed on, while retryable
};

// One request on its way: a Query, a FunctionCall, or the messages up to a Sync. Answered in order.
struct Request {
    routing::Reason reason{};
    routing::ServerId server;
    routing::Slot slot = routing::Slot::primary;
    routing::TimePoint started{};
    routing::StatementPtr statement;  // the one that decided the route; null: unclassified
    bool open = false;                // the client's Sync has not come yet
    bool bare = false;                // a Sync and nothing else
    Doing does;
    PrimaryRead primary_read;  // held if the primary has it for want of a replica
    bool failed = false;       // an ErrorResponse has been passed on
    bool own_error = false;    // a message of ours in front of it was answered with one
    // The replica is asked right before it whether it has replayed up to here; timeline 0: it is
    // not.
    routing::WalPosition needed;
    Again again;
    std::unique_ptr<Fetches> fetches;  // of an open one that may go on elsewhere; null: none
    SentMessage last;  // of its messages that were sent: in the log of the client's statements
};

}  // namespace pgsteer::proxy
