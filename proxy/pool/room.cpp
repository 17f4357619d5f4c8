#include "proxy/pool/room.hpp"

#include "proxy/io/signal.hpp"
#include "proxy/io/spawn.hpp"

#include <boost/asio/post.hpp>

#include <algorithm>

namespace pgsteer::proxy {

using routing::Clock;

namespace {

constexpr std::chrono::seconds kRoomTimeout{2};  // until an idle one was found
constexpr std::chrono::milliseconds kResetTime{2};

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
struct Room::Round {
    Signal answered;
    std::vector<Answer> answers;
    std::size_t missing;
};

template <class Answer>
awaitable<std::vector<Answer>> Room::ask_all(const Question<Answer>& question) {
    Round<Answer> round{Signal{env_.executor}, {}, env_.workers};
    const auto answer = [](Room& room, Question<Answer> asked, Executor home,
                           Round<Answer>* to) -> awaitable<void> {
        Answer said = co_await asked(room);
        asio::post(home, [to, said] {
            to->answers.push_back(said);
            --to->missing;
            to->answered.notify_all();
        });
    };
    env_.on_all_workers([answer, question, home = env_.executor, to = &round](Room& room) {
        spawn(room.env_.executor, answer(room, question, home, to), "room.answer");
    });
    while (round.missing > 0) co_await round.answered.wait();
    co_return std::move(round.answers);
}

awaitable<bool> Room::make(BudgetKey login, ConnectionLimit limit) {
    const auto until = Clock::now() + kRoomTimeout;
    const Question<Occupant> who_is_idle = [login, limit](Room& room) {
        return room.longest_idle(login, limit);
    };
    while (!connections_.is_closing() && Clock::now() < until) {
        const auto occupants = co_await ask_all(who_is_idle);
        Occupant longest;
        for (const auto& occupant : occupants) {
            const bool is_any_reset = longest.others_are_reset || occupant.others_are_reset;
            if (occupant.idle_since < longest.idle_since) longest = occupant;
            longest.others_are_reset = is_any_reset;
        }
        if (longest.connection != 0) {
            const Question<bool> close_it = [id = longest.connection](Room& room) {
                return room.close_idle_one(id);
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

awaitable<Room::Occupant> Room::longest_idle(BudgetKey login, ConnectionLimit limit) {
    Occupant longest;
    for (const auto& [key, group] : connections_.groups()) {
        if (!counts_against(limit, key, login)) continue;
        longest.others_are_reset = longest.others_are_reset || group->resetting > 0;
        for (const auto& connection : group->idle) {
            if (connection->idle_since >= longest.idle_since) continue;
            longest.connection = connection->id;
            longest.idle_since = connection->idle_since;
        }
    }
    co_return longest;
}

awaitable<bool> Room::close_idle_one(std::uint64_t connection) {
    auto leaving = connections_.take_idle_where(
        [connection](const BudgetKey&, const auto& idle) { return idle.id == connection; });
    if (leaving.empty()) co_return false;  // somebody uses it by now
    co_await connections_.close_and_wait(std::move(leaving));
    co_return true;
}

awaitable<void> Room::empty_database(std::string database) {
    const Question<bool> leave = [database](Room& room) { return room.leave_database(database); };
    co_await ask_all(leave);
}

awaitable<bool> Room::leave_database(std::string database) {
    retirement_.keep_empty(database, Clock::now());
    auto leaving = connections_.take_idle_where(
        [&database](const BudgetKey& key, const auto&) { return key.database == database; });
    co_await connections_.close_and_wait(std::move(leaving));
    co_return true;
}

}  // namespace pgsteer::proxy
