// Which servers there are, and by which number everything else calls them.
#pragma once

#include "conf/config.hpp"
#include "routing/server_set.hpp"
#include "routing/topology.hpp"

#include <cstddef>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <tuple>
#include <vector>

namespace pgsteer::health {

// The numbers of all servers that this process has ever been told of; one for the process.
// Thread-safe. A server is its name, host and port: one that is renamed or is moved is another one,
// since nothing that is known of the one holds for the other. A number is never given to a second
// server; a server that was left out of the configuration and comes back has the one it had.
class ServerIds {
public:
    // As many different servers in the life of a process: what is kept by server has room for so
    // many, and a ServerSet has a bit for each.
    static constexpr std::size_t kMost = routing::ServerSet::kMaxIndex;

    // Numbers for all of them, in this order. nullopt: there are not enough left, and none was
    // given; the configuration cannot be taken over by this process, only by its successor.
    std::optional<std::vector<routing::ServerId>> of(std::span<const conf::ServerConfig> servers);

private:
    using Key = std::tuple<std::string, std::string, std::uint16_t>;
    std::mutex mutex_;
    std::vector<Key> known_;  // by ServerId
};

// The servers of one configuration. Immutable, cheap to copy, any thread.
class ServerTable {
public:
    // None.
    ServerTable() = default;
    // Numbered in the order of the configuration, as the first one of a process is.
    explicit ServerTable(std::shared_ptr<const conf::Config> config);
    // nullopt: see ServerIds::of.
    static std::optional<ServerTable> number(std::shared_ptr<const conf::Config> config,
                                             ServerIds& ids);

    // In the order of the configuration. Not contiguous: other configurations had others.
    [[nodiscard]] std::span<const routing::ServerId> ids() const { return ids_; }
    // A vector by ServerId needs so many elements for these servers. It may hold some that are not
    // of this configuration; and another table may have servers beyond.
    [[nodiscard]] std::size_t bound() const { return positions_.size(); }
    [[nodiscard]] bool contains(routing::ServerId server) const { return position(server) >= 0; }
    // Where it stands in Config::servers; -1: it does not.
    [[nodiscard]] int position(routing::ServerId server) const {
        return server.index < positions_.size() ? positions_[server.index] : -1;
    }
    // Valid as long as any copy of this table. One that the configuration does not have has the
    // name "(removed)", and no host: it cannot be connected to.
    [[nodiscard]] const conf::ServerConfig& operator[](routing::ServerId server) const;

private:
    ServerTable(std::shared_ptr<const conf::Config> config, std::vector<routing::ServerId> ids);

    std::shared_ptr<const conf::Config> config_;
    std::vector<routing::ServerId> ids_;
    std::vector<int> positions_;  // by ServerId
};

}  // namespace pgsteer::health
