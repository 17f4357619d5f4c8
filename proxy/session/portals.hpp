// What the client has bound. Pure.
#pragma once

#include "proxy/session/client_statements.hpp"

#include <algorithm>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace pgsteer::proxy {

// A portal that is bound, and may still be executed or described.
struct BoundPortal {
    std::string name;
    routing::StatementPtr statement;  // that it runs; null: not known
    PreparedTextPtr untold;           // the same, if the client has not been told of its columns
    bool is_executed = false;
};
// It returns no rows and has been executed: it is there, and cannot be executed again.
[[nodiscard]] inline bool is_at_end(const BoundPortal& portal) {
    using routing::Access;
    if (!portal.is_executed || !portal.statement) return false;
    const auto& said = portal.statement->statement;
    return said.access == Access::begin || said.access == Access::begin_read_only ||
           said.access == Access::session_control ||
           std::ranges::any_of(said.effects, [](const routing::Effect& effect) {
               return effect.kind == routing::Effect::Kind::set_transaction;
           });
}
using Portals = std::vector<BoundPortal>;

template <class AnyPortals>
[[nodiscard]] auto find_portal(AnyPortals& portals, std::string_view name) {
    return std::ranges::find(portals, name, &BoundPortal::name);
}

// Beyond so many portals what those run that are bound is not known.
inline constexpr std::size_t kMaxPortals = 256;

inline void put_portal(Portals& portals, BoundPortal portal) {
    const auto bound = find_portal(portals, portal.name);
    if (bound != portals.end()) {
        *bound = std::move(portal);
    } else if (portals.size() < kMaxPortals) {
        portals.push_back(std::move(portal));
    }
}

}  // namespace pgsteer::proxy
