#include "proxy/session/judge.hpp"

#include <algorithm>

namespace pgsteer::proxy {

namespace {
constexpr std::size_t kLeastReadBytes = 8 * 1024;  // also with retry_buffer: 0
}  // namespace

routing::StatementPtr Judge::classify(std::string_view sql) const {
    return who_.shown.can_classify() ? lodging_.around.statements().classify(sql) : nullptr;
}

Batch Judge::parse_batch(wire::Bytes bytes) const {
    return read_batch(bytes, [this](std::string_view sql) { return classify(sql); });
}

void Judge::update() const {
    if (course_.requests.empty()) course_.names_may_change = false;
    memory_.catalog.update(
        memory_.state.search_path(), course_.names_may_change,
        [this](const auto& view) { return lodging_.around.statements().context(view); });
}

BatchFacts Judge::facts_of(const Batch& batch, wire::Bytes bytes) const {
    const auto& catalog = memory_.catalog;
    return proxy::facts_of(
        batch, bytes,
        {memory_.statements,
         memory_.portals,
         {catalog.number(), catalog.view(), lodging_.around.statements().judged()},
         who_.shown.can_classify(),
         memory_.state.cursor_on().has_value(),
         max_read_bytes(batch),
         {sides_.connection(routing::Slot::primary).number,
          sides_.connection(routing::Slot::replica).number}});
}

// A read is kept for a retry up to the size of its answer's buffer.
std::size_t Judge::max_read_bytes(const Batch& batch) const {
    const bool continues =
        !batch.ends && batch.bytes >= kMaxBatchBytes;  // and nobody knows with what
    return continues
               ? 0
               : std::max<std::size_t>(lodging_.config().routing.retry_buffer, kLeastReadBytes);
}

bool Judge::may_verify(const Batch& batch) const {
    return batch.ends && !course_.moved &&
           batch.bytes <= 2 * lodging_.config().routing.retry_buffer && !course_.requests.is_open();
}

// A function may have prepared it, on the primary.
bool Judge::deallocates_unknown(const routing::Statement& statement) const {
    return std::any_of(statement.effects.begin(), statement.effects.end(), [&](const auto& effect) {
        return effect.kind == routing::Effect::Kind::deallocate &&
               !memory_.statements.find(effect.name);
    });
}

routing::SessionView Judge::view(const routing::Statement& statement,
                                 const routing::Topology& topology,
                                 const Demand& demand,
                                 routing::ServerSet avoid) const {
    const auto& config = lodging_.config();
    const auto options = options_.of(statement);
    routing::SessionView view;
    view.consistency = memory_.freshness.level(options);
    view.max_staleness = options.max_staleness;
    view.min_lsn = options.min_lsn;
    view.arrived = demand.arrived;
    view.floor = memory_.freshness.floor();
    view.pin = memory_.state.pin();
    view.prepared_in_sql = memory_.state.has_prepared_in_sql() || deallocates_unknown(statement);
    view.degraded_reads = config.routing.degraded_reads;
    view.transaction =
        memory_.transaction.view(statement, config.routing.transactions, options_.default_modes());
    view.transaction.tied_by_request = demand.ties;
    const bool is_lazy = config.routing.transactions == conf::Transactions::lazy &&
                         !view.transaction.read_only &&
                         (view.transaction.may_start_on_replica || view.transaction.may_move);
    if (is_lazy)
        view.consistency =
            std::max(view.consistency, Options::level_of(config.routing.lazy_consistency));
    add_positions(view, topology);
    view.tolerated_age = config.health.timeout + config.health.interval * (config.health.fall + 1);
    view.avoid = demand.avoid | avoid | lodging_.around.suspects(topology);
    view.transaction_on = sides_.server_of(memory_.state.transaction_on());
    view.last_used = sides_.server_of(sides_.last_used());
    view.cursor_on = sides_.server_of(memory_.state.cursor_on());
    return view;
}

// Where somebody will look at them.
void Judge::add_positions(routing::SessionView& view, const routing::Topology& topology) const {
    if (view.consistency >= routing::Consistency::global)
        view.written =
            lodging_.around.freshness().writes().seen(topology.timeline(), routing::Clock::now());
    if (view.floor.primary_position.timeline != 0 || view.written.position.timeline != 0 ||
        view.min_lsn)
        view.learnt = lodging_.around.freshness().positions(topology);
}

}  // namespace pgsteer::proxy
