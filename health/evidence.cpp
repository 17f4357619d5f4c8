#include "health/evidence.hpp"

#include <chrono>

namespace pgsteer::health {

using routing::Clock;
using routing::kNever;
using routing::TimePoint;
using namespace std::chrono_literals;

namespace {

// One request that found no fresh replica keeps the fast probes going for this long.
constexpr auto kWantedFor = 100ms;
// What speaks against a server within this time of the last is the same trouble.
constexpr auto kOneCause = 1s;

TimePoint::rep ticks(TimePoint time) { return time.time_since_epoch().count(); }

}  // namespace

Evidence::Evidence(std::size_t servers)
    : doubted_at_(servers),
      look_wanted_at_(servers),
      reported_at_(servers),
      wanted_until_{ticks(kNever)} {
    for (auto* times : {&doubted_at_, &look_wanted_at_, &reported_at_})
        for (auto& time : *times) time.store(ticks(kNever), std::memory_order_relaxed);
}

bool Evidence::server_unreachable(routing::ServerId server) {
    if (server.index >= doubted_at_.size()) return false;
    const auto now = Clock::now();
    doubted_at_[server.index].store(ticks(now), std::memory_order_release);
    const auto before = reported_at_[server.index].exchange(ticks(now), std::memory_order_relaxed);
    wake();
    return before < ticks(now - kOneCause);
}

void Evidence::look_again(routing::ServerId server) {
    if (server.index >= look_wanted_at_.size()) return;
    look_wanted_at_[server.index].store(ticks(Clock::now()), std::memory_order_release);
    wake();
}

void Evidence::doubt(routing::ServerId server, routing::TimePoint since) {
    auto& doubted_at = doubted_at_[server.index];
    auto before = doubted_at.load(std::memory_order_relaxed);
    while (before < ticks(since) &&
           !doubted_at.compare_exchange_weak(before, ticks(since), std::memory_order_acq_rel)) {
    }
}

routing::TimePoint Evidence::doubted_at(routing::ServerId server) const {
    return TimePoint{
        TimePoint::duration{doubted_at_[server.index].load(std::memory_order_acquire)}};
}

routing::TimePoint Evidence::look_wanted_at(routing::ServerId server) const {
    return TimePoint{
        TimePoint::duration{look_wanted_at_[server.index].load(std::memory_order_acquire)}};
}

routing::ServerSet Evidence::suspects(const routing::Topology& topology) const {
    routing::ServerSet suspects;
    for (std::size_t i = 0; i < doubted_at_.size() && i < topology.servers.size(); ++i) {
        const auto doubted_at = doubted_at_[i].load(std::memory_order_acquire);
        if (doubted_at != ticks(kNever) && doubted_at >= ticks(topology.servers[i].checked_at))
            suspects.add(routing::ServerId{static_cast<std::uint16_t>(i)});
    }
    return suspects;
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
