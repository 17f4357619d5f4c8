// Some of the servers of one Topology.
#pragma once

#include "routing/topology.hpp"

#include <initializer_list>

namespace pgsteer::routing {

// A value of four bytes; add() and contains() take servers below kMaxIndex only.
class ServerSet {
public:
    static constexpr std::uint16_t kMaxIndex = 32;  // conf::kMaxServers; ServerIds::kMost

    constexpr ServerSet() = default;
    constexpr ServerSet(std::initializer_list<ServerId> servers) {
        for (const auto server : servers) add(server);
    }
    // Those of the numbers whose bit is set, the lowest being 0.
    static constexpr ServerSet of_bits(std::uint32_t bits) {
        ServerSet set;
        set.bits_ = bits;
        return set;
    }

    constexpr void add(ServerId server) { bits_ |= bit(server); }
    [[nodiscard]] constexpr bool contains(ServerId server) const {
        return (bits_ & bit(server)) != 0;
    }
    [[nodiscard]] constexpr bool empty() const { return bits_ == 0; }
    // Also true if this one is empty.
    [[nodiscard]] constexpr bool is_part_of(ServerSet other) const {
        return (bits_ & ~other.bits_) == 0;
    }

    constexpr ServerSet& operator|=(ServerSet other) {
        bits_ |= other.bits_;
        return *this;
    }
    friend constexpr ServerSet operator|(ServerSet a, ServerSet b) { return a |= b; }
    constexpr bool operator==(const ServerSet&) const = default;

private:
    static constexpr std::uint32_t bit(ServerId server) {
        return server.index < kMaxIndex ? std::uint32_t{1} << server.index : 0;
    }
    std::uint32_t bits_ = 0;
};

}  // namespace pgsteer::routing
