// Statements that a server connection lacks, because they were prepared on the session's other one:
// prepared there by messages of ours right in front of the client's that need them, so that an
// error comes where the server itself would report it. Pure.
#pragma once

#include "proxy/server/reply_queue.hpp"
#include "proxy/session/prepared_statements.hpp"

#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

namespace pgsteer::proxy {

// The server connection that messages are for.
struct Destination {
    routing::Slot slot;
    std::uint64_t lease_number;
    ReplyQueue& replies;
};

// Sent with it, to be told of the answer.
void note_prepared(PreparedStatement& statement, const Destination& to);

// One for each session. Every function appends messages and puts into the queue what they are
// answered with; where the server skips to a Sync, nothing.
class Preparing {
public:
    // For Bind, Describe and EXECUTE.
    void statement(const PreparedPtr& statement, const Destination& to, wire::Buffer& out);
    // For what only asks whether there is one of that name: Parse, PREPARE, DEALLOCATE. Its text is
    // not needed, which may be wrong by now.
    void name(const PreparedPtr& statement,
              PreparedStatements& all,
              const Destination& to,
              wire::Buffer& out);
    // The client has no unnamed statement any more; here an older one may be left.
    static void no_unnamed(const Destination& to, wire::Buffer& out);
    // For all names in a statement of the client's.
    void names_in(const routing::StatementPtr& said,
                  PreparedStatements& all,
                  const Destination& to,
                  wire::Buffer& out);
    // What the client has closed on the other connection. Nothing is in flight on this one.
    static void close_leftovers(PreparedStatements& all, const Destination& to, wire::Buffer& out);
    // A Sync was sent, or a Query: what was sent before may have been skipped behind an error, and
    // counts for what comes only when it was answered.
    void request_ended() {
        if (!sent_.empty()) sent_.clear();
    }

private:
    [[nodiscard]] bool is_there(const PreparedPtr& statement, const Destination& to) const;

    // In the request that is being sent, with the number of the lease.
    std::vector<std::pair<PreparedPtr, std::uint64_t>> sent_;
};

}  // namespace pgsteer::proxy
