// From a batch to a server: which one, and over which connection.
#include "conf/log.hpp"
#include "proxy/io/spawn.hpp"
#include "proxy/session/batch.hpp"
#include "proxy/session/batch_facts.hpp"
#include "proxy/session/client_session.hpp"
#include "proxy/session/synthetic_verdicts.hpp"
#include "proxy/wire/backend.hpp"
#include "proxy/wire/frontend.hpp"
#include "proxy/wire/message_types.hpp"
#include "proxy/shared/surroundings.hpp"
#include "routing/balance.hpp"

#include <algorithm>

namespace pgsteer::proxy {

using routing::Access;
using routing::Reason;
using routing::StatementPtr;
using routing::TransactionStatus;

namespace {

constexpr std::size_t kMaxPipelined =
    32 * 1024;  // answers owed; more are not asked for before some have come
constexpr std::size_t kLeastReadBytes = 8 * 1024;  // also with retry_buffer: 0
constexpr std::chrono::milliseconds kPatienceInDoubt{50};
constexpr std::chrono::milliseconds kRefusalKept{100};  // until a session asks the pool again
constexpr std::size_t kMaxKeptBytes = 1024 * 1024;  // of requests that may have to run elsewhere

// What would undo the read-only state of a replica connection, or make reads fail there.
bool is_kept_from_replicas(std::string_view name) {
    return name == "default_transaction_read_only" || name == "transaction_read_only" ||
           name == "default_transaction_isolation" || name == "transaction_isolation" ||
           name == "default_transaction_deferrable" || name == "transaction_deferrable";
}

}  // namespace

// A function may have prepared it, on the primary.
bool ClientSession::deallocates_unknown(const routing::Statement& statement) const {
    if (statement.effects.empty()) return false;
    return std::any_of(statement.effects.begin(), statement.effects.end(), [&](const auto& effect) {
        return effect.kind == routing::Effect::Kind::deallocate && !prepared_.find(effect.name);
    });
}

routing::SessionView ClientSession::view(const routing::Statement& statement,
                                         const routing::Topology& topology,
                                         const Demand& demand) const {
    const auto& config = worker_.config();
    const auto options = options_for(statement);
    routing::SessionView view;
    view.consistency = freshness_.level(options);
    view.max_staleness = options.max_staleness;
    view.min_lsn = options.min_lsn;
    view.arrived = demand.arrived;
    view.floor = freshness_.floor();
    view.pin = state_.pin();
    view.prepared_in_sql = state_.has_prepared_in_sql() || deallocates_unknown(statement);
    view.degraded_reads = config.routing.degraded_reads;
    view.transaction =
        transaction_.view(statement, config.routing.transactions, default_modes());
    view.transaction.tied_by_request = demand.ties;
    const bool is_lazy = config.routing.transactions == conf::Transactions::lazy &&
                         !view.transaction.read_only &&
                         (view.transaction.may_start_on_replica || view.transaction.may_move);
    if (is_lazy)
        view.consistency = std::max(view.consistency, level_of(config.routing.lazy_consistency));
    if (view.consistency >= routing::Consistency::global)
        view.written = worker_.writes().seen(topology.timeline(), routing::Clock::now());
    if (view.floor.primary_position.timeline != 0 || view.written.position.timeline != 0 ||
        view.min_lsn)
        view.learnt = worker_.learnt_positions(topology);
    view.tolerated_age = config.health.timeout + config.health.interval * (config.health.fall + 1);
    view.avoid = demand.avoid | refused_ | worker_.suspects(topology);
    const auto server_of = [&](std::optional<Slot> slot) -> std::optional<routing::ServerId> {
        if (!slot || !side(*slot).lease) return std::nullopt;
        return side(*slot).lease->server;
    };
    view.transaction_on = server_of(state_.transaction_on());
    view.last_used = server_of(last_used_);
    view.cursor_on = server_of(state_.cursor_on());
    return view;
}

// Of the replicas that may have caught up the one that is known to be furthest, the session's own
// if it is that.
routing::Candidates ClientSession::worth_asking(const routing::Candidates& unproven,
                                                const routing::Topology& topology,
                                                routing::TimePoint now) {
    const auto learnt = worker_.learnt_positions(topology);
    const auto position = [&](routing::ServerId id) {
        return std::max(topology[id].position, learnt[id.index]);
    };
    routing::Candidates best;
    for (const auto id : unproven) {
        if (!worker_.verification(id).is_worth_trying(now)) continue;
        const bool is_further = best.empty() || position(best.front()) < position(id);
        const bool is_own =
            !best.empty() && position(best.front()) == position(id) &&
            freshness_.floor().last_replica == id;
        if (is_further || is_own) best = {id};
    }
    return best;
}

// A read is kept for a retry up to the size of its answer's buffer.
std::size_t ClientSession::max_read_bytes() const {
    const bool continues = !batcher_.batch().ends &&
                           batcher_.batch().bytes >= kMaxBatchBytes;  // and nobody knows with what
    return continues
               ? 0
               : std::max<std::size_t>(worker_.config().routing.retry_buffer, kLeastReadBytes);
}

bool ClientSession::is_pipeline_full() const {
    if (requests_.empty()) return false;
    const auto& lease = side(requests_.back().slot).lease;
    return (lease && lease->replies.size() > kMaxPipelined) ||
           (requests_.kept_bytes() > kMaxKeptBytes && requests_.size() > 1);
}

// A request whose Sync is still to come has been answered when nothing more is owed to it.
bool ClientSession::is_answered() const {
    if (running_again_ || requests_.size() > 1) return false;
    if (requests_.empty()) return true;
    const auto& lease = side(requests_.back().slot).lease;
    return requests_.back().open && lease && lease->replies.empty();
}

awaitable<void> ClientSession::answered() {
    bool asked = false;  // a request may be found to be open only while it is waited for
    while (!is_answered() && !closing_ && batcher_.skipping() == Skipping::no && !is_copying_in()) {
        if (!asked && requests_.is_open()) {
            ask_for_answers(requests_.back());
            asked = true;
        }
        co_await answered_.wait();
    }
}

// A server keeps its answers to what has no Sync yet until it is asked for them.
void ClientSession::ask_for_answers(const Request& request) {
    const auto& lease = side(request.slot).lease;
    if (!lease || lease->replies.empty()) return;
    wire::Buffer out;
    wire::encode_flush(out);
    lease->stream.write(wire::Bytes{out});
}

ClientSession::Next ClientSession::chosen(Search& search, Slot slot, Reason reason) {
    search.choice.slot = slot;
    search.choice.reason = reason;
    return Next::chosen;
}

ClientSession::Next ClientSession::fail(Search& search, ConnectFailure failure) {
    search.choice = {};
    search.choice.failure = std::move(failure);
    return Next::chosen;
}

ClientSession::Next ClientSession::fail(Search& search, ProxyErrc reason) {
    return fail(search, ConnectFailure{reason, {}, {}, {}});
}

ClientSession::Next ClientSession::fail_in_turn(Search& search, ProxyErrc reason) {
    fail(search, reason);
    return search.demand.again ? Next::chosen : Next::chosen_in_turn;
}

// Looks once for a server that may have the statement, and whose connection is held. Says what has
// to be waited for if there is none.
ClientSession::Next ClientSession::look(Search& search) {
    auto& demand = search.demand;
    auto& choice = search.choice;
    const auto& statement = search.statement.statement;
    if (!demand.again) {
        if (running_again_ || side(Slot::replica).discarding) return Next::answer;
        if (batcher_.skipping() != Skipping::no)  // nothing is sent
            return fail(search, ProxyErrc::shutting_down);
        if (is_copying_in())  // that server has to say what it thinks of it
            return chosen(search, requests_.back().slot, Reason::in_transaction);
    }
    if (cancel_ == Cancel::asked && requests_.empty())
        return fail(search, ProxyErrc::query_canceled);
    if (!demand.again && requests_.is_open() &&
        requests_.back().slot == Slot::primary)  // its implicit transaction is open there
        return chosen(search, Slot::primary, Reason::in_transaction);
    const auto& topology = worker_.topology();
    const auto now = routing::Clock::now();
    if (now >= refused_until_) refused_ = {};
    const bool repeats_error =
        search.statement.repeats_error_until > now && !state_.transaction_on();
    auto route = demand.primary_only ? routing::to_primary(topology, Reason::failed_on_replica)
                 : repeats_error
                     ? routing::to_primary(topology, Reason::repeated_error)
                     : routing::decide(statement, view(statement, topology, demand), topology, now);
    if (route.reason == Reason::replica_behind) {
        const auto next = wait_or_ask(search, route, topology, now);
        if (next != Next::chosen) return next;
    }
    const auto fallback = fall_back(route, statement, topology, demand, choice.primary_read);
    if (fallback == Fallback::waits) return Next::freshness;
    if (fallback == Fallback::refused) return fail_in_turn(search, ProxyErrc::primary_read_limit);
    if (route.candidates.empty()) {
        // What it has avoided may be what it looks for: the replica that it was on, and that is the
        // primary now.
        if (route.is_for_the_next_look) demand.avoid = {};
        const bool waits = route.is_for_the_next_look
                               ? may_look_again(search)
                               : waits_for_probe(search, Slot::primary, topology);
        return waits ? Next::probe : fail_in_turn(search, ProxyErrc::no_primary);
    }
    const Slot slot = route.to_replica ? Slot::replica : Slot::primary;
    const auto& held = side(slot).lease;
    const bool keeps_lease =
        held &&
        std::find(route.candidates.begin(), route.candidates.end(), held->server) !=
            route.candidates.end() &&
        (slot == Slot::primary || held->incarnation == topology[held->server].incarnation.number);
    if (!demand.again && !requests_.empty() && (requests_.back().slot != slot || !keeps_lease))
        return requests_.back().open ? Next::open_request : Next::answers;
    if (!keeps_lease) return look_for_connection(search, route, slot, topology);
    if (held->cancels_in_flight > 0)
        return Next::freshness;  // a cancel must not hit what comes behind its target
    if (route.reason == Reason::verified_replica) choice.needed = route.needed;
    return chosen(search, slot, route.reason);
}

// No replica is known to be fresh enough. Next::chosen: one that is asked may be, or the primary
// has to do.
ClientSession::Next ClientSession::wait_or_ask(const Search& search,
                                               routing::Route& route,
                                               const routing::Topology& topology,
                                               routing::TimePoint now) {
    const auto& demand = search.demand;
    worker_.evidence().freshness_wanted();
    if (may_flush()) send_flushing_sample();
    if (side(Slot::primary).sample_pending) return Next::answer;  // it is on its way
    auto asked =
        demand.may_verify ? worth_asking(route.unproven, topology, now) : routing::Candidates{};
    if (!asked.empty()) {
        route.candidates = std::move(asked);
        route.reason = Reason::verified_replica;
        route.to_replica = true;
        return Next::chosen;
    }
    return now < wait_until(search.statement.statement, demand.arrived) ? Next::freshness
                                                                        : Next::chosen;
}

// The session holds no connection to any of the route's candidates.
ClientSession::Next ClientSession::look_for_connection(Search& search,
                                                       const routing::Route& route,
                                                       Slot slot,
                                                       const routing::Topology& topology) {
    const bool is_tied = side(slot).lease && state_.irreplaceable(slot);
    if (is_tied && slot == Slot::replica && avoid_all(route.candidates, search.demand))
        return Next::look_again;
    if (waits_for_probe(search, slot, topology)) return Next::probe;
    if (is_tied) return fail(search, ProxyErrc::transaction_lost);
    if (slot == Slot::replica && leave_out_refused(route.candidates)) return Next::look_again;
    release(slot);
    auto candidates = without_exhausted(route.candidates);
    if (candidates.empty() && slot == Slot::replica && topology.primary &&
        !without_exhausted({*topology.primary}).empty()) {
        avoid_all(route.candidates, search.demand);
        return Next::look_again;  // sooner elsewhere than later here
    }
    if (candidates.empty()) candidates = route.candidates;
    search.server = routing::balance(candidates, worker_.in_flight(), topology, worker_.random());
    chosen(search, slot, route.reason);
    return Next::connection;
}

ClientSession::Next ClientSession::connection_failed(Search& search, ConnectFailure failure) {
    const auto slot = search.choice.slot;
    if (slot == Slot::primary && failure.speaks_of_the_server() && may_look_again(search))
        return Next::probe;
    const bool waited = failure.error == ProxyErrc::acquire_timeout;
    if (slot == Slot::primary || waited) {
        const auto reason = search.choice.reason;
        fail(search, std::move(failure));
        return chosen(search, slot, reason);
    }
    search.demand.avoid.add(search.server);
    return Next::look_again;
}

// GCC 12 takes this coroutine's operator delete for a wrong one.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wmismatched-new-delete"

// Goes on looking where look() has said that something has to be waited for. `search` outlives it.
awaitable<void> ClientSession::choose(Search& search, Next next) {
    while (next != Next::chosen) {
        switch (next) {
            case Next::answer:
                co_await answered_.wait();
                break;
            case Next::answers:
                co_await answered();
                break;
            case Next::chosen_in_turn:
                co_return co_await answered();
            case Next::open_request:
                co_await leave_open_request();
                break;
            case Next::freshness:
                co_await wait_for_freshness();
                break;
            case Next::probe:
                co_await wait_for_probe(search.next_look);
                break;
            case Next::connection: {
                auto failure = co_await take_lease(search.choice.slot, search.server);
                // Time has passed: decide again.
                if (closing_ || !failure.error || failure.error == ProxyErrc::query_canceled) break;
                next = connection_failed(search, std::move(failure));
                continue;
            }
            default:
                break;
        }
        if (closing_) {
            fail(search, ProxyErrc::shutting_down);
            co_return;
        }
        next = look(search);
    }
}
#pragma GCC diagnostic pop

// False: they are avoided already.
bool ClientSession::avoid_all(const routing::Candidates& candidates, Demand& demand) {
    const auto before = demand.avoid;
    for (const auto id : candidates) demand.avoid.add(id);
    return demand.avoid != before;
}

// Evidence speaks against the primary, and no probe that was sent later has answered it; or the one
// that was lost is back, and the others are being asked.
bool ClientSession::is_primary_in_doubt(const routing::Topology& topology,
                                        const Demand& demand) const {
    if (!topology.primary)
        return std::ranges::any_of(topology.servers, &routing::Server::is_to_be_confirmed);
    return !demand.avoid.contains(*topology.primary) &&
           worker_.suspects(topology).contains(*topology.primary);
}

bool ClientSession::waits_for_probe(Search& search, Slot slot, const routing::Topology& topology) {
    if (slot != Slot::primary || !is_primary_in_doubt(topology, search.demand)) return false;
    return may_look_again(search);
}

// The probe that tells what the evidence against the primary is worth is under way, and the next
// one comes an interval later. False: the request has waited for both.
bool ClientSession::may_look_again(Search& search) const {
    const auto& health = worker_.config().health;
    const auto at =
        search.patience.next_look(routing::Clock::now(), health.timeout + health.interval);
    if (at) search.next_look = *at;
    return at.has_value();
}

awaitable<void> ClientSession::wait_for_probe(routing::TimePoint next_look) {
    Timer timer{worker_.executor(), next_look};
    co_await timer.async_wait(as_result);
}

// A read for which no replica is good enough: whether the primary may have it.
ClientSession::Fallback ClientSession::fall_back(routing::Route& route,
                                                 const routing::Statement& statement,
                                                 const routing::Topology& topology,
                                                 const Demand& demand,
                                                 PrimaryRead& primary_read) {
    const auto& config = worker_.config().routing;
    const bool is_counted = config.primary_read_limit > 0 && !route.to_replica &&
                            demand.arrived != routing::kNever &&
                            routing::is_for_want_of_a_replica(route.reason);
    if (!is_counted) {
        primary_read = {};
        return Fallback::allowed;
    }
    if (primary_read.take(worker_.primary_reads(), config.primary_read_limit))
        return Fallback::allowed;
    const auto now = routing::Clock::now();
    if (now < demand.arrived + config.freshness_wait_max) return Fallback::waits;
    route = routing::least_stale(view(statement, topology, demand), topology, now);
    return route.candidates.empty() ? Fallback::refused : Fallback::stale;
}

// Those to which a connection can be had without waiting for another session.
routing::Candidates ClientSession::without_exhausted(const routing::Candidates& candidates) {
    routing::Candidates free;
    for (const auto server : candidates)
        if (!worker_.pool().is_exhausted({server, who_.server_database, who_.user}))
            free.push_back(server);
    return free;
}

PoolTarget ClientSession::target(Slot slot, routing::ServerId server) const {
    PoolTarget target{server,    slot == Slot::replica, who_.server_database,
                      who_.user, who_.parameters,       who_.parameters_key};
    if (target.replica)
        std::erase_if(target.parameters,
                      [](const auto& parameter) { return is_kept_from_replicas(parameter.first); });
    return target;
}

// Replicas that would refuse this session's login are none for a while. True: there are some that
// were not known.
bool ClientSession::leave_out_refused(const routing::Candidates& candidates) {
    routing::ServerSet refused;
    for (const auto server : candidates) {
        const auto advice = worker_.pool().advise({server, who_.server_database, who_.user});
        if (advice == LoginBackOff::Advice::try_it) continue;
        if (advice == LoginBackOff::Advice::due)
            worker_.pool().look_again(target(Slot::replica, server));
        refused.add(server);
    }
    if (refused.is_part_of(refused_)) return false;
    refused_ |= refused;
    refused_until_ = routing::Clock::now() + kRefusalKept;
    return true;
}

// Others must leave the database that the statement needs to itself.
awaitable<void> ClientSession::make_way(StatementPtr statement) {
    if (state_.transaction_on()) co_return;  // it will be refused there
    for (const auto& effect : statement->statement.effects)
        if (effect.kind == routing::Effect::Kind::empties_database) {
            worker_.catalogs().leave(effect.name);
            co_await worker_.pool().empty_database(effect.name);
        }
}

awaitable<ConnectFailure> ClientSession::take_lease(Slot slot, routing::ServerId server) {
    const auto target = this->target(slot, server);
    const auto self = shared_from_this();
    auto result = co_await worker_.pool().acquire(target, place_in_pool_);
    if (!result.lease) co_return std::move(result.failure);
    if (closing_) co_return ConnectFailure{ProxyErrc::shutting_down, {}, {}, {}};
    side(slot).lease = std::move(result.lease);
    state_.connected(slot);
    if (slot == Slot::replica && std::exchange(replica_was_outdated_, false))
        tell_new_values(*side(slot).lease.connection());
    side(slot).lease->exchange.attach(ears_[static_cast<std::size_t>(slot)]);
    co_return ConnectFailure{};
}

// The open request (Flush, no Sync yet) has to move to the primary: our own Sync ends its implicit
// transaction on the replica. Nothing is lost by that: it has only read.
awaitable<void> ClientSession::leave_open_request() {
    auto& request = requests_.back();
    auto& replies = side(request.slot).lease->replies;
    if (requests_.size() > 1) co_return co_await answered_.wait();  // earlier requests come first
    wire::Buffer out;
    wire::encode_sync(out);
    replies.push({.what = Expect::sync, .internal = true});
    side(request.slot).lease->stream.write(wire::Bytes{out});
    const Slot left = request.slot;
    while (!closing_ && side(left).lease && !side(left).lease->replies.empty() &&
           !requests_.empty())
        co_await answered_.wait();
    if (closing_ || requests_.empty() || requests_.back().slot != left) co_return;
    if (requests_.back().failed) {  // and goes nowhere: of what follows only its Sync counts
        if (const auto& lease = side(left).lease) state_.ready(left, lease->transaction_status);
        transaction_.ready(state_.transaction_status());
        finish_front(left);
        batcher_.skip(Skipping::for_us);
        co_return;
    }
    moved_ = requests_.take_back();
}

// A Sync or Flush by itself goes where that is which it ends, or asks for.
bool ClientSession::follows_its_request() const {
    if (batcher_.batch().items.size() != 1 || requests_.empty() || running_again_ ||
        side(requests_.back().slot).discarding)
        return false;
    const auto type = batcher_.batch().items.front().type;
    return (type == wire::frontend::kSync || type == wire::frontend::kFlush) &&
           side(requests_.back().slot).lease;
}

// Behind a copy that has failed, with Syncs between its data: a server that has read one of these
// behind the error has answered it at once. If not, it skips what comes now.
awaitable<void> ClientSession::doubt_settled() {
    const auto in_doubt = [this] {
        const auto& lease = side(requests_.back().slot).lease;
        return lease && !lease->replies.copying() && lease->replies.in_doubt();
    };
    const auto end = routing::Clock::now() + kPatienceInDoubt;
    while (!closing_ && !requests_.empty() && in_doubt() && routing::Clock::now() < end) {
        Timer timer{worker_.executor(), routing::Clock::now() + std::chrono::milliseconds{1}};
        co_await timer.async_wait(as_result);
    }
    if (closing_ || requests_.empty() || !in_doubt()) co_return;
    requests_.go_on(side(requests_.back().slot).lease->replies.settle_as_ignored());
    if (requests_.back().open && requests_.back().failed) batcher_.skip(Skipping::for_server);
}

// What a name means may depend on requests that are still in flight: what is skipped in them has
// not changed it. Within one request it is skipped as well.
bool ClientSession::waits_for_names() const {
    return (requests_.size() > 1 || (!requests_.empty() && !requests_.is_open())) &&
           std::any_of(requests_.begin(), requests_.end(),
                       [](const Request& request) {
                           return request.changes_done < request.changes.size();
                       }) &&
           !is_copying_in();
}

BatchFacts ClientSession::facts_of(const Batch& batch, wire::Bytes bytes) const {
    return proxy::facts_of(batch, bytes,
                           {prepared_,
                            portals_,
                            {catalog_.number(), catalog_.view(), worker_.judged_statements()},
                            parameter_view_.can_classify(),
                            max_read_bytes()});
}

awaitable<void> ClientSession::dispatch() {
    const auto& batch = batcher_.batch();
    if (!requests_.empty() && batch.items.front().type != wire::frontend::kSync)
        co_await doubt_settled();
    if (closing_) co_return;
    if (batcher_.skipping() != Skipping::no) co_return batcher_.skip_batch();
    const bool is_flush =
        batch.items.size() == 1 && batch.items.front().type == wire::frontend::kFlush;
    if (is_flush && !requests_.is_open()) {  // of what is sent anyway
        co_return batcher_.consume(false);
    }
    if (requests_.empty()) names_may_change_ = false;
    catalog_.update(state_.search_path(), names_may_change_,
                    [this](const auto& view) { return worker_.catalog_context(view); });
    const auto facts = facts_of(batch, batcher_.bytes());
    if (facts.names_uncertain && waits_for_names()) {
        co_await answered();
        if (!closing_) co_await dispatch();
        co_return;
    }
    const auto& statement = facts.statement;
    names_may_change_ = names_may_change_ || facts.changes_names;
    const auto& said = statement->statement;
    if (routing::may_be_newer_than_catalog(said.reason)) catalog_.does_not_know(said.detail);
    const bool returns_rows = said.may_read() || said.access == Access::begin;
    const bool ties = facts.ties || (returns_rows && facts.leaves_portal);
    if (statement->statement.access == Access::read_only) freshness_.reads();
    if (said.access != Access::read_only) {  // no reads: these need no server
        const bool is_answered_here = co_await answer_transaction_control(facts);
        if (closing_) co_return;
        if (is_answered_here) {
            batcher_.consume(false);
            co_return;
        }
    }
    if (said.catalog_change == routing::CatalogChange::certain) {
        co_await make_way(statement);
        if (closing_) co_return;
    }
    Search search{*statement,
                  {.may_verify = may_verify(batch), .ties = ties, .arrived = received_at_}};
    if (const auto next = begin_search(search, facts); next != Next::chosen) {
        choosing_ = true;
        co_await choose(search, next);
        choosing_ = false;
    }
    if (closing_) co_return;
    if (batcher_.skipping() != Skipping::no) co_return batcher_.skip_batch();
    auto& choice = search.choice;
    if (choice.failure) {
        refuse(batch, *choice.failure);
    } else {
        place(search, facts);
    }
    streamed_to_ = choice.slot;
    batcher_.consume(!choice.failure);
    while (!closing_ && is_pipeline_full()) co_await answered_.wait();
    // What comes behind a read whose replica is being asked could not be taken back with it.
    while (!closing_ && side(choice.slot).verifying) co_await answered_.wait();
}

// The first look, unless the batch is refused whatever the servers are, or follows its request.
ClientSession::Next ClientSession::begin_search(Search& search, const BatchFacts& facts) {
    if (const auto refused = transaction_.refusal(search.statement.statement))
        return fail(search, *refused);
    if (follows_its_request())
        return chosen(search, requests_.back().slot, search.statement.statement.reason);
    if (!is_copying_in()) {
        if (worker_.crashes().is_refused(search.statement.key, received_at_))
            return fail_in_turn(search, ProxyErrc::statement_crashes);
        auto problem = facts.sets_options ? bad_option(batcher_.batch()) : std::string{};
        if (!problem.empty()) {
            fail(search, ConnectFailure{ProxyErrc::invalid_option, {}, {}, std::move(problem)});
            return Next::chosen_in_turn;
        }
    }
    return look(search);
}

// Sends the batch to the server that was found, as a request of its own or as part of the one that
// is open.
void ClientSession::place(Search& search, const BatchFacts& facts) {
    auto& choice = search.choice;
    const auto& statement = facts.statement;
    const auto& batch = batcher_.batch();
    const auto bytes = batcher_.bytes();
    if (transaction_.is_open_on_replica() && choice.slot == Slot::primary) {
        roll_back_on_replica();
        transaction_.leave_replica();
    }
    if (requests_.empty()) transaction_.settle();
    if (requests_.empty() && options_for(statement->statement).explain.value_or(false))
        explain_route(choice);
    const bool continues = requests_.is_open();
    if (!continues) start_request(choice);
    auto& request = requests_.back();
    if (choice.primary_read) request.primary_read = std::move(choice.primary_read);
    request.ties = request.ties || search.demand.ties;
    request.queries =
        request.queries || statement->statement.may_read() || statement->statement.prepares;
    request.raises_floor = request.raises_floor || statement->statement.raises_floor;
    request.writes = request.writes || statement->statement.access == Access::write;
    request.may_commit = request.may_commit || facts.may_commit;
    if (choice.needed.timeline != 0) request.needed = choice.needed;
    if (!request.statement || request.statement == synthetic_verdicts().neutral)
        request.statement = statement;
    if (request.retryable) {
        requests_.keep(bytes);
        request.retryable = request.messages.size() <= 2 * worker_.config().routing.retry_buffer;
    }
    if (facts.kept) note_kept(choice.slot, *facts.kept);
    send_batch(batch, bytes, facts, choice.slot, request, continues);
    if (request.bare && request.open) requests_.drop_back();  // a Sync that the server ignores
}

// Where `choice` says; with what was sent before it moved, if it has.
void ClientSession::start_request(const Choice& choice) {
    const auto& batch = batcher_.batch();
    const auto server = side(choice.slot).lease->server;
    auto& fresh = moved_ ? requests_.start(std::move(*moved_), server) : requests_.start(server);
    fresh.slot = choice.slot;
    fresh.reason = choice.reason;
    fresh.raises_floor = false;
    fresh.retryable = choice.slot == Slot::replica && !transaction_.has_to_stay();
    if (!moved_) fresh.started = received_at_;
    moved_.reset();
    fresh.open = true;
    fresh.bare = batch.items.size() == 1 && batch.items.front().type == wire::frontend::kSync;
}

// No server can take the batch: answers as a server would that fails it.
void ClientSession::refuse(const Batch& batch, const ConnectFailure& failure) {
    const auto reason = failure.reason();
    if (reason == ProxyErrc::transaction_lost) return die(reason);
    cancel_ = Cancel::none;
    fail_transaction();
    // A Query behind messages that have failed is skipped with them.
    const bool ends_here =
        batch.ends && (batch.items.size() == 1 || batch.items.back().type == wire::frontend::kSync);
    if (!requests_.empty()) {  // an open request that has been answered so far: it fails now
        if (requests_.back().open && ends_here) requests_.back().open = false;
        return fail_front(reason);
    }
    if (failure.rejected()) {  // FATAL, in the server's own words
        client_.write(wire::Bytes{failure.error_response});
        return leave();
    }
    send_error("ERROR", reason, failure.text);
    moved_.reset();
    if (ends_here) {
        send_ready();
    } else {
        batcher_.skip(Skipping::for_us);
    }
}

}  // namespace pgsteer::proxy
