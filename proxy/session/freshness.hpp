// What one session may not miss, and what its reads have proven. Pure.
#pragma once

#include "routing/decide.hpp"
#include "routing/read_options.hpp"
#include "routing/transaction_status.hpp"

#include <cstdint>

namespace pgsteer::proxy {

// Told of answers in their order, with the time at which they were read; of positions that were
// asked for besides. Worker-local; belongs to one session.
class Freshness {
public:
    // A session that only writes has this many positions asked for in vain, then each 32nd.
    static constexpr std::uint32_t kUnreadSamples = 4;
    static constexpr std::uint32_t kEveryUnread = 32;

    // The level where neither the session nor a statement asks for another one.
    void start_with(routing::Consistency level) { level_ = level; }
    [[nodiscard]] routing::Consistency level(const routing::ReadOptions& options) const {
        return options.consistency.value_or(level_);
    }
    // For decide().
    [[nodiscard]] const routing::Floor& floor() const { return floor_; }

    // --- answers ---

    // Of the primary, of which the client may have learnt what no later read may miss.
    void primary_has_answered(routing::TimePoint at) { floor_.raise(at); }
    // A request on the primary has ended, and left its transaction as `status`.
    void primary_request_ended(bool wrote, bool failed, routing::TransactionStatus status);
    // The primary has rolled a transaction back, or a part of it.
    void rolled_back() { rolled_back_ = true; }
    // A request on a replica has ended.
    void replica_has_answered(routing::ServerId replica, routing::TimePoint at);

    // --- positions ---

    // A statement that only reads has come: what samples tell is wanted.
    void reads() { unread_samples_ = 0; }
    // A request of the primary could have its position asked for behind it. False: this session has
    // read nothing for long; others may wait for what it writes.
    [[nodiscard]] bool is_sample_worthwhile();
    // Where the primary's WAL ended, behind what it had answered when it was asked.
    void sampled(routing::WalPosition position, routing::TimePoint asked_at);
    // This run of a replica has replayed up to `position`.
    void proven(routing::ServerId replica, std::uint64_t run, routing::WalPosition position);
    // The primary's WAL ends in what was rolled back, which nobody hurries to flush: COMMIT does,
    // an abort leaves it to wal_writer_delay.
    [[nodiscard]] bool is_unflushed() const { return unflushed_; }
    void flushed() { unflushed_ = false; }

private:
    routing::Floor floor_;
    routing::Consistency level_{};
    std::uint32_t unread_samples_ = 0;  // since the last read
    bool wrote_ = false;                // in the transaction that is open on the primary
    bool rolled_back_ = false;          // the same
    bool unflushed_ = false;
};

}  // namespace pgsteer::proxy
