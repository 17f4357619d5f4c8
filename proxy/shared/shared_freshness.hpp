// What sessions tell each other of freshness, beyond what the topology says.
#pragma once

#include "health/server_table.hpp"
#include "proxy/shared/learnt_positions.hpp"
#include "proxy/shared/shared_writes.hpp"
#include "proxy/shared/verification.hpp"
#include "routing/topology.hpp"

#include <array>
#include <atomic>
#include <chrono>
#include <span>

namespace pgsteer::proxy {

// One worker's access to it. Worker-local; what it refers to is the process's and outlives it.
class SharedFreshness {
public:
    SharedFreshness(LearntPositions& learnt, SharedWrites& writes, std::atomic<int>& primary_reads)
        : learnt_{learnt}, writes_{writes}, primary_reads_{primary_reads} {}

    [[nodiscard]] LearntPositions& learnt() { return learnt_; }
    // By ServerId, of all servers of `topology`. Valid until the next call.
    [[nodiscard]] std::span<const routing::Lsn> positions(const routing::Topology& topology);
    // Whether asking this replica pays, as far as this worker's sessions have seen.
    [[nodiscard]] Verification& verification(routing::ServerId replica) {
        return verifications_.at(replica.index);
    }
    [[nodiscard]] SharedWrites& writes() { return writes_; }
    // Whether `interval` has passed since this last said so; then `now` is the last time.
    [[nodiscard]] bool may_sample(routing::TimePoint now, routing::Clock::duration interval);
    [[nodiscard]] std::atomic<int>& primary_reads() { return primary_reads_; }  // see PrimaryRead

private:
    LearntPositions& learnt_;
    SharedWrites& writes_;
    std::atomic<int>& primary_reads_;
    std::array<routing::Lsn, health::ServerIds::kMost> positions_{};
    std::array<Verification, health::ServerIds::kMost> verifications_;
    routing::TimePoint sampled_at_ = routing::kNever;
};

}  // namespace pgsteer::proxy
