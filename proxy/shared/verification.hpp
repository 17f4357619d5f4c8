// Whether asking a replica for its position right before a read pays: worker-local, pure.
#pragma once

#include "routing/topology.hpp"

#include <chrono>

namespace pgsteer::proxy {

// Of one replica. A question that it fails costs a read that is thrown away, one that it passes
// saves the primary a read. Misses come in bursts of hundreds, while replay stands still for some
// milliseconds: leaving the replica alone then was measured to lose more than it saves, as the
// reads that the primary gets instead slow replay further. One that never passes is asked less and
// less.
class Verification {
public:
    static constexpr unsigned kBurst = 1'000;    // misses; beyond it every fourth read asks
    static constexpr unsigned kForGood = 2'000;  // beyond it one read in 50 ms
    static constexpr unsigned kEvery = 4;
    static constexpr std::chrono::milliseconds kTryAgain{50};

    // To be called before each read that it may be asked for.
    [[nodiscard]] bool is_worth_trying(routing::TimePoint now) {
        if (misses_ < kBurst) return true;
        if (misses_ < kForGood) return ++left_alone_ % kEvery == 0;
        return now - missed_at_ >= kTryAgain;
    }

    void ended(bool passed, routing::TimePoint now) {
        misses_ = passed ? 0 : misses_ + 1;
        missed_at_ = now;
    }

private:
    unsigned misses_ = 0;  // since it last passed
    unsigned left_alone_ = 0;
    routing::TimePoint missed_at_ = routing::kNever;
};

}  // namespace pgsteer::proxy
