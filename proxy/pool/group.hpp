// What a pool has of one (server, database, user). Included only by pool/*.cpp.
#pragma once

#include "proxy/pool/pool.hpp"

namespace pgsteer::proxy {

struct Pool::Waiter {
    Waiter(Executor executor, routing::TimePoint until) : timer{executor, until} {}
    Timer timer;
    bool woken = false;
    bool has_left = false;
};

// A connection that is being opened, for somebody who may leave.
struct Pool::Opening {
    explicit Opening(Executor executor) : ended{executor} {}
    ConnectResult result;
    bool has_ended = false;
    bool is_abandoned = false;  // nobody waits for it
    Signal ended;
};

struct Pool::Group : std::enable_shared_from_this<Group> {
    BudgetKey key;
    std::shared_ptr<Budget> budget;
    std::vector<ServerConnectionPtr> idle;  // used last at the end
    std::deque<std::shared_ptr<Waiter>> waiters;
    int connections = 0;  // idle, leased, being reset
    int resetting = 0;    // given back, and not idle yet
    int uses = 0;         // coroutines that work on it
};

class Pool::Use {
public:
    explicit Use(Group& group) : group_{group.shared_from_this()} { ++group_->uses; }
    ~Use() { --group_->uses; }
    Use(const Use&) = delete;

private:
    // What still waits when a worker stops is destroyed after its pool.
    std::shared_ptr<Group> group_;
};

}  // namespace pgsteer::proxy
