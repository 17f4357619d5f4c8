#pragma once

#include "conf/config.hpp"
#include "health/admin_routes.hpp"

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

namespace pgsteer::health {

// Serves HTTP/1.1 on a thread of its own (Boost.Beast). Bounded: header and body sizes, time per
// request, 64 connections at once.
class AdminServer {
public:
    // Binds at once; throws std::system_error with the address in its text if it cannot.
    AdminServer(const conf::AdminConfig& config, AdminHandler handler);
    ~AdminServer();
    [[nodiscard]] std::uint16_t port() const;
    void start();
    void stop();

private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace pgsteer::health
