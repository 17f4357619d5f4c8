#include "proxy/session/seek.hpp"

#include "proxy/wire/frontend.hpp"
#include "routing/balance.hpp"

#include <algorithm>

namespace pgsteer::proxy {

using routing::Clock;
using routing::Reason;
using routing::Slot;
using namespace std::chrono_literals;

namespace {

constexpr std::chrono::milliseconds kRefusalKept{100};  // until a session asks the pool again
constexpr auto kLookAgain = 500us;                      // while a read waits for a replica

// What would undo the read-only state of a replica connection, or make reads fail there.
bool is_kept_from_replicas(std::string_view name) {
    return name == "default_transaction_read_only" || name == "transaction_read_only" ||
           name == "default_transaction_isolation" || name == "transaction_isolation" ||
           name == "default_transaction_deferrable" || name == "transaction_deferrable";
}

}  // namespace

Next Seek::look(Search& search) {
    const auto situation = this->situation(search.demand);
    if (const auto plan = plan_by_course(situation)) return follow(search, *plan);
    const auto& topology = lodging_.around.topology();
    const auto now = Clock::now();
    auto route = this->route(search, topology, now);
    if (route.reason == Reason::replica_behind) {
        const auto next = wait_or_ask(search, route, topology, now);
        if (next != Next::chosen) return next;
    }
    const auto fallback = fall_back(route, search, topology);
    if (fallback == Fallback::waits) return Next::freshness;
    if (fallback == Fallback::refused) return search.fail_in_turn(ProxyErrc::primary_read_limit);
    if (route.candidates.empty()) return nowhere(search, route, topology);
    const auto plan = plan_by_route(situation, route, topology);
    if (plan.next == Next::connection)
        return look_for_connection(search, route, plan.slot, topology);
    if (plan.next == Next::chosen && route.reason == Reason::verified_replica)
        search.choice.needed = route.needed;
    return follow(search, plan);
}

Situation Seek::situation(const Demand& demand) const {
    const auto& requests = course_.requests;
    Situation now{.is_run_again = demand.again,
                  .others_run_again = course_.running_again || sides_[Slot::replica].discarding,
                  .is_skipping = client_.batcher.skipping() != Skipping::no,
                  .is_copying_in = progress_.is_copying_in(),
                  .is_cancelled = course_.cancel == Cancel::asked,
                  .in_flight = {},
                  .held = {}};
    if (!requests.empty()) now.in_flight = {requests.back().slot, requests.back().open};
    for (const Slot slot : {Slot::primary, Slot::replica})
        if (const auto& lease = sides_[slot].lease)
            now.held[static_cast<std::size_t>(slot)] = {lease->server, lease->origin.incarnation,
                                                        lease->cancels_in_flight > 0};
    return now;
}

Next Seek::follow(Search& search, const Plan& plan) {
    if (plan.next == Next::refused) return search.fail(plan.why);
    if (plan.next == Next::chosen) return search.chosen(plan.slot, plan.reason);
    return plan.next;
}

routing::Route Seek::route(const Search& search,
                           const routing::Topology& topology,
                           routing::TimePoint now) {
    if (now >= refused_until_) refused_ = {};
    if (search.demand.primary_only) return routing::to_primary(topology, Reason::failed_on_replica);
    if (search.statement.repeats_error_until > now && !memory_.state.transaction_on())
        return routing::to_primary(topology, Reason::repeated_error);
    const auto& statement = search.statement.statement;
    return routing::decide(statement, judge_.view(statement, topology, search.demand, refused_),
                           topology, now);
}

// What it has avoided may be what it looks for: the replica that it was on, and that is the primary
// now.
Next Seek::nowhere(Search& search,
                   const routing::Route& route,
                   const routing::Topology& topology) const {
    if (route.is_for_the_next_look) search.demand.avoid = {};
    const bool waits = route.is_for_the_next_look
                           ? may_look_again(search)
                           : waits_for_probe(search, Slot::primary, topology);
    return waits ? Next::probe : search.fail_in_turn(ProxyErrc::no_primary);
}

// No replica is known to be fresh enough. Next::chosen: one that is asked may be, or the primary
// has to do.
Next Seek::wait_or_ask(const Search& search,
                       routing::Route& route,
                       const routing::Topology& topology,
                       routing::TimePoint now) {
    const auto& demand = search.demand;
    lodging_.around.evidence().freshness_wanted();
    questions_.flush_if_due();
    if (sides_[Slot::primary].sample.is_pending) return Next::answer;  // it is on its way
    auto asked =
        demand.may_verify ? worth_asking(route.unproven, topology, now) : routing::Candidates{};
    if (!asked.empty()) {
        route.candidates = std::move(asked);
        route.reason = Reason::verified_replica;
        route.to_replica = true;
        return Next::chosen;
    }
    const auto until = options_.wait_until(search.statement.statement, demand.arrived);
    return now < until ? Next::freshness : Next::chosen;
}

// Of the replicas that may have caught up the one that is known to be furthest, the session's own
// if it is that.
routing::Candidates Seek::worth_asking(const routing::Candidates& unproven,
                                       const routing::Topology& topology,
                                       routing::TimePoint now) {
    const auto learnt = lodging_.around.freshness().positions(topology);
    const auto position = [&](routing::ServerId id) {
        return std::max(topology[id].position, learnt[id.index]);
    };
    routing::Candidates best;
    for (const auto id : unproven) {
        if (!lodging_.around.freshness().verification(id).is_worth_trying(now)) continue;
        const bool is_further = best.empty() || position(best.front()) < position(id);
        const bool is_own = !best.empty() && position(best.front()) == position(id) &&
                            memory_.freshness.floor().last_replica == id;
        if (is_further || is_own) best = {id};
    }
    return best;
}

// A read for which no replica is good enough: whether the primary may have it.
Seek::Fallback Seek::fall_back(routing::Route& route,
                               Search& search,
                               const routing::Topology& topology) {
    const auto& config = lodging_.config().routing;
    const auto& demand = search.demand;
    auto& primary_read = search.choice.primary_read;
    const bool is_counted = config.primary_read_limit > 0 && !route.to_replica &&
                            demand.arrived != routing::kNever &&
                            routing::is_for_want_of_a_replica(route.reason);
    if (!is_counted) {
        primary_read = {};
        return Fallback::allowed;
    }
    if (primary_read.take(lodging_.around.freshness().primary_reads(), config.primary_read_limit))
        return Fallback::allowed;
    const auto now = Clock::now();
    if (now < demand.arrived + config.freshness_wait_max) return Fallback::waits;
    const auto view = judge_.view(search.statement.statement, topology, demand, refused_);
    route = routing::least_stale(view, topology, now);
    return route.candidates.empty() ? Fallback::refused : Fallback::stale;
}

// The session holds no connection to any of the route's candidates.
Next Seek::look_for_connection(Search& search,
                               const routing::Route& route,
                               Slot slot,
                               const routing::Topology& topology) {
    const bool is_tied = sides_[slot].lease && memory_.state.irreplaceable(slot);
    if (is_tied && slot == Slot::replica && search.avoid_all(route.candidates))
        return Next::look_again;
    if (waits_for_probe(search, slot, topology)) return Next::probe;
    if (is_tied) return search.fail(ProxyErrc::transaction_lost);
    if (slot == Slot::replica && leave_out_refused(route.candidates)) return Next::look_again;
    sides_.release(slot);
    auto candidates = without_exhausted(route.candidates);
    if (candidates.empty() && slot == Slot::replica && topology.primary &&
        !without_exhausted({*topology.primary}).empty()) {
        search.avoid_all(route.candidates);
        return Next::look_again;  // sooner elsewhere than later here
    }
    if (candidates.empty()) candidates = route.candidates;
    search.server = routing::balance(candidates, lodging_.around.in_flight(), topology,
                                     lodging_.around.random());
    search.chosen(slot, route.reason);
    return Next::connection;
}

Next Seek::connection_failed(Search& search, ConnectFailure failure) const {
    const auto slot = search.choice.slot;
    if (slot == Slot::primary && failure.speaks_of_the_server() && may_look_again(search))
        return Next::probe;
    const bool waited = failure.error == ProxyErrc::acquire_timeout;
    if (slot == Slot::primary || waited) {
        const auto reason = search.choice.reason;
        search.fail(std::move(failure));
        return search.chosen(slot, reason);
    }
    search.demand.avoid.add(search.server);
    return Next::look_again;
}

// GCC 12 takes this coroutine's operator delete for a wrong one.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wmismatched-new-delete"

awaitable<void> Seek::choose(Search& search, Next next) {
    while (next != Next::chosen) {
        switch (next) {
            case Next::answer:
                co_await course_.changed.wait();
                break;
            case Next::answers:
                co_await progress_.answered();
                break;
            case Next::chosen_in_turn:
                co_return co_await progress_.answered();
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
                if (client_.closing || !failure.error || failure.error == ProxyErrc::query_canceled)
                    break;
                next = connection_failed(search, std::move(failure));
                continue;
            }
            default:
                break;
        }
        if (client_.closing) {
            search.fail(ProxyErrc::shutting_down);
            co_return;
        }
        next = look(search);
    }
}
#pragma GCC diagnostic pop

// Evidence speaks against the primary, and no probe that was sent later has answered it; or the one
// that was lost is back, and the others are being asked.
bool Seek::is_primary_in_doubt(const routing::Topology& topology, const Demand& demand) const {
    if (!topology.primary)
        return std::ranges::any_of(topology.servers, &routing::Server::is_to_be_confirmed);
    return !demand.avoid.contains(*topology.primary) &&
           lodging_.around.suspects(topology).contains(*topology.primary);
}

bool Seek::waits_for_probe(Search& search, Slot slot, const routing::Topology& topology) const {
    if (slot != Slot::primary || !is_primary_in_doubt(topology, search.demand)) return false;
    return may_look_again(search);
}

// The probe that tells what the evidence against the primary is worth is under way, and the next
// one comes an interval later. False: the request has waited for both.
bool Seek::may_look_again(Search& search) const {
    const auto& health = lodging_.config().health;
    const auto at = search.patience.next_look(Clock::now(), health.timeout + health.interval);
    if (at) search.next_look = *at;
    return at.has_value();
}

awaitable<void> Seek::wait_for_probe(routing::TimePoint next_look) {
    Timer timer{lodging_.around.executor(), next_look};
    co_await timer.async_wait(as_result);
}

awaitable<void> Seek::wait_for_freshness() {
    Timer timer{lodging_.around.executor(), Clock::now() + kLookAgain};
    co_await timer.async_wait(as_result);
}

// Those to which a connection can be had without waiting for another session.
routing::Candidates Seek::without_exhausted(const routing::Candidates& candidates) {
    const auto& who = who_.identity;
    routing::Candidates free;
    for (const auto server : candidates)
        if (!lodging_.around.pool().is_exhausted({server, who.server_database, who.user}))
            free.push_back(server);
    return free;
}

PoolTarget Seek::target(Slot slot, routing::ServerId server) const {
    const auto& who = who_.identity;
    PoolTarget target{server,         slot == Slot::replica, who.server_database, who.user,
                      who.parameters, who.parameters_key,    lodging_.generation};
    if (target.replica)
        std::erase_if(target.parameters,
                      [](const auto& parameter) { return is_kept_from_replicas(parameter.first); });
    return target;
}

// Replicas that would refuse this session's login are none for a while. True: there are some that
// were not known.
bool Seek::leave_out_refused(const routing::Candidates& candidates) {
    const auto& who = who_.identity;
    routing::ServerSet refused;
    for (const auto server : candidates) {
        const auto advice = lodging_.around.pool().advise({server, who.server_database, who.user});
        if (advice == LoginBackOff::Advice::try_it) continue;
        if (advice == LoginBackOff::Advice::due)
            lodging_.around.pool().look_again(target(Slot::replica, server));
        refused.add(server);
    }
    if (refused.is_part_of(refused_)) return false;
    refused_ |= refused;
    refused_until_ = Clock::now() + kRefusalKept;
    return true;
}

awaitable<ConnectFailure> Seek::take_lease(Slot slot, routing::ServerId server) {
    const auto target = this->target(slot, server);
    const auto session = course_.alive();
    auto result = co_await lodging_.around.pool().acquire(target, course_.place_in_pool);
    if (!result.lease) co_return std::move(result.failure);
    if (client_.closing) co_return ConnectFailure{ProxyErrc::shutting_down, {}, {}, {}};
    if (slot == Slot::replica) transaction_end_.replica_connected(*result.lease.connection());
    sides_.connected(slot, std::move(result.lease));
    co_return ConnectFailure{};
}

// The open request (Flush, no Sync yet) has to move to the primary: our own Sync ends its implicit
// transaction on the replica. Nothing is lost by that: it has only read.
awaitable<void> Seek::leave_open_request() {
    auto& requests = course_.requests;
    if (requests.size() > 1) co_return co_await course_.changed.wait();  // earlier ones come first
    const Slot left = requests.back().slot;
    const auto& lease = sides_[left].lease;
    end_by_sync(*lease.connection());
    while (!client_.closing && lease && !lease->replies.empty() && !requests.empty())
        co_await course_.changed.wait();
    if (client_.closing || requests.empty() || requests.back().slot != left) co_return;
    if (requests.back().failed) {  // and goes nowhere: of what follows only its Sync counts
        if (lease) memory_.state.ready(left, lease->transaction_status);
        memory_.transaction.ready(memory_.state.transaction_status());
        request_end_.finish_front(left);
        client_.batcher.skip(Skipping::for_us);
        co_return;
    }
    course_.moved = std::make_unique<Request>(requests.take_back());
}

}  // namespace pgsteer::proxy
