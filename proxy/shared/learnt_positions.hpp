// Replay positions that replicas told to sessions, for all workers. Thread-safe, lock-free.
#pragma once

#include "routing/lsn.hpp"
#include "routing/topology.hpp"

#include <atomic>
#include <cstdint>
#include <vector>

namespace pgsteer::proxy {

// One word a server: the last bits of the incarnation's number and the position, so that a position
// of one run can never be taken for one of another.
class LearntPositions {
public:
    explicit LearntPositions(std::size_t servers) : words_(servers) {}

    void learn(routing::ServerId server, std::uint64_t incarnation, routing::Lsn position) {
        if (position.bytes > kMostBytes) return;
        auto& word = words_[server.index];
        const auto next = (incarnation << kPositionBits) | position.bytes;
        auto known = word.load(std::memory_order_relaxed);
        const auto is_news = [&] {
            return known >> kPositionBits != next >> kPositionBits || known < next;
        };
        while (is_news() && !word.compare_exchange_weak(known, next, std::memory_order_release,
                                                        std::memory_order_relaxed)) {
        }
    }

    // {0}: nothing is known of this run.
    [[nodiscard]] routing::Lsn of(routing::ServerId server, std::uint64_t incarnation) const {
        const auto word = words_[server.index].load(std::memory_order_acquire);
        if (word >> kPositionBits != (incarnation << kPositionBits) >> kPositionBits) return {};
        return {word & kMostBytes};
    }

private:
    static constexpr int kPositionBits = 52;  // 4 PiB of WAL; beyond it nothing is learnt
    static constexpr std::uint64_t kMostBytes = (std::uint64_t{1} << kPositionBits) - 1;
    std::vector<std::atomic<std::uint64_t>> words_;
};

}  // namespace pgsteer::proxy
