// Who is the primary. Pure.
#pragma once

#include "conf/config.hpp"
#include "routing/topology.hpp"

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

namespace pgsteer::health {

// What one server said of itself when it was last asked.
struct Claim {
    bool is_known = false;     // it has answered at all
    bool is_up = false;        // its word still counts
    bool is_confirmed = true;  // false: it was lost, and the others have not been asked since
    bool in_recovery = false;
    std::uint64_t system_identifier = 0;
    std::uint32_t timeline = 0;
    conf::ServerRole configured = conf::ServerRole::automatic;
};

struct Verdict {
    routing::Role role = routing::Role::unknown;
    std::string_view fault;           // why the server must not be used; "" = nothing
    bool is_to_be_confirmed = false;  // that is the fault, and will soon be over
};

struct Roles {
    std::optional<std::size_t> primary;  // as the claims are numbered
    std::vector<Verdict> servers;        // in the order of the claims
    bool is_split = false;               // several primaries of one timeline: nobody may write
};

// Remembers what must not be forgotten from one round to the next: which cluster this is, and the
// highest timeline that a primary of it had.
class RoleFinder {
public:
    Roles find(std::span<const Claim> claims);

private:
    void choose_system(std::span<const Claim> claims);

    std::uint64_t system_identifier_ = 0;  // 0: not chosen yet
    std::uint32_t timeline_ = 0;
};

}  // namespace pgsteer::health
