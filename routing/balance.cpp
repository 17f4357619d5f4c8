#include "routing/balance.hpp"

#include <algorithm>
#include <cassert>

namespace pgsteer::routing {
namespace {

std::uint64_t weight_of(ServerId id, const Topology& topology) {
    return static_cast<std::uint64_t>(std::max(1, topology[id].weight));
}

// Position in `candidates`, each as likely as its weight among all but `without`.
std::size_t draw(const Candidates& candidates,
                 const Topology& topology,
                 std::size_t without,
                 std::uint64_t bits32) {
    std::uint64_t total = 0;
    for (std::size_t i = 0; i < candidates.size(); ++i)
        if (i != without) total += weight_of(candidates[i], topology);
    std::uint64_t left = (bits32 * total) >> 32;
    for (std::size_t i = 0; i < candidates.size(); ++i) {
        if (i == without) continue;
        const auto weight = weight_of(candidates[i], topology);
        if (left < weight) return i;
        left -= weight;
    }
    return without == 0 ? 1 : 0;  // not reached: left < total
}

}  // namespace

ServerId balance(const Candidates& candidates,
                 std::span<const std::uint32_t> in_flight,
                 const Topology& topology,
                 std::uint64_t random) {
    assert(!candidates.empty());
    if (candidates.size() == 1) return candidates.front();

    const auto first_at = draw(candidates, topology, candidates.size(), random >> 32);
    const ServerId first = candidates[first_at];
    const ServerId second = candidates[draw(candidates, topology, first_at, random & 0xFFFF'FFFF)];

    const auto requests = [&](ServerId id) -> std::uint64_t {
        return id.index < in_flight.size() ? in_flight[id.index] : 0;
    };
    // a/wa < b/wb without dividing.
    const auto first_load = requests(first) * weight_of(second, topology);
    const auto second_load = requests(second) * weight_of(first, topology);
    if (first_load != second_load) return first_load < second_load ? first : second;
    const bool slow = topology[first].response_time > 2 * topology[second].response_time;
    return slow ? second : first;
}

}  // namespace pgsteer::routing
