// Key -> Statement, bounded in bytes, oldest use leaves first. Worker-local.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>

#include "routing/classify.hpp"
#include "routing/lexer.hpp"
#include "routing/topology.hpp"

namespace pgsteer::routing {

// A cached Statement, with what was learnt about it while running.
struct CachedStatement {
    Statement statement;
    // Until then the primary is known to answer with the same error as a replica did.
    // Changed only by the worker that owns the cache.
    mutable TimePoint repeats_error_until = kNever;
};
using StatementPtr = std::shared_ptr<const CachedStatement>;

class StatementCache {
public:
    StatementCache(std::size_t max_bytes, HashSecret secret);
    ~StatementCache();
    StatementCache(const StatementCache&) = delete;
    StatementCache& operator=(const StatementCache&) = delete;

    // Never null. A hit costs one lex() and one look-up; a miss parses.
    StatementPtr find_or_classify(std::string_view sql);

    struct Counters {
        std::uint64_t hits = 0;
        std::uint64_t misses = 0;
        std::uint64_t evictions = 0;
        std::size_t bytes = 0;
        std::size_t entries = 0;
    };
    [[nodiscard]] const Counters& counters() const;

private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace pgsteer::routing
