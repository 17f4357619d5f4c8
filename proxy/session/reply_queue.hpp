// What a server still owes us: one entry per message sent that is answered by itself. Pure.
#pragma once

#include "routing/statement_cache.hpp"

#include <boost/container/deque.hpp>

#include <algorithm>
#include <cstdint>
#include <memory>

namespace pgsteer::proxy {

struct PreparedStatement;
using PreparedPtr = std::shared_ptr<PreparedStatement>;

enum class Expect : std::uint8_t {
    parse,
    bind,
    close,
    describe,
    execute,
    sync,
    query,
    function_call,
    copy_end,  // CopyDone or CopyFail: no answer of its own; ends copy-in mode
};

// Why a message of our own was sent.
enum class Purpose : std::uint8_t {
    setting,      // the connection gets what it lacks
    sample,       // where the primary's WAL ends now
    verify,       // how far the replica has replayed, right before a read
    transaction,  // a transaction is opened with what was done in it, or rolled back on a replica
    prepare,      // a statement that PREPARE or Parse has prepared on the other connection; also
                  // Parse and the others of the extended protocol
    show,         // the connection gets what SHOW pgsteer.<name> is about to ask for
};

struct Expected {
    Expect what{};
    bool internal = false;               // sent by us: the answer is not the client's
    Purpose purpose = Purpose::setting;  // of an internal one
    bool change = false;                 // Parse or Close of the client's, kept in Request::changes
    std::uint16_t statement_index = 0;   // query: statements completed so far
    PreparedPtr prepared = nullptr;      // parse: what it prepares
    routing::StatementPtr effects = nullptr;  // query, execute: statement with effects; else null
};

class ReplyQueue {
public:
    // In skip mode (an error was seen and no Sync is on its way) the server ignores everything but
    // Sync: push returns false, and nothing is owed.
    bool push(Expected expected);
    [[nodiscard]] bool empty() const { return queue_.empty(); }
    [[nodiscard]] std::size_t size() const { return queue_.size(); }
    // What the next answer belongs to. Copy-end marks that nothing waits for any more are passed
    // over.
    [[nodiscard]] Expected* front();
    void pop() {
        queue_.pop_front();
        while (!queue_.empty() && queue_.front().what == Expect::copy_end) queue_.pop_front();
    }
    // ErrorResponse in an extended query: everything up to the next Sync is skipped by the server.
    // Calls dropped(entry) for each entry that will never be answered.
    template <class Dropped>
    void skip_to_sync(Dropped&& dropped);
    // CopyInResponse: Syncs that were sent before the end of the copy are read and ignored by the
    // server. PostgreSQL docs, "COPY Operations".
    void copy_in_started();
    // Whether an answer that is the client's is still to come.
    [[nodiscard]] bool owes_client() const {
        return std::any_of(queue_.begin(), queue_.end(),
                           [](const Expected& entry) { return !entry.internal; });
    }
    // The number of answers that are to come, if all are to samples and to transactions of our own
    // that nothing depends on; else 0.
    [[nodiscard]] int only_questions() const;
    // Whether an error in place of the next answer makes the server skip to a Sync of our own.
    [[nodiscard]] bool skips_to_own_sync() const;
    // Query messages sent on this connection so far.
    [[nodiscard]] std::uint64_t queries() const { return queries_; }
    [[nodiscard]] bool skipping() const { return skipping_; }
    void clear() {
        queue_.clear();
        skipping_ = false;
    }

private:
    boost::container::deque<Expected> queue_;
    std::uint64_t queries_ = 0;
    bool skipping_ = false;
};

template <class Dropped>
void ReplyQueue::skip_to_sync(Dropped&& dropped) {
    while (!queue_.empty() && queue_.front().what != Expect::sync) {
        dropped(queue_.front());
        queue_.pop_front();
    }
    skipping_ = queue_.empty();
}

}  // namespace pgsteer::proxy
