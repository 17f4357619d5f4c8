// What goes to a server: the settings and statements that its connection lacks, then the client's
// own bytes; and what the server will answer to each of them.
#include "proxy/session/batch_verdict.hpp"
#include "proxy/session/client_session.hpp"
#include "proxy/wire/frontend.hpp"
#include "proxy/wire/message_types.hpp"

namespace pgsteer::proxy {

using routing::Access;
using routing::StatementPtr;

namespace {

constexpr std::size_t kMaxPortals = 256;

bool is_deallocate_all(const routing::Effect& effect) {
    return effect.kind == routing::Effect::Kind::deallocate_all ||
           effect.kind == routing::Effect::Kind::discard_all;
}

bool defines(const Request& request, const PreparedPtr& statement) {
    return std::any_of(request.changes.begin(), request.changes.end(),
                       [&](const StatementChange& change) { return change.defined == statement; });
}

}  // namespace

// Writes everything in one go: settings and statements that the connection lacks, then the client's
// own bytes.
void ClientSession::send_batch(const Batch& batch, wire::Bytes bytes, Slot slot, Request& request) {
    const auto connection = side(slot).lease.connection();
    wire::Buffer prelude;
    const bool starts_request = !state_.transaction_on() && connection->transaction_status == 'I' &&
                                !connection->replies.owes_client();
    add_prelude(slot, prelude, batch, bytes, request, starts_request);
    bool ended = false;
    for (const auto& item : batch.items) expect_item(item, bytes, slot, request, ended);
    if (ended) request.open = false;
    wire::Buffer sample;
    if (slot == Slot::primary) add_sample(batch, bytes, request, sample);
    if (prelude.empty() && sample.empty()) {
        connection->stream.write(bytes);
    } else {
        const std::array<wire::Bytes, 3> parts{wire::Bytes{prelude}, bytes, wire::Bytes{sample}};
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

void ClientSession::inject_parse(const PreparedPtr& statement, Slot slot, wire::Buffer& out) {
    const auto connection = side(slot).lease.connection();
    auto& there = statement->prepared_on[static_cast<std::size_t>(slot)];
    if (there == connection->lease_number || statement->definition.empty()) return;
    auto& replies = connection->replies;
    if (statement->in_sql && replies.owes_client()) return;  // a Query would end what is open
    const Expected expected{.what = statement->in_sql ? Expect::query : Expect::parse,
                            .internal = true,
                            .purpose = Purpose::prepare,
                            .prepared = statement};
    if (!replies.push(expected)) return;
    out.insert(out.end(), statement->definition.begin(), statement->definition.end());
    there = connection->lease_number;  // taken back if the server refuses it
}

// What EXECUTE runs may be prepared on the other connection only; and PREPARE has to fail where its
// name is in use there.
void ClientSession::inject_named(const StatementPtr& statement,
                                 Slot slot,
                                 const Request& request,
                                 wire::Buffer& out) {
    if (!statement) return;
    const auto& said = statement->statement;
    if (said.executes.empty() && !said.prepares) return;
    const auto known = prepared_.find(said.prepares ? said.effects.front().name : said.executes);
    if (!known) return;
    if (said.prepares && defines(request, known)) return close_again(*known, slot, out);
    inject_parse(known, slot, out);
}

// It runs again where it ran before, and a name can be given once.
void ClientSession::close_again(const PreparedStatement& statement, Slot slot, wire::Buffer& out) {
    const auto connection = side(slot).lease.connection();
    if (statement.prepared_on[static_cast<std::size_t>(slot)] != connection->lease_number) return;
    if (!connection->replies.push({.what = Expect::close, .internal = true})) return;
    wire::encode_close(out, 'S', statement.name);
}

// DEALLOCATE of a statement that is prepared on the other connection only must find it here too.
bool ClientSession::inject_deallocated(const BatchItem& item,
                                       Slot slot,
                                       const Request& request,
                                       wire::Buffer& out) {
    if (!item.statement) return false;
    const auto before = out.size();
    for (const auto& effect : item.statement->statement.effects) {
        if (effect.kind != routing::Effect::Kind::deallocate || effect.name.empty()) continue;
        auto known = prepared_.find(effect.name);
        for (const auto& change : request.changes)  // the request runs again
            if (!known && change.closed && change.closed->name == effect.name)
                known = change.closed;
        if (known) inject_parse(known, slot, out);
    }
    return out.size() > before;
}

// What has to be said to this connection before the batch, because it was said to the other one, or
// is due.
void ClientSession::add_prelude(Slot slot,
                                wire::Buffer& out,
                                const Batch& batch,
                                wire::Bytes bytes,
                                Request& request,
                                bool starts_request) {
    auto& replies = side(slot).lease->replies;
    auto& leftovers = prepared_.leftovers(slot);
    if (starts_request) {
        if (leftovers.all) {
            wire::encode_query(out, "DEALLOCATE ALL");
            replies.push({.what = Expect::query, .internal = true});
        }
        if (!leftovers.names.empty()) {
            for (const auto& name : leftovers.names) {
                wire::encode_close(out, 'S', name);
                replies.push({.what = Expect::close, .internal = true});
            }
            wire::encode_sync(out);
            replies.push({.what = Expect::sync, .internal = true});
        }
        leftovers = {};
        if (state_.settings_pending(slot)) add_settings(slot, out);
    }
    const bool shows = !replies.owes_client();
    if (request.needed.timeline != 0 && !side(slot).verifying) add_verification(slot, out);
    if (deferred_.is_waiting()) open_transaction(slot, out);
    if (shows) add_shown(slot, out, request);
    for (const auto& item : batch.items) {
        switch (item.type) {
            case wire::frontend::kDescribe:
            case wire::frontend::kClose:
                if (item.target != 'S') break;
                [[fallthrough]];
            case wire::frontend::kBind:
                if (parse_before(batch, bytes, item)) break;
                if (const auto known = prepared_.find(name_of(item, bytes))) {
                    inject_parse(known, slot, out);
                    inject_named(known->statement, slot, request, out);
                }
                break;
            case wire::frontend::kParse:
                prepare_parse(item, batch, bytes, slot, request, out);
                break;
            case wire::frontend::kQuery:
                if (prepare_query(item, slot, request, out)) {
                    wire::encode_sync(out);  // a Query must not be skipped with it
                    replies.push({.what = Expect::sync, .internal = true});
                }
                break;
            default:
                break;
        }
    }
}

void ClientSession::prepare_parse(const BatchItem& item,
                                  const Batch& batch,
                                  wire::Bytes bytes,
                                  Slot slot,
                                  const Request& request,
                                  wire::Buffer& out) {
    inject_deallocated(item, slot, request, out);
    inject_named(item.statement, slot, request, out);
    const auto name = name_of(item, bytes);
    const auto known = name.empty() ? nullptr : prepared_.find(name);
    if (!known) return;
    if (defines(request, known)) return close_again(*known, slot, out);  // it runs again
    if (!parse_before(batch, bytes, item)) inject_parse(known, slot, out);
}

// Messages of the extended protocol in front of a Query? Then they need a Sync.
bool ClientSession::prepare_query(const BatchItem& item,
                                  Slot slot,
                                  const Request& request,
                                  wire::Buffer& out) {
    const auto before = out.size();
    inject_deallocated(item, slot, request, out);
    inject_named(item.statement, slot, request, out);
    return out.size() > before;
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

// Notes what the server will answer to one message, and what the message changes.
void ClientSession::expect_item(
    const BatchItem& item, wire::Bytes bytes, Slot slot, Request& request, bool& ended) {
    const auto connection = side(slot).lease.connection();
    auto& replies = connection->replies;
    const auto with_effects = [](const StatementPtr& statement) {
        if (!statement)
            return synthetic_verdicts().too_complex;  // not read: its command tag has to tell
        const auto& read = statement->statement;
        return read.effects.empty() && read.catalog_change == routing::CatalogChange::none &&
                       (read.statement_count > 0 || read.access == Access::session_control)
                   ? nullptr
                   : statement;
    };
    const bool again = !request.changes.empty() && running_again_;
    if (replies.skipping() && item.type != wire::frontend::kSync) return;  // ignored by the server
    switch (item.type) {
        case wire::frontend::kQuery:
            request.simple = true;
            if (!again) expect_deallocations(prepared_, item.statement, request);
            if (!again) expect_prepared(item.statement, request);
            if (replies.push({.what = Expect::query,
                              .effects = with_effects(what_runs(item.statement, prepared_))}))
                ended = true;
            break;
        case wire::frontend::kFunctionCall:
            request.simple = true;
            if (replies.push({.what = Expect::function_call})) ended = true;
            break;
        case wire::frontend::kSync:
            if (side(slot).copying_in) break;  // ignored by the server while it reads copy data
            replies.push({.what = Expect::sync});
            ended = true;
            break;
        case wire::frontend::kParse: {
            const auto name = name_of(item, bytes);
            if (!name.empty() && prepared_.find(name) && !again) {
                replies.push(
                    {.what = Expect::parse});  // an error, as everywhere: the statement exists
                break;
            }
            if (!again) {
                const bool kept = item.end <= bytes.size() && item.statement;
                request.changes.push_back(prepared_.define(
                    name, kept ? bytes.subspan(item.begin, item.end - item.begin) : wire::Bytes{},
                    item.statement));
            }
            const auto defined = prepared_.find(name);
            if (replies.push({.what = Expect::parse, .change = true, .prepared = defined}) &&
                defined)
                defined->prepared_on[static_cast<std::size_t>(slot)] = connection->lease_number;
            break;
        }
        case wire::frontend::kBind: {
            if (!replies.push({.what = Expect::bind})) break;
            const auto known = prepared_.find(name_of(item, bytes));
            const auto portal = portal_of(item, bytes);
            const auto bound = find_portal(portals_, portal);
            if (bound != portals_.end()) {
                bound->second = known ? known->statement : nullptr;
            } else if (portals_.size() < kMaxPortals) {
                portals_.emplace_back(portal, known ? known->statement : nullptr);
            }
            break;
        }
        case wire::frontend::kDescribe:
            replies.push({.what = Expect::describe});
            break;
        case wire::frontend::kClose:
            if (item.target == 'S' && !again) {
                request.changes.push_back(prepared_.close(name_of(item, bytes)));
            }
            replies.push({.what = Expect::close, .change = item.target == 'S'});
            break;
        case wire::frontend::kExecute: {
            const auto portal = name_of(item, bytes);
            const auto bound = find_portal(portals_, portal);
            if (!again && bound != portals_.end()) {
                expect_deallocations(prepared_, bound->second, request);
                expect_prepared(bound->second, request);
            }
            replies.push({.what = Expect::execute,
                          .effects = bound == portals_.end()
                                         ? nullptr
                                         : with_effects(what_runs(bound->second, prepared_))});
            break;
        }
        default:
            break;  // Flush
    }
}

}  // namespace pgsteer::proxy
