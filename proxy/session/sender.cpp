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

constexpr std::size_t kMaxPortals = 256;

// A malformed message is answered with an error, and behind that as one of its type: with
// ReadyForQuery, or by skipping to the Sync.
Expect answered_as(std::uint8_t type) {
    if (type == wire::frontend::kSync) return Expect::sync;
    return type == wire::frontend::kQuery ? Expect::query : Expect::bind;
}

bool is_deallocate_all(const Effect& effect) {
    return effect.kind == Effect::Kind::deallocate_all || effect.kind == Effect::Kind::discard_all;
}

void append(wire::Buffer& out, wire::Bytes bytes) {
    out.insert(out.end(), bytes.begin(), bytes.end());
}

}  // namespace

void Sender::send(const Sent& sent, Slot slot, Request& request) {
    const auto connection = sides_[slot].lease.connection();
    const Target to{sent.bytes, slot, *connection, request};
    if (sent.facts.kept) note_kept(to, *sent.facts.kept);
    wire::Buffer front;
    const bool starts_request = !sent.continues && !memory_.state.transaction_on() &&
                                connection->transaction_status == TransactionStatus::idle &&
                                !connection->replies.owes_client();
    add_prelude(to, starts_request, front);
    wire::Buffer lacking;
    std::size_t placed = 0;  // of `bytes`, in `front`
    bool ended = false;
    for (const auto& item : sent.batch.items) {
        add_lacking(to, item, !sent.continues && item.begin == 0, lacking);
        if (!lacking.empty()) {
            append(front, sent.bytes.subspan(placed, item.begin - placed));
            append(front, lacking);
            placed = item.begin;
            lacking.clear();
        }
        ended = expect_item(to, item) || ended;
    }
    if (ended) {
        request.open = false;
        preparing_.request_ended();
    }
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

void Sender::add_settings(const Target& to, wire::Buffer& out) {
    for (const auto sql : memory_.state.pending_settings(to.slot)) {
        wire::encode_query(out, sql);
        to.connection.replies.push({.what = Expect::query, .internal = true});
    }
    memory_.state.settings_applied(to.slot);
}

// What has to be said to this connection before the batch, because it was said to the other one, or
// is due. `starts_request`: nothing of the client's is in the way.
void Sender::add_prelude(const Target& to, bool starts_request, wire::Buffer& out) {
    if (starts_request) {
        if (!memory_.prepared.leftovers(to.slot).empty())
            Preparing::close_leftovers(memory_.prepared, destination(to), out);
        if (memory_.state.settings_pending(to.slot)) add_settings(to, out);
    }
    const bool shows = !to.connection.replies.owes_client();
    if (to.request.needed.timeline != 0 && !sides_[to.slot].verification.is_pending)
        questions_.add_verification(out);
    if (memory_.transaction.is_waiting()) control_.open(to.slot, out);
    if (shows) last_route_.add_shown(to.slot, out, to.request);
}

Destination Sender::destination(const Target& to) {
    return {to.slot, to.connection.lease_number, to.connection.replies};
}

// What `item` needs and this connection lacks. `is_first`: nothing of its request has been sent.
void Sender::add_lacking(const Target& to,
                         const BatchItem& item,
                         bool is_first,
                         wire::Buffer& out) {
    auto& prepared = memory_.prepared;
    switch (item.type) {
        case wire::frontend::kDescribe:
            if (item.target != 'S') break;
            [[fallthrough]];
        case wire::frontend::kBind:
            if (const auto& known = prepared.find(name_of(item, to.bytes))) {
                preparing_.statement(known, destination(to), out);
                preparing_.names_in(known->statement, prepared, destination(to), out);
            } else if (item.name_size == 0) {
                Preparing::no_unnamed(destination(to), out);
            }
            break;
        case wire::frontend::kParse:
            if (item.name_size == 0) break;
            if (const auto& known = prepared.find(name_of(item, to.bytes)))
                preparing_.name(known, prepared, destination(to), out);
            break;
        case wire::frontend::kQuery:
            if (!is_first) break;  // a Sync of ours would end what the client has begun
            preparing_.names_in(item.statement, prepared, destination(to), out);
            if (out.empty()) break;
            wire::encode_sync(out);  // a Query must not be skipped with it
            to.connection.replies.push({.what = Expect::sync, .internal = true});
            break;
        default:
            break;
    }
}

void Sender::expect_prepared(const Target& to, const StatementPtr& statement) {
    if (!statement || !statement->statement.prepares) return;
    const auto& effect = statement->statement.effects.front();
    wire::Buffer message;
    wire::encode_query(message, effect.sql);
    if (memory_.prepared.find(effect.name)) return;  // an error, as everywhere: it exists
    to.request.changes.push_back(
        memory_.prepared.define_in_sql(effect.name, message, statement->statement.prepares));
}

void Sender::expect_deallocations(const Target& to, const StatementPtr& statement) {
    if (!statement) return;
    for (const auto& effect : statement->statement.effects) {
        if (is_deallocate_all(effect)) {
            for (auto& change : memory_.prepared.close_all())
                to.request.changes.push_back(std::move(change));
        } else if (effect.kind == Effect::Kind::deallocate && !effect.name.empty()) {
            auto change = memory_.prepared.close(effect.name);
            if (change.closed) to.request.changes.push_back(std::move(change));
        }
    }
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
            return replies.push({.what = Expect::function_call});
        case wire::frontend::kSync:
            return replies.push({.what = Expect::sync});
        case wire::frontend::kParse:
            expect_parse(to, item);
            return false;
        case wire::frontend::kBind:
            if (replies.push({.what = Expect::bind})) bind_portal(to, item);
            return false;
        case wire::frontend::kDescribe:
            replies.push({.what = Expect::describe});
            return false;
        case wire::frontend::kClose:
            if (item.target == 'S')
                to.request.changes.push_back(memory_.prepared.close(name_of(item, to.bytes)));
            replies.push({.what = Expect::close, .change = item.target == 'S'});
            return false;
        case wire::frontend::kExecute:
            expect_execute(to, name_of(item, to.bytes));
            return false;
        case kMalformed: {
            const auto answer = answered_as(item.target);
            return replies.push({.what = answer}) && ends_request(answer);
        }
        default:
            return false;  // Flush
    }
}

bool Sender::expect_query(const Target& to, const StatementPtr& statement) {
    const bool drops_unnamed = memory_.prepared.has_unnamed();
    if (drops_unnamed) to.request.changes.push_back(memory_.prepared.close({}));
    expect_deallocations(to, statement);
    expect_prepared(to, statement);
    return to.connection.replies.push(
        {.what = Expect::query,
         .change = drops_unnamed,
         .effects = effects_of(to, what_runs(statement, memory_.prepared))});
}

void Sender::expect_parse(const Target& to, const BatchItem& item) {
    auto& replies = to.connection.replies;
    const auto name = name_of(item, to.bytes);
    if (!name.empty() && memory_.prepared.find(name)) {
        replies.push({.what = Expect::parse});  // an error, as everywhere: the statement exists
        return;
    }
    const bool is_kept = item.end <= to.bytes.size() && item.statement;
    const auto message =
        is_kept ? to.bytes.subspan(item.begin, item.end - item.begin) : wire::Bytes{};
    to.request.changes.push_back(memory_.prepared.define(name, message, item.statement));
    const auto& defined = to.request.changes.back().defined;
    if (replies.push({.what = Expect::parse, .change = true, .prepared = defined}))
        note_prepared(*defined, destination(to));
}

void Sender::bind_portal(const Target& to, const BatchItem& item) {
    const auto& known = memory_.prepared.find(name_of(item, to.bytes));
    const auto portal = portal_of(item, to.bytes);
    auto& portals = memory_.portals;
    const auto bound = find_portal(portals, portal);
    if (bound != portals.end()) {
        bound->second = known ? known->statement : nullptr;
    } else if (portals.size() < kMaxPortals) {
        portals.emplace_back(portal, known ? known->statement : nullptr);
    }
}

void Sender::expect_execute(const Target& to, std::string_view portal) {
    StatementPtr effects;
    const auto bound = find_portal(memory_.portals, portal);
    if (bound != memory_.portals.end()) {
        expect_deallocations(to, bound->second);
        expect_prepared(to, bound->second);
        effects = effects_of(to, what_runs(bound->second, memory_.prepared));
    }
    to.connection.replies.push({.what = Expect::execute, .effects = std::move(effects)});
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
