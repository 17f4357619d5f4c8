#pragma once

#include <cstdint>

namespace pgsteer::health {

// What the kernel says about this process. Zeros where /proc cannot be read.
struct ProcessStats {
    double cpu_seconds = 0;
    std::uint64_t resident_bytes = 0;
    std::uint64_t virtual_bytes = 0;
    std::uint64_t open_fds = 0;
    std::uint64_t max_fds = 0;
    std::uint64_t threads = 0;
    double start_time_seconds = 0;  // Unix time
};
ProcessStats process_stats();

}  // namespace pgsteer::health
