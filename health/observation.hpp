#pragma once

#include "routing/topology.hpp"

#include <chrono>
#include <cstdint>

namespace pgsteer::health {

// What a server said to one probe. A cheap probe asks only for the first three.
struct Observation {
    bool in_recovery = false;
    routing::Lsn position;                         // standby: replayed; else: inserted
    routing::Lsn flushed;                          // not for a standby
    routing::TimePoint sent_at = routing::kNever;  // read just before the question was sent
    std::chrono::microseconds response_time{0};
    bool is_full = false;  // the rest was asked for too
    std::int64_t postmaster_start_us = 0;
    std::int64_t checkpointer_start_us = 0;  // 0: not allowed to see it
    std::uint64_t system_identifier = 0;
    std::uint32_t timeline = 0;  // 0: not known
    std::int64_t configured_us = 0;  // when the server last read its configuration
};

}  // namespace pgsteer::health
