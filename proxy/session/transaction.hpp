// The client's transaction, as one machine: answered here and waiting for a server, open on one, or
// lost with it. Pure.
#pragma once

#include "conf/config.hpp"
#include "proxy/errors.hpp"
#include "proxy/session/seldom.hpp"
#include "routing/decide.hpp"
#include "routing/deferred_transaction.hpp"
#include "routing/session_state.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace pgsteer::proxy {

// A BEGIN need not go to a server: it is answered here, and the transaction opened where its first
// statement runs. One that a replica has may be opened once more on the primary, as long as it has
// only read. One that is READ ONLY may be lost with its replica, and ends as a failed one does.
//
// It tells SessionState what it does without a server; what servers answer, the relay tells both.
// Worker-local; belongs to one session, whose state outlives it.
class Transaction {
public:
    explicit Transaction(routing::SessionState& state) : state_{state} {}

    // --- the client's statements ---

    // BEGIN, SET TRANSACTION, COMMIT or ROLLBACK by itself, while nothing is in flight. Returns the
    // command tag of the answer, valid for ever; "": a server has to say, and nothing has changed.
    [[nodiscard]] std::string_view answer(const routing::Statement& statement,
                                          conf::Transactions policy,
                                          const routing::DefaultModes& defaults);
    // LISTEN, UNLISTEN or NOTIFY by itself, in a transaction that a replica has for good: the
    // primary does it when it commits, in these words. The command tag; "": it is not kept, and
    // nothing has changed. While nothing is in flight.
    [[nodiscard]] std::string_view keep_for_primary(const routing::Statement& statement,
                                                    std::string sql);
    [[nodiscard]] std::string kept_for_primary() const { return now_->kept_for_primary(); }
    // It is one that keep_for_primary() may keep.
    [[nodiscard]] static bool is_for_primary(const routing::Statement& statement);
    // The error of a statement that follows the loss of its transaction; nullopt: it may go on.
    // COMMIT or ROLLBACK ends what was lost.
    [[nodiscard]] std::optional<ProxyErrc> refusal(const routing::Statement& statement);
    // It is one that answer() may answer.
    [[nodiscard]] static bool is_control(const routing::Statement& statement);

    // --- what is sent ---

    // Statements that open on `slot` what waits; to be sent before what is to run in it.
    [[nodiscard]] std::string open(routing::Slot slot);
    // Nothing is in flight: what comes next starts from here. See withdraw().
    void settle();
    // It goes on elsewhere. Nothing of it is in flight.
    void leave_replica();
    // What is in flight on a replica runs elsewhere: as it was before that was sent.
    void withdraw();
    // An error that no server knows of has ended it, and the client has been told: only its end is
    // heard from here on.
    void fail();
    void fail_on_primary();  // the same of one that the primary had, and has no more
    // A READ ONLY one has ended with its replica.
    void lose(bool client_was_told);

    // --- what servers answer ---

    // A statement has completed on the replica.
    void completed_on_replica(const routing::Effect& effect, const routing::DefaultModes& defaults);
    // ReadyForQuery to a request of the client's.
    void ready(routing::TransactionStatus status);
    // A request has been answered by `slot`: whether it read, and whether it left something that
    // ties the transaction to its connection.
    void answered(routing::Slot slot, bool queries, bool ties);

    // --- asked ---

    // As ReadyForQuery says it to the client.
    [[nodiscard]] routing::TransactionStatus status() const;
    [[nodiscard]] bool is_waiting() const { return now_->is_waiting(); }
    [[nodiscard]] bool is_open_on_replica() const { return now_->is_open(); }
    [[nodiscard]] bool is_lost() const { return loss_ != Loss::none; }
    // A server has it, and it cannot be opened once more elsewhere.
    [[nodiscard]] bool has_to_stay() const { return state_.transaction_on() && !now_->may_move(); }
    // Whether what a replica has of it, before what is in flight, can go on without that replica.
    [[nodiscard]] bool may_reopen() const;
    // See DeferredTransaction.
    [[nodiscard]] auto read_only_default() const { return now_->read_only_default(); }
    // What BEGIN's comment asks of its reads; nullptr: nothing that is known.
    [[nodiscard]] const routing::ReadOptions* options() const;
    // For decide(). `statement`: to run next; a BEGIN in it says how.
    [[nodiscard]] routing::SessionView::Transaction view(
        const routing::Statement& statement,
        conf::Transactions policy,
        const routing::DefaultModes& defaults) const;

private:
    enum class Loss : std::uint8_t { none, to_report, reported };

    [[nodiscard]] std::string_view end(const routing::Effect& effect);

    routing::SessionState& state_;
    Seldom<routing::DeferredTransaction> now_;
    Seldom<routing::DeferredTransaction> settled_;  // before the oldest request in flight
    Loss loss_ = Loss::none;
};

}  // namespace pgsteer::proxy
