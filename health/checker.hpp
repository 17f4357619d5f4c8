// Watches all servers in the background on a thread of its own and publishes what it finds.
#pragma once

#include "conf/config.hpp"
#include "health/evidence.hpp"
#include "health/server_table.hpp"
#include "health/topology_store.hpp"
#include "routing/topology.hpp"

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace pgsteer::health {

// One server as /status and /metrics show it. A copy, taken on request.
struct ServerReport {
    routing::ServerId id;
    std::string name;
    std::string host;
    std::uint16_t port = 0;
    routing::Role role{};
    routing::Status status{};
    std::string status_reason;    // e.g. "timeout", "lag over max_lag", "wrong system identifier"
    double lag_seconds = 0;       // now - fresh_as_of; negative: not known
    std::int64_t lag_bytes = -1;  // behind the primary's insert position; -1: not known
    double last_check_age_seconds = -1;
    int consecutive_failures = 0;
    std::uint64_t probes_total = 0;
    std::uint64_t probe_failures_total = 0;
    double response_time_seconds = 0;
    std::uint32_t timeline = 0;
    std::string position;  // LSN as text, "" = not known
    std::string last_error;
};

struct CheckerCounters {
    std::uint64_t probes = 0;
    std::uint64_t fast_rounds = 0;
    std::uint64_t nudges = 0;
    std::uint64_t topology_changes = 0;
};

// What is known before the first probe: all servers of the configuration, UNKNOWN.
TopologyPtr first_topology(const ServerTable& servers);

class Checker {
public:
    // `servers`: of `config`.
    Checker(std::shared_ptr<const conf::Config> config,
            ServerTable servers,
            TopologyStore& store,
            Evidence& evidence);
    ~Checker();  // stops
    Checker(const Checker&) = delete;
    Checker& operator=(const Checker&) = delete;

    // Called on the health thread when a server turned UNHEALTHY, or its role or incarnation
    // changed, just after the new Topology was published: requests in flight there have to leave.
    // Set before start().
    // Called on the health thread when a server has read its configuration again.
    void on_configuration_change(std::function<void(routing::ServerId)> callback);
    void on_server_change(std::function<void(TopologyPtr)> callback);

    void start();
    void stop();  // joins the thread; may be called twice

    // Thread-safe.
    [[nodiscard]] std::vector<ServerReport> report() const;  // in the order of the configuration
    [[nodiscard]] CheckerCounters counters() const;

private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace pgsteer::health
