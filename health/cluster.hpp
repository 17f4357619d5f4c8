// Everything that is known of all servers, and what follows from it. Pure: probes report in, the
// next Topology comes out.
#pragma once

#include "conf/config.hpp"
#include "health/incarnation_tracker.hpp"
#include "health/lsn_clock.hpp"
#include "health/node_status.hpp"
#include "health/observation.hpp"
#include "health/roles.hpp"
#include "health/server_table.hpp"
#include "routing/topology.hpp"

#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace pgsteer::health {

class Cluster {
public:
    // Of the servers in `servers`, which is a table of `config`; other ids must not be given to it.
    Cluster(std::shared_ptr<const conf::Config> config, ServerTable servers);
    explicit Cluster(std::shared_ptr<const conf::Config> config);

    // A good probe. Observations of one server come in the order of their `sent_at`.
    void succeeded(routing::ServerId server, const Observation& seen);
    // A bad one, started at `started_at`. The server's positions count for nothing until it has
    // answered.
    void failed(routing::ServerId server, routing::TimePoint started_at, std::string_view error);
    // Its connection broke, or somebody says so: nothing that was asked before `since` counts any
    // more.
    void discard(routing::ServerId server, routing::TimePoint since);

    // What follows from all that by `now`. `next` has the version 0. To be called after every
    // event.
    routing::Topology assess(routing::TimePoint now);

    // Whether the primary should be made to flush its WAL, because the most advanced replicas wait
    // for that.
    enum class Nudge { no, soon, now };  // soon: ask again in `kHeldUpWanted` or `kHeldUpIdle`
    static constexpr auto kHeldUpWanted = std::chrono::milliseconds{5};
    static constexpr auto kHeldUpIdle = std::chrono::milliseconds{250};
    [[nodiscard]] Nudge nudge(routing::Clock::duration patience) const;

    // Somebody noticed something, or time has come to look again without delay.
    void reset_back_off(routing::ServerId server) { node(server).status.reset_back_off(); }

    // A primary that was lost (given up, or another run of it answers) may have been superseded
    // meanwhile. It counts again when every other server has answered, or failed to, since it came
    // back: until then `checked_at` stands still. This is when it came back; kNever: no doubt.
    [[nodiscard]] routing::TimePoint unconfirmed_since(routing::ServerId server) const {
        return node(server).unconfirmed_since;
    }
    // The server has not been asked since a lost primary came back.
    [[nodiscard]] bool must_be_asked(routing::ServerId server) const;
    // There is a primary, and it answered when it was asked last.
    [[nodiscard]] bool has_sound_primary() const;

    // The role in which it answered last; unknown: never, or not since its connection broke.
    [[nodiscard]] routing::Role answered_as(routing::ServerId server) const;
    // A replica whose positions do not count, since it is not (known to be) on the primary's
    // timeline.
    [[nodiscard]] bool is_off_timeline(routing::ServerId server) const;
    [[nodiscard]] const NodeStatus& status(routing::ServerId server) const {
        return node(server).status;
    }
    [[nodiscard]] std::optional<routing::ServerId> primary() const;
    [[nodiscard]] bool is_split() const { return roles_.is_split; }  // see Roles

private:
    struct Node {
        NodeStatus status;
        IncarnationTracker tracker;
        bool has_answered = false;  // at all
        bool has_position = false;  // what `tracker` holds is of a connection that still stands
        bool in_recovery = false;
        routing::TimePoint valid_from =
            routing::kNever;  // answers to what was asked earlier do not count
        routing::TimePoint last_fresh_as_of = routing::kNever;
        routing::TimePoint checked_at = routing::kNever;  // `sent_at` of the last good probe
        // Start of the last probe that told what it is, or that it does not answer.
        routing::TimePoint asked_at = routing::kNever;
        routing::TimePoint unconfirmed_since = routing::kNever;
    };
    void note_return(Node& node, const Observation& seen, bool was_primary, bool is_new_run);
    void confirm_returned();
    static bool is_standby(const Node& node) { return node.has_answered && node.in_recovery; }
    void find_roles();
    void feed_clock(const Node& node, const Observation& seen);
    routing::TimePoint fresh_as_of(const Node& node) const;
    std::chrono::microseconds best_response_time() const;
    [[nodiscard]] std::size_t position(routing::ServerId server) const {
        return static_cast<std::size_t>(servers_.position(server));
    }
    Node& node(routing::ServerId server) { return nodes_[position(server)]; }
    [[nodiscard]] const Node& node(routing::ServerId server) const {
        return nodes_[position(server)];
    }
    routing::Server describe(std::size_t position,
                             std::chrono::microseconds best_response_time,
                             routing::TimePoint now);

    std::shared_ptr<const conf::Config> config_;
    ServerTable servers_;
    std::vector<Node> nodes_;  // in the order of the configuration, as claims and `roles_`
    RoleFinder role_finder_;
    Roles roles_;
    LsnClock clock_;
    std::optional<std::size_t> clock_of_;  // whose positions it holds
};

}  // namespace pgsteer::health
