// What goes to a server: the settings and statements that its connection lacks, then the client's
// own bytes; and what the server will answer to each of them.
#include "proxy/session/batch_facts.hpp"
#include "proxy/session/client_session.hpp"
#include "proxy/session/synthetic_verdicts.hpp"
#include "proxy/wire/frontend.hpp"
#include "proxy/wire/message_types.hpp"

namespace pgsteer::proxy {

using routing::Access;
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

bool is_deallocate_all(const routing::Effect& effect) {
    return effect.kind == routing::Effect::Kind::deallocate_all ||
           effect.kind == routing::Effect::Kind::discard_all;
}

}  // namespace

// Writes everything in one go: settings and statements that the connection lacks, the client's own
// bytes. `continues`: the request has begun on this connection before.
void ClientSession::send_batch(const Batch& batch,
                               wire::Bytes bytes,
                               const BatchFacts& facts,
                               Slot slot,
                               Request& request,
                               bool continues) {
    const auto connection = side(slot).lease.connection();
    wire::Buffer front;
    const bool starts_request = !continues && !state_.transaction_on() &&
                                connection->transaction_status == TransactionStatus::idle &&
                                !connection->replies.owes_client();
    add_prelude(slot, front, request, starts_request);
    wire::Buffer lacking;
    std::size_t placed = 0;  // of `bytes`, in `front`
    bool ended = false;
    for (const auto& item : batch.items) {
        add_lacking(item, bytes, slot, !continues && item.begin == 0, lacking);
        if (!lacking.empty()) {
            const auto between = bytes.subspan(placed, item.begin - placed);
            front.insert(front.end(), between.begin(), between.end());
            front.insert(front.end(), lacking.begin(), lacking.end());
            placed = item.begin;
            lacking.clear();
        }
        ended = expect_item(item, bytes, slot, request) || ended;
    }
    if (ended) {
        request.open = false;
        preparing_.request_ended();
    }
    wire::Buffer sample;
    if (slot == Slot::primary) add_sample(facts, request, sample);
    if (front.empty() && sample.empty()) {
        connection->stream.write(bytes);
    } else {
        const std::array<wire::Bytes, 3> parts{wire::Bytes{front}, bytes.subspan(placed),
                                               wire::Bytes{sample}};
        connection->stream.write(parts);
    }
    last_used_ = slot;
}

void ClientSession::add_settings(Slot slot, wire::Buffer& out) {
    auto& replies = side(slot).lease->replies;
    for (const auto sql : state_.pending_settings(slot)) {
        wire::encode_query(out, sql);
        replies.push({.what = Expect::query, .internal = true});
    }
    state_.settings_applied(slot);
}

// What has to be said to this connection before the batch, because it was said to the other one, or
// is due.
void ClientSession::add_prelude(Slot slot,
                                wire::Buffer& out,
                                Request& request,
                                bool starts_request) {
    auto& replies = side(slot).lease->replies;
    if (starts_request) {
        if (!prepared_.leftovers(slot).empty())
            Preparing::close_leftovers(prepared_, destination(slot), out);
        if (state_.settings_pending(slot)) add_settings(slot, out);
    }
    const bool shows = !replies.owes_client();
    if (request.needed.timeline != 0 && !side(slot).verifying) add_verification(slot, out);
    if (transaction_.is_waiting()) open_transaction(slot, out);
    if (shows) add_shown(slot, out, request);
}

Destination ClientSession::destination(Slot slot) {
    const auto& lease = side(slot).lease;
    return {slot, lease->lease_number, lease->replies};
}

// What `item` needs and this connection lacks. `is_first`: nothing of its request has been sent.
void ClientSession::add_lacking(
    const BatchItem& item, wire::Bytes bytes, Slot slot, bool is_first, wire::Buffer& out) {
    switch (item.type) {
        case wire::frontend::kDescribe:
            if (item.target != 'S') break;
            [[fallthrough]];
        case wire::frontend::kBind:
            if (const auto& known = prepared_.find(name_of(item, bytes))) {
                preparing_.statement(known, destination(slot), out);
                preparing_.names_in(known->statement, prepared_, destination(slot), out);
            } else if (item.name_size == 0) {
                Preparing::no_unnamed(destination(slot), out);
            }
            break;
        case wire::frontend::kParse:
            if (item.name_size == 0) break;
            if (const auto& known = prepared_.find(name_of(item, bytes)))
                preparing_.name(known, prepared_, destination(slot), out);
            break;
        case wire::frontend::kQuery:
            if (!is_first) break;  // a Sync of ours would end what the client has begun
            preparing_.names_in(item.statement, prepared_, destination(slot), out);
            if (out.empty()) break;
            wire::encode_sync(out);  // a Query must not be skipped with it
            side(slot).lease->replies.push({.what = Expect::sync, .internal = true});
            break;
        default:
            break;
    }
}

void ClientSession::expect_prepared(const StatementPtr& statement, Request& request) {
    if (!statement || !statement->statement.prepares) return;
    const auto& effect = statement->statement.effects.front();
    wire::Buffer message;
    wire::encode_query(message, effect.sql);
    if (prepared_.find(effect.name)) return;  // an error, as everywhere: the statement exists
    request.changes.push_back(
        prepared_.define_in_sql(effect.name, message, statement->statement.prepares));
}

void ClientSession::expect_deallocations(PreparedStatements& prepared,
                                         const StatementPtr& statement,
                                         Request& request) {
    if (!statement) return;
    for (const auto& effect : statement->statement.effects) {
        if (is_deallocate_all(effect)) {
            for (auto& change : prepared.close_all()) request.changes.push_back(std::move(change));
        } else if (effect.kind == routing::Effect::Kind::deallocate && !effect.name.empty()) {
            auto change = prepared.close(effect.name);
            if (change.closed) request.changes.push_back(std::move(change));
        }
    }
}

// Notes what the server will answer to one message, and what the message changes. True: the message
// ends its request.
bool ClientSession::expect_item(const BatchItem& item,
                                wire::Bytes bytes,
                                Slot slot,
                                Request& request) {
    auto& replies = side(slot).lease->replies;
    if (replies.skipping() && !is_sync(item)) return false;  // ignored by the server
    switch (item.type) {
        case wire::frontend::kQuery:
            return expect_query(item.statement, slot, request);
        case wire::frontend::kFunctionCall:
            note_kept(slot, routing::kept_by_call(item.function));
            return replies.push({.what = Expect::function_call});
        case wire::frontend::kSync:
            return replies.push({.what = Expect::sync});
        case wire::frontend::kParse:
            expect_parse(item, bytes, slot, request);
            return false;
        case wire::frontend::kBind:
            if (replies.push({.what = Expect::bind})) bind_portal(item, bytes);
            return false;
        case wire::frontend::kDescribe:
            replies.push({.what = Expect::describe});
            return false;
        case wire::frontend::kClose:
            if (item.target == 'S')
                request.changes.push_back(prepared_.close(name_of(item, bytes)));
            replies.push({.what = Expect::close, .change = item.target == 'S'});
            return false;
        case wire::frontend::kExecute:
            expect_execute(name_of(item, bytes), slot, request);
            return false;
        case kMalformed: {
            const auto answer = answered_as(item.target);
            return replies.push({.what = answer}) && ends_request(answer);
        }
        default:
            return false;  // Flush
    }
}

bool ClientSession::expect_query(const StatementPtr& statement, Slot slot, Request& request) {
    const bool drops_unnamed = prepared_.has_unnamed();
    if (drops_unnamed) request.changes.push_back(prepared_.close({}));
    expect_deallocations(prepared_, statement, request);
    expect_prepared(statement, request);
    return side(slot).lease->replies.push(
        {.what = Expect::query,
         .change = drops_unnamed,
         .effects = effects_of(what_runs(statement, prepared_), slot)});
}

void ClientSession::expect_parse(const BatchItem& item,
                                 wire::Bytes bytes,
                                 Slot slot,
                                 Request& request) {
    auto& replies = side(slot).lease->replies;
    const auto name = name_of(item, bytes);
    if (!name.empty() && prepared_.find(name)) {
        replies.push({.what = Expect::parse});  // an error, as everywhere: the statement exists
        return;
    }
    const bool is_kept = item.end <= bytes.size() && item.statement;
    const auto message = is_kept ? bytes.subspan(item.begin, item.end - item.begin) : wire::Bytes{};
    request.changes.push_back(prepared_.define(name, message, item.statement));
    const auto& defined = request.changes.back().defined;
    if (replies.push({.what = Expect::parse, .change = true, .prepared = defined}))
        note_prepared(*defined, destination(slot));
}

void ClientSession::bind_portal(const BatchItem& item, wire::Bytes bytes) {
    const auto& known = prepared_.find(name_of(item, bytes));
    const auto portal = portal_of(item, bytes);
    const auto bound = find_portal(portals_, portal);
    if (bound != portals_.end()) {
        bound->second = known ? known->statement : nullptr;
    } else if (portals_.size() < kMaxPortals) {
        portals_.emplace_back(portal, known ? known->statement : nullptr);
    }
}

void ClientSession::expect_execute(std::string_view portal, Slot slot, Request& request) {
    StatementPtr effects;
    const auto bound = find_portal(portals_, portal);
    if (bound != portals_.end()) {
        expect_deallocations(prepared_, bound->second, request);
        expect_prepared(bound->second, request);
        effects = effects_of(what_runs(bound->second, prepared_), slot);
    }
    side(slot).lease->replies.push({.what = Expect::execute, .effects = std::move(effects)});
}

// What is to be done when it has completed; null: nothing. One that was not read: its command tag
// has to tell.
StatementPtr ClientSession::effects_of(const StatementPtr& statement, Slot slot) {
    if (!statement) return synthetic_verdicts().too_complex;
    const auto& read = statement->statement;
    if (read.outlives_discard_all) note_kept(slot, read);
    const bool has_none = read.effects.empty() &&
                          read.catalog_change == routing::CatalogChange::none &&
                          (read.statement_count > 0 || read.access == Access::session_control);
    return has_none ? nullptr : statement;
}

}  // namespace pgsteer::proxy
