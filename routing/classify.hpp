// SQL text -> Statement, by PostgreSQL's own grammar (libpg_query). Thread-safe; no state.
#pragma once

#include <string_view>

#include "routing/statement.hpp"

namespace pgsteer::routing {

inline constexpr std::size_t kMaxClassifiedBytes = 128 * 1024;  // longer: Reason::too_complex
inline constexpr std::uint32_t kMaxNesting = 200;               // deeper: Reason::too_complex

// Costs 10-60 us; callers look in the StatementCache first. Never throws; text that does not parse
// has access write, reason syntax_error. The thread's stack must be at least kParserStackBytes.
Statement classify(std::string_view sql);

inline constexpr std::size_t kParserStackBytes = 8 * 1024 * 1024;

}  // namespace pgsteer::routing
