// Where a session lives.
#pragma once

#include "proxy/shared/surroundings.hpp"

#include <utility>

namespace pgsteer::proxy {

// What its worker lends it, and the configuration that was current when it began, by which it is
// served to its end. Worker-local.
struct Lodging {
    Lodging(Surroundings& surroundings, GenerationPtr current)
        : around{surroundings}, generation{std::move(current)} {}
    Lodging(const Lodging&) = delete;
    Lodging& operator=(const Lodging&) = delete;

    [[nodiscard]] const conf::Config& config() const { return *generation->config; }
    // Also one that was added or removed since.
    [[nodiscard]] const conf::ServerConfig& server(routing::ServerId id) const {
        return around.servers()[id];
    }

    Surroundings& around;
    const GenerationPtr generation;
};

}  // namespace pgsteer::proxy
