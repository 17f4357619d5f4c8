// Connections that nobody uses and that are in the way of somebody: at a limit of connections, and
// of statements that need a database to themselves. Idle ones of all workers are looked at.
#include "proxy/io/deadline.hpp"
#include "proxy/io/signal.hpp"
#include "proxy/io/spawn.hpp"
#include "proxy/pool/group.hpp"
#include "proxy/wire/frontend.hpp"

#include <boost/asio/post.hpp>

namespace pgsteer::proxy {

using routing::Clock;

namespace {

constexpr int kLoginAttempts = 4;                 // of a login that meets a limit of connections
constexpr std::chrono::seconds kLeaveTimeout{2};  // for a server to end a connection
constexpr std::chrono::seconds kRoomTimeout{2};   // until an idle one was found
constexpr std::chrono::milliseconds kResetTime{2};
// PostgreSQL waits for 5 s for others to leave a database (CountOtherDBBackends), and a replica
// knows a renamed one by its former name until it has replayed that: what was opened there by the
// old name must not be given out by it.
constexpr std::chrono::seconds kKeptEmpty{30};

// Whether a connection of `held` counts against the limit that `login` has met.
bool counts_against(ConnectionLimit limit, const BudgetKey& held, const BudgetKey& login) {
    if (held.server != login.server) return false;
    switch (limit) {
        case ConnectionLimit::role:
            return held.user == login.user;
        case ConnectionLimit::database:
            return held.database == login.database;
        case ConnectionLimit::server:
            return true;
    }
    return false;
}

}  // namespace

// What all workers have answered. Lives in the asking coroutine, which waits for all of them, and
// is touched on its thread alone.
template <class Answer>
struct Pool::Round {
    Signal answered;
    std::vector<Answer> answers;
    std::size_t missing;
};

template <class Answer>
awaitable<std::vector<Answer>> Pool::ask_all(const Question<Answer>& question) {
    Round<Answer> round{Signal{env_.executor}, {}, env_.workers};
    const auto answer = [](Pool& pool, Question<Answer> asked, Executor home,
                           Round<Answer>* to) -> awaitable<void> {
        Answer said = co_await asked(pool);
        asio::post(home, [to, said] {
            to->answers.push_back(said);
            --to->missing;
            to->answered.notify_all();
        });
    };
    env_.on_all_workers([answer, question, home = env_.executor, to = &round](Pool& pool) {
        spawn(pool.env_.executor, answer(pool, question, home, to), "pool.answer");
    });
    while (round.missing > 0) co_await round.answered.wait();
    co_return std::move(round.answers);
}

awaitable<ConnectResult> Pool::connect(routing::ServerId server, ServerLogin login) {
    for (int attempts = 1;; ++attempts) {
        auto result = co_await connect_to_server(env_.executor, env_.config->servers[server.index],
                                                 login, *env_.credentials);
        if (result.failure.sqlstate != "53300" || attempts == kLoginAttempts) co_return result;
        const auto limit = limit_reached(result.failure.routine);
        // max_wal_senders is a limit of its own, of which nothing is idle here.
        if (login.replication && limit == ConnectionLimit::server) co_return result;
        const BudgetKey refused{server, login.database, login.user};
        const bool has_room = co_await make_room(refused, limit);
        if (!has_room) co_return result;
    }
}

awaitable<bool> Pool::make_room(BudgetKey login, ConnectionLimit limit) {
    const auto until = Clock::now() + kRoomTimeout;
    const Question<Occupant> who_is_idle = [login, limit](Pool& pool) {
        return pool.longest_idle(login, limit);
    };
    while (!closing_ && Clock::now() < until) {
        const auto occupants = co_await ask_all(who_is_idle);
        Occupant longest;
        for (const auto& occupant : occupants) {
            const bool is_any_reset = longest.others_are_reset || occupant.others_are_reset;
            if (occupant.idle_since < longest.idle_since) longest = occupant;
            longest.others_are_reset = is_any_reset;
        }
        if (longest.connection != 0) {
            const Question<bool> close_it = [id = longest.connection](Pool& pool) {
                return pool.close_idle_one(id);
            };
            const auto closed = co_await ask_all(close_it);
            if (std::find(closed.begin(), closed.end(), true) != closed.end()) {
                env_.counters->connections_made_room[login.server.index].add();
                co_return true;
            }
        } else if (longest.others_are_reset) {
            Timer timer{env_.executor, Clock::now() + kResetTime};
            co_await timer.async_wait(as_result);
        } else {
            co_return false;
        }
    }
    co_return false;
}

awaitable<Pool::Occupant> Pool::longest_idle(BudgetKey login, ConnectionLimit limit) {
    Occupant longest;
    for (const auto& [key, group] : groups_) {
        if (!counts_against(limit, key, login)) continue;
        longest.others_are_reset =
            longest.others_are_reset || group->resetting > 0;
        for (const auto& connection : group->idle) {
            if (connection->idle_since >= longest.idle_since) continue;
            longest.connection = connection->id;
            longest.idle_since = connection->idle_since;
        }
    }
    co_return longest;
}

awaitable<bool> Pool::close_idle_one(std::uint64_t connection) {
    const auto entry = group_by_connection_.find(connection);
    if (entry == group_by_connection_.end()) co_return false;
    auto& idle = entry->second->idle;
    const auto found = std::find_if(idle.begin(), idle.end(), [&](const auto& candidate) {
        return candidate->id == connection;
    });
    if (found == idle.end()) co_return false;  // somebody uses it by now
    std::vector<ServerConnectionPtr> leaving{*found};
    idle.erase(found);
    co_await close_and_wait(std::move(leaving));
    co_return true;
}

awaitable<void> Pool::empty_database(std::string database) {
    const Question<bool> leave = [database](Pool& pool) { return pool.leave_database(database); };
    co_await ask_all(leave);
}

awaitable<bool> Pool::leave_database(std::string database) {
    emptied_[database] = Clock::now() + kKeptEmpty;
    std::vector<ServerConnectionPtr> leaving;
    for (auto& [key, group] : groups_) {
        if (key.database != database) continue;
        leaving.insert(leaving.end(), group->idle.begin(), group->idle.end());
        group->idle.clear();
    }
    co_await close_and_wait(std::move(leaving));
    co_return true;
}

// The end of the connection is the server's last word: its place is free by then.
awaitable<void> Pool::close_and_wait(std::vector<ServerConnectionPtr> connections) {
    const auto until = Clock::now() + kLeaveTimeout;
    wire::Buffer bye;
    wire::encode_terminate(bye);
    for (const auto& connection : connections) {
        connection->exchange.detach();
        connection->stream.write(wire::Bytes{bye});
    }
    for (const auto& connection : connections) {
        {
            Deadline deadline{env_.executor, connection->stream, until};
            co_await until_end(connection);
        }
        connection->stream.close();
        close(connection);
    }
}

}  // namespace pgsteer::proxy
