// What a worker lends its sessions.
#pragma once

#include "health/metrics.hpp"
#include "proxy/io/asio.hpp"
#include "proxy/io/signal.hpp"
#include "proxy/shared/generation.hpp"
#include "proxy/shared/learnt_parameters.hpp"
#include "proxy/shared/process_facts.hpp"
#include "proxy/shared/sessions.hpp"
#include "proxy/shared/shared_freshness.hpp"
#include "proxy/shared/statements.hpp"
#include "routing/server_set.hpp"

#include <array>
#include <cstdint>
#include <functional>
#include <random>
#include <span>

namespace pgsteer::proxy {

class Pool;

// Worker-local: one for each worker, which outlives its sessions. A session gets it together with
// its Generation, and keeps both to its end.
class Surroundings {
public:
    struct Lent {  // outlives the Surroundings
        Executor executor;
        std::uint16_t worker = 0;  // its index
        GenerationPtr generation;
        ProcessFacts& facts;
        Pool& pool;
        health::WorkerCounters& counters;
        std::function<void(std::size_t worker, wire::CancelRequest)> cancel_on;
        std::function<void()> logins_change;
    };
    explicit Surroundings(Lent lent);
    Surroundings(const Surroundings&) = delete;

    [[nodiscard]] Executor executor() { return lent_.executor; }
    // The current one: for new sessions, and for what is no session's.
    [[nodiscard]] const GenerationPtr& generation() const { return lent_.generation; }
    void adopt(GenerationPtr generation) { lent_.generation = std::move(generation); }
    // Those of the current generation: also where a session of a former one asks.
    [[nodiscard]] const health::ServerTable& servers() const { return lent_.generation->servers; }
    [[nodiscard]] std::uint64_t random() { return random_(); }
    [[nodiscard]] health::WorkerCounters& counters() { return lent_.counters; }
    [[nodiscard]] Pool& pool() { return lent_.pool; }

    // --- servers ---
    // The latest. Valid until the next call.
    [[nodiscard]] const routing::Topology& topology();
    [[nodiscard]] health::Evidence& evidence() { return lent_.facts.evidence; }
    [[nodiscard]] routing::ServerSet suspects(const routing::Topology& topology) const {
        return lent_.facts.evidence.suspects(topology);
    }
    [[nodiscard]] Crashes& crashes() { return lent_.facts.crashes; }
    // By ServerId: requests of this worker. See Flight.
    [[nodiscard]] std::span<std::uint32_t> in_flight() { return in_flight_; }

    // --- databases ---
    [[nodiscard]] health::Catalogs& catalogs() { return lent_.facts.catalogs; }
    [[nodiscard]] Signal& catalogs_changed() { return catalogs_changed_; }  // of any database

    // --- what sessions tell each other ---
    [[nodiscard]] Statements& statements() { return statements_; }
    [[nodiscard]] LearntParameters& parameters() { return parameters_; }
    [[nodiscard]] SharedFreshness& freshness() { return freshness_; }
    [[nodiscard]] Sessions& sessions() { return sessions_; }
    [[nodiscard]] ClientCount& clients() { return lent_.facts.clients; }

    // --- beyond this worker ---
    // To the worker that owns the session; it may be this one.
    void forward_cancel(wire::CancelRequest request) {
        lent_.cancel_on(sessions_.owner(request), request);
    }
    // New sessions are told something else from now on, or refused: on all workers.
    void logins_change() { lent_.logins_change(); }

private:
    Lent lent_;
    health::TopologyPtr topology_;
    Signal catalogs_changed_;
    Statements statements_;
    LearntParameters parameters_;
    SharedFreshness freshness_;
    Sessions sessions_;
    std::array<std::uint32_t, health::ServerIds::kMost> in_flight_{};
    std::mt19937_64 random_;
};

}  // namespace pgsteer::proxy
