// Inside of the Checker: checker.cpp decides when to ask what, checker_publish.cpp tells others
// what is known.
#pragma once

#include "conf/log.hpp"
#include "health/checker.hpp"
#include "health/cluster.hpp"
#include "health/probe.hpp"

#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>

#include <atomic>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace pgsteer::health {

namespace asio = boost::asio;
using routing::Clock;
using routing::kNever;
using routing::ServerId;
using routing::Status;
using routing::TimePoint;

struct Checker::Impl {
    enum class Kind { full, cheap };
    // What the schedule knows of one server.
    struct Watch {
        Watch(const asio::any_io_executor& executor,
              const conf::ServerConfig& server,
              const conf::HealthConfig& health)
            : probe{executor, server, health} {}
        Probe probe;
        bool is_busy = false;
        bool is_last_good = false;
        TimePoint started_at = TimePoint{};  // of the last probe
        TimePoint next_full = TimePoint{};   // at once
        std::int64_t configured_us = 0;      // as last told
        TimePoint renewed_at = TimePoint{};
        // Of Evidence, what has been acted upon.
        TimePoint doubt_seen = kNever;
        TimePoint look_seen = kNever;
        bool must_renew = false;
        routing::Role logged_role = routing::Role::unknown;
        std::uint64_t probes = 0;
        std::uint64_t failures = 0;
        std::string last_error;
    };

    Impl(std::shared_ptr<const conf::Config> the_config,
         ServerTable the_servers,
         TopologyStore& the_store,
         Evidence& the_evidence)
        : config{std::move(the_config)},
          servers{std::move(the_servers)},
          store{the_store},
          evidence{the_evidence},
          cluster{config, servers} {
        for (const auto& server : config->servers)
            watches.push_back(std::make_unique<Watch>(io->get_executor(), server, config->health));
        facts.resize(watches.size());
        published = store.load();
        // The io_context outlives the checker for late callers.
        evidence.on_wake([context = io, flag = is_woken, this] {
            if (flag->exchange(true)) return;
            asio::post(*context, [flag, this] {
                if (flag->exchange(false)) on_wake();
            });
        });
    }

    // Of a server that this configuration has.
    Watch& watch_of(ServerId server) { return *watches[position(server)]; }
    const Watch& watch_of(ServerId server) const { return *watches[position(server)]; }
    std::size_t position(ServerId server) const {
        return static_cast<std::size_t>(servers.position(server));
    }

    void run();
    void on_wake();
    void tick();
    TimePoint start_due_probes(TimePoint now);
    void look_at_evidence(TimePoint now);
    void ask_all(TimePoint now);
    bool is_doubted_anew(ServerId server);
    bool is_look_wanted_anew(ServerId server);
    bool waits_for_primary(ServerId server, TimePoint now) const;
    std::optional<Kind> due(ServerId server, TimePoint now) const;
    TimePoint next_due(ServerId server, TimePoint now) const;
    Clock::duration cheap_interval(TimePoint now) const;
    void note_configuration(ServerId server, const Observation& seen);
    void start_probe(ServerId server, Kind kind, TimePoint now);
    asio::awaitable<void> probe(ServerId server, Kind kind);
    asio::awaitable<ProbeResult> ask(ServerId server, Kind kind, TimePoint deadline);
    void on_lost(ServerId server);
    void connection_lost(ServerId server, TimePoint now);
    void doubt(ServerId server, TimePoint since);
    void take(ServerId server, const ProbeResult& result, TimePoint started_at);
    void consider_nudge(TimePoint now);
    asio::awaitable<void> nudge(ServerId primary);
    void publish(TimePoint now);
    bool is_news(const routing::Topology& next) const;
    bool must_leave(const routing::Topology& next) const;
    bool may_have_changed_hands(const routing::Topology& next) const;
    void doubt_unconfirmed();
    void log_role(ServerId server, const routing::Server& after);
    void log_changes(const routing::Topology& next);
    void note_facts(ServerId server);
    template <class Coroutine>
    void spawn(Coroutine coroutine);

    std::shared_ptr<const conf::Config> config;
    ServerTable servers;
    TopologyStore& store;
    Evidence& evidence;
    std::shared_ptr<asio::io_context> io = std::make_shared<asio::io_context>(1);
    std::shared_ptr<std::atomic<bool>> is_woken = std::make_shared<std::atomic<bool>>(false);
    asio::steady_timer timer{*io};
    Cluster cluster;
    std::vector<std::unique_ptr<Watch>> watches;  // in the order of the configuration
    TopologyPtr published;
    std::function<void(TopologyPtr)> on_server_change;
    std::function<void(ServerId)> on_configuration_change;
    bool is_stopping = false;
    bool is_nudging = false;
    bool was_split = false;
    TimePoint nudged_at = TimePoint{};
    TimePoint look_again_at = TimePoint::max();  // at the primary, for a nudge

    // For report(), from other threads.
    struct Facts {
        std::string status_reason;
        std::string last_error;
        int consecutive_failures = 0;
        std::uint64_t probes = 0;
        std::uint64_t failures = 0;
    };
    mutable std::mutex mutex;
    std::vector<Facts> facts;  // the same
    std::atomic<std::uint64_t> probes{0};
    std::atomic<std::uint64_t> fast_rounds{0};
    std::atomic<std::uint64_t> nudges{0};
    std::atomic<std::uint64_t> topology_changes{0};

    std::thread thread;
};

template <class Coroutine>
void Checker::Impl::spawn(Coroutine coroutine) {
    asio::co_spawn(*io, std::move(coroutine), [](const std::exception_ptr& failure) {
        if (!failure) return;
        try {
            std::rethrow_exception(failure);
        } catch (const std::exception& error) {
            log::error("a health probe failed unexpectedly", "error", error.what());
        }
    });
}

}  // namespace pgsteer::health
