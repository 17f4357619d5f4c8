// What the client has bound. Pure.
#pragma once

#include "routing/statement_cache.hpp"

#include <algorithm>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace pgsteer::proxy {

// Portals that are bound and may still be executed, with the statement they run; null: not known.
using Portals = std::vector<std::pair<std::string, routing::StatementPtr>>;

template <class AnyPortals>
[[nodiscard]] auto find_portal(AnyPortals& portals, std::string_view name) {
    return std::find_if(portals.begin(), portals.end(),
                        [&](const auto& entry) { return entry.first == name; });
}

}  // namespace pgsteer::proxy
