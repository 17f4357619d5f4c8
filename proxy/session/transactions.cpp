// Transactions that no server has yet, or that leave their replica: BEGIN answered at once, opened
// where the first statement runs, opened once more on the primary when it has to write.
#include "conf/log.hpp"
#include "proxy/session/client_session.hpp"
#include "proxy/wire/backend.hpp"
#include "proxy/wire/frontend.hpp"
#include "proxy/wire/message_types.hpp"
#include "proxy/worker.hpp"

namespace pgsteer::proxy {

using routing::Effect;
using routing::Isolation;
using routing::TransactionStatus;

namespace {

// The command tag of its CommandComplete.
std::string_view tag_of(const Effect& effect) {
    switch (effect.kind) {
        case Effect::Kind::begin:
            return effect.form == Effect::Form::start ? "START TRANSACTION" : "BEGIN";
        case Effect::Kind::commit:
            return "COMMIT";
        case Effect::Kind::rollback:
            return "ROLLBACK";
        default:
            return "SET";
    }
}

bool is_transaction_control(const routing::Statement& statement) {
    if (statement.statement_count != 1 || statement.effects.size() != 1) return false;
    switch (statement.effects.front().kind) {
        case Effect::Kind::begin:
        case Effect::Kind::commit:
        case Effect::Kind::rollback:
        case Effect::Kind::set_transaction:
            return true;
        default:
            return false;
    }
}

}  // namespace

routing::DefaultModes ClientSession::default_modes() const {
    const auto& said = state_.default_modes();
    routing::DefaultModes defaults{catalog_.default_modes(), said.isolation.has_value()};
    defaults.modes.overlay(said);
    return defaults;
}

bool ClientSession::may_start_on_replica(Isolation isolation, bool read_only) const {
    const auto transactions = worker_.config().routing.transactions;
    if (transactions == conf::Transactions::primary || isolation == Isolation::serializable)
        return false;
    return read_only ||
           (transactions == conf::Transactions::lazy && isolation == Isolation::read_committed);
}

routing::SessionView::Transaction ClientSession::transaction_view(
    const routing::Statement& statement, const Demand& demand) const {
    routing::SessionView::Transaction view;
    view.tied_by_request = demand.ties;
    view.may_start_on_replica = false;
    if (deferred_.stage() != routing::DeferredTransaction::Stage::none) {
        view.waits = deferred_.is_waiting();
        view.read_only = deferred_.is_read_only();
        view.may_start_on_replica = !deferred_.says_read_write() &&
                                    may_start_on_replica(deferred_.isolation(), view.read_only);
        view.may_move =
            deferred_.may_move() && state_.transaction_status() == TransactionStatus::in_block;
        view.must_move = deferred_.is_full();
        return view;
    }
    for (const auto& effect : statement.effects) {  // the client's own BEGIN among other messages
        if (effect.kind != Effect::Kind::begin) continue;
        auto defaults = default_modes();
        // On a replica its level would not be the session's.
        const bool is_known = effect.modes.isolation || !defaults.isolation_is_the_sessions;
        defaults.modes.overlay(effect.modes);
        view.read_only = defaults.modes.read_only.value_or(false);
        view.may_start_on_replica =
            is_known && effect.modes.read_only != false &&
            may_start_on_replica(defaults.modes.isolation.value_or(Isolation::serializable),
                                 view.read_only);
        break;
    }
    return view;
}

// BEGIN, and what can follow it without a server: SET TRANSACTION, COMMIT, ROLLBACK, if nothing
// else comes with it; the end of a transaction that was lost. True: it has been answered.
awaitable<bool> ClientSession::answer_transaction_control(const BatchFacts& facts) {
    if (deferred_.is_waiting() && requests_.empty() && batcher_.batch().items.size() == 1 &&
        batcher_.batch().items.front().type == wire::frontend::kSync) {
        send_ready();
        co_return true;
    }
    if (!facts.only || !is_transaction_control(facts.only->statement)) co_return false;
    if (!has_no_parameters(batcher_.batch(), in_.data(), prepared_)) co_return false;
    if (facts.leaves_portal) co_return false;
    co_await answered();
    if (closing_ || !requests_.empty()) co_return false;
    const auto tag = change_transaction(facts.only->statement);
    if (tag.empty()) co_return false;
    settled_ = deferred_;
    answer_batch(tag);
    if (draining_) drain();
    co_return true;
}

// What comes of the statement, as a command tag; "": a server has to say.
std::string_view ClientSession::change_transaction(const routing::Statement& statement) {
    const auto& effect = statement.effects.front();
    switch (effect.kind) {
        case Effect::Kind::begin:
            if (worker_.config().routing.transactions == conf::Transactions::primary ||
                statement.hint == routing::Hint::primary || transaction_ != LostTransaction::none ||
                state_.transaction_status() != TransactionStatus::idle)
                return {};
            deferred_.begin(effect, default_modes(), statement.options);
            state_.transaction_waits();
            break;
        case Effect::Kind::set_transaction:
            if (!deferred_.is_fresh() || deferred_.is_full() || effect.form != Effect::Form::modes)
                return {};
            deferred_.set_modes(effect);
            break;
        case Effect::Kind::commit:
        case Effect::Kind::rollback: {
            if (transaction_ != LostTransaction::none) return end_lost_transaction(effect);
            if (!deferred_.is_waiting() || !deferred_.is_untouched() ||
                effect.form == Effect::Form::prepare)
                return {};
            if (effect.form == Effect::Form::chain) break;
            deferred_.clear();
            state_.transaction_dropped();
            break;
        }
        default:
            return {};
    }
    return tag_of(effect);
}

// All it has read was right, and a client that knows of the loss hears ROLLBACK, as in any failed
// transaction.
std::string_view ClientSession::end_lost_transaction(const Effect& effect) {
    if (effect.form != Effect::Form::plain) return {};
    const bool told = transaction_ == LostTransaction::reported;
    transaction_ = LostTransaction::none;
    return told ? "ROLLBACK" : tag_of(effect);
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
    const auto sql = deferred_.opening(slot == Slot::replica);
    if (!side(slot).lease->replies.push(
            {.what = Expect::query, .internal = true, .purpose = Purpose::transaction}))
        return;
    wire::encode_query(out, sql);
    state_.transaction_opened(slot);
    if (slot == Slot::replica) return deferred_.opened();
    deferred_.clear();  // there it is a transaction like any other
    settled_.clear();
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

// The transaction goes on elsewhere. Nothing of it is in flight.
void ClientSession::leave_replica() {
    roll_back_on_replica();
    deferred_.wait();
    settled_ = deferred_;
    state_.transaction_waits();
}

// What is in flight on a replica has to run elsewhere: the transaction is again what it was before
// that was sent.
void ClientSession::withdraw_transaction() {
    if (settled_.stage() == routing::DeferredTransaction::Stage::none) {  // BEGIN is in flight, too
        deferred_.clear();
        return;
    }
    if (settled_.is_open()) settled_.wait();
    deferred_ = settled_;
    state_.transaction_waits();
}

// Whether a transaction that a replica has can go on without it.
bool ClientSession::may_reopen() const {
    if (settled_.is_waiting()) return true;
    return settled_.may_move() && state_.transaction_status() == TransactionStatus::in_block;
}

// An error that no server knows of has ended it: only its end is heard from here on.
void ClientSession::fail_transaction() {
    if (deferred_.stage() == routing::DeferredTransaction::Stage::none) return;
    if (deferred_.is_open()) roll_back_on_replica();
    deferred_.clear();
    settled_.clear();
    state_.transaction_dropped();
    transaction_ = LostTransaction::reported;
}

}  // namespace pgsteer::proxy
