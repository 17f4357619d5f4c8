#include "proxy/session/transaction.hpp"

#include <utility>

namespace pgsteer::proxy {

using routing::Effect;
using routing::Isolation;
using routing::Slot;
using routing::TransactionStatus;
using Stage = routing::DeferredTransaction::Stage;

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

// "": it is another one.
std::string_view tag_for_primary(const Effect& effect) {
    switch (effect.kind) {
        case Effect::Kind::listen:
            return "LISTEN";
        case Effect::Kind::unlisten:
        case Effect::Kind::unlisten_all:
            return "UNLISTEN";
        case Effect::Kind::notify:
            return "NOTIFY";
        default:
            return {};
    }
}

bool ends_it(const Effect& effect) {
    return effect.kind == Effect::Kind::commit || effect.kind == Effect::Kind::rollback;
}

bool may_start_on_replica(conf::Transactions policy, Isolation isolation, bool read_only) {
    if (policy == conf::Transactions::primary || isolation == Isolation::serializable) return false;
    return read_only ||
           (policy == conf::Transactions::lazy && isolation == Isolation::read_committed);
}

}  // namespace

bool Transaction::is_control(const routing::Statement& statement) {
    if (statement.statement_count != 1 || statement.effects.size() != 1) return false;
    const auto& effect = statement.effects.front();
    return effect.kind == Effect::Kind::begin || effect.kind == Effect::Kind::set_transaction ||
           ends_it(effect);
}

std::string_view Transaction::answer(const routing::Statement& statement,
                                     conf::Transactions policy,
                                     const routing::DefaultModes& defaults) {
    const auto& effect = statement.effects.front();
    if (effect.kind == Effect::Kind::begin) {
        if (policy == conf::Transactions::primary || statement.hint == routing::Hint::primary ||
            is_lost() || state_.transaction_status() != TransactionStatus::idle)
            return {};
        now_.edit().begin(effect, defaults, statement.options);
        state_.transaction_waits();
    } else if (effect.kind == Effect::Kind::set_transaction) {
        if (!now_->is_fresh() || now_->is_full() || effect.form != Effect::Form::modes) return {};
        now_.edit().set_modes(effect);
    } else {
        return end(effect);
    }
    settle();
    return tag_of(effect);
}

// Of a lost one: all that it has read was right, and a client that knows of the loss hears
// ROLLBACK, as at the end of any failed transaction.
std::string_view Transaction::end(const Effect& effect) {
    if (is_lost()) {
        if (effect.form != Effect::Form::plain) return {};
        const bool was_told = loss_ == Loss::reported;
        loss_ = Loss::none;
        return was_told ? "ROLLBACK" : tag_of(effect);
    }
    if (!now_->is_waiting() || !now_->is_untouched() || effect.form == Effect::Form::prepare)
        return {};
    if (effect.form != Effect::Form::chain) {
        now_.clear();
        state_.transaction_dropped();
    }
    settle();
    return tag_of(effect);
}

bool Transaction::is_for_primary(const routing::Statement& statement) {
    return statement.statement_count == 1 && statement.effects.size() == 1 &&
           !tag_for_primary(statement.effects.front()).empty();
}

std::string_view Transaction::keep_for_primary(const routing::Statement& statement,
                                               std::string sql) {
    constexpr std::size_t kMaxPayload = 7'999;  // of NOTIFY: more is an error
    if (!now_->is_open() || now_->may_move() || now_->is_full() || sql.size() > kMaxPayload ||
        state_.transaction_status() != TransactionStatus::in_block)
        return {};
    const auto tag = tag_for_primary(statement.effects.front());
    now_.edit().keep_for_primary(std::move(sql));
    settle();
    state_.completed(Slot::primary, statement, 0, tag);
    return tag;
}

std::optional<ProxyErrc> Transaction::refusal(const routing::Statement& statement) {
    if (!is_lost()) return std::nullopt;
    if (!statement.effects.empty() && ends_it(statement.effects.front())) {
        loss_ = Loss::none;
        return std::nullopt;
    }
    const auto reason = loss_ == Loss::to_report ? ProxyErrc::transaction_lost_read_only
                                                 : ProxyErrc::failed_transaction;
    loss_ = Loss::reported;
    return reason;
}

std::string Transaction::open(Slot slot) {
    auto sql = now_->opening(slot == Slot::replica);
    state_.transaction_opened(slot);
    if (slot == Slot::replica) {
        now_.edit().opened();
    } else {  // there it is a transaction like any other
        now_.clear();
        settled_.clear();
    }
    return sql;
}

void Transaction::settle() {
    if (now_->stage() == Stage::none && settled_->stage() == Stage::none) return;
    if (*settled_ != *now_) settled_ = now_;
}

void Transaction::leave_replica() {
    now_.edit().wait();
    settle();
    state_.transaction_waits();
}

void Transaction::withdraw() {
    if (settled_->stage() == Stage::none) return now_.clear();  // BEGIN is in flight, too
    if (settled_->is_open()) settled_.edit().wait();
    now_ = settled_;
    state_.transaction_waits();
}

void Transaction::fail() {
    if (now_->stage() == Stage::none) return;
    now_.clear();
    settled_.clear();
    state_.transaction_dropped();
    loss_ = Loss::reported;
}

void Transaction::fail_on_primary() {
    state_.transaction_dropped();
    loss_ = Loss::reported;
}

void Transaction::lose(bool client_was_told) {
    loss_ = client_was_told ? Loss::reported : Loss::to_report;
    now_.clear();
    settled_.clear();
}

void Transaction::completed_on_replica(const Effect& effect,
                                       const routing::DefaultModes& defaults) {
    if (now_->is_open() && !now_->has_ended()) return now_.edit().completed(effect);
    if (effect.kind == Effect::Kind::begin) now_.edit().begun_on_replica(effect, defaults);
}

void Transaction::ready(TransactionStatus status) {
    if (status == TransactionStatus::idle && now_->is_open()) now_.clear();
    if (status == TransactionStatus::failed && now_->stage() != Stage::none) now_.edit().failed();
}

void Transaction::answered(Slot slot, bool queries, bool ties) {
    if (slot != Slot::replica || now_->stage() == Stage::none) return settle();
    if (queries) now_.edit().queried();
    if (ties) now_.edit().tie();
    settle();
}

TransactionStatus Transaction::status() const {
    return is_lost() ? TransactionStatus::failed : state_.transaction_status();
}

bool Transaction::may_reopen() const {
    if (settled_->is_waiting()) return true;
    return settled_->may_move() && state_.transaction_status() == TransactionStatus::in_block;
}

const routing::ReadOptions* Transaction::options() const {
    return now_->stage() == Stage::none ? nullptr : &now_->options();
}

routing::SessionView::Transaction Transaction::view(const routing::Statement& statement,
                                                    conf::Transactions policy,
                                                    const routing::DefaultModes& defaults) const {
    routing::SessionView::Transaction view;
    view.may_start_on_replica = false;
    if (now_->stage() != Stage::none) {
        view.waits = now_->is_waiting();
        view.read_only = now_->is_read_only();
        view.may_start_on_replica = !now_->says_read_write() &&
                                    may_start_on_replica(policy, now_->isolation(), view.read_only);
        view.may_move =
            now_->may_move() && state_.transaction_status() == TransactionStatus::in_block;
        view.must_move = now_->is_full();
        return view;
    }
    for (const auto& effect : statement.effects) {  // the client's own BEGIN among other messages
        if (effect.kind != Effect::Kind::begin) continue;
        // On a replica its level would not be the session's.
        const bool is_known = effect.modes.isolation || !defaults.isolation_is_the_sessions;
        auto modes = defaults.modes;
        modes.overlay(effect.modes);
        view.read_only = modes.read_only.value_or(false);
        view.may_start_on_replica =
            is_known && effect.modes.read_only != false &&
            may_start_on_replica(policy, modes.isolation.value_or(Isolation::serializable),
                                 view.read_only);
        break;
    }
    return view;
}

}  // namespace pgsteer::proxy
