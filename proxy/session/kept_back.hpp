// What a transaction that a replica has for good says to the primary: LISTEN, UNLISTEN, NOTIFY.
// They take effect at COMMIT, and are kept back until then.
#pragma once

#include "proxy/io/asio.hpp"
#include "proxy/session/batch_facts.hpp"
#include "proxy/session/client.hpp"
#include "proxy/session/course.hpp"
#include "proxy/session/lodging.hpp"
#include "proxy/session/memory.hpp"
#include "proxy/session/options.hpp"
#include "proxy/session/progress.hpp"
#include "proxy/session/seek.hpp"
#include "proxy/session/sides.hpp"
#include "proxy/session/transaction_control.hpp"

#include <string>

namespace pgsteer::proxy {

// Transaction has what is kept, with its savepoints; this answers the client, and has the primary
// do it before COMMIT is sent to the replica. Worker-local.
class KeptBack {
public:
    KeptBack(const Lodging& lodging,
             Client& client,
             Course& course,
             Memory& memory,
             Sides& sides,
             const Options& options,
             TransactionControl& control,
             const Progress& progress,
             Seek& seek)
        : lodging_{lodging},
          client_{client},
          course_{course},
          memory_{memory},
          sides_{sides},
          options_{options},
          control_{control},
          progress_{progress},
          seek_{seek} {}
    KeptBack(const KeptBack&) = delete;
    KeptBack& operator=(const KeptBack&) = delete;

    // Whether answer() may have something to do with the client's batch.
    [[nodiscard]] bool concerns(const BatchFacts& facts) const;
    // Waits for the answers to what came before. True: the client has its answer, and the batch is
    // to be consumed: it was kept back, or is a COMMIT that has failed. False: a server has to have
    // it.
    awaitable<bool> answer(const BatchFacts& facts);

private:
    [[nodiscard]] bool commits(const BatchFacts& facts) const;
    [[nodiscard]] bool keep(const BatchFacts& facts);
    [[nodiscard]] std::string text() const;
    awaitable<wire::Buffer> do_on_primary(const BatchFacts& facts);

    // All of them outlive it.
    const Lodging& lodging_;
    Client& client_;
    Course& course_;
    Memory& memory_;
    Sides& sides_;
    const Options& options_;
    TransactionControl& control_;
    const Progress& progress_;
    Seek& seek_;
};

}  // namespace pgsteer::proxy
