// Key -> Statement, bounded in bytes, oldest use leaves first. Worker-local.
#pragma once

#include "routing/classify.hpp"
#include "routing/lexer.hpp"
#include "routing/topology.hpp"
#include "routing/verdict.hpp"

#include <array>
#include <cstdint>
#include <memory>
#include <string_view>

namespace pgsteer::routing {

struct CachedStatement;
using StatementPtr = std::shared_ptr<const CachedStatement>;

// What a statement is in one context: a worker's number for (database, catalog epoch, search_path,
// ...).
struct Judged {
    std::uint64_t context = 0;         // 0: this entry is not used
    StatementPtr as;                   // null: as it is
    std::shared_ptr<const Kept> kept;  // what it may leave in its server process; null: nothing
};

// A cached Statement, with what was learnt about it while running: `mutable` is changed only by the
// worker that owns the cache.
struct CachedStatement {
    Statement statement;
    StatementKey key = {};  // zero: of no text, or of one that is too long to be cached
    // Until then the primary is known to answer with the same error as a replica did.
    mutable TimePoint repeats_error_until = kNever;
    // The latest verdicts: few, since contexts of the past are never asked for again.
    mutable std::array<Judged, 3> judged = {};
    mutable std::uint8_t next_judged = 0;  // the entry to be replaced
    mutable bool used = false;             // since the cache last looked at its age
};

// The statement to decide by, in the context of this number: itself, or one that is no read. A hit
// costs a comparison. `view` is the context; `shared` keeps one answer for each reason
// (worker-local). `kept` is set to what keeps most of what is there and of what it may leave
// behind.
class JudgedStatements;
StatementPtr judge(const StatementPtr& statement,
                   std::uint64_t context,
                   const CatalogView& view,
                   JudgedStatements& shared,
                   std::shared_ptr<const Kept>* kept = nullptr);

// The answers that do not depend on the text: one for each reason. Worker-local.
class JudgedStatements {
public:
    StatementPtr get(const Verdict& verdict);

private:
    std::array<StatementPtr, kReasonCount> by_reason_;
};

class StatementCache {
public:
    StatementCache(std::size_t max_bytes, HashSecret secret);
    ~StatementCache();
    StatementCache(const StatementCache&) = delete;
    StatementCache& operator=(const StatementCache&) = delete;

    // Never null. A hit costs one lex() and one look-up, or less than that where this very text has
    // come twice lately; a miss parses.
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
