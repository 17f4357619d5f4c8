#include "proxy/session/request_end.hpp"

#include <algorithm>
#include <chrono>

namespace pgsteer::proxy {

using routing::Slot;

void RequestEnd::finish_front(Slot slot) {
    auto& request = course_.requests.front();
    auto& counters = who_.counters->servers[request.server.index];
    (slot == Slot::replica ? counters.replica_requests
                           : counters.requests)[static_cast<std::size_t>(request.reason)]
        .add();
    const auto taken =
        std::chrono::duration_cast<std::chrono::microseconds>(course_.replies_at - request.started);
    counters.latency.observe(static_cast<std::uint64_t>(std::max<std::int64_t>(0, taken.count())));
    if (request.failed) counters.failed.add();
    if (const auto pin = memory_.state.pin(); pin != counted_pin_) {
        counted_pin_ = pin;
        if (pin) lodging_.around.counters().pins[static_cast<std::size_t>(*pin)].add();
    }
    last_route_.note(slot, request);
    memory_.transaction.answered(slot, request.does.queries, request.does.ties);
    course_.cancel = Cancel::none;
    course_.requests.finish_front();
}

}  // namespace pgsteer::proxy
