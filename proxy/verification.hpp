// Whether asking a replica for its position right before a read pays: worker-local, pure.
#pragma once

#include "routing/topology.hpp"

#include <chrono>

namespace pgsteer::proxy {

class Verification {
public:
    // A failed one costs a read that is thrown away; a good one saves the primary a read.
    [[nodiscard]] bool is_worth_trying(routing::TimePoint now) const {
        return success_ > kLeastSuccess || now - tried_at_ >= kTryAgain;
    }
    void tried(routing::TimePoint now) { tried_at_ = now; }
    void ended(bool passed) {
        // Misses come in bursts, while a replica stands still: one that passes again ends the
        // burst.
        if (passed && success_ <= kLeastSuccess) success_ = kAfterBurst;
        success_ += ((passed ? 1.0 : 0.0) - success_) * kWeight;
    }
    [[nodiscard]] double success() const { return success_; }

private:
    static constexpr double kLeastSuccess = 0.2;
    static constexpr double kAfterBurst = 0.5;
    static constexpr double kWeight = 1.0 / 16;
    static constexpr std::chrono::milliseconds kTryAgain{50};
    double success_ = 1;
    routing::TimePoint tried_at_ = routing::TimePoint{};
};

}  // namespace pgsteer::proxy
