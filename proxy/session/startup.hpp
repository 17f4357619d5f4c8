// From accept to the first ReadyForQuery.
#pragma once

#include "proxy/io/asio.hpp"
#include "proxy/io/deadline.hpp"
#include "proxy/session/lodging.hpp"
#include "proxy/session/raw_relay.hpp"
#include "proxy/session/seek.hpp"

#include <optional>
#include <string>

namespace pgsteer::proxy {

// Worker-local.
class Startup {
public:
    Startup(const Lodging& lodging,
            Sessions::Member& session,
            Client& client,
            Who& who,
            Memory& memory,
            Sides& sides,
            Options& options,
            Seek& seek,
            RawRelay& raw_relay)
        : lodging_{lodging},
          session_{session},
          client_{client},
          who_{who},
          memory_{memory},
          sides_{sides},
          options_{options},
          seek_{seek},
          raw_relay_{raw_relay} {}
    Startup(const Startup&) = delete;
    Startup& operator=(const Startup&) = delete;

    // Once. True: the client has been greeted, and may send requests. False: it was refused, or was
    // no client for a session, or has had what it wanted: a cancel, replication to its end.
    awaitable<bool> run();

private:
    awaitable<bool> log_in();
    awaitable<void> replicate();
    awaitable<bool> learn_parameters();
    awaitable<void> learn_catalog();
    void refuse(const ConnectFailure& failure);
    void greet();
    void end_login();

    // All of them outlive it.
    const Lodging& lodging_;
    Sessions::Member& session_;
    Client& client_;
    Who& who_;
    Memory& memory_;
    Sides& sides_;
    Options& options_;
    Seek& seek_;
    RawRelay& raw_relay_;

    std::optional<Login> login_;  // stays as long as its deadline
    std::optional<Deadline> deadline_;
    bool is_replication_ = false;
};

}  // namespace pgsteer::proxy
