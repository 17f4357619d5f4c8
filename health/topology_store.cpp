#include "health/topology_store.hpp"

#include <cassert>
#include <utility>

namespace pgsteer::health {

TopologyStore::TopologyStore(TopologyPtr first)
    : current_{std::move(first)}, version_{current_->version} {}

TopologyPtr TopologyStore::load() const {
    const std::lock_guard lock{mutex_};
    return current_;
}

void TopologyStore::publish(TopologyPtr next) {
    const auto version = next->version;
    {
        const std::lock_guard lock{mutex_};
        assert(version > current_->version);
        current_.swap(next);
    }  // the last holder of the former one may be `next`: freed outside of the lock
    version_.store(version, std::memory_order_release);
}

}  // namespace pgsteer::health
