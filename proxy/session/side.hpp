// How things stand on one of a session's server connections.
#pragma once

#include "proxy/errors.hpp"
#include "proxy/pool/pool.hpp"
#include "proxy/shared/shared_writes.hpp"
#include "proxy/wire/bytes.hpp"
#include "routing/lsn.hpp"
#include "routing/topology.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace pgsteer::proxy {

// What becomes of a message of a server's.
enum class Verdict : std::uint8_t {
    forward,    // it is the client's
    swallow,    // it is ours, or nobody's
    run_again,  // what is in flight there runs elsewhere, and what is still answered here is
                // dropped
    broken,     // no server says this here: the connection cannot be used
};

// A question of ours to the primary: where its WAL ends.
struct Sample {
    bool is_pending = false;
    routing::TimePoint asked_at = routing::kNever;  // or earlier
    SharedWrites::Awaited awaited;                  // of a write, behind which it is
};

// The same to a replica, right before a read: how far it has replayed.
struct Asked {
    bool is_pending = false;
    bool is_behind = false;  // it has answered, and has not got far enough
};

// Begins anew with each connection.
struct Side {
    Lease lease;
    HolderId holder = HolderId::nobody;  // the session, on this connection
    std::uint64_t partial = 0;  // bytes still to come of a message that is passed on in pieces
    bool partial_swallowed = false;
    ProxyErrc lost_because = ProxyErrc::server_lost;  // what a closed connection means
    bool discarding = false;      // requests run elsewhere: what is still answered here is dropped
    bool setting_failed = false;  // one of our own settings was refused
    bool opening_failed = false;  // of a transaction: an error came in its place
    bool asked_about_syncs = false;             // see ErrorAnswers::find_out_about_syncs
    std::vector<std::string> row_values;        // of the row that says what set_config() has set
    wire::Buffer last_words;                    // ErrorResponse that came without a request
    bool has_said_farewell = false;             // a FATAL, which the client has been told
    Sample sample;                              // primary
    Asked verification;                         // replica
    std::optional<routing::Lsn> told_position;  // what was answered to either
};

}  // namespace pgsteer::proxy
