#include "proxy/session/sender.hpp"

#include "proxy/session/synthetic_verdicts.hpp"
#include "proxy/wire/frontend.hpp"
#include "proxy/wire/message_types.hpp"

#include <array>

namespace pgsteer::proxy {

using routing::Access;
using routing::Effect;
using routing::Slot;
using routing::StatementPtr;
using routing::TransactionStatus;

namespace {

const StatementPtr kNothing;
const PreparedTextPtr kNoText;
// A statement that is nowhere: the server's log has an error that names it.
constexpr std::string_view kOthers = "pgsteer: cached plan must not change result type";

// A malformed message is answered with an error, and behind that as one of its type: with
// ReadyForQuery, or by skipping to the Sync.
Expect answered_as(std::uint8_t type) {
    if (type == wire::frontend::kSync) return Expect::sync;
    return type == wire::frontend::kQuery ? Expect::query : Expect::bind;
}

void append(wire::Buffer& out, wire::Bytes bytes) {
    out.insert(out.end(), bytes.begin(), bytes.end());
}

// What the client has closed, on its other connection, if there is one.
void close_left_over(Ledger* other, std::string_view name) {
    if (other != nullptr) other->left_over(name);
}

// Of what no server has; the client hears of something else (ErrorAnswers).
void add_failing_bind(ServerConnection& connection, wire::Buffer& out) {
    wire::encode_bind(out, kOthers, kOthers);
    connection.replies.push({.what = Expect::bind, .internal = true, .purpose = Purpose::others});
}

}  // namespace

void Sender::send(const Sent& sent, Slot slot, Request& request) {
    const auto& connection = sides_[slot].lease.connection();
    Target to{sent.bytes, slot, *connection, request};
    if (sent.facts.kept) note_kept(to, *sent.facts.kept);
    wire::Buffer front;
    add_prelude(to, sent.continues, front);
    if (!sent.continues) add_names_of_query(to, sent.batch, front);
    connection->replies.expect_more(sent.batch.items.size());
    std::size_t placed = 0;  // of `bytes`, in `front`
    add_items(sent, to, front, placed);
    wire::Buffer sample;
    if (slot == Slot::primary) questions_.add_sample(sent.facts, request, sample);
    if (front.empty() && sample.empty()) {
        connection->stream.write(sent.bytes);
    } else {
        const std::array<wire::Bytes, 3> parts{wire::Bytes{front}, sent.bytes.subspan(placed),
                                               wire::Bytes{sample}};
        connection->stream.write(parts);
    }
    sides_.used(slot);
}

void Sender::repeat(const Repetition& again,
                    const WholeBatch& sent,
                    const Batch& next,
                    Slot slot,
                    Request& request) {
    const auto connection = sides_[slot].lease.connection();
    const Target to{sent.bytes, slot, *connection, request};
    wire::Buffer out;
    add_prelude(to, false, out);
    add_names_of_query(to, next, out);
    if (!proxy::repeat(again, sent, preparing(to), out)) add_failing_bind(to.connection, out);
    if (!again.rows.empty()) {
        request.fetches->repeat(again.rows);
        wire::encode_flush(out);
    }
    if (!out.empty()) connection->stream.write(wire::Bytes{out});
    sides_.used(slot);
}

inline void Sender::add_items(const Sent& sent,
                              Target& to,
                              wire::Buffer& front,
                              std::size_t& placed) {
    wire::Buffer lacking;
    bool ended = false;
    for (const auto& item : sent.batch.items) {
        const bool has_others = add_lacking(to, item, lacking);
        const bool is_whole = item.end <= sent.bytes.size();
        if (has_others && !is_whole) add_failing_bind(to.connection, lacking);  // else behind it
        if (!lacking.empty()) {
            append(front, sent.bytes.subspan(placed, item.begin - placed));
            append(front, lacking);
            placed = item.begin;
            lacking.clear();
        }
        to.has_others = has_others && is_whole;
        ended = expect_item(to, item) || ended;
        if (!to.has_others) continue;
        append(front, sent.bytes.subspan(placed, item.end - placed));
        add_failing_bind(to.connection, front);
        placed = item.end;
    }
    if (ended) to.request.open = false;
}

void Sender::look(std::span<const PreparedTextPtr> statements, Slot slot, bool continues) {
    auto& tellings = sides_.learning(slot).tellings;
    const auto connection = sides_[slot].lease.connection();
    Request nobodys;
    const Target to{{}, slot, *connection, nobodys};
    wire::Buffer out;
    const auto end = [&] {
        if (continues) return wire::encode_flush(out);
        add_own_sync(connection->replies, out);
    };
    const bool opens = memory_.transaction.is_waiting();
    add_prelude(to, continues, out);
    // What fails here must not end the client's transaction: it will fail in its place.
    const bool is_in_block =
        !continues && (opens || connection->transaction_status == TransactionStatus::in_block);
    if (is_in_block) preparing(to).command("SAVEPOINT \"pgsteer.look\"", out);
    for (const auto& statement : statements) {
        const auto sent = preparing(to).described(statement->name, out);
        if (sent.number != 0) tellings.push_back({sent, statement});
    }
    end();
    if (is_in_block) {
        preparing(to).command("ROLLBACK TO \"pgsteer.look\"", out);
        preparing(to).command("RELEASE \"pgsteer.look\"", out);
        end();
    }
    connection->stream.write(wire::Bytes{out});
    sides_.used(slot);
}

// What has to be said to this connection before the batch, because it was said to the other one, or
// is due.
void Sender::add_prelude(const Target& to, bool continues, wire::Buffer& out) {
    const bool nothing_is_in_the_way =
        !continues && !memory_.state.transaction_on() &&
        to.connection.transaction_status == TransactionStatus::idle &&
        !owes_client(to.connection.replies);
    if (nothing_is_in_the_way) {
        if (to.connection.ledger.has_leftovers()) preparing(to).close_leftovers(out);
        if (memory_.state.settings_pending(to.slot)) {
            for (const auto sql : memory_.state.pending_settings(to.slot)) {
                wire::encode_query(out, sql);
                to.connection.replies.push({.what = Expect::query, .internal = true});
            }
            memory_.state.settings_applied(to.slot);
        }
    }
    const bool shows = !owes_client(to.connection.replies);
    if (to.request.needed.timeline != 0 && !sides_[to.slot].verification.is_pending)
        questions_.add_verification(out);
    if (memory_.transaction.is_waiting()) control_.open(to.slot, out);
    if (shows) last_route_.add_shown(to.slot, out, to.request);
}

Preparing Sender::preparing(const Target& to) const {
    return {memory_.statements, to.connection.ledger, to.connection.replies,
            sides_.connection(to.slot), memory_.catalog.changes()};
}

// In front of a request: a Sync of ours would end what the client has begun, and without one a
// Query would be skipped with what fails.
void Sender::add_names_of_query(const Target& to, const Batch& batch, wire::Buffer& out) const {
    const auto& last = batch.items.back();
    if (last.type != wire::frontend::kQuery) return;
    const auto before = out.size();
    preparing(to).names_in(last.statement, out);
    if (out.size() == before) return;
    add_own_sync(to.connection.replies, out);
}

// What `item` needs and this connection lacks.
// True: it has to fail, for its statement has other columns there than the client was told.
bool Sender::add_lacking(const Target& to, const BatchItem& item, wire::Buffer& out) const {
    switch (item.type) {
        case wire::frontend::kDescribe:
            if (item.target != 'S') break;
            [[fallthrough]];
        case wire::frontend::kBind:
            return add_statement(to, name_of(item, to.bytes), out);
        case wire::frontend::kParse:
            if (item.name_size > 0) preparing(to).name(name_of(item, to.bytes), out);
            break;
        default:
            break;
    }
    return false;
}

// Most messages of a batch name the same statement, which is there.
bool Sender::add_statement(const Target& to, std::string_view name, wire::Buffer& out) const {
    const bool is_settled = is_quiet(to);
    if (is_settled && to.settled.text != nullptr && to.settled.name == name) return false;
    const auto [text, has_others] = preparing(to).statement(name, out);
    to.settled = {};
    if (is_settled && out.empty() && !has_others) to.settled = {name, &text};
    return has_others;
}

bool Sender::is_quiet(const Target& to) const {
    return memory_.statements.is_quiet() && to.connection.ledger.names().is_quiet() &&
           !to.connection.replies.skipping();
}

// By a Bind, right behind add_lacking().
const PreparedTextPtr& Sender::meant_by(const Target& to, std::string_view name) const {
    const auto& settled = to.settled;
    const bool is_known = settled.text != nullptr && settled.name == name && is_quiet(to);
    return is_known ? *settled.text : memory_.statements.find(name);
}

// What the client has closed there is left over on its other connection.
void Sender::note_closed(const Target& to, const StatementPtr& runs) {
    if (!runs) return;
    for (const auto& effect : runs->statement.effects) {
        if (effect.kind == Effect::Kind::deallocate)
            close_left_over(other_ledger(to), effect.name);
        else if (effect.kind == Effect::Kind::deallocate_all ||
                 effect.kind == Effect::Kind::discard_all)
            if (auto* const ledger = other_ledger(to)) ledger->all_left_over();
    }
}

Ledger* Sender::other_ledger(const Target& to) {
    const auto& lease = sides_[to.slot == Slot::primary ? Slot::replica : Slot::primary].lease;
    return lease ? &lease->ledger : nullptr;
}

// Tells both logs of names of a message that is sent. `runs`: what its statements do; null: it is
// not known, or nothing.
inline ClientStatements::Sent Sender::tell(const Target& to,
                                           MessageKind kind,
                                           const StatementPtr& runs) {
    if (runs && !runs->statement.effects.empty()) note_closed(to, runs);
    const auto sent = memory_.statements.send(kind, runs, to.connection.ledger);
    to.request.last = sent.of_client;
    return sent;
}

inline bool Sender::push(const Target& to,
                         Expect what,
                         const ClientStatements::Sent& sent,
                         StatementPtr effects,
                         bool limited) {
    auto* const entry = to.connection.replies.add(what);
    if (entry == nullptr) return false;
    entry->limited = limited;
    entry->has_others = to.has_others;
    entry->of_client = sent.of_client;
    entry->on_server = sent.on_server;
    entry->effects = std::move(effects);
    return true;
}

// A message that changes no names.
inline void Sender::expect_plain(const Target& to, Expect what) {
    push(to, what, tell(to, MessageKind::extended, kNothing), nullptr);
}

// Notes what the server will answer to one message, and what the message changes. True: the message
// ends its request.
bool Sender::expect_item(const Target& to, const BatchItem& item) {
    auto& replies = to.connection.replies;
    if (replies.skipping() && !is_sync(item)) return false;  // ignored by the server
    switch (item.type) {
        case wire::frontend::kQuery:
            return expect_query(to, item.statement);
        case wire::frontend::kFunctionCall:
            note_kept(to, routing::kept_by_call(item.function));
            return push(to, Expect::function_call, tell(to, MessageKind::function_call));
        case wire::frontend::kSync:
            return push(to, Expect::sync, tell(to, MessageKind::sync));
        case wire::frontend::kParse:
            expect_parse(to, item);
            return false;
        case wire::frontend::kBind:
            expect_plain(to, Expect::bind);
            bind_portal(to, item);
            return false;
        case wire::frontend::kDescribe:
            expect_describe(to, item);
            return false;
        case wire::frontend::kClose:
            expect_close(to, item);
            return false;
        case wire::frontend::kExecute:
            expect_execute(to, item);
            return false;
        case kMalformed:
            return expect_malformed(to, item);
        default:
            return false;  // Flush
    }
}

bool Sender::expect_malformed(const Target& to, const BatchItem& item) {
    const auto answer = answered_as(item.target);
    const auto kind = answer == Expect::sync    ? MessageKind::sync
                      : answer == Expect::query ? MessageKind::query
                                                : MessageKind::extended;
    return push(to, answer, tell(to, kind)) && ends_request(answer);
}

bool Sender::expect_query(const Target& to, const StatementPtr& statement) {
    auto runs = what_runs(statement, memory_.statements);  // before names change
    const auto sent = tell(to, MessageKind::query, statement);
    return push(to, Expect::query, sent, effects_of(to, runs));
}

void Sender::expect_parse(const Target& to, const BatchItem& item) {
    const auto name = name_of(item, to.bytes);
    const bool is_kept = item.end <= to.bytes.size() && item.statement;
    const auto message =
        is_kept ? to.bytes.subspan(item.begin, item.end - item.begin) : wire::Bytes{};
    const auto sent = memory_.statements.parse(name, message, item.statement, to.connection.ledger);
    to.request.last = sent.of_client;
    push(to, Expect::parse, sent);
}

void Sender::expect_close(const Target& to, const BatchItem& item) {
    if (item.target != 'S') {
        expect_plain(to, Expect::close);
        return;
    }
    const auto name = name_of(item, to.bytes);
    close_left_over(other_ledger(to), name);
    const auto sent = memory_.statements.close(name, to.connection.ledger);
    to.request.last = sent.of_client;
    push(to, Expect::close, sent);
}

void Sender::bind_portal(const Target& to, const BatchItem& item) {
    const auto& known = meant_by(to, name_of(item, to.bytes));
    const auto& statement = known ? known->statement : kNothing;
    const auto portal = portal_of(item, to.bytes);
    const auto bound = find_portal(memory_.portals, portal);
    const bool is_untold = known && !known->columns.were_told();
    const auto& untold = is_untold ? known : kNoText;
    if (bound == memory_.portals.end())
        return put_portal(memory_.portals, {std::string{portal}, statement, untold});
    if (bound->statement != statement) bound->statement = statement;
    if (bound->untold != untold) bound->untold = untold;
    bound->is_executed = false;
}

// The answer may be the first that tells the client of a statement's columns.
void Sender::expect_describe(const Target& to, const BatchItem& item) {
    const auto sent = tell(to, MessageKind::extended, kNothing);
    push(to, Expect::describe, sent);
    auto& tellings = sides_.learning(to.slot).tellings;
    if (item.target == 'S') {
        const auto& known = memory_.statements.find(name_of(item, to.bytes));
        const bool is_new =
            known && known->columns.fit(sides_.connection(to.slot)) == Columns::Fit::unknown;
        if (is_new) tellings.push_back({sent.on_server, known});
        return;
    }
    const auto bound = find_portal(memory_.portals, name_of(item, to.bytes));
    if (bound != memory_.portals.end() && bound->untold)
        tellings.push_back({sent.on_server, bound->untold});
}

void Sender::expect_execute(const Target& to, const BatchItem& item) {
    const auto bound = find_portal(memory_.portals, name_of(item, to.bytes));
    const bool is_known = bound != memory_.portals.end();
    const auto& bound_to = is_known ? bound->statement : kNothing;
    auto effects = is_known ? effects_of(to, what_runs(bound_to, memory_.statements)) : kNothing;
    if (is_known) bound->is_executed = true;
    const auto sent = tell(to, MessageKind::extended, bound_to);
    push(to, Expect::execute, sent, std::move(effects), item.limited);
}

// What is to be done when it has completed; null: nothing. One that was not read: its command tag
// has to tell.
StatementPtr Sender::effects_of(const Target& to, const StatementPtr& statement) {
    if (!statement) return synthetic_verdicts().too_complex;
    const auto& read = statement->statement;
    if (read.outlives_discard_all) note_kept(to, read);
    const bool has_none = read.effects.empty() &&
                          read.catalog_change == routing::CatalogChange::none &&
                          (read.statement_count > 0 || read.access == Access::session_control);
    return has_none ? nullptr : statement;
}

// What is there to stay in the server process, whatever comes of the request.
void Sender::note_kept(const Target& to, const routing::Kept& kept) {
    if (kept.outlives_discard_all()) to.connection.outlives_discard_all = true;
    memory_.state.kept(to.slot, kept);
}

void Sender::note_kept(const Target& to, const routing::Statement& statement) {
    to.connection.outlives_discard_all = true;
    for (const auto& effect : statement.effects)
        if (effect.kind == Effect::Kind::backend_state)
            memory_.state.kept(to.slot, {routing::Kept::What::state, effect.name});
}

}  // namespace pgsteer::proxy
