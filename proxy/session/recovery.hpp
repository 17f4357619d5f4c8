// When a server is lost, or a replica could not do what it was asked: what can run elsewhere does,
// what cannot is answered with an error, and only a session that has lost state of its own ends.
#pragma once

#include "proxy/io/asio.hpp"
#include "proxy/session/client.hpp"
#include "proxy/session/course.hpp"
#include "proxy/session/ending.hpp"
#include "proxy/session/fitting.hpp"
#include "proxy/session/holding.hpp"
#include "proxy/session/judge.hpp"
#include "proxy/session/lodging.hpp"
#include "proxy/session/memory.hpp"
#include "proxy/session/options.hpp"
#include "proxy/session/progress.hpp"
#include "proxy/session/sides.hpp"
#include "proxy/session/transaction_control.hpp"
#include "proxy/session/who.hpp"

namespace pgsteer::proxy {

// Called by Replies, fail_front() by Dispatch as well. What takes time goes on in coroutines of its
// own, while Course::running_again keeps serve() from sending. Worker-local.
class Recovery {
public:
    Recovery(const Lodging& lodging,
             Client& client,
             Who& who,
             Course& course,
             Memory& memory,
             Sides& sides,
             Ending& ending,
             Holding& holding,
             const Options& options,
             TransactionControl& control,
             const Progress& progress,
             const Judge& judge,
             Sender& sender,
             Seek& seek,
             Fitting& fitting)
        : lodging_{lodging},
          client_{client},
          who_{who},
          course_{course},
          memory_{memory},
          sides_{sides},
          ending_{ending},
          holding_{holding},
          options_{options},
          control_{control},
          progress_{progress},
          judge_{judge},
          sender_{sender},
          seek_{seek},
          fitting_{fitting} {}
    Recovery(const Recovery&) = delete;
    Recovery& operator=(const Recovery&) = delete;

    enum class Why : std::uint8_t {
        lost,    // its connection has ended
        failed,  // the replica has answered with an error that the primary need not have
        behind,  // the replica has not replayed enough
    };

    // The connection of this side, which there is, has ended or cannot be used any more. Behind it
    // there is none, or another one, and perhaps no session.
    void server_lost(routing::Slot slot, ProxyErrc reason);
    // Runs everything that is in flight again, elsewhere; what may not is answered with an error.
    // Nothing is owed to these requests any more, and none of their rows was released. `avoid`: not
    // there.
    void run_again(Why why, routing::ServerSet avoid);
    // The oldest request, which there is, cannot be answered by anybody: an error, and what a
    // server would send behind it; of an open one all up to its Sync is skipped. It is gone behind
    // this.
    void fail_front(ProxyErrc reason);

private:
    struct Loss {  // of a connection: what it was in the middle of
        routing::Slot slot{};
        routing::ServerId server;
        ProxyErrc reason{};
        bool busy = false;
        bool is_irreplaceable = false;
        bool in_transaction = false;
        bool cut_mid_message = false;
        bool cursor_lost = false;
        bool has_said_farewell = false;
        wire::Buffer last_words;
    };
    void note_loss(const ServerConnection& connection, ProxyErrc reason);
    awaitable<bool> has_front_crashed(routing::ServerId server);
    awaitable<void> look_into(Loss loss);
    void go_on_after(Loss loss, bool crashed);
    void leave_with(const wire::Buffer& last_words);
    void lose_transaction(bool busy, bool crashed);
    void fail_cancelled();
    awaitable<void> run_elsewhere(Why why, routing::ServerSet avoid);
    awaitable<void> choose(Search& search, const Flight::Requests& again);
    [[nodiscard]] Flight::Requests take_all(Why why);
    void place_again(Flight::Requests again, Choice& choice, Why why);
    void send_again(Request& placed);

    // All of them outlive it.
    const Lodging& lodging_;
    Client& client_;
    Who& who_;
    Course& course_;
    Memory& memory_;
    Sides& sides_;
    Ending& ending_;
    Holding& holding_;
    const Options& options_;
    TransactionControl& control_;
    const Progress& progress_;
    const Judge& judge_;
    Sender& sender_;
    Seek& seek_;
    Fitting& fitting_;
};

}  // namespace pgsteer::proxy
