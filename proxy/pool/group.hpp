// What a pool has of one (server, database, user), and the line of those who wait for it.
#pragma once

#include "proxy/io/asio.hpp"
#include "proxy/server/server_connection.hpp"
#include "proxy/shared/budget.hpp"

#include <deque>
#include <memory>
#include <vector>

namespace pgsteer::proxy {

// Somebody in the line. Worker-local.
class Waiter {
public:
    Waiter(Executor executor, routing::TimePoint until) : timer_{executor, until} {}

    // Until it is its turn, it has left, or the time is over.
    awaitable<void> wait() { co_await timer_.async_wait(as_result); }
    void wake() {
        is_woken_ = true;
        timer_.cancel();
    }
    void leave() {
        if (is_woken_) return;  // what it has got is its own
        has_left_ = true;
        timer_.cancel();
    }
    [[nodiscard]] bool is_woken() const { return is_woken_; }
    [[nodiscard]] bool has_left() const { return has_left_; }

private:
    Timer timer_;
    bool is_woken_ = false;
    bool has_left_ = false;
};

// Worker-local; Connections owns it, and changes `idle` and the two counts.
struct ConnectionGroup : std::enable_shared_from_this<ConnectionGroup> {
    ConnectionGroup(BudgetKey the_key, std::shared_ptr<Budget> the_budget)
        : key{std::move(the_key)}, budget{std::move(the_budget)} {}

    const BudgetKey key;
    const std::shared_ptr<Budget> budget;
    std::vector<ServerConnectionPtr> idle;  // used last at the end
    std::deque<std::shared_ptr<Waiter>> waiters;
    ReportedParameters reported;  // by the newest: what others say as well they share with it
    int connections = 0;          // idle, leased, being reset
    int resetting = 0;            // given back, and not idle yet
    int uses = 0;                 // coroutines that work on it: see Use

    // The first in the line gets its turn.
    void wake_one() {
        if (waiters.empty()) return;
        const auto waiter = waiters.front();
        waiters.pop_front();
        waiter->wake();
    }
    [[nodiscard]] bool is_unused() const {
        return connections == 0 && uses == 0 && waiters.empty();
    }

    // A coroutine that works on a group holds one: it is not forgotten meanwhile.
    class Use {
    public:
        explicit Use(ConnectionGroup& group) : group_{group.shared_from_this()} { ++group_->uses; }
        ~Use() { --group_->uses; }
        Use(const Use&) = delete;

    private:
        // What still waits when a worker stops is destroyed after its pool.
        std::shared_ptr<ConnectionGroup> group_;
    };
};

}  // namespace pgsteer::proxy
