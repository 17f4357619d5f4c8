// How a session ends.
#pragma once

#include "proxy/session/client.hpp"
#include "proxy/session/course.hpp"
#include "proxy/session/lodging.hpp"
#include "proxy/session/memory.hpp"
#include "proxy/session/sides.hpp"
#include "proxy/session/transaction_end.hpp"
#include "proxy/session/who.hpp"

namespace pgsteer::proxy {

// Whoever finds that it cannot go on says so here; serve() and the coroutines that wait find
// Client::closing set. Every function may be called at any time, and again. Worker-local.
class Ending {
public:
    Ending(const Lodging& lodging,
           Client& client,
           Who& who,
           Course& course,
           Memory& memory,
           Sides& sides,
           TransactionEnd& transaction_end)
        : lodging_{lodging},
          client_{client},
          who_{who},
          course_{course},
          memory_{memory},
          sides_{sides},
          transaction_end_{transaction_end} {}
    Ending(const Ending&) = delete;
    Ending& operator=(const Ending&) = delete;

    // Closes everything. Requests in flight are cancelled: nobody will read their answers. Behind
    // it there are no requests and no leases: references to either are not to be used any more.
    void leave();
    // FATAL to the client, unless Client::may_be_spoken_to() says no, then leave(). `message`: "":
    // as the table of errors says.
    void die(ProxyErrc reason, std::string_view message = {});
    // With 57P01 as soon as no transaction is open and nothing is owed: now, or when
    // drain_if_asked() finds it so.
    void drain();
    void drain_if_asked() {
        if (draining_) drain();
    }
    // At once: with 57P01 if the client has logged in, else without a word.
    void stop();

private:
    [[nodiscard]] bool is_amid_a_message() const;

    // All of them outlive it.
    const Lodging& lodging_;
    Client& client_;
    Who& who_;
    Course& course_;
    Memory& memory_;
    Sides& sides_;
    TransactionEnd& transaction_end_;

    bool draining_ = false;
};

}  // namespace pgsteer::proxy
