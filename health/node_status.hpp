// What one server is worth, from what its probes said. Pure: events go in, the status comes out.
#pragma once

#include "conf/config.hpp"
#include "routing/topology.hpp"

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

namespace pgsteer::health {

struct StatusRules {
    int rise = 2;  // good probes in a row until a server that was UNHEALTHY is believed
    int fall = 3;  // bad probes in a row until UNHEALTHY
    std::chrono::milliseconds interval{1'000};
    std::chrono::milliseconds timeout{1'000};
    std::chrono::milliseconds max_lag{30'000};
    std::chrono::milliseconds max_lag_hard{300'000};
    double slow_factor = 4;
    int max_back_off = 5;  // doublings: an unreachable server is asked every 2^5 intervals at last
};
StatusRules status_rules(const conf::HealthConfig& health, const conf::ServerConfig& server);

// What speaks for or against a server beside its own answers.
struct Circumstances {
    std::string_view fault;   // e.g. "wrong system identifier": UNHEALTHY at once; "" = none
    bool is_replica = false;  // lag and response time count
    std::optional<routing::Clock::duration> lag;      // nullopt: not known
    std::chrono::microseconds best_response_time{0};  // of all usable replicas; 0: not known
};

class NodeStatus {
public:
    explicit NodeStatus(StatusRules rules) : rules_{rules} {}

    void probe_succeeded(std::chrono::microseconds response_time);
    // `started_at`: when the probe that failed was started.
    void probe_failed(routing::TimePoint started_at, std::string_view error);
    // Whether it is there, from its probes and time alone. To be called for all servers before
    // anybody is judged by is_up() and is_down().
    void update_reach(const Circumstances& circumstances, routing::TimePoint now);
    // Derives the status anew; returns true if it changed. To be called after every event, and now
    // and then without one, since lag grows and patience ends by time alone.
    bool update(const Circumstances& circumstances, routing::TimePoint now);

    [[nodiscard]] routing::Status status() const { return status_; }
    [[nodiscard]] const std::string& reason() const { return reason_; }  // "" when HEALTHY
    [[nodiscard]] int consecutive_failures() const { return failures_; }
    [[nodiscard]] std::chrono::microseconds response_time() const { return response_time_; }
    // The server answers; says nothing about its lag or role.
    [[nodiscard]] bool is_up() const { return reach_ == Reach::up; }
    // It was given up, and has not answered often enough since. Follows from probes and time alone,
    // never from a verdict on what was answered: whoever judges by it gets no feedback.
    [[nodiscard]] bool is_down() const { return reach_ == Reach::down; }

    // From the start of one probe to the start of the next. An unreachable server is asked ever
    // less often: up to 32 x interval, but at least every 30 s; one that may become the primary at
    // least every 4 x interval.
    [[nodiscard]] std::chrono::milliseconds probe_interval() const;
    // There is reason to ask again soon: somebody noticed something, or there is no primary.
    void reset_back_off() { back_off_ = 0; }

private:
    enum class Reach { unknown, up, down };
    void update_slowness(const Circumstances& circumstances, routing::TimePoint now);
    std::string_view lag_verdict(const Circumstances& circumstances);

    StatusRules rules_;
    Reach reach_ = Reach::unknown;
    int failures_ = 0;
    int successes_ = 0;
    int back_off_ = 0;                       // failures since the server went down
    routing::TimePoint first_failure_at_{};  // start of the first of failures_
    std::string error_;                      // of the last failure
    std::chrono::microseconds response_time_{0};
    std::optional<routing::TimePoint> slow_since_;
    bool is_slow_ = false;
    routing::Status lag_level_ = routing::Status::healthy;
    routing::Status status_ = routing::Status::unknown;
    std::string reason_ = "not probed yet";
};

std::string_view name(routing::Status status);
std::string_view name(routing::Role role);

}  // namespace pgsteer::health
