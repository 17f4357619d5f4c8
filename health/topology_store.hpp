#pragma once

#include "routing/topology.hpp"

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>

namespace pgsteer::health {

using TopologyPtr = std::shared_ptr<const routing::Topology>;

// The latest Topology. Thread-safe: one publisher, any number of readers.
class TopologyStore {
public:
    explicit TopologyStore(TopologyPtr first);
    [[nodiscard]] TopologyPtr load() const;
    // Cheap enough for every request: a reader keeps its pointer while the version is unchanged.
    [[nodiscard]] std::uint64_t version() const { return version_.load(std::memory_order_acquire); }
    void publish(TopologyPtr next);  // next->version must be larger than the last

private:
    mutable std::mutex mutex_;  // held for a pointer copy, and only when the version has changed
    TopologyPtr current_;
    std::atomic<std::uint64_t> version_;
};

}  // namespace pgsteer::health
