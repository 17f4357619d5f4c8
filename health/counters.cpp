#include "health/metrics.hpp"

#include <algorithm>
#include <bit>

namespace pgsteer::health {

namespace {

constexpr std::uint64_t kFirstBoundUs = 64;

}  // namespace

// Bucket `step` takes what is at most 64 us * 2^step.
void LatencyHistogram::observe(std::uint64_t microseconds) {
    const std::uint64_t units = microseconds == 0 ? 0 : (microseconds - 1) / kFirstBoundUs;
    const auto step = static_cast<std::size_t>(std::bit_width(units));
    buckets[std::min(step, kSteps - 1)].add();
    sum_us.add(microseconds);
}

double LatencyHistogram::upper_bound_seconds(std::size_t step) {
    return static_cast<double>(kFirstBoundUs << step) / 1e6;
}

void ServerCounters::add(const ServerCounters& other) {
    const auto add_all = [](auto& to, const auto& from) {
        for (std::size_t i = 0; i < to.size(); ++i) to[i].add(from[i].get());
    };
    add_all(requests, other.requests);
    add_all(replica_requests, other.replica_requests);
    add_all(latency.buckets, other.latency.buckets);
    latency.sum_us.add(other.latency.sum_us.get());
    failed.add(other.failed.get());
    lost.add(other.lost.get());
    retried.add(other.retried.get());
}

ServerCountersById::~ServerCountersById() {
    for (auto& counters : counters_) delete counters.load(std::memory_order_relaxed);
}

ServerCounters& ServerCountersById::make(std::size_t index) {
    auto& counters = counters_.at(index);
    counters.store(new ServerCounters, std::memory_order_release);
    return *counters.load(std::memory_order_relaxed);
}

void ServerCountersById::add(const ServerCountersById& other) {
    for (std::uint16_t i = 0; i < counters_.size(); ++i)
        if (const auto* counters = other.find({i})) (*this)[i].add(*counters);
}

namespace {

std::shared_ptr<DatabaseCounters> counters_of(std::string_view name) {
    auto counters = std::make_shared<DatabaseCounters>();
    counters->name = name;
    return counters;
}

}  // namespace

std::shared_ptr<DatabaseCounters> DatabaseCountersList::of(std::string_view name) {
    const std::lock_guard lock{mutex_};
    for (const auto& entry : entries_)
        if (entry.counters->name == name) return entry.counters;
    if (entries_.size() + 1 < kMost)
        return entries_.emplace_back(Entry{counters_of(name)}).counters;
    other();
    return other_;
}

// With the mutex held.
DatabaseCounters& DatabaseCountersList::other() {
    if (!other_) other_ = counters_of("(other)");
    return *other_;
}

void DatabaseCountersList::forget_unused(routing::TimePoint now) {
    const std::lock_guard lock{mutex_};
    std::erase_if(entries_, [&](Entry& entry) {
        const bool is_used = entry.counters.use_count() > 1;
        if (is_used || entry.used_at == routing::kNever) entry.used_at = now;
        if (is_used || now - entry.used_at < kForgetAfter) return false;
        other().servers.add(entry.counters->servers);
        return true;
    });
}

std::vector<std::shared_ptr<const DatabaseCounters>> DatabaseCountersList::all() const {
    std::vector<std::shared_ptr<const DatabaseCounters>> result;
    const std::lock_guard lock{mutex_};
    for (const auto& entry : entries_) result.push_back(entry.counters);
    if (other_) result.push_back(other_);
    return result;
}

WorkerCounters::WorkerCounters()
    : server_connections(ServerIds::kMost),
      server_connections_opened(ServerIds::kMost),
      server_connect_failures(ServerIds::kMost),
      idle_connections_ended(ServerIds::kMost),
      connections_made_room(ServerIds::kMost) {}

}  // namespace pgsteer::health
