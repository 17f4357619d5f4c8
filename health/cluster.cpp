#include "health/cluster.hpp"

#include <algorithm>
#include <utility>

namespace pgsteer::health {

using routing::kNever;
using routing::Role;
using routing::Server;
using routing::ServerId;
using routing::Status;
using routing::TimePoint;
using namespace std::chrono_literals;

Cluster::Cluster(std::shared_ptr<const conf::Config> config)
    : Cluster{config, ServerTable{config}} {}

Cluster::Cluster(std::shared_ptr<const conf::Config> config, ServerTable servers)
    : config_{std::move(config)}, servers_{std::move(servers)} {
    for (const auto& server : config_->servers)
        nodes_.push_back(
            Node{.status = NodeStatus{status_rules(config_->health, server)}, .tracker = {}});
    find_roles();
}

void Cluster::succeeded(ServerId server, const Observation& seen) {
    Node& node = this->node(server);
    const bool was_primary = node.has_answered && !node.in_recovery;
    const auto former_run = node.tracker.incarnation().postmaster_start_us;
    node.status.probe_succeeded(seen.response_time);
    if (!seen.is_full && (!node.has_position || node.in_recovery != seen.in_recovery)) {
        node.has_position = false;  // only a full probe can tell which run and timeline this is
        return;
    }
    if (seen.is_full)
        node.tracker.observe(seen.postmaster_start_us, seen.system_identifier, seen.timeline,
                             seen.position, seen.checkpointer_start_us);
    else
        node.tracker.observe(seen.position);
    node.has_answered = true;
    node.in_recovery = seen.in_recovery;
    node.asked_at = std::max(node.asked_at, seen.sent_at);
    note_return(node, seen, was_primary,
                node.tracker.incarnation().postmaster_start_us != former_run);
    if (seen.sent_at < node.valid_from) return;
    node.has_position = true;
    if (node.unconfirmed_since == kNever) node.checked_at = seen.sent_at;
    find_roles();
    feed_clock(node, seen);
}

void Cluster::failed(ServerId server, TimePoint started_at, std::string_view error) {
    Node& node = this->node(server);
    node.status.probe_failed(started_at, error);
    node.has_position = false;
    node.asked_at = std::max(node.asked_at, started_at);
}

void Cluster::note_return(Node& node, const Observation& seen, bool was_primary, bool is_new_run) {
    if (seen.in_recovery) {
        node.unconfirmed_since = kNever;
    } else if (was_primary && (node.status.is_down() || is_new_run)) {
        node.unconfirmed_since = seen.sent_at;
    }
}

bool Cluster::must_be_asked(ServerId server) const {
    const Node& asked = node(server);
    return std::ranges::any_of(nodes_, [&](const Node& node) {
        return &node != &asked && node.unconfirmed_since != kNever &&
               asked.asked_at < node.unconfirmed_since;
    });
}

std::optional<ServerId> Cluster::primary() const {
    if (!roles_.primary) return std::nullopt;
    return servers_.ids()[*roles_.primary];
}

bool Cluster::has_sound_primary() const {
    if (!roles_.primary) return false;
    const Node& primary = nodes_[*roles_.primary];
    return primary.has_position && primary.unconfirmed_since == kNever;
}

void Cluster::confirm_returned() {
    for (Node& node : nodes_) {
        if (node.unconfirmed_since == kNever) continue;
        const bool all_were_asked = std::ranges::all_of(nodes_, [&](const Node& other) {
            return &other == &node || other.asked_at >= node.unconfirmed_since;
        });
        if (!all_were_asked) continue;
        node.checked_at = node.has_position ? node.asked_at : node.unconfirmed_since;
        node.unconfirmed_since = kNever;
    }
}

void Cluster::discard(ServerId server, TimePoint since) {
    Node& node = this->node(server);
    node.has_position = false;
    node.valid_from = std::max(node.valid_from, since);
}

void Cluster::feed_clock(const Node& node, const Observation& seen) {
    if (!roles_.primary || &node != &nodes_[*roles_.primary]) return;
    if (std::exchange(clock_of_, roles_.primary) != roles_.primary) clock_.clear();
    clock_.sample(node.tracker.incarnation().timeline, seen.sent_at, seen.position, seen.flushed);
}

void Cluster::find_roles() {
    confirm_returned();
    std::vector<Claim> claims;
    claims.reserve(nodes_.size());
    for (std::size_t i = 0; i < nodes_.size(); ++i) {
        const Node& node = nodes_[i];
        const bool stands = roles_.primary && *roles_.primary == i && !node.status.is_down();
        claims.push_back({.is_known = node.has_answered,
                          .is_up = !node.status.is_down() || node.has_position,
                          .is_confirmed = stands || node.unconfirmed_since == kNever,
                          .in_recovery = node.in_recovery,
                          .system_identifier = node.tracker.incarnation().system_identifier,
                          .timeline = node.tracker.incarnation().timeline,
                          .configured = config_->servers[i].role});
    }
    roles_ = role_finder_.find(claims);
}

TimePoint Cluster::fresh_as_of(const Node& node) const {
    if (!node.has_position || !node.in_recovery) return kNever;
    return clock_.fresh_as_of(node.tracker.incarnation().timeline, node.tracker.position());
}

std::chrono::microseconds Cluster::best_response_time() const {
    auto best = 0us;
    int replicas = 0;
    for (const Node& node : nodes_) {
        if (!node.status.is_up() || !node.in_recovery) continue;
        ++replicas;
        const auto time = node.status.response_time();
        if (best == 0us || time < best) best = time;
    }
    return replicas > 1 ? best : 0us;
}

Server Cluster::describe(std::size_t position,
                         std::chrono::microseconds best_response_time,
                         TimePoint now) {
    Node& node = nodes_[position];
    const auto& config = config_->servers[position];
    const Verdict& verdict = roles_.servers[position];
    Server server{.role = verdict.role,
                  .priority = config.priority,
                  .weight = config.weight,
                  .max_lag = config.max_lag,
                  .incarnation = node.tracker.incarnation(),
                  .position = node.tracker.position(),
                  .checked_at = node.checked_at,
                  .response_time = node.status.response_time(),
                  .is_to_be_confirmed = verdict.is_to_be_confirmed};
    Circumstances circumstances{.fault = verdict.fault,
                                .is_replica = is_standby(node),
                                .lag = std::nullopt,
                                .best_response_time = best_response_time};
    const TimePoint fresh_as_of = this->fresh_as_of(node);
    // Between a broken connection and the next answer the last known lag goes on growing; an answer
    // that cannot be placed (another timeline) is no news of lag at all.
    if (fresh_as_of != kNever || node.has_position) node.last_fresh_as_of = fresh_as_of;
    if (node.last_fresh_as_of != kNever) circumstances.lag = now - node.last_fresh_as_of;
    node.status.update(circumstances, now);
    server.status = node.status.status();
    if (verdict.fault.empty() && server.status != Status::unhealthy)
        server.fresh_as_of = fresh_as_of;
    return server;
}

routing::Topology Cluster::assess(TimePoint now) {
    for (Node& node : nodes_) {
        Circumstances around;
        around.is_replica = is_standby(node);
        node.status.update_reach(around, now);
    }
    find_roles();
    routing::Topology next;
    next.servers.resize(servers_.bound());
    const auto best = best_response_time();
    for (const auto id : servers_.ids()) next.servers[id.index] = describe(position(id), best, now);
    if (const auto found = primary(); found && next[*found].status != Status::unhealthy)
        next.primary = found;
    return next;
}

Cluster::Nudge Cluster::nudge(routing::Clock::duration patience) const {
    if (!roles_.primary || !nodes_[*roles_.primary].has_position) return Nudge::no;
    auto answer = Nudge::no;
    for (const Node& node : nodes_) {
        if (fresh_as_of(node) == kNever) continue;
        const auto held_up =
            clock_.held_up(node.tracker.incarnation().timeline, node.tracker.position());
        if (held_up >= patience) return Nudge::now;
        if (held_up >= 0ns) answer = Nudge::soon;
    }
    return answer;
}

Role Cluster::answered_as(ServerId server) const {
    const Node& node = this->node(server);
    if (!node.has_position) return Role::unknown;
    return node.in_recovery ? Role::replica : Role::primary;
}

bool Cluster::is_off_timeline(ServerId server) const {
    const Node& node = this->node(server);
    return node.has_position && node.in_recovery && roles_.primary &&
           node.tracker.incarnation().timeline != clock_.timeline();
}

}  // namespace pgsteer::health
