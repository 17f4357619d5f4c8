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

WorkerCounters::WorkerCounters(std::size_t servers)
    : server_count{servers},
      server_connections(servers),
      server_connections_opened(servers),
      server_connect_failures(servers) {}

WorkerCounters::Database& WorkerCounters::database(std::string_view name) {
    const std::size_t count = database_count.load(std::memory_order_relaxed);
    for (std::size_t i = 0; i < count; ++i)
        if (databases[i]->name == name) return *databases[i];
    if (count == kMaxDatabases) return *databases[kMaxDatabases - 1];
    const bool is_last = count == kMaxDatabases - 1;
    databases[count] = std::make_unique<Database>();
    databases[count]->name = is_last ? "(other)" : name;
    databases[count]->servers = std::vector<ServerCounters>(server_count);
    database_count.store(count + 1, std::memory_order_release);
    return *databases[count];
}

}  // namespace pgsteer::health
