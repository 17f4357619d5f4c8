#pragma once

#include "conf/config.hpp"

#include <functional>
#include <memory>
#include <string>

namespace pgsteer::proxy {

// Accepts clients, TCP and Unix, on a thread of its own and hands each socket out, in turn to each
// worker.
class Listener {
public:
    using HandOut = std::function<void(
        int socket, int family)>;  // on the listener's thread; takes the socket over

    // Binds at once; throws std::runtime_error naming the address if it cannot.
    Listener(const conf::ListenConfig& config, HandOut hand_out);
    ~Listener();
    void start();
    void stop();  // closes the sockets; clients already accepted stay
    [[nodiscard]] std::uint16_t port() const;
    [[nodiscard]] std::string unix_path() const;  // "" if there is none

private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace pgsteer::proxy
