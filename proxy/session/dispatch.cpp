// From a batch to a server: which one, over which connection, and what has to be said there first.
#include "conf/log.hpp"
#include "proxy/session/client_session.hpp"
#include "proxy/spawn.hpp"
#include "proxy/wire/backend.hpp"
#include "proxy/wire/frontend.hpp"
#include "proxy/wire/message_types.hpp"
#include "proxy/worker.hpp"
#include "routing/balance.hpp"

namespace pgsteer::proxy {

using routing::Access;
using routing::Reason;
using routing::StatementPtr;

namespace {

constexpr std::size_t kMaxPipelined = 32 * 1024;  // answers owed; more are not asked for before some have come
constexpr std::size_t kMaxPortals = 256;
constexpr std::size_t kMaxKeptBytes = 1024 * 1024;  // of requests that may have to run elsewhere

StatementPtr synthetic(Access access, Reason reason, bool raises_floor = true) {
    auto cached = std::make_shared<routing::CachedStatement>();
    cached->statement.access = access;
    cached->statement.reason = reason;
    cached->statement.raises_floor = raises_floor;
    return cached;
}

// Verdicts on what is not SQL text, or not known.
struct Synthetic {
    StatementPtr neutral = synthetic(Access::session_control, Reason::session_control, false);
    StatementPtr unclassified_encoding = synthetic(Access::write, Reason::unclassified_encoding);
    StatementPtr too_complex = synthetic(Access::write, Reason::too_complex);
    StatementPtr mixed = synthetic(Access::write, Reason::multi_statement);
    StatementPtr unknown_statement = synthetic(Access::write, Reason::sql_prepare);
    StatementPtr unknown_portal = synthetic(Access::write, Reason::cursor);
    StatementPtr function_call = synthetic(Access::write, Reason::function_call);
    StatementPtr too_large = synthetic(Access::write, Reason::request_too_large);
};
const Synthetic& verdicts() {
    static const Synthetic kVerdicts;
    return kVerdicts;
}

// What would undo the read-only state of a replica connection, or make reads fail there.
bool is_kept_from_replicas(std::string_view name) {
    return name == "default_transaction_read_only" || name == "transaction_read_only" ||
           name == "default_transaction_isolation" || name == "transaction_isolation" ||
           name == "default_transaction_deferrable" || name == "transaction_deferrable";
}

const BatchItem* parse_before(const Batch& batch, wire::Bytes bytes, const BatchItem& user) {
    const auto name = name_of(user, bytes);
    const BatchItem* found = nullptr;
    for (const auto& item : batch.items) {
        if (&item == &user) break;
        if (item.type == wire::frontend::kParse && name_of(item, bytes) == name) found = &item;
    }
    return found;
}

bool defines(const Request& request, const PreparedPtr& statement) {
    return std::any_of(request.changes.begin(), request.changes.end(), [&](const StatementChange& change) { return change.defined == statement; });
}

bool binds_portal(const Batch& batch, wire::Bytes bytes, std::string_view portal) {
    return std::any_of(batch.items.begin(), batch.items.end(), [&](const BatchItem& item) {
        return item.type == wire::frontend::kBind && portal_of(item, bytes) == portal;
    });
}

}  // namespace

// The statement that decides where a batch runs: the first that needs the primary, if there is one. Session control
// beside reads needs it too: both connections would have to take part.
StatementPtr ClientSession::strictest(const Batch& batch, wire::Bytes bytes) const {
    const auto& verdict = verdicts();
    StatementPtr strictest = verdict.neutral;
    bool control = false;
    const auto add = [&](const StatementPtr& statement) {
        switch (statement->statement.access) {
            case Access::session_control:
                control = control || statement != verdict.neutral;
                if (strictest == verdict.neutral) strictest = statement;
                break;
            case Access::read_only:
                if (strictest->statement.access == Access::session_control) strictest = statement;
                break;
            case Access::begin_read_only:
                if (strictest->statement.access != Access::write) strictest = statement;
                break;
            case Access::write:
                if (strictest->statement.access != Access::write) strictest = statement;
                break;
        }
    };
    const auto unread = parameter_view_.can_classify() ? verdict.too_complex : verdict.unclassified_encoding;
    for (const auto& item : batch.items) {
        switch (item.type) {
            case wire::frontend::kQuery:
                add(item.statement ? item.statement : unread);
                break;
            case wire::frontend::kParse:
                // One that is not kept for the other connection has to live on the primary.
                if (!prepared_.may_keep(item.end - item.begin)) add(verdict.too_large);
                add(item.statement ? item.statement : unread);
                break;
            case wire::frontend::kDescribe:
                if (item.target != 'S') break;
                [[fallthrough]];
            case wire::frontend::kBind: {
                if (parse_before(batch, bytes, item)) break;  // counted there
                const auto known = prepared_.find(name_of(item, bytes));
                add(!known ? verdict.unknown_statement : known->statement && !known->parse.empty() ? known->statement : unread);
                break;
            }
            case wire::frontend::kExecute: {
                const auto portal = name_of(item, bytes);
                if (binds_portal(batch, bytes, portal)) break;  // counted there
                const auto known = std::find_if(portals_.begin(), portals_.end(), [&](const auto& entry) { return entry.first == portal; });
                add(known == portals_.end() || !known->second ? verdict.unknown_portal : known->second);
                break;
            }
            case wire::frontend::kFunctionCall:
                add(verdict.function_call);
                break;
            default:
                break;
        }
    }
    const auto access = strictest->statement.access;
    if (control && (access == Access::read_only || access == Access::begin_read_only)) return verdict.mixed;
    if (access != Access::write && access != Access::session_control) {
        const bool continues = !batch.ends && bytes.size() >= 64 * 1024;
        if (batch.bytes > worker_.config().routing.retry_buffer || continues) return verdict.too_large;
    }
    return strictest;
}

routing::SessionView ClientSession::view(const routing::Topology& topology, std::uint32_t avoid) const {
    const auto& config = worker_.config();
    routing::SessionView view;
    view.consistency = config.routing.consistency == conf::Consistency::eventual ? routing::Consistency::eventual
                                                                                : routing::Consistency::session;
    view.floor = floor_;
    view.pin = state_.pin();
    view.degraded_reads = config.routing.degraded_reads;
    view.tolerated_age = config.health.timeout + config.health.interval * (config.health.fall + 1);
    view.avoid = avoid | worker_.suspects(topology);
    const auto server_of = [&](std::optional<Slot> slot) -> std::optional<routing::ServerId> {
        if (!slot || !side(*slot).lease) return std::nullopt;
        return side(*slot).lease->server;
    };
    view.transaction_on = server_of(state_.transaction_on());
    view.last_used = server_of(last_used_);
    view.cursor_on = server_of(state_.cursor_on());
    return view;
}

bool ClientSession::is_pipeline_full() const {
    if (requests_.empty()) return false;
    const auto& lease = side(requests_.back().slot).lease;
    return (lease && lease->replies.size() > kMaxPipelined) || (kept_bytes_ > kMaxKeptBytes && requests_.size() > 1);
}

// A request whose Sync is still to come has been answered when nothing more is owed to it.
bool ClientSession::is_answered() const {
    if (running_again_ || requests_.size() > 1) return false;
    if (requests_.empty()) return true;
    const auto& lease = side(requests_.back().slot).lease;
    return requests_.back().open && lease && lease->replies.empty();
}

awaitable<void> ClientSession::answered() {
    while (!is_answered() && !closing_) co_await answered_.wait();
}

// Finds a server for `statement` and makes sure that its connection is held. `again`: called while requests are being
// run again, which nobody else waits for then. `avoid`: servers, a bit each.
awaitable<ClientSession::Choice> ClientSession::choose(StatementPtr statement, bool again, bool primary_only, std::uint32_t avoid) {
    for (;;) {
        if (!again && running_again_) {
            while (running_again_ && !closing_) co_await answered_.wait();
            if (closing_) co_return Choice{.failed = true, .failure = {ProxyErrc::shutting_down, {}, {}, {}}};
        }
        if (!again && !requests_.empty() && requests_.back().open && requests_.back().slot == Slot::primary) {
            co_return Choice{Slot::primary, Reason::in_transaction, false, {}};  // its implicit transaction is open there
        }
        const auto& topology = worker_.topology();
        const auto now = routing::Clock::now();
        const bool repeats_error = statement->repeats_error_until > now && !state_.transaction_on();
        const auto route = primary_only     ? routing::to_primary(topology, Reason::failed_on_replica)
                           : repeats_error ? routing::to_primary(topology, Reason::repeated_error)
                                           : routing::decide(statement->statement, view(topology, avoid), topology, now);
        if (route.reason == Reason::replica_behind) worker_.evidence().freshness_wanted();
        if (route.candidates.empty()) {
            if (!again) co_await answered();
            co_return Choice{.failed = true, .failure = {ProxyErrc::no_primary, {}, {}, {}}};
        }
        const Slot slot = route.to_replica ? Slot::replica : Slot::primary;
        auto& held = side(slot).lease;
        const bool keeps_lease = held && std::find(route.candidates.begin(), route.candidates.end(), held->server) != route.candidates.end() &&
                                 (slot == Slot::primary || held->incarnation == topology[held->server].incarnation.number);
        if (!again && !requests_.empty() && (requests_.back().slot != slot || !keeps_lease)) {
            if (requests_.back().open) {
                co_await leave_open_request();
            } else {
                co_await answered();
            }
            if (closing_) co_return Choice{.failed = true, .failure = {ProxyErrc::shutting_down, {}, {}, {}}};
            continue;
        }
        if (keeps_lease) co_return Choice{slot, route.reason, false, {}};

        if (held && state_.irreplaceable(slot)) co_return Choice{.failed = true, .failure = {ProxyErrc::transaction_lost, {}, {}, {}}};
        release(slot);
        const auto server = routing::balance(route.candidates, worker_.in_flight(), topology, worker_.random());
        auto failure = co_await take_lease(slot, server);
        if (closing_) co_return Choice{.failed = true, .failure = {ProxyErrc::shutting_down, {}, {}, {}}};
        if (!failure.error) continue;  // time has passed: decide again
        if (slot == Slot::primary) co_return Choice{slot, route.reason, true, std::move(failure)};
        avoid |= 1U << server.index;
    }
}

awaitable<ConnectFailure> ClientSession::take_lease(Slot slot, routing::ServerId server) {
    PoolTarget target{server, slot == Slot::replica, server_database_, user_, parameters_, parameters_key_};
    if (target.replica) std::erase_if(target.parameters, [](const auto& parameter) { return is_kept_from_replicas(parameter.first); });
    const auto self = shared_from_this();
    auto result = co_await worker_.pool().acquire(target);
    if (!result.lease) co_return std::move(result.failure);
    if (closing_) co_return ConnectFailure{ProxyErrc::shutting_down, {}, {}, {}};
    side(slot).lease = std::move(result.lease);
    state_.connected(slot);
    spawn(worker_.executor(), pump(slot, side(slot).lease.connection()), "session.pump");
    co_return ConnectFailure{};
}

// The open request (Flush, no Sync yet) has to move to the primary: our own Sync ends its implicit transaction on the
// replica. Nothing is lost by that: it has only read.
awaitable<void> ClientSession::leave_open_request() {
    auto& request = requests_.back();
    auto& replies = side(request.slot).lease->replies;
    if (requests_.size() > 1) co_return co_await answered_.wait();  // earlier requests come first
    wire::Buffer out;
    wire::encode_sync(out);
    replies.push({.what = Expect::sync, .internal = true});
    side(request.slot).lease->stream.write(wire::Bytes{out});
    const Slot left = request.slot;
    while (!closing_ && side(left).lease && !side(left).lease->replies.empty() && !requests_.empty()) co_await answered_.wait();
    if (closing_ || requests_.empty() || requests_.back().slot != left) co_return;
    worker_.finished_on(requests_.back().server);
    moved_ = std::move(requests_.back());
    requests_.pop_back();
}

awaitable<void> ClientSession::dispatch() {
    const auto batch_bytes = std::min(batch_.bytes, in_.size());
    auto bytes = in_.data().first(batch_bytes);
    const auto statement = strictest(batch_, bytes);
    Choice choice;
    if (is_ignored_in_lost_transaction(*statement)) {
        choice.failed = true;
        choice.failure.error = transaction_ == LostTransaction::to_report ? ProxyErrc::transaction_lost_read_only : ProxyErrc::failed_transaction;
        transaction_ = LostTransaction::reported;
    } else {
        choice = co_await choose(statement, false, false, 0);
    }
    if (closing_) co_return;
    if (choice.failed) {
        refuse(batch_, choice.failure);
    } else {
        bytes = in_.data().first(batch_bytes);
        if (requests_.empty() || !requests_.back().open) {
            auto& fresh = requests_.emplace_back();
            if (moved_) fresh = std::move(*moved_);
            fresh.server = side(choice.slot).lease->server;
            worker_.started_on(fresh.server);
            fresh.slot = choice.slot;
            fresh.reason = choice.reason;
            fresh.raises_floor = statement->statement.raises_floor;
            fresh.retryable = choice.slot == Slot::replica && !state_.transaction_on();
            if (!moved_) fresh.started = received_at_;
            moved_.reset();
            fresh.open = true;
        }
        auto& request = requests_.back();
        request.raises_floor = request.raises_floor || statement->statement.raises_floor;
        if (!request.statement || request.statement == verdicts().neutral) request.statement = statement;
        if (request.retryable) {
            request.messages.insert(request.messages.end(), bytes.begin(), bytes.end());
            kept_bytes_ += bytes.size();
            request.retryable = request.messages.size() <= 2 * worker_.config().routing.retry_buffer;
        }
        send_batch(batch_, bytes, choice.slot, request);
    }
    stream_dropped_ = choice.failed;
    streamed_to_ = choice.slot;
    streamed_ = batch_.bytes - batch_bytes;
    in_.consume(batch_bytes);
    batch_.clear();
    while (!closing_ && is_pipeline_full()) co_await answered_.wait();
}

// Writes everything in one go: settings and statements that the connection lacks, then the client's own bytes.
void ClientSession::send_batch(const Batch& batch, wire::Bytes bytes, Slot slot, Request& request) {
    const auto connection = side(slot).lease.connection();
    wire::Buffer prelude;
    const bool starts_request = connection->replies.empty() && !state_.transaction_on() && connection->transaction_status == 'I';
    add_prelude(slot, prelude, batch, bytes, request, starts_request);
    bool ended = false;
    for (const auto& item : batch.items) expect_item(item, bytes, slot, request, ended);
    if (ended) request.open = false;
    if (prelude.empty()) {
        connection->stream.write(bytes);
    } else {
        const std::array<wire::Bytes, 2> parts{wire::Bytes{prelude}, bytes};
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
    if (there == connection->lease_number || statement->parse.empty()) return;
    if (!connection->replies.push({.what = Expect::parse, .internal = true, .prepared = statement})) return;
    out.insert(out.end(), statement->parse.begin(), statement->parse.end());
    there = connection->lease_number;  // taken back if the server refuses it
}

// What has to be said to this connection before the batch, because it was said to the other one, or is due.
void ClientSession::add_prelude(Slot slot,
                                wire::Buffer& out,
                                const Batch& batch,
                                wire::Bytes bytes,
                                const Request& request,
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
    for (const auto& item : batch.items) {
        switch (item.type) {
            case wire::frontend::kDescribe:
            case wire::frontend::kClose:
                if (item.target != 'S') break;
                [[fallthrough]];
            case wire::frontend::kBind:
            case wire::frontend::kParse: {
                const auto name = name_of(item, bytes);
                if (item.type == wire::frontend::kParse && name.empty()) break;
                const auto known = prepared_.find(name);
                const bool own = known && item.type == wire::frontend::kParse && defines(request, known);  // it runs again
                if (known && !own && !parse_before(batch, bytes, item)) inject_parse(known, slot, out);
                break;
            }
            case wire::frontend::kQuery: {
                if (!item.statement) break;
                bool injected = false;
                for (const auto& effect : item.statement->statement.effects) {
                    if (effect.kind != routing::Effect::Kind::deallocate) continue;
                    const auto known = prepared_.find(effect.name);
                    if (!known || effect.name.empty()) continue;
                    const auto before = out.size();
                    inject_parse(known, slot, out);
                    injected = injected || out.size() > before;
                }
                if (injected) {
                    wire::encode_sync(out);
                    replies.push({.what = Expect::sync, .internal = true});
                }
                break;
            }
            default:
                break;
        }
    }
}

// Notes what the server will answer to one message, and what the message changes.
void ClientSession::expect_item(const BatchItem& item, wire::Bytes bytes, Slot slot, Request& request, bool& ended) {
    const auto connection = side(slot).lease.connection();
    auto& replies = connection->replies;
    const auto with_effects = [](const StatementPtr& statement) {
        if (!statement) return verdicts().too_complex;  // not read: its command tag has to tell
        const auto& read = statement->statement;
        return read.effects.empty() && (read.statement_count > 0 || read.access == Access::session_control) ? nullptr : statement;
    };
    const bool again = !request.changes.empty() && running_again_;
    if (replies.skipping() && item.type != wire::frontend::kSync) return;  // ignored by the server
    switch (item.type) {
        case wire::frontend::kQuery:
            request.simple = true;
            if (replies.push({.what = Expect::query, .effects = with_effects(item.statement)})) ended = true;
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
                replies.push({.what = Expect::parse});  // an error, as everywhere: the statement exists
                break;
            }
            if (!again) {
                const bool kept = item.end <= bytes.size() && item.statement;
                request.changes.push_back(prepared_.define(name, kept ? bytes.subspan(item.begin, item.end - item.begin) : wire::Bytes{}, item.statement));
            }
            const auto defined = prepared_.find(name);
            if (replies.push({.what = Expect::parse, .change = true, .prepared = defined}) && defined)
                defined->prepared_on[static_cast<std::size_t>(slot)] = connection->lease_number;
            break;
        }
        case wire::frontend::kBind: {
            if (!replies.push({.what = Expect::bind})) break;
            const auto known = prepared_.find(name_of(item, bytes));
            const auto portal = portal_of(item, bytes);
            const auto bound = std::find_if(portals_.begin(), portals_.end(), [&](const auto& entry) { return entry.first == portal; });
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
            const auto bound = std::find_if(portals_.begin(), portals_.end(), [&](const auto& entry) { return entry.first == portal; });
            replies.push({.what = Expect::execute, .effects = bound == portals_.end() ? nullptr : with_effects(bound->second)});
            break;
        }
        default:
            break;  // Flush
    }
}

// A READ ONLY transaction was lost with its replica: as in any failed transaction, nothing but its end is heard.
bool ClientSession::is_ignored_in_lost_transaction(const routing::CachedStatement& statement) {
    if (transaction_ == LostTransaction::none) return false;
    const auto& effects = statement.statement.effects;
    const bool ends = !effects.empty() && (effects.front().kind == routing::Effect::Kind::commit || effects.front().kind == routing::Effect::Kind::rollback);
    if (!ends) return true;
    transaction_ = LostTransaction::none;
    return false;
}

// No server can take the batch: answers as a server would that fails it.
void ClientSession::refuse(const Batch& batch, const ConnectFailure& failure) {
    const auto reason = failure.error.category() == proxy_category() ? static_cast<ProxyErrc>(failure.error.value())
                                                                     : ProxyErrc::server_unreachable;
    if (reason == ProxyErrc::transaction_lost) return die(reason);
    if (!requests_.empty()) {  // an open request that has been answered so far: it fails now
        if (requests_.back().open && batch.ends) requests_.back().open = false;
        return fail_front(reason);
    }
    if (failure.rejected()) {  // FATAL, in the server's own words
        client_.write(wire::Bytes{failure.error_response});
        return leave();
    }
    send_error("ERROR", reason, failure.text);
    if (moved_) kept_bytes_ -= moved_->messages.size();
    moved_.reset();
    if (batch.ends) {
        send_ready();
    } else {
        skipping_to_sync_ = true;
    }
}

}  // namespace pgsteer::proxy
