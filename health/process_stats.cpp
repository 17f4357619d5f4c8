#include "health/process_stats.hpp"

#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <sys/resource.h>
#include <unistd.h>
#include <vector>

namespace pgsteer::health {

namespace {

// Fields of /proc/self/stat from the third (state) on: the second may contain anything.
std::vector<std::string> stat_fields() {
    std::ifstream file{"/proc/self/stat"};
    std::string line;
    std::getline(file, line);
    const auto end_of_name = line.rfind(')');
    std::vector<std::string> fields;
    if (end_of_name == std::string::npos) return fields;
    std::istringstream rest{line.substr(end_of_name + 1)};
    for (std::string field; rest >> field;) fields.push_back(field);
    return fields;
}

std::uint64_t boot_time() {
    std::ifstream file{"/proc/stat"};
    for (std::string word; file >> word;) {
        if (word != "btime") continue;
        std::uint64_t seconds = 0;
        file >> seconds;
        return seconds;
    }
    return 0;
}

}  // namespace

ProcessStats process_stats() {
    ProcessStats stats;
    rusage usage{};
    if (getrusage(RUSAGE_SELF, &usage) == 0) {
        stats.cpu_seconds =
            static_cast<double>(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
            static_cast<double>(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
    }
    rlimit limit{};
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) stats.max_fds = limit.rlim_cur;

    const auto fields = stat_fields();  // proc(5): field n is fields[n - 3]
    if (fields.size() > 21) {
        const auto ticks = static_cast<double>(sysconf(_SC_CLK_TCK));
        stats.threads = std::stoull(fields[17]);
        stats.start_time_seconds = static_cast<double>(boot_time()) + std::stod(fields[19]) / ticks;
        stats.virtual_bytes = std::stoull(fields[20]);
        stats.resident_bytes =
            std::stoull(fields[21]) * static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE));
    }
    std::error_code error;
    for (std::filesystem::directory_iterator entry{"/proc/self/fd", error}, end;
         !error && entry != end; entry.increment(error))
        ++stats.open_fds;
    return stats;
}

}  // namespace pgsteer::health
