// Transactions that no server has yet, or that leave their replica: BEGIN answered at once, opened
// where the first statement runs, opened once more on the primary when it has to write.
#pragma once

#include "proxy/io/asio.hpp"
#include "proxy/session/batch_facts.hpp"
#include "proxy/session/client.hpp"
#include "proxy/session/course.hpp"
#include "proxy/session/lodging.hpp"
#include "proxy/session/memory.hpp"
#include "proxy/session/options.hpp"
#include "proxy/session/progress.hpp"
#include "proxy/session/sides.hpp"

namespace pgsteer::proxy {

// Transaction decides; this says it to the client and to servers. Worker-local.
class TransactionControl {
public:
    TransactionControl(const Lodging& lodging,
                       Client& client,
                       Course& course,
                       Memory& memory,
                       Sides& sides,
                       const Options& options,
                       const Progress& progress)
        : lodging_{lodging},
          client_{client},
          course_{course},
          memory_{memory},
          sides_{sides},
          options_{options},
          progress_{progress} {}
    TransactionControl(const TransactionControl&) = delete;
    TransactionControl& operator=(const TransactionControl&) = delete;

    // BEGIN, and what can follow it without a server: SET TRANSACTION, COMMIT, ROLLBACK, if nothing
    // else comes with it; the end of a transaction that was lost. Waits for the answers to what
    // came before. True: it has been answered.
    awaitable<bool> answer(const BatchFacts& facts);
    // Whether answer() may have something to do.
    [[nodiscard]] static bool may_answer(const routing::Statement& statement) {
        return statement.access != routing::Access::read_only;  // no reads: these need no server
    }
    // Appends what opens on `slot` the transaction that waits.
    void open(routing::Slot slot, wire::Buffer& out);
    // The primary takes it over; nothing is in flight.
    void leave_replica();
    // The replica need not know what became of it: it has only read.
    void roll_back_on_replica();
    // An error that no server knows of ends the transaction, if there is one of which it is known
    // how.
    void fail();

private:
    void answer_batch(std::string_view tag);

    // All of them outlive it.
    const Lodging& lodging_;
    Client& client_;
    Course& course_;
    Memory& memory_;
    Sides& sides_;
    const Options& options_;
    const Progress& progress_;
};

}  // namespace pgsteer::proxy
