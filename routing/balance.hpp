#pragma once

#include "routing/route.hpp"

#include <cstdint>
#include <span>

namespace pgsteer::routing {

// The better of two different candidates drawn by `random` (64 fresh random bits), each drawn in
// proportion to its weight:
// - fewer requests in flight per weight wins;
// - as loaded: the one drawn first, which keeps idle servers' shares at their weights, unless its
//   response time is more than twice the other's.
// `in_flight` is indexed by ServerId; a server beyond its end counts as idle. Pure. `candidates` is
// not empty.
ServerId balance(const Candidates& candidates,
                 std::span<const std::uint32_t> in_flight,
                 const Topology& topology,
                 std::uint64_t random);

}  // namespace pgsteer::routing
