// How a request waits for the probe that tells whether the only server that may have it is there.
#pragma once

#include "routing/topology.hpp"

#include <algorithm>
#include <chrono>
#include <optional>
#include <utility>

namespace pgsteer::proxy {

// Of one request. Looks again soon at first, for most doubts are over within a millisecond, then
// less and less often: thousands of sessions may wait. Pure.
class Patience {
public:
    static constexpr std::chrono::milliseconds kFirstPause{1};
    static constexpr std::chrono::milliseconds kLongestPause{16};

    // When to look again; nullopt: it has waited for `limit`, from the first call on.
    std::optional<routing::TimePoint> next_look(routing::TimePoint now,
                                                routing::Clock::duration limit) {
        if (until_ == routing::kNever) until_ = now + limit;
        if (now >= until_) return std::nullopt;
        const auto pause = std::exchange(pause_, std::min(pause_ * 2, kLongestPause));
        return std::min(now + pause, until_);
    }

private:
    routing::TimePoint until_ = routing::kNever;
    std::chrono::milliseconds pause_ = kFirstPause;
};

}  // namespace pgsteer::proxy
