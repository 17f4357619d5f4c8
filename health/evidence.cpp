#include "health/checker.hpp"

#include <chrono>

namespace pgsteer::health {

using routing::Clock;
using routing::kNever;
using routing::TimePoint;
using namespace std::chrono_literals;

namespace {

// One request that found no fresh replica keeps the fast probes going for this long.
constexpr auto kWantedFor = 100ms;

TimePoint::rep ticks(TimePoint time) { return time.time_since_epoch().count(); }

}  // namespace

Evidence::Evidence(std::size_t servers) : lost_at_(servers), wanted_until_{ticks(kNever)} {
    for (auto& lost_at : lost_at_) lost_at.store(ticks(kNever), std::memory_order_relaxed);
}

void Evidence::connection_lost(routing::ServerId server) {
    if (server.index >= lost_at_.size()) return;
    lost_at_[server.index].store(ticks(Clock::now()), std::memory_order_release);
    if (wake_) wake_();
}

routing::TimePoint Evidence::lost_at(routing::ServerId server) const {
    return TimePoint{TimePoint::duration{lost_at_[server.index].load(std::memory_order_acquire)}};
}

std::uint32_t Evidence::suspects(const routing::Topology& topology) const {
    std::uint32_t bits = 0;
    for (std::size_t i = 0; i < lost_at_.size() && i < topology.servers.size(); ++i) {
        const auto lost_at = lost_at_[i].load(std::memory_order_acquire);
        if (lost_at != ticks(kNever) && lost_at >= ticks(topology.servers[i].checked_at))
            bits |= std::uint32_t{1} << i;
    }
    return bits;
}

void Evidence::freshness_wanted() {
    const auto now = Clock::now();
    const auto before = wanted_until_.load(std::memory_order_relaxed);
    if (before > ticks(now + kWantedFor / 2)) return;  // no store while another one will do
    wanted_until_.store(ticks(now + kWantedFor), std::memory_order_release);
    if (before <= ticks(now) && wake_) wake_();
}

void Evidence::on_wake(std::function<void()> wake) { wake_ = std::move(wake); }

bool Evidence::is_freshness_wanted(routing::TimePoint now) const {
    return wanted_until_.load(std::memory_order_acquire) > ticks(now);
}

}  // namespace pgsteer::health
