#include "health/node_status.hpp"

#include <algorithm>
#include <utility>

namespace pgsteer::health {

using routing::Status;
using routing::TimePoint;
using std::chrono::microseconds;
using std::chrono::milliseconds;
using namespace std::chrono_literals;

namespace {

constexpr double kLeave = 0.8;  // of a limit: below it, a server that was over it is fine again
constexpr microseconds kSlowFloor = 20ms;  // nothing faster than this counts as slow
constexpr int kMaxBackOff = 5;             // 2^5 = 32 times the interval
// 2^2 = 4 times. Only its own word tells that a server has been promoted, and until then writes go
// to the former primary and are lost: a few probes more are cheap beside that.
constexpr int kMaxBackOffOfCandidate = 2;
constexpr milliseconds kMaxProbeInterval = 30s;

// `over` decides by itself on the way up, with some distance on the way down.
bool is_over(routing::Clock::duration value, routing::Clock::duration limit, bool was_over) {
    if (!was_over) return value > limit;
    return static_cast<double>(value.count()) > static_cast<double>(limit.count()) * kLeave;
}

}  // namespace

StatusRules status_rules(const conf::HealthConfig& health, const conf::ServerConfig& server) {
    return {.rise = health.rise,
            .fall = health.fall,
            .interval = health.interval,
            .timeout = health.timeout,
            .max_lag = server.max_lag,
            .max_lag_hard = server.max_lag_hard,
            .slow_factor = health.slow_factor,
            .max_back_off =
                server.role == conf::ServerRole::replica ? kMaxBackOff : kMaxBackOffOfCandidate};
}

void NodeStatus::probe_succeeded(microseconds response_time) {
    failures_ = 0;
    back_off_ = 0;
    error_.clear();
    successes_ = std::min(successes_ + 1, rules_.rise);
    response_time_ =
        response_time_ == 0us ? response_time : (response_time_ * 7 + response_time) / 8;
}

void NodeStatus::probe_failed(TimePoint started_at, std::string_view error) {
    if (failures_++ == 0) first_failure_at_ = started_at;
    successes_ = 0;
    if (reach_ == Reach::down) back_off_ = std::min(back_off_ + 1, rules_.max_back_off);
    error_ = error;
}

bool NodeStatus::update(const Circumstances& circumstances, TimePoint now) {
    update_reach(circumstances, now);
    update_slowness(circumstances, now);
    const std::string_view lag = lag_verdict(circumstances);

    Status status = Status::healthy;
    std::string_view reason;
    if (!circumstances.fault.empty() && reach_ == Reach::up) {
        status = Status::unhealthy;
        reason = circumstances.fault;
    } else if (reach_ == Reach::down) {
        status = Status::unhealthy;
        reason = error_.empty() ? std::string_view{"coming back"} : std::string_view{error_};
    } else if (reach_ == Reach::unknown) {
        status = Status::unknown;
        reason = error_.empty() ? std::string_view{"not probed yet"} : std::string_view{error_};
    } else if (!lag.empty()) {
        status = lag_level_;
        reason = lag;
    } else if (is_slow_) {
        status = Status::degraded;
        reason = "slow beside the fastest replica";
    }
    if (reason_ != reason) reason_ = reason;
    return std::exchange(status_, status) != status;
}

// A server counts as down after `fall` bad probes, or when the first bad one is so long ago that
// `fall` probes an interval apart would have failed: with a timeout above the interval there is no
// time for all of them.
void NodeStatus::update_reach(const Circumstances& circumstances, TimePoint now) {
    const auto patience = rules_.timeout + rules_.interval * (rules_.fall - 1);
    if (failures_ >= rules_.fall || (failures_ > 0 && now - first_failure_at_ >= patience))
        reach_ = Reach::down;
    else if (reach_ == Reach::unknown && successes_ > 0)
        reach_ = Reach::up;
    else if (reach_ == Reach::down && successes_ >= (circumstances.is_replica ? rules_.rise : 1))
        reach_ = Reach::up;
}

void NodeStatus::update_slowness(const Circumstances& circumstances, TimePoint now) {
    const auto limit = std::max<double>(
        static_cast<double>(kSlowFloor.count()),
        rules_.slow_factor * static_cast<double>(circumstances.best_response_time.count()));
    const bool over =
        circumstances.is_replica && circumstances.best_response_time > 0us &&
        static_cast<double>(response_time_.count()) > (is_slow_ ? limit * kLeave : limit);
    if (!over) {
        is_slow_ = false;
        slow_since_.reset();
        return;
    }
    if (!slow_since_) slow_since_ = now;
    is_slow_ = is_slow_ || now - *slow_since_ >= rules_.interval * rules_.fall;
}

// Sets lag_level_; "" if lag is no reason for anything.
std::string_view NodeStatus::lag_verdict(const Circumstances& circumstances) {
    const Status before = std::exchange(lag_level_, Status::healthy);
    if (!circumstances.is_replica) return {};
    if (!circumstances.lag) {
        lag_level_ = status_ == Status::unknown ? Status::unknown : Status::degraded;
        return "freshness is not known";
    }
    if (is_over(*circumstances.lag, rules_.max_lag_hard, before == Status::unhealthy)) {
        lag_level_ = Status::unhealthy;
        return "lag over max_lag_hard";
    }
    if (is_over(*circumstances.lag, rules_.max_lag, before != Status::healthy)) {
        lag_level_ = Status::degraded;
        return "lag over max_lag";
    }
    return {};
}

milliseconds NodeStatus::probe_interval() const {
    if (reach_ != Reach::down) return rules_.interval;
    return std::max(rules_.interval,
                    std::min(rules_.interval * (1 << back_off_), kMaxProbeInterval));
}

std::string_view name(Status status) {
    switch (status) {
        case Status::unknown:
            return "UNKNOWN";
        case Status::healthy:
            return "HEALTHY";
        case Status::degraded:
            return "DEGRADED";
        case Status::unhealthy:
            return "UNHEALTHY";
    }
    return "UNKNOWN";
}

std::string_view name(routing::Role role) {
    switch (role) {
        case routing::Role::unknown:
            return "unknown";
        case routing::Role::primary:
            return "primary";
        case routing::Role::replica:
            return "replica";
    }
    return "unknown";
}

}  // namespace pgsteer::health
