#include "health/lsn_clock.hpp"

#include <algorithm>

namespace pgsteer::health {

using routing::kNever;
using routing::Lsn;
using routing::TimePoint;

void LsnClock::sample(std::uint32_t timeline, TimePoint sent_at, Lsn insert, Lsn flush) {
    if (timeline == 0) return;
    if (timeline != timeline_) {
        clear();
        timeline_ = timeline;
    }
    flushed_ = flush;
    const Lsn position = routing::before_page_header(insert);
    while (!samples_.empty() && samples_.back().position > position) samples_.pop_back();
    if (!samples_.empty() && samples_.back().position == position) {
        samples_.back().last_sent_at = sent_at;
        return;
    }
    if (samples_.size() == kMaxSamples) thin_out();
    samples_.push_back({position, sent_at, sent_at});
}

void LsnClock::clear() {
    timeline_ = 0;
    flushed_ = {};
    samples_.clear();
}

TimePoint LsnClock::fresh_as_of(std::uint32_t timeline, Lsn replayed) const {
    if (timeline == 0 || timeline != timeline_) return kNever;
    const auto above = std::ranges::upper_bound(samples_, replayed, {}, &Sample::position);
    return above == samples_.begin() ? kNever : std::prev(above)->last_sent_at;
}

routing::Clock::duration LsnClock::held_up(std::uint32_t timeline, Lsn replayed) const {
    constexpr routing::Clock::duration kNot{-1};
    if (timeline == 0 || timeline != timeline_) return kNot;
    const auto above = std::ranges::upper_bound(samples_, replayed, {}, &Sample::position);
    if (above == samples_.end() || above->position <= flushed_) return kNot;
    return samples_.back().last_sent_at - above->first_sent_at;
}

// Drops every second sample of the older three quarters: each pass doubles the distance between the
// old ones, so the ring reaches back for minutes even at hundreds of samples a second.
void LsnClock::thin_out() {
    const std::size_t old = samples_.size() / 4 * 3;
    std::size_t kept = 0;
    for (std::size_t i = 0; i < samples_.size(); ++i)
        if (i >= old || i % 2 == 0) samples_[kept++] = samples_[i];
    samples_.resize(kept);
}

}  // namespace pgsteer::health
