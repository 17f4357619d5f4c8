// From accept to a client of which it is known who it is and what it wants.
#pragma once

#include "conf/config.hpp"
#include "health/metrics.hpp"
#include "proxy/errors.hpp"
#include "proxy/io/asio.hpp"
#include "proxy/io/input_buffer.hpp"
#include "proxy/io/stream.hpp"
#include "proxy/login/user_source.hpp"
#include "proxy/wire/startup.hpp"

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

namespace pgsteer::proxy {

// Who the client is, and what it asked to begin with.
struct Identity {
    std::string user;
    std::string database;         // as the client calls it
    std::string server_database;  // as the servers do; "": any, for physical replication
    wire::Parameters parameters;  // settings of the startup packet, and `replication`
    std::string parameters_key;   // of these settings: equal for equal ones
};

// The first packets of one client and the answers to them. Worker-local.
class Login {
public:
    struct Routed {  // AuthenticationOk has been sent, and nothing behind it
        Identity who;
    };
    struct Replication {  // the same for a replication connection
        Identity who;
    };
    struct CancelDue {
        wire::CancelRequest request;
    };
    struct Refused {};  // has been told why, or was hung up on
    using Outcome = std::variant<Routed, Replication, CancelDue, Refused>;

    // All of it outlives the login.
    struct Surroundings {
        const conf::Config& config;
        UserSource& users;
        health::WorkerCounters& counters;
        std::function<bool()> has_too_many_clients;  // asked when one wants to begin a session
        std::function<bool()> is_draining;
        std::uint32_t random = 0;  // the salt of md5
    };

    Login(Stream& client, InputBuffer& in, Surroundings surroundings)
        : client_{client}, in_{in}, around_{std::move(surroundings)} {}
    Login(const Login&) = delete;
    Login& operator=(const Login&) = delete;

    // Once. Ends with Refused when the client closes its connection, or somebody here does.
    awaitable<Outcome> run();

    // FATAL, counted and logged; the caller closes the connection. Also for what is found out after
    // run().
    void refuse(ProxyErrc reason, std::string_view sqlstate, std::string_view message);
    // It has taken too long: an error if the client is known to speak the protocol.
    void end_late();

private:
    void hang_up(ProxyErrc reason, std::string_view message);
    awaitable<std::optional<Outcome>> read_startup();
    [[nodiscard]] bool take(const wire::StartupMessage& message);
    void negotiate_protocol(const wire::StartupMessage& message);
    [[nodiscard]] bool find_database();
    awaitable<bool> authenticate();
    awaitable<bool> authenticate_scram();
    awaitable<bool> authenticate_md5();
    void refuse_proof(error_code error);
    awaitable<Result<wire::Bytes>> read_password_message(wire::Buffer& message);

    Stream& client_;
    InputBuffer& in_;
    Surroundings around_;
    Identity who_;
    std::string replication_;  // the parameter's value; "": none
    bool has_authenticated_ = false;
};

}  // namespace pgsteer::proxy
