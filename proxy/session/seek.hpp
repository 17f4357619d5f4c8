// Which server has a request, and over which connection.
#pragma once

#include "proxy/io/asio.hpp"
#include "proxy/session/client.hpp"
#include "proxy/session/course.hpp"
#include "proxy/session/judge.hpp"
#include "proxy/session/lodging.hpp"
#include "proxy/session/memory.hpp"
#include "proxy/session/options.hpp"
#include "proxy/session/progress.hpp"
#include "proxy/session/questions.hpp"
#include "proxy/session/request_end.hpp"
#include "proxy/session/search.hpp"
#include "proxy/session/sides.hpp"
#include "proxy/session/transaction_end.hpp"
#include "proxy/session/who.hpp"

namespace pgsteer::proxy {

// A look decides by what is known now, and says what has to be waited for if that is not enough;
// choose() waits, and looks again, because topology, session and pool may have changed. One search
// at a time for serve() (Dispatch; Startup before it) and one for what runs again (Recovery), which
// the other waits for. Worker-local.
class Seek {
public:
    Seek(const Lodging& lodging,
         Client& client,
         Who& who,
         Course& course,
         Memory& memory,
         Sides& sides,
         TransactionEnd& transaction_end,
         const Options& options,
         Questions& questions,
         RequestEnd& request_end,
         const Progress& progress,
         const Judge& judge)
        : lodging_{lodging},
          client_{client},
          who_{who},
          course_{course},
          memory_{memory},
          sides_{sides},
          transaction_end_{transaction_end},
          options_{options},
          questions_{questions},
          request_end_{request_end},
          progress_{progress},
          judge_{judge} {}
    Seek(const Seek&) = delete;
    Seek& operator=(const Seek&) = delete;

    // Looks once. Next::chosen: a server may have the statement, and its connection is held. May
    // give back the connection of a side where another one is needed.
    [[nodiscard]] Next look(Search& search);
    // Waits for what `next` says (Next::look_again: nothing) and looks again, until Search::choice
    // says where to: a failure also if the session ends. Behind it all may be different: what was
    // in flight, Client::closing, Batcher::skipping(). `search` outlives it.
    awaitable<void> choose(Search& search, Next next);
    // A moment, in which replicas may have replayed more.
    awaitable<void> wait_for_freshness();

private:
    enum class Fallback : std::uint8_t { allowed, waits, stale, refused };

    [[nodiscard]] Situation situation(const Demand& demand) const;
    [[nodiscard]] static Next follow(Search& search, const Plan& plan);
    [[nodiscard]] routing::Route route(const Search& search,
                                       const routing::Topology& topology,
                                       routing::TimePoint now);
    [[nodiscard]] Next nowhere(Search& search,
                               const routing::Route& route,
                               const routing::Topology& topology) const;
    [[nodiscard]] Next wait_or_ask(const Search& search,
                                   routing::Route& route,
                                   const routing::Topology& topology,
                                   routing::TimePoint now);
    [[nodiscard]] routing::Candidates worth_asking(const routing::Candidates& unproven,
                                                   const routing::Topology& topology,
                                                   routing::TimePoint now);
    [[nodiscard]] Next look_for_connection(Search& search,
                                           const routing::Route& route,
                                           routing::Slot slot,
                                           const routing::Topology& topology);
    [[nodiscard]] Next connection_failed(Search& search, ConnectFailure failure) const;
    [[nodiscard]] Fallback fall_back(routing::Route& route,
                                     Search& search,
                                     const routing::Topology& topology);
    [[nodiscard]] bool is_primary_in_doubt(const routing::Topology& topology,
                                           const Demand& demand) const;
    [[nodiscard]] bool waits_for_probe(Search& search,
                                       routing::Slot slot,
                                       const routing::Topology& topology) const;
    [[nodiscard]] bool may_look_again(Search& search) const;
    // Inlined, GCC 12 takes the coroutine's own operator delete for a wrong one.
    [[gnu::noinline]] awaitable<void> wait_for_probe(routing::TimePoint next_look);
    [[nodiscard]] routing::Candidates without_exhausted(const routing::Candidates& candidates);
    [[nodiscard]] PoolTarget target(routing::Slot slot, routing::ServerId server) const;
    [[nodiscard]] bool leave_out_refused(const routing::Candidates& candidates);
    awaitable<ConnectFailure> take_lease(routing::Slot slot, routing::ServerId server);
    awaitable<void> leave_open_request();

    // All of them outlive it.
    const Lodging& lodging_;
    Client& client_;
    Who& who_;
    Course& course_;
    Memory& memory_;
    Sides& sides_;
    TransactionEnd& transaction_end_;
    const Options& options_;
    Questions& questions_;
    RequestEnd& request_end_;
    const Progress& progress_;
    const Judge& judge_;

    routing::ServerSet refused_;          // replicas that do not let this session in
    routing::TimePoint refused_until_{};  // then they are looked at again
};

}  // namespace pgsteer::proxy
