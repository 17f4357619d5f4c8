// Server connections of one worker: those that nobody holds, and the way to get and give them back.
#pragma once

#include "proxy/pool/alike.hpp"
#include "proxy/pool/connections.hpp"
#include "proxy/pool/connector.hpp"
#include "proxy/pool/environment.hpp"
#include "proxy/pool/lease.hpp"
#include "proxy/pool/opener.hpp"
#include "proxy/pool/retirement.hpp"
#include "proxy/pool/room.hpp"

#include <memory>
#include <string>

namespace pgsteer::proxy {

// What a worker and its sessions see of it; each part has its state, and says more. Worker-local.
class Pool {
public:
    using Environment = PoolEnvironment;
    using Place = proxy::Place;
    explicit Pool(Environment environment);
    Pool(const Pool&) = delete;

    // --- for sessions ---
    // An idle connection, else a new one, else one that becomes free before acquire_timeout is
    // over. Fails with query_canceled once the place was left. A connection that is being opened
    // for it is the pool's then. `target` and `place` outlive it.
    awaitable<LeaseResult> acquire(const PoolTarget& target, Place& place);
    // A connection that is no part of the pool, for a session that may leave its place, as in
    // acquire(): it is closed then. With the credentials of `generation`.
    awaitable<ConnectResult> connect(GenerationPtr generation,
                                     routing::ServerId server,
                                     ServerLogin login,
                                     Place& place) {
        return opener_.connect(std::move(generation), server, std::move(login), place);
    }
    // Whether all connections that the server's budget allows are in use, or somebody waits for
    // one.
    [[nodiscard]] bool is_exhausted(const BudgetKey& key);
    // Whether the server would let this login in, as far as is known, or an idle connection is
    // there. Where a look is due the caller asks for it: it is done aside, and no client waits.
    [[nodiscard]] LoginBackOff::Advice advise(const BudgetKey& login);
    void look_again(PoolTarget target);
    // What it has been told of may be other by now; it is not kept.
    [[nodiscard]] bool is_retired(const ServerConnection& connection) const {
        return retirement_.is_retired(connection.server, connection.origin.opened_at);
    }
    // Nobody's connection to this database remains, on any server or worker, nor is any kept for a
    // while: a statement is about to run that fails while others are connected. Bounded in time.
    awaitable<void> empty_database(std::string database) {
        return room_.empty_database(std::move(database));
    }

    // --- for the worker ---
    void adopt(GenerationPtr generation) { env_.generation = std::move(generation); }
    [[nodiscard]] Room& room() { return room_; }  // where other workers ask
    void close_idle(const BudgetKey& key) { connections_.close_idle(key); }  // another one starves
    void wake(const BudgetKey& key) { connections_.wake(key); }  // a place became free elsewhere
    void close_idle_to(routing::ServerId server);  // it is UNHEALTHY, or not what it was
    void close_all_idle();
    void close_idle_replicas(const SessionKind& kind);
    // Whoever logs in from now on is to be told anew what the server says, also by connections that
    // are in use now: they are not kept.
    void retire(routing::ServerId server);
    void retire_all();  // replicas once more when they have got that far
    // Asks the primary for what sessions start with there, where it may have changed.
    awaitable<void> look_at_settings_again() { return alike_.look_again(); }
    void close_expired(routing::TimePoint now);  // idle_timeout, max_lifetime; called every second
    void log_accepted_logins(routing::TimePoint now) { opener_.log_accepted_logins(now); }

private:
    awaitable<void> wait_in_line(ConnectionGroup& group, std::shared_ptr<Waiter> waiter);

    PoolEnvironment env_;
    Retirement retirement_;
    Connections connections_;
    Room room_;
    Connector connector_;
    Alike alike_;
    Opener opener_;
};

}  // namespace pgsteer::proxy
