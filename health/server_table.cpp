#include "health/server_table.hpp"

#include <algorithm>
#include <utility>

namespace pgsteer::health {

using routing::ServerId;

std::optional<std::vector<ServerId>> ServerIds::of(std::span<const conf::ServerConfig> servers) {
    const std::lock_guard lock{mutex_};
    auto known = known_;
    std::vector<ServerId> ids;
    for (const auto& server : servers) {
        const Key key{server.name, server.host, server.port};
        const auto entry = std::ranges::find(known, key);
        ids.push_back({static_cast<std::uint16_t>(entry - known.begin())});
        if (entry == known.end()) known.push_back(key);
    }
    if (known.size() > kMost) return std::nullopt;
    known_ = std::move(known);
    return ids;
}

ServerTable::ServerTable(std::shared_ptr<const conf::Config> config, std::vector<ServerId> ids)
    : config_{std::move(config)}, ids_{std::move(ids)} {
    for (std::size_t i = 0; i < ids_.size(); ++i) {
        const std::size_t index = ids_[i].index;
        if (index >= positions_.size()) positions_.resize(index + 1, -1);
        positions_[index] = static_cast<int>(i);
    }
}

namespace {

std::vector<ServerId> in_order(std::size_t count) {
    std::vector<ServerId> ids;
    for (std::size_t i = 0; i < count; ++i) ids.push_back({static_cast<std::uint16_t>(i)});
    return ids;
}

}  // namespace

ServerTable::ServerTable(std::shared_ptr<const conf::Config> config)
    : ServerTable{config, in_order(config->servers.size())} {}

std::optional<ServerTable> ServerTable::number(std::shared_ptr<const conf::Config> config,
                                               ServerIds& ids) {
    auto numbers = ids.of(config->servers);
    if (!numbers) return std::nullopt;
    return ServerTable{std::move(config), std::move(*numbers)};
}

const conf::ServerConfig& ServerTable::operator[](ServerId server) const {
    static const conf::ServerConfig removed{.name = "(removed)", .host = {}};
    const int found = position(server);
    return found < 0 ? removed : config_->servers[static_cast<std::size_t>(found)];
}

}  // namespace pgsteer::health
