#include "proxy/shared/shared_freshness.hpp"

#include <algorithm>

namespace pgsteer::proxy {

std::span<const routing::Lsn> SharedFreshness::positions(const routing::Topology& topology) {
    const auto count = std::min(positions_.size(), topology.servers.size());
    for (std::uint16_t i = 0; i < count; ++i)
        positions_[i] = learnt_.of({i}, topology.servers[i].incarnation.number);
    return std::span{positions_}.first(count);
}

bool SharedFreshness::may_sample(routing::TimePoint now, routing::Clock::duration interval) {
    if (sampled_at_ != routing::kNever && now - sampled_at_ < interval) return false;
    sampled_at_ = now;
    return true;
}

}  // namespace pgsteer::proxy
