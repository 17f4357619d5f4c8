// What a session or a statement asks of its reads: SET pgsteer.<name> = '...', a startup option of
// that name, or a comment /* pgsteer: <name>=<value>, ... */.
#pragma once

#include "routing/lsn.hpp"

#include <chrono>
#include <cstdint>
#include <optional>
#include <string_view>

namespace pgsteer::routing {

// What a read on a replica must not miss:
enum class Consistency : std::uint8_t {
    eventual,  // nothing: max_lag alone counts
    session,   // what the session has seen, its own writes among it; and it never goes back
    global,    // what any session of this proxy has written
    strict,    // what anybody had committed on the primary when the read arrived
};
std::optional<Consistency> parse_consistency(std::string_view text);
std::string_view name(Consistency level);

// A position of the primary as text, "timeline/LSN" (e.g. 3/16/B374D848): SHOW pgsteer.lsn.
struct WalPosition {
    std::uint32_t timeline = 0;  // never 0 in a token
    Lsn lsn;
    bool operator==(const WalPosition&) const = default;
};
std::optional<WalPosition> parse_wal_position(std::string_view text);
std::string to_string(const WalPosition& token);

struct ReadOptions {
    std::optional<Consistency> consistency;
    std::optional<std::chrono::milliseconds> freshness_wait;  // for a replica to catch up
    std::optional<std::chrono::milliseconds> max_staleness;   // of the replica; none: any
    std::optional<WalPosition> min_lsn;                       // what the replica must have replayed
    std::optional<bool> explain;                              // a NOTICE for every request
    bool operator==(const ReadOptions&) const = default;

    // `name` without "pgsteer.", lower case. An empty value clears it, as RESET does.
    enum class Outcome : std::uint8_t { done, unknown_name, bad_value, read_only };
    Outcome set(std::string_view name, std::string_view value);
    // What `wish` says, and for the rest what these say. The stronger min_lsn of both.
    [[nodiscard]] ReadOptions overlaid_by(const ReadOptions& wish) const;
};

inline constexpr std::string_view kOptionPrefix = "pgsteer.";

// "200ms", "1.5s", "2min", "1h", "250" (milliseconds), as PostgreSQL reads a time setting; at most
// a day.
std::optional<std::chrono::milliseconds> parse_milliseconds(std::string_view text);

}  // namespace pgsteer::routing
