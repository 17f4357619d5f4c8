// Connections that nobody uses and that are in the way of somebody: at a limit of connections, and
// of statements that need a database to themselves. Idle ones of all workers are looked at.
#pragma once

#include "proxy/pool/connection_limit.hpp"
#include "proxy/pool/connections.hpp"

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace pgsteer::proxy {

// One for each worker's pool, worker-local; they ask each other by PoolEnvironment::on_all_workers.
class Room {
public:
    Room(PoolEnvironment& environment, Connections& connections, Retirement& retirement)
        : env_{environment}, connections_{connections}, retirement_{retirement} {}

    // A server has refused `login` at this limit: the longest idle connection that counts against
    // it is closed, on whichever worker. True: that was done, and its place is free. Bounded in
    // time.
    awaitable<bool> make(BudgetKey login, ConnectionLimit limit);
    // Nobody's idle connection to this database remains, on any server or worker, nor is any kept
    // for a while (Retirement::kKeptEmpty). Bounded in time.
    awaitable<void> empty_database(std::string database);

private:
    struct Occupant {  // the connection that has been idle for longest
        std::uint64_t connection = 0;
        routing::TimePoint idle_since = routing::TimePoint::max();
        bool others_are_reset = false;  // and will be idle in a moment
    };
    template <class Answer>
    using Question = std::function<awaitable<Answer>(Room&)>;
    template <class Answer>
    struct Round;
    // `question` is a named object, no temporary: GCC 12 destroys those of a co_await twice.
    template <class Answer>
    awaitable<std::vector<Answer>> ask_all(const Question<Answer>& question);

    // --- what the others ask, on this worker ---
    awaitable<Occupant> longest_idle(BudgetKey login, ConnectionLimit limit);
    awaitable<bool> close_idle_one(std::uint64_t connection);
    awaitable<bool> leave_database(std::string database);

    PoolEnvironment& env_;
    Connections& connections_;
    Retirement& retirement_;
};

}  // namespace pgsteer::proxy
