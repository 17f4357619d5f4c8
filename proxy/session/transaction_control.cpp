#include "proxy/session/transaction_control.hpp"

#include "proxy/wire/backend.hpp"
#include "proxy/wire/frontend.hpp"
#include "proxy/wire/message_types.hpp"

namespace pgsteer::proxy {

using routing::Slot;
using routing::StatementPtr;
using routing::TransactionStatus;

awaitable<bool> TransactionControl::answer(const BatchFacts& facts) {
    auto& transaction = memory_.transaction;
    const auto& batch = client_.batcher.batch();
    if (transaction.is_waiting() && course_.is_idle() && batch.items.size() == 1 &&
        batch.items.front().type == wire::frontend::kSync) {
        memory_.statements.sync_here();
        client_.send_ready(transaction.status());
        co_return true;
    }
    if (!facts.only || !Transaction::is_control(facts.only->statement)) co_return false;
    if (!has_no_parameters(batch, client_.batcher.bytes(), memory_.statements)) co_return false;
    if (facts.leaves_portal) co_return false;
    co_await progress_.answered();
    if (client_.closing || !course_.requests.empty()) co_return false;
    const auto tag = transaction.answer(
        facts.only->statement, lodging_.config().routing.transactions, options_.default_modes());
    if (tag.empty()) co_return false;
    answer_batch(tag);
    note_portal(facts.only, tag);
    co_return true;
}

void TransactionControl::answer_batch(std::string_view tag, wire::Bytes error) {
    const auto bytes = client_.batcher.bytes();
    wire::Buffer out;
    for (const auto& item : client_.batcher.batch().items) {
        switch (item.type) {
            case wire::frontend::kParse:
                memory_.statements.parse_here(name_of(item, bytes),
                                              bytes.subspan(item.begin, item.end - item.begin),
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
                memory_.statements.query_here();
                [[fallthrough]];
            case wire::frontend::kExecute:
                if (error.empty()) wire::encode_command_complete(out, tag);
                out.insert(out.end(), error.begin(), error.end());
                break;
            default:
                break;
        }
    }
    client_.stream.write(wire::Bytes{out});
    client_.send_ready(memory_.transaction.status());
}

// What was executed is there, until the transaction ends, chained or not, or another is bound in
// its place.
void TransactionControl::note_portal(const StatementPtr& statement, std::string_view tag) {
    const bool is_query = client_.batcher.batch().items.size() == 1;
    if (is_query || tag == "COMMIT" || tag == "ROLLBACK")
        memory_.portals.clear();
    else
        put_portal(memory_.portals, {{}, statement, {}, true});
}

void TransactionControl::open(Slot slot, wire::Buffer& out) {
    auto& connection = *sides_[slot].lease.connection();
    if (!connection.replies.push(
            {.what = Expect::query, .internal = true, .purpose = Purpose::transaction}))
        return;
    wire::encode_query(out, memory_.transaction.open(slot));
    Preparing preparing{memory_.statements, connection.ledger, connection.replies,
                        sides_.connection(slot), memory_.catalog.changes()};
    for (const auto& portal : memory_.portals)
        if (is_at_end(portal)) preparing.portal_at_end(portal.name, out);
    preparing.sync(out);
}

void TransactionControl::leave_replica() {
    roll_back_on_replica();
    memory_.transaction.leave_replica();
}

void TransactionControl::roll_back_on_replica() { roll_back_on(Slot::replica); }

void TransactionControl::roll_back_on(Slot slot) {
    const auto& lease = sides_[slot].lease;
    if (!lease || lease->transaction_status == TransactionStatus::idle) return;
    if (!lease->replies.push(
            {.what = Expect::query, .internal = true, .purpose = Purpose::transaction}))
        return sides_.release(slot);
    wire::Buffer out;
    wire::encode_query(out, "ROLLBACK");
    lease->stream.write(wire::Bytes{out});
    lease->transaction_status = TransactionStatus::idle;
}

void TransactionControl::fail_on_primary() {
    if (memory_.state.transaction_on() != Slot::primary) return;
    roll_back_on(Slot::primary);
    memory_.transaction.fail_on_primary();
}

void TransactionControl::fail() {
    if (memory_.transaction.is_open_on_replica()) roll_back_on_replica();
    memory_.transaction.fail();
}

}  // namespace pgsteer::proxy
