// Connections that are opened while somebody waits for them, who may leave.
#pragma once

#include "proxy/pool/alike.hpp"
#include "proxy/pool/connections.hpp"
#include "proxy/pool/connector.hpp"
#include "proxy/pool/group.hpp"

#include <memory>

namespace pgsteer::proxy {

// A connection that is being opened for somebody. Worker-local.
class Opening {
public:
    explicit Opening(Executor executor) : ended_{executor} {}

    // --- for whoever wants it ---
    // Until it has ended, or was abandoned.
    awaitable<void> wait() {
        while (!has_ended_ && !is_abandoned_) co_await ended_.wait();
    }
    void abandon() {
        if (has_ended_) return;
        is_abandoned_ = true;
        ended_.notify_all();
    }
    [[nodiscard]] bool is_abandoned() const { return is_abandoned_; }  // nobody waits for it

    // --- for whoever opens it ---
    ConnectResult result;
    void end() {
        has_ended_ = true;
        ended_.notify_all();
    }

private:
    bool has_ended_ = false;
    bool is_abandoned_ = false;
    Signal ended_;
};

// Where a session stands that waits for a connection: in a line, or for one that is being opened.
// Worker-local; one wait at a time.
class Place {
public:
    void leave() {
        if (opening_) opening_->abandon();
        if (waiter_) waiter_->leave();
    }
    void stand(std::shared_ptr<Waiter> waiter) { waiter_ = std::move(waiter); }
    void stand(std::shared_ptr<Opening> opening) { opening_ = std::move(opening); }
    void step_out() {
        waiter_.reset();
        opening_.reset();
    }

private:
    std::shared_ptr<Waiter> waiter_;
    std::shared_ptr<Opening> opening_;
};

// Worker-local.
class Opener {
public:
    Opener(PoolEnvironment& environment,
           Connections& connections,
           Connector& connector,
           Alike& alike)
        : env_{environment}, connections_{connections}, connector_{connector}, alike_{alike} {}

    // A place in the budget of `group` was taken for it, and comes back if there is no connection.
    // Fails with query_canceled once `place` was left: what is being opened is the pool's then.
    awaitable<ConnectResult> open(ConnectionGroup& group, PoolTarget target, Place& place);
    // For nobody, if there is a place: whether the server lets this login in again.
    awaitable<void> open_aside(PoolTarget target);
    // One that is no part of the pool, for a session that may leave its place; it is closed then.
    awaitable<ConnectResult> connect(GenerationPtr generation,
                                     routing::ServerId server,
                                     ServerLogin login,
                                     Place& place);
    void log_accepted_logins(routing::TimePoint now);

private:
    awaitable<ConnectResult> open_counted(PoolTarget target);
    awaitable<ConnectResult> unless_left(awaitable<ConnectResult> work, Place& place);
    awaitable<void> finish(awaitable<ConnectResult> work, std::shared_ptr<Opening> opening);
    void note(const BudgetKey& login, const ConnectResult& result);

    PoolEnvironment& env_;
    Connections& connections_;
    Connector& connector_;
    Alike& alike_;
};

}  // namespace pgsteer::proxy
