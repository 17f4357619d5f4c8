#pragma once

#include "conf/config.hpp"
#include "proxy/auth/scram.hpp"

#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>

namespace pgsteer::proxy::auth {

// The users of auth.users, made ready for logins, and the client keys learnt at login. Thread-safe.
class Credentials {
public:
    explicit Credentials(const conf::AuthConfig& config);  // derives one verifier per password

    struct User {
        bool known = false;
        std::string password;    // "" if only a verifier is configured
        ScramVerifier verifier;  // mock for an unknown user
    };
    [[nodiscard]] User find(std::string_view user) const;

    // Kept in memory, used towards servers that hold the same verifier.
    void learn(std::string_view user, const ScramKeys& keys);
    [[nodiscard]] std::optional<ScramKeys> learnt(std::string_view user) const;
    // After a reload: takes over the keys that still fit the verifiers of this configuration.
    void inherit(const Credentials& previous);

    // Derived keys for (password, salt, iterations) of a server, so that PBKDF2 runs once, not per
    // connection.
    ScramKeys keys_for(std::string_view password, std::string_view salt, std::uint32_t iterations);

private:
    struct Entry {
        std::string password;
        ScramVerifier verifier;
    };
    std::unordered_map<std::string, Entry> users_;
    Digest secret_;  // of this process: salts of passwords and of unknown users come from it
    mutable std::mutex mutex_;
    std::unordered_map<std::string, ScramKeys> learnt_;
    std::unordered_map<std::string, ScramKeys> derived_;  // bounded
};

}  // namespace pgsteer::proxy::auth
