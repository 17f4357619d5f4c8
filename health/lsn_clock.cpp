#include "health/lsn_clock.hpp"

#include <algorithm>

namespace pgsteer::health {

namespace {

constexpr std::size_t kLeastDropped = 64;  // at once, so that thinning out costs little per sample

}  // namespace

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

// Drops a sample where its neighbours are so close that without it an answer is wrong by at most a
// 64th of its age: so the ring reaches back for hours even at hundreds of samples a second. The
// latest quarter stays as it is.
void LsnClock::thin_out() {
    constexpr int kPrecision = 64;
    const std::size_t latest = samples_.size() / 4 * 3;
    const TimePoint now = samples_.back().last_sent_at;
    std::size_t kept = 1;
    for (std::size_t i = 1; i < samples_.size(); ++i) {
        const bool is_needed =
            i >= latest ||
            (samples_[i + 1].first_sent_at - samples_[kept - 1].last_sent_at) * kPrecision >
                now - samples_[i].last_sent_at;
        if (is_needed) samples_[kept++] = samples_[i];
    }
    samples_.resize(kept);
    // So sparse that nearly every one was needed: then the oldest go.
    if (kept > kMaxSamples - kLeastDropped)
        samples_.erase(samples_.begin(),
                       samples_.end() - std::ptrdiff_t{kMaxSamples - kLeastDropped});
}

}  // namespace pgsteer::health
