// What time it was on the primary when it was at some WAL position. Pure: times are passed in.
#pragma once

#include "routing/lsn.hpp"
#include "routing/topology.hpp"

#include <cstddef>
#include <cstdint>
#include <vector>

namespace pgsteer::health {

// Positions of the primary, each with the time *before* it was asked for: every commit acknowledged
// before that time is at or below the position. Bounded: when full, old samples are thinned out,
// which can only make an answer older than need be.
class LsnClock {
public:
    static constexpr std::size_t kMaxSamples = 1024;

    // A position of the primary. Samples come in the order of `sent_at`. Another timeline than
    // before drops all samples. A position that went down (the primary crashed and lost WAL that
    // was never flushed) drops those above it.
    void sample(std::uint32_t timeline,
                routing::TimePoint sent_at,
                routing::Lsn insert,
                routing::Lsn flush);
    // There is no primary, or not the same one any more.
    void clear();

    // Every commit acknowledged before this time is visible to a standby that has replayed up to
    // `replayed` on `timeline`. kNever: not known.
    [[nodiscard]] routing::TimePoint fresh_as_of(std::uint32_t timeline,
                                                 routing::Lsn replayed) const;

    // How long the standby's next step has been waiting for the primary to flush its WAL, as of the
    // last sample: standbys are sent only what is flushed, so without a commit or a nudge nothing
    // will come. Negative: it is not waiting for that.
    [[nodiscard]] routing::Clock::duration held_up(std::uint32_t timeline,
                                                   routing::Lsn replayed) const;

    [[nodiscard]] std::uint32_t timeline() const { return timeline_; }
    [[nodiscard]] std::size_t size() const { return samples_.size(); }

private:
    struct Sample {
        routing::Lsn position;             // strictly increasing along samples_
        routing::TimePoint first_sent_at;  // both are of samples at this very position
        routing::TimePoint last_sent_at;
    };
    void thin_out();

    std::uint32_t timeline_ = 0;
    routing::Lsn flushed_;
    std::vector<Sample> samples_;
};

}  // namespace pgsteer::health
