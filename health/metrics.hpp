// Every metric family, named once. Workers own their counters; a scrape sums them up.
#pragma once

#include "health/catalogs.hpp"
#include "health/checker.hpp"
#include "routing/reason.hpp"

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace pgsteer::health {

// A number that one thread changes and others read. No locked instruction on the writing side.
class Count {
public:
    void add(std::uint64_t n = 1) {
        value_.store(value_.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
    }
    void subtract(std::uint64_t n = 1) {
        value_.store(value_.load(std::memory_order_relaxed) - n, std::memory_order_relaxed);
    }
    [[nodiscard]] std::uint64_t get() const { return value_.load(std::memory_order_relaxed); }

private:
    std::atomic<std::uint64_t> value_{0};
};

// Latency in log2 steps from 64 us to 64 us * 2^(kSteps-2), then +Inf.
struct LatencyHistogram {
    static constexpr std::size_t kSteps = 19;
    std::array<Count, kSteps> buckets;
    Count sum_us;
    void observe(std::uint64_t microseconds);
    static double upper_bound_seconds(std::size_t step);
};

// Slots for errors of our own, by index of proxy::kErrors.
inline constexpr std::size_t kErrorKinds = 48;

// What one worker counts about one (database, server). Written by the worker alone.
struct ServerCounters {
    std::array<Count, routing::kReasonCount> requests;  // by reason; role follows from `to_replica`
    std::array<Count, routing::kReasonCount> replica_requests;
    LatencyHistogram latency;  // from the request's first byte to its ReadyForQuery
    Count failed;              // requests answered with an ErrorResponse of the server
    Count lost;                // requests cut off by a lost connection
    Count retried;             // requests that left this server to run elsewhere
    void add(const ServerCounters& other);
};

// The counters of each server, made when they are first wanted. Counted by one thread, read by any.
class ServerCountersById {
public:
    ServerCountersById() = default;
    ~ServerCountersById();
    ServerCountersById(const ServerCountersById&) = delete;
    // For the one thread that counts. `index`: of a ServerId.
    ServerCounters& operator[](std::size_t index) {
        auto* const counters = counters_[index].load(std::memory_order_relaxed);
        return counters != nullptr ? *counters : make(index);
    }
    // Null: nothing was ever counted there.
    [[nodiscard]] const ServerCounters* find(routing::ServerId server) const {
        return counters_[server.index].load(std::memory_order_acquire);
    }
    void add(const ServerCountersById& other);

private:
    ServerCounters& make(std::size_t index);

    std::array<std::atomic<ServerCounters*>, ServerIds::kMost> counters_{};
};

struct DatabaseCounters {
    std::string name;
    ServerCountersById servers;
};

// What one worker counts about each database, as clients name them: only those to which somebody
// has logged in, at most kMost; all others share "(other)", which also takes what was counted about
// those that are forgotten.
class DatabaseCountersList {
public:
    static constexpr std::size_t kMost = 64;
    static constexpr std::chrono::hours kForgetAfter{1};

    // --- for the worker ---
    // Whoever counts keeps it; it is in use as long as somebody does.
    std::shared_ptr<DatabaseCounters> of(std::string_view name);
    void forget_unused(routing::TimePoint now);  // called every second

    // --- any thread ---
    [[nodiscard]] std::vector<std::shared_ptr<const DatabaseCounters>> all() const;

private:
    struct Entry {
        std::shared_ptr<DatabaseCounters> counters;
        routing::TimePoint used_at = routing::kNever;
    };
    DatabaseCounters& other();

    mutable std::mutex mutex_;  // of the list, not of what is counted
    std::vector<Entry> entries_;
    std::shared_ptr<DatabaseCounters> other_;  // null: not needed so far
};

// What one worker counts. One per worker thread; lives as long as the program.
struct WorkerCounters {
    WorkerCounters();

    DatabaseCountersList databases;
    Count clients;  // connected now
    Count clients_accepted;
    Count logins_failed;
    Count client_bytes_in, client_bytes_out;
    using CountsById = std::vector<Count>;  // ServerIds::kMost
    CountsById server_connections;          // open now
    CountsById server_connections_opened;
    CountsById server_connect_failures;
    CountsById idle_connections_ended;  // by the server
    CountsById connections_made_room;   // idle ones closed because of a limit there
    Count pool_waiting;                 // requests waiting for a server connection now
    Count pool_timeouts;
    Count cache_hits, cache_misses, cache_evictions, cache_bytes;
    Count cancels;
    Count verifications_passed, verifications_behind;  // replicas asked for their position
    std::array<Count, routing::kPinCount> pins;        // sessions pinned, by routing::Pin
    std::array<Count, kErrorKinds> errors;  // errors of our own sent to clients, by sqlstate slot
};

// A login that a server refuses. A copy, taken on request.
struct RefusedLogin {
    routing::ServerId server;
    std::string database;  // as the server calls it
    std::string user;
    std::string sqlstate;  // empty: the server said nothing
    std::string error;
    double since_seconds = 0;
    std::uint64_t refusals = 0;
    bool is_known = false;  // false: no server has ever accepted it
};

// A setting that a replica's own configuration gives another value than the primary's, as /status
// shows it.
struct SettingDifference {
    routing::ServerId server;
    std::string setting;
    std::string primary, replica;  // values
    std::string database, user;    // of a session that it concerns
    bool is_made_up = false;       // sessions get the primary's value all the same
};

// What /metrics and /status are made of.
struct Sources {
    const conf::Config* config = nullptr;
    ServerTable servers = {};  // those that are told of; none given: all of `config`
    const Checker* checker = nullptr;
    const Catalogs* catalogs = nullptr;
    const TopologyStore* topology = nullptr;
    std::vector<const WorkerCounters*> workers;
    std::vector<std::string> error_names;  // "57P03 no_primary" by slot of WorkerCounters::errors
    std::function<bool()> draining;
    std::function<std::vector<RefusedLogin>()> refused_logins = {};
    std::function<std::vector<SettingDifference>()> setting_differences = {};
};

// The refused logins that are told of: not those that clients invent. The configuration names user
// and database, or a server has let them in.
std::vector<RefusedLogin> known_refused_logins(const Sources& sources);

// One metric family, as /metrics and metrics.md describe it.
struct MetricHelp {
    std::string_view name;
    std::string_view type;    // counter, gauge or histogram
    std::string_view labels;  // comma-separated
    std::string_view help;
};
// Every family there is, in the order of /metrics.
std::span<const MetricHelp> metric_help();

// The text of /metrics (Prometheus exposition format 0.0.4). Thread-safe.
class Metrics {
public:
    explicit Metrics(Sources sources);
    ~Metrics();
    [[nodiscard]] std::string text() const;
    [[nodiscard]] const Sources& sources() const;

private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace pgsteer::health
