#include "proxy/pool/retirement.hpp"

namespace pgsteer::proxy {

using routing::kNever;

void Retirement::retire_all(routing::TimePoint now) {
    retired_.fill(now);
    again_.fill(now);
}

std::vector<routing::ServerId> Retirement::due(const routing::Topology& topology) {
    std::vector<routing::ServerId> due;
    for (std::uint16_t i = 0; i < again_.size(); ++i) {
        const auto& server = topology[{i}];
        if (again_[i] == kNever || server.fresh_as_of == kNever || server.fresh_as_of < again_[i])
            continue;
        again_[i] = kNever;
        if (server.role == routing::Role::replica) due.push_back({i});
    }
    return due;
}

void Retirement::forget(routing::TimePoint now) {
    std::erase_if(emptied_, [&](const auto& entry) { return now >= entry.second; });
}

}  // namespace pgsteer::proxy
