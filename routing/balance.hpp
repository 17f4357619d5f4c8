#pragma once

#include <cstdint>
#include <span>

#include "routing/route.hpp"

namespace pgsteer::routing {

// The less loaded of two candidates drawn by `random` (64 fresh random bits): requests in flight per
// weight, then response time. `in_flight` is indexed by ServerId. Pure. `candidates` is not empty.
ServerId balance(const Candidates& candidates,
                 std::span<const std::uint32_t> in_flight,
                 const Topology& topology,
                 std::uint64_t random);

}  // namespace pgsteer::routing
