// Who may log in, and what proves that it is them.
#pragma once

#include "proxy/auth/credentials.hpp"
#include "proxy/io/asio.hpp"

#include <string>

namespace pgsteer::proxy {

// Where users are looked up. Worker-local; outlives the logins that use it.
class UserSource {
public:
    virtual ~UserSource() = default;

    // May have to ask somebody: what is awaited lasts no longer than the login's own deadline. A
    // user that there is not is answered with a mock, so that the client cannot tell. `user`
    // outlives it.
    virtual awaitable<auth::Credentials::User> find(const std::string& user) = 0;
    // What a login has proven, for use towards servers.
    virtual void learn(std::string_view user, const auth::ScramKeys& keys) = 0;
};

// auth.users of the configuration.
class ConfiguredUsers final : public UserSource {
public:
    explicit ConfiguredUsers(auth::Credentials& credentials) : credentials_{credentials} {}
    awaitable<auth::Credentials::User> find(const std::string& user) override {
        co_return credentials_.find(user);
    }
    void learn(std::string_view user, const auth::ScramKeys& keys) override {
        credentials_.learn(user, keys);
    }

private:
    auth::Credentials& credentials_;
};

}  // namespace pgsteer::proxy
