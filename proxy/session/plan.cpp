#include "proxy/session/plan.hpp"

#include <algorithm>

namespace pgsteer::proxy {

using routing::Reason;
using routing::Slot;

namespace {

Plan refused(ProxyErrc why) { return {Next::refused, {}, {}, why}; }

Plan wait(Next what) { return {what, {}, {}, {}}; }

Plan follow(Slot slot) { return {Next::chosen, slot, Reason::in_transaction, {}}; }

// It still is one to a server that may have the request, and to the run of it that is meant.
bool is_kept(const Situation::Held& held,
             const routing::Route& route,
             const routing::Topology& topology) {
    const auto& candidates = route.candidates;
    if (std::find(candidates.begin(), candidates.end(), held.server) == candidates.end())
        return false;
    return !route.to_replica || held.run == topology[held.server].incarnation.number;
}

}  // namespace

std::optional<Plan> plan_by_course(const Situation& situation) {
    const auto& in_flight = situation.in_flight;
    if (!situation.is_run_again) {
        if (situation.others_run_again) return wait(Next::answer);
        if (situation.is_skipping) return refused(ProxyErrc::shutting_down);
        // That server has to say what it thinks of it.
        if (situation.is_copying_in) return follow(in_flight->slot);
    }
    if (situation.is_cancelled && !in_flight) return refused(ProxyErrc::query_canceled);
    // Its implicit transaction is open there.
    if (!situation.is_run_again && in_flight && in_flight->is_open &&
        in_flight->slot == Slot::primary)
        return follow(Slot::primary);
    return std::nullopt;
}

Plan plan_by_route(const Situation& situation,
                   const routing::Route& route,
                   const routing::Topology& topology) {
    const Slot slot = route.to_replica ? Slot::replica : Slot::primary;
    const auto& held = situation.held[static_cast<std::size_t>(slot)];
    const bool keeps = held && is_kept(*held, route, topology);
    const auto& in_flight = situation.in_flight;
    // Answers come in the order of what was asked: from one connection at a time.
    if (!situation.is_run_again && in_flight && (in_flight->slot != slot || !keeps))
        return wait(in_flight->is_open ? Next::open_request : Next::answers);
    if (!keeps) return {Next::connection, slot, route.reason, {}};
    if (held->has_cancel_in_flight)  // it must not hit what comes behind its target
        return wait(Next::freshness);
    return {Next::chosen, slot, route.reason, {}};
}

}  // namespace pgsteer::proxy
