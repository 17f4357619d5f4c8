// What worker threads notice of the servers between two probes, and tell the checker.
#pragma once

#include "routing/server_set.hpp"
#include "routing/topology.hpp"

#include <atomic>
#include <cstdint>
#include <functional>
#include <vector>

namespace pgsteer::health {

// Thread-safe, lock-free on the workers' side. Two things are told apart: what speaks against a
// server, and what happened to one session, which makes nobody else's server doubtful. A connection
// that we closed ourselves is neither.
class Evidence {
public:
    explicit Evidence(std::size_t servers);

    // A connect was refused or timed out, or a connection ended without a FATAL or with one that
    // speaks for the whole server (57P02, 57P03). From now on suspects() holds the server, until a
    // probe *sent* later has succeeded. Wakes the checker. Returns true if this is news: nothing
    // was said against the server in the second before. Only then it is worth a line in the log.
    bool server_unreachable(routing::ServerId server);
    // A connection found another server there than the topology speaks of: another role or run. The
    // same follows from it.
    bool server_changed(routing::ServerId server) { return server_unreachable(server); }
    // A session's connection ended in a way that need not concern anybody else (any other FATAL, an
    // answer that cannot be understood). Wakes the checker, which has a look at a bounded rate.
    // Suspects nobody.
    void look_again(routing::ServerId server);

    // The servers against which there is evidence newer than what `topology` holds.
    [[nodiscard]] routing::ServerSet suspects(const routing::Topology& topology) const;
    // When there was evidence against this server last; kNever: not yet.
    [[nodiscard]] routing::TimePoint doubted_at(routing::ServerId server) const;
    // When look_again was last called for it; kNever: not yet.
    [[nodiscard]] routing::TimePoint look_wanted_at(routing::ServerId server) const;

    // A session is kept off replicas for want of freshness: probe every fast_interval for a while.
    void freshness_wanted();

    // For the checker: its own doubt, as of `since`; wakes nobody.
    void doubt(routing::ServerId server, routing::TimePoint since);
    // For the checker: called from any thread after server_unreachable and look_again, and by
    // freshness_wanted when fast probing is not running. Must be set before the workers start.
    void on_wake(std::function<void()> wake);
    [[nodiscard]] bool is_freshness_wanted(routing::TimePoint now) const;

private:
    using AtomicTime = std::atomic<routing::TimePoint::rep>;
    void wake() const {
        if (wake_) wake_();
    }

    std::vector<AtomicTime> doubted_at_;
    std::vector<AtomicTime> look_wanted_at_;
    std::vector<AtomicTime> reported_at_;  // when a worker last spoke against it
    AtomicTime wanted_until_;
    std::function<void()> wake_;
};

}  // namespace pgsteer::health
