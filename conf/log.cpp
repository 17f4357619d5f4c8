#include "conf/log.hpp"

#include "conf/log_format.hpp"

#include <spdlog/logger.h>
#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/stdout_sinks.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <span>

namespace pgsteer::log {
namespace {

std::atomic<conf::LogLevel> least_level{conf::LogLevel::info};
std::atomic<conf::LogFormat> line_format{conf::LogFormat::text};

// Never destroyed: threads may still log while the program ends.
spdlog::logger& sink() {
    static auto* const logger = [] {
        auto* made =
            new spdlog::logger{"pgsteer", std::make_shared<spdlog::sinks::stderr_sink_mt>()};
        made->set_formatter(std::make_unique<spdlog::pattern_formatter>("%v"));
        made->set_level(spdlog::level::trace);  // enabled() has decided before
        return made;
    }();
    return *logger;
}

spdlog::level::level_enum spdlog_level(conf::LogLevel level) {
    switch (level) {
        case conf::LogLevel::debug:
            return spdlog::level::debug;
        case conf::LogLevel::info:
            return spdlog::level::info;
        case conf::LogLevel::warning:
            return spdlog::level::warn;
        case conf::LogLevel::error:
            return spdlog::level::err;
    }
    return spdlog::level::err;
}

}  // namespace

void configure(const conf::LogConfig& config) {
    least_level.store(config.level, std::memory_order_relaxed);
    line_format.store(config.format, std::memory_order_relaxed);
}

bool enabled(conf::LogLevel level) { return level >= least_level.load(std::memory_order_relaxed); }

void write(conf::LogLevel level, std::string_view sentence, std::initializer_list<Field> fields) {
    const auto now = std::chrono::system_clock::now();
    const std::span<const Field> all{fields.begin(), fields.size()};
    const bool as_json = line_format.load(std::memory_order_relaxed) == conf::LogFormat::json;
    const std::string line =
        as_json ? format_json(now, level, sentence, all) : format_text(now, level, sentence, all);
    sink().log(spdlog_level(level), spdlog::string_view_t{line.data(), line.size()});
}

}  // namespace pgsteer::log
