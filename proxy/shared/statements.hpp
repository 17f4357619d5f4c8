// What is known of statements' texts, for all sessions of a worker.
#pragma once

#include "health/metrics.hpp"
#include "proxy/shared/bounded_map.hpp"
#include "routing/statement_cache.hpp"
#include "routing/verdict.hpp"

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace pgsteer::proxy {

// Worker-local. Its memory is bounded by the two sizes below.
class Statements {
public:
    static constexpr std::size_t kCacheBytes = 32 * 1024 * 1024;
    static constexpr std::size_t kContextBytes = 512 * 1024;

    explicit Statements(routing::HashSecret secret,
                        std::size_t cache_bytes = kCacheBytes,
                        std::size_t context_bytes = kContextBytes);

    // Never null; parses what it does not know. The worker's stack has to be
    // routing::kParserStackBytes.
    [[nodiscard]] routing::StatementPtr classify(std::string_view sql) {
        return cache_.find_or_classify(sql);
    }
    // A number for what statements are judged by; equal views have the same as long as it is
    // remembered, other views never. Not 0.
    [[nodiscard]] std::uint64_t context(const routing::CatalogView& view);
    // For routing::judge.
    [[nodiscard]] routing::JudgedStatements& judged() { return judged_; }
    // Adds what has happened since the last call.
    void count(health::WorkerCounters& counters);

private:
    routing::StatementCache cache_;
    routing::JudgedStatements judged_;
    BoundedMap<std::uint64_t> contexts_;
    std::uint64_t last_context_ = 0;
    routing::StatementCache::Counters counted_;
};

}  // namespace pgsteer::proxy
