// What is known of the servers at one moment. Immutable: health/ builds and publishes the next one,
// decide() reads it.
#pragma once

#include "routing/lsn.hpp"

#include <chrono>
#include <cstdint>
#include <optional>
#include <vector>

namespace pgsteer::routing {

using Clock = std::chrono::steady_clock;
using TimePoint = Clock::time_point;

// A server, for the life of the process: its number, below ServerSet::kMaxIndex, is not given to
// another one when the configuration changes (health/server_table.hpp). Not where the server stands
// in a Config: that is ServerTable::position().
struct ServerId {
    std::uint16_t index = 0;
    auto operator<=>(const ServerId&) const = default;
};

enum class Role : std::uint8_t { unknown, primary, replica };
enum class Status : std::uint8_t { unknown, healthy, degraded, unhealthy };

inline constexpr TimePoint kNever = TimePoint::min();

// Everything that one run of a server's postmaster has in common; positions of another run are not
// comparable. `number` grows by one whenever the health thread sees a new run, a position that went
// down, or another timeline; 0 = never seen.
struct Incarnation {
    std::uint64_t number = 0;
    std::int64_t postmaster_start_us = 0;  // pg_postmaster_start_time(), microseconds since 1970
    std::uint64_t system_identifier = 0;
    std::uint32_t timeline = 0;  // 0 = not known
    bool operator==(const Incarnation&) const = default;
};

struct Server {
    Role role = Role::unknown;
    Status status = Status::unknown;
    int priority = 0;
    int weight = 1;
    std::chrono::milliseconds max_lag{0};
    Incarnation incarnation;
    // Replicas: every commit that the primary acknowledged before this time is visible here.
    // kNever: no evidence, the server serves no read. The primary itself is always fresh.
    TimePoint fresh_as_of = kNever;
    Lsn position;                                // replica: replayed; primary: inserted
    TimePoint checked_at = kNever;               // when the last good probe was *sent*
    std::chrono::microseconds response_time{0};  // of probes, smoothed
    // It says that it is the primary, after it was lost: believed as soon as the others were asked.
    bool is_to_be_confirmed = false;
};

inline const Server kUnknownServer{};

struct Topology {
    std::uint64_t version = 0;
    // By ServerId. Those that the configuration does not have, or not any more, are as a Server
    // that nothing is known of: none of them is a replica or the primary.
    std::vector<Server> servers;
    std::optional<ServerId> primary;  // the one server that may take writes, if there is one

    // Any: one that is newer than this topology is not known to it.
    [[nodiscard]] const Server& operator[](ServerId id) const {
        return id.index < servers.size() ? servers[id.index] : kUnknownServer;
    }
    // The primary's; 0: there is none, or it is not known.
    [[nodiscard]] std::uint32_t timeline() const {
        return primary ? (*this)[*primary].incarnation.timeline : 0;
    }
};

}  // namespace pgsteer::routing
