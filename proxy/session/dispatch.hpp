// From a batch to a server: one of them, or an answer in its place.
#pragma once

#include "proxy/session/client.hpp"
#include "proxy/session/course.hpp"
#include "proxy/session/ending.hpp"
#include "proxy/session/fitting.hpp"
#include "proxy/session/judge.hpp"
#include "proxy/session/kept_back.hpp"
#include "proxy/session/last_route.hpp"
#include "proxy/session/lodging.hpp"
#include "proxy/session/memory.hpp"
#include "proxy/session/options.hpp"
#include "proxy/session/progress.hpp"
#include "proxy/session/recovery.hpp"
#include "proxy/session/sender.hpp"
#include "proxy/session/sides.hpp"
#include "proxy/session/transaction_control.hpp"

namespace pgsteer::proxy {

// Called by ClientSession, one function at a time, each at its Batcher::Step.
// Worker-local.
class Dispatch {
public:
    Dispatch(const Lodging& lodging,
             Client& client,
             Course& course,
             Memory& memory,
             Sides& sides,
             Ending& ending,
             const Options& options,
             LastRoute& last_route,
             TransactionControl& control,
             const Progress& progress,
             const Judge& judge,
             Sender& sender,
             Fitting& fitting,
             Recovery& recovery,
             KeptBack& kept_back)
        : lodging_{lodging},
          client_{client},
          course_{course},
          memory_{memory},
          sides_{sides},
          ending_{ending},
          options_{options},
          last_route_{last_route},
          control_{control},
          progress_{progress},
          judge_{judge},
          sender_{sender},
          fitting_{fitting},
          recovery_{recovery},
          kept_back_{kept_back} {}
    Dispatch(const Dispatch&) = delete;
    Dispatch& operator=(const Dispatch&) = delete;

    // The batch that the batcher has: sent, answered, refused or skipped, and consumed when it
    // returns, unless Client::closing.
    awaitable<void> dispatch();
    // The same if nothing has to be waited for, as is usual. False: dispatch() is due. settled()
    // has to follow where has_to_settle().
    [[nodiscard]] bool dispatch_at_once();
    // More is under way than should be.
    [[nodiscard]] bool has_to_settle() const;
    awaitable<void> settled();
    // Passes on what has come of a message that is too large to be kept, to where it began.
    void stream_on();
    // CopyData, CopyDone or CopyFail, to the server of the newest request.
    void copy_on();
    // The next message has a length or a type that none has. What ends the session comes behind the
    // answers to all that was sent before.
    awaitable<void> end_at_violation();

private:
    [[nodiscard]] bool needs_nobody();
    void note(const BatchFacts& facts);
    [[nodiscard]] static bool makes_way(const BatchFacts& facts);
    [[nodiscard]] Search search_for(const BatchFacts& facts) const;
    [[nodiscard]] Next begin_search(Search& search, const BatchFacts& facts);
    void place_or_refuse(Search& search, const BatchFacts& facts);
    void place(Search& search, const BatchFacts& facts);
    [[gnu::noinline]] awaitable<void> go_on_elsewhere(Search& search);
    void fail_there(Search& search);
    void start_request(const Choice& choice);
    void refuse(const Batch& batch, const ConnectFailure& failure);
    awaitable<void> make_way(routing::StatementPtr statement);

    // All of them outlive it.
    const Lodging& lodging_;
    Client& client_;
    Course& course_;
    Memory& memory_;
    Sides& sides_;
    Ending& ending_;
    const Options& options_;
    LastRoute& last_route_;
    TransactionControl& control_;
    const Progress& progress_;
    const Judge& judge_;
    Sender& sender_;
    Fitting& fitting_;
    Recovery& recovery_;
    KeptBack& kept_back_;
};

}  // namespace pgsteer::proxy
