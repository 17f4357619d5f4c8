// SQL text -> Statement, by PostgreSQL's own grammar (libpg_query). Thread-safe; no state.
#pragma once

#include "routing/statement.hpp"

#include <string_view>

namespace pgsteer::routing {

// What exceeds one of these is Reason::too_complex. libpg_query recurses without a guard of its
// own: chains and nests of a few thousand levels end in a crash
// (tests/unit/routing/classify_limits_test.cpp).
inline constexpr std::size_t kMaxClassifiedBytes = 128 * 1024;  // of text
inline constexpr std::size_t kMaxParsedBytes = 32 * 1024;       // of its canonical form
inline constexpr std::uint32_t kMaxNesting = 200;               // of brackets
inline constexpr std::uint32_t kMaxDepth = 750;                 // Canonical::depth

// Costs 10-60 us; callers look in the StatementCache first. Text that does not parse has access
// write, reason syntax_error. The thread's stack must be at least kParserStackBytes. Throws only
// bad_alloc. Texts of equal key (lexer.hpp) give equal Statements.
Statement classify(std::string_view sql);

inline constexpr std::size_t kParserStackBytes = 8 * 1024 * 1024;

}  // namespace pgsteer::routing
