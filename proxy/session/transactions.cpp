// Transactions that no server has yet, or that leave their replica: BEGIN answered at once, opened
// where the first statement runs, opened once more on the primary when it has to write.
#include "conf/log.hpp"
#include "proxy/session/client_session.hpp"
#include "proxy/wire/backend.hpp"
#include "proxy/wire/frontend.hpp"
#include "proxy/wire/message_types.hpp"
#include "proxy/shared/surroundings.hpp"

namespace pgsteer::proxy {

using routing::TransactionStatus;

routing::DefaultModes ClientSession::default_modes() const {
    const auto& said = state_.default_modes();
    routing::DefaultModes defaults{catalog_.default_modes(), said.isolation.has_value()};
    defaults.modes.overlay(said);
    return defaults;
}

// BEGIN, and what can follow it without a server: SET TRANSACTION, COMMIT, ROLLBACK, if nothing
// else comes with it; the end of a transaction that was lost. True: it has been answered.
awaitable<bool> ClientSession::answer_transaction_control(const BatchFacts& facts) {
    if (transaction_.is_waiting() && requests_.empty() && batcher_.batch().items.size() == 1 &&
        batcher_.batch().items.front().type == wire::frontend::kSync) {
        send_ready();
        co_return true;
    }
    if (!facts.only || !Transaction::is_control(facts.only->statement)) co_return false;
    if (!has_no_parameters(batcher_.batch(), in_.data(), prepared_)) co_return false;
    if (facts.leaves_portal) co_return false;
    co_await answered();
    if (closing_ || !requests_.empty()) co_return false;
    const auto tag = transaction_.answer(facts.only->statement,
                                         worker_.config().routing.transactions, default_modes());
    if (tag.empty()) co_return false;
    answer_batch(tag);
    if (draining_) drain();
    co_return true;
}

// In a server's place, to a batch of one statement that returns no rows.
void ClientSession::answer_batch(std::string_view tag) {
    wire::Buffer out;
    for (const auto& item : batcher_.batch().items) {
        switch (item.type) {
            case wire::frontend::kParse:
                prepared_.define(name_of(item, in_.data()),
                                 in_.data().subspan(item.begin, item.end - item.begin),
                                 item.statement);
                wire::encode_bare(out, wire::backend::kParseComplete);
                break;
            case wire::frontend::kBind:
                wire::encode_bare(out, wire::backend::kBindComplete);
                break;
            case wire::frontend::kDescribe:
                if (item.target == 'S') wire::encode_no_parameters(out);
                wire::encode_bare(out, wire::backend::kNoData);
                break;
            case wire::frontend::kQuery:
                prepared_.close({});
                [[fallthrough]];
            case wire::frontend::kExecute:
                wire::encode_command_complete(out, tag);
                break;
            default:
                break;
        }
    }
    client_.write(wire::Bytes{out});
    send_ready();
}

// In front of the first statement that a server gets of the transaction.
void ClientSession::open_transaction(Slot slot, wire::Buffer& out) {
    if (!side(slot).lease->replies.push(
            {.what = Expect::query, .internal = true, .purpose = Purpose::transaction}))
        return;
    wire::encode_query(out, transaction_.open(slot));
}

// The replica need not know what became of it: it has only read.
void ClientSession::roll_back_on_replica() {
    const auto& lease = side(Slot::replica).lease;
    if (!lease || lease->transaction_status == TransactionStatus::idle) return;
    if (!lease->replies.push(
            {.what = Expect::query, .internal = true, .purpose = Purpose::transaction}))
        return release(Slot::replica);
    wire::Buffer out;
    wire::encode_query(out, "ROLLBACK");
    lease->stream.write(wire::Bytes{out});
    lease->transaction_status = TransactionStatus::idle;
}

// An error that no server knows of ends the transaction, if there is one of which it is known how.
void ClientSession::fail_transaction() {
    if (transaction_.is_open_on_replica()) roll_back_on_replica();
    transaction_.fail();
}

}  // namespace pgsteer::proxy
