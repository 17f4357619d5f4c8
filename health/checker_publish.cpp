#include "health/checker_impl.hpp"

#include <chrono>
#include <utility>

namespace pgsteer::health {

using namespace std::chrono_literals;

TopologyPtr first_topology(const ServerTable& servers) {
    auto topology = std::make_shared<routing::Topology>();
    topology->servers.resize(servers.bound());
    for (const auto id : servers.ids()) {
        const auto& config_of_one = servers[id];
        auto& server = topology->servers[id.index];
        server.priority = config_of_one.priority;
        server.weight = config_of_one.weight;
        server.max_lag = config_of_one.max_lag;
    }
    return topology;
}

bool Checker::Impl::is_news(const routing::Topology& next) const {
    const auto& last = *published;
    if (next.primary != last.primary) return true;
    const Clock::duration refresh = config->health.interval / 4;
    for (const auto id : servers.ids()) {
        const auto& before = last[id];
        const auto& after = next[id];
        if (after.role != before.role || after.status != before.status ||
            after.incarnation != before.incarnation || after.fresh_as_of != before.fresh_as_of)
            return true;
        if (after.checked_at == before.checked_at) continue;
        const auto doubted_at = evidence.doubted_at(id);
        if (before.checked_at == kNever || after.checked_at - before.checked_at >= refresh ||
            (doubted_at != kNever && doubted_at >= before.checked_at))
            return true;
    }
    return false;
}

// Requests in flight on a server have to leave it.
bool Checker::Impl::must_leave(const routing::Topology& next) const {
    for (const auto id : servers.ids()) {
        const auto& before = (*published)[id];
        const auto& after = next[id];
        if (after.role != before.role || after.incarnation.number != before.incarnation.number ||
            (after.status == Status::unhealthy && before.status != Status::unhealthy))
            return true;
    }
    return false;
}

// Another role, timeline or run of any server: what the others are may have changed with it.
bool Checker::Impl::may_have_changed_hands(const routing::Topology& next) const {
    for (const auto id : servers.ids()) {
        const auto& before = (*published)[id];
        const auto& after = next[id];
        const bool is_first_word =
            before.role == routing::Role::unknown && before.incarnation.number == 0;
        if (is_first_word) continue;
        if (after.role != before.role ||
            after.incarnation.timeline != before.incarnation.timeline ||
            after.incarnation.postmaster_start_us != before.incarnation.postmaster_start_us)
            return true;
    }
    return false;
}

// Nothing is sent to a primary that was lost before the others have been asked: see
// Cluster::unconfirmed_since.
void Checker::Impl::doubt_unconfirmed() {
    for (const auto server : servers.ids()) {
        const auto since = cluster.unconfirmed_since(server);
        if (since == kNever) continue;
        doubt(server, since - Clock::duration{1});  // its answer then will count
    }
}

void Checker::Impl::publish(TimePoint now) {
    auto next = cluster.assess(now);
    for (const auto server : servers.ids()) note_facts(server);
    if (!is_news(next)) return;
    const bool is_new_primary = next.primary && next.primary != published->primary;
    const bool is_change = must_leave(next) || next.primary != published->primary;
    if (is_new_primary)  // what its replicas are worth shows in their next answers
        for (auto& watch : watches) watch->next_full = now;
    if (may_have_changed_hands(next)) ask_all(now);
    doubt_unconfirmed();
    log_changes(next);
    next.version = published->version + 1;
    published = std::make_shared<const routing::Topology>(std::move(next));
    store.publish(published);
    if (!is_change) return;
    topology_changes.fetch_add(1, std::memory_order_relaxed);
    if (on_server_change) on_server_change(published);
}

void Checker::Impl::log_changes(const routing::Topology& next) {
    for (const auto id : servers.ids()) {
        const auto& after = next[id];
        const std::string& server = servers[id].name;
        if (after.status != (*published)[id].status) {
            const bool is_bad =
                after.status == Status::unhealthy || after.status == Status::degraded;
            const auto& reason = cluster.status(id).reason();
            if (is_bad)
                log::warning("server is not healthy", "server", server, "status",
                             name(after.status), "reason", reason);
            else
                log::info("server is healthy", "server", server, "role", name(after.role));
        }
        log_role(id, after);
    }
    if (next.primary != published->primary) {
        if (next.primary)
            log::info("there is a primary", "server", servers[*next.primary].name, "timeline",
                      next[*next.primary].incarnation.timeline);
        else
            log::error("there is no primary: nothing can be written");
    }
    if (cluster.is_split() && !was_split)
        log::error("several servers claim to be primary on one timeline: nothing can be written");
    was_split = cluster.is_split();
}

// That a server has none any more, because it is down, was said with its status.
void Checker::Impl::log_role(ServerId server, const routing::Server& after) {
    if (after.role == routing::Role::unknown) return;
    if (std::exchange(watch_of(server).logged_role, after.role) == after.role) return;
    log::info("server changed its role", "server", servers[server].name, "role", name(after.role),
              "timeline", after.incarnation.timeline);
}

void Checker::Impl::note_facts(ServerId server) {
    const Watch& watch = watch_of(server);
    const NodeStatus& status = cluster.status(server);
    const std::lock_guard lock{mutex};
    Facts& fact = facts[position(server)];
    if (fact.status_reason != status.reason()) fact.status_reason = status.reason();
    if (fact.last_error != watch.last_error) fact.last_error = watch.last_error;
    fact.consecutive_failures = status.consecutive_failures();
    fact.probes = watch.probes;
    fact.failures = watch.failures;
}

std::vector<ServerReport> Checker::report() const {
    const auto topology = impl_->store.load();
    const auto now = Clock::now();
    const auto seconds = [](Clock::duration time) {
        return std::chrono::duration<double>(time).count();
    };
    std::vector<ServerReport> reports;
    const std::lock_guard lock{impl_->mutex};
    for (const auto id : impl_->servers.ids()) {
        const auto& server = (*topology)[id];
        const auto& fact = impl_->facts[impl_->position(id)];
        const auto& config = impl_->servers[id];
        auto& report = reports.emplace_back();
        report.id = id;
        report.name = config.name;
        report.host = config.host;
        report.port = config.port;
        report.role = server.role;
        report.status = server.status;
        report.status_reason = fact.status_reason;
        report.consecutive_failures = fact.consecutive_failures;
        report.probes_total = fact.probes;
        report.probe_failures_total = fact.failures;
        report.last_error = fact.last_error;
        report.response_time_seconds = seconds(server.response_time);
        report.timeline = server.incarnation.timeline;
        report.lag_seconds = -1;
        if (server.checked_at != kNever) {
            report.last_check_age_seconds = seconds(now - server.checked_at);
            report.position = to_string(server.position);
        }
        const bool is_primary = topology->primary == id;
        if (is_primary) {
            report.lag_seconds = 0;
            report.lag_bytes = 0;
        } else if (server.fresh_as_of != kNever) {
            report.lag_seconds = seconds(now - server.fresh_as_of);
            if (topology->primary) {
                const auto ahead = (*topology)[*topology->primary].position.bytes;
                report.lag_bytes = ahead > server.position.bytes
                                       ? static_cast<std::int64_t>(ahead - server.position.bytes)
                                       : 0;
            }
        }
    }
    return reports;
}

CheckerCounters Checker::counters() const {
    return {.probes = impl_->probes.load(std::memory_order_relaxed),
            .fast_rounds = impl_->fast_rounds.load(std::memory_order_relaxed),
            .nudges = impl_->nudges.load(std::memory_order_relaxed),
            .topology_changes = impl_->topology_changes.load(std::memory_order_relaxed)};
}

}  // namespace pgsteer::health
