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
#include "proxy/session/preparing.hpp"
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

    // Of the client's batch: BEGIN, and what can follow it without a server: SET TRANSACTION,
    // COMMIT, ROLLBACK, if nothing else comes with it; the end of a transaction that was lost.
    // Waits for the answers to what came before. True: the client has its answer, and the batch is
    // to be consumed. False: a server has to have it, and nothing has changed but the time.
    awaitable<bool> answer(const BatchFacts& facts);
    // In a server's place, to the client's batch, which is one statement that returns no rows:
    // `error`, if there is one, is the answer to its execution.
    void answer_batch(std::string_view tag, wire::Bytes error = {});
    // Whether answer() may have something to do.
    [[nodiscard]] static bool may_answer(const routing::Statement& statement) {
        return statement.access != routing::Access::read_only;  // no reads: these need no server
    }
    // Appends what opens on `slot` the transaction that waits.
    void open(routing::Slot slot, wire::Buffer& out);
    // What a replica has of the transaction ends there, and it waits to be opened on the primary.
    // While nothing is in flight.
    void leave_replica();
    // Sends ROLLBACK, whose answer nobody waits for, if a transaction is open on the replica. It
    // need not know what became of that: it has only read.
    void roll_back_on_replica();
    // An error that no server knows of ends the transaction, if there is one of which it is known
    // how.
    void fail();
    // The same where the primary has it, of which nothing is owed: it is rolled back there.
    void fail_on_primary();

private:
    void roll_back_on(routing::Slot slot);
    void note_portal(const routing::StatementPtr& statement, std::string_view tag);

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
