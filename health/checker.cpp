#include "health/checker.hpp"

#include "conf/log.hpp"
#include "health/cluster.hpp"
#include "health/probe.hpp"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>

#include <algorithm>
#include <chrono>
#include <exception>
#include <mutex>
#include <thread>
#include <utility>

namespace pgsteer::health {

namespace asio = boost::asio;
using routing::Clock;
using routing::kNever;
using routing::Role;
using routing::ServerId;
using routing::Status;
using routing::TimePoint;
using namespace std::chrono_literals;

namespace {

// Probes that were brought forward by evidence are at least this far apart.
constexpr auto kEvidenceSpacing = 100ms;
// A new connection is tried at most this often on mere evidence: a client that terminates its own
// backends must not make us reconnect all the time.
constexpr auto kRenewSpacing = 1s;
// How long replicas wait for the primary's sample, so that it counts in the same round.
constexpr auto kPrimaryFirst = 20ms;
// A replica on another timeline than a new primary is asked again this often.
constexpr auto kOffTimelineInterval = 200ms;

// Between regular probes positions are sampled, so that staleness is known to well under `interval`
// and to a third of the smallest max_lag.
Clock::duration sample_interval(const conf::Config& config) {
    auto interval = std::min<Clock::duration>(config.health.interval / 2, 500ms);
    for (const auto& server : config.servers)
        interval = std::min<Clock::duration>(interval, server.max_lag / 3);
    return std::max<Clock::duration>(interval, config.health.fast_interval);
}

}  // namespace

TopologyPtr first_topology(const conf::Config& config) {
    auto topology = std::make_shared<routing::Topology>();
    for (const auto& config_of_one : config.servers) {
        auto& server = topology->servers.emplace_back();
        server.priority = config_of_one.priority;
        server.weight = config_of_one.weight;
        server.max_lag = config_of_one.max_lag;
    }
    return topology;
}

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
        TimePoint renewed_at = TimePoint{};
        TimePoint evidence_seen = kNever;  // Evidence::lost_at that has been acted upon
        bool must_renew = false;
        Status logged_status = Status::unknown;
        std::uint64_t probes = 0;
        std::uint64_t failures = 0;
        std::string last_error;
    };

    Impl(std::shared_ptr<const conf::Config> the_config,
         TopologyStore& the_store,
         Evidence& the_evidence)
        : config{std::move(the_config)}, store{the_store}, evidence{the_evidence}, cluster{config} {
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

    void run();
    void on_wake();
    void tick();
    TimePoint start_due_probes(TimePoint now);
    void look_at_evidence(TimePoint now);
    bool waits_for_primary(ServerId server, TimePoint now) const;
    std::optional<Kind> due(ServerId server, TimePoint now) const;
    TimePoint next_due(ServerId server, TimePoint now) const;
    Clock::duration cheap_interval(TimePoint now) const;
    void start_probe(ServerId server, Kind kind, TimePoint now);
    asio::awaitable<void> probe(ServerId server, Kind kind);
    asio::awaitable<ProbeResult> ask(ServerId server, Kind kind, TimePoint deadline);
    void on_lost(ServerId server);
    void take(ServerId server, const ProbeResult& result, TimePoint started_at);
    void consider_nudge(TimePoint now);
    asio::awaitable<void> nudge(ServerId primary);
    void publish(TimePoint now);
    bool is_news(const routing::Topology& next) const;
    bool must_leave(const routing::Topology& next) const;
    void log_changes(const routing::Topology& next);
    void note_facts(ServerId server);
    template <class Coroutine>
    void spawn(Coroutine coroutine);

    std::shared_ptr<const conf::Config> config;
    TopologyStore& store;
    Evidence& evidence;
    std::shared_ptr<asio::io_context> io = std::make_shared<asio::io_context>(1);
    std::shared_ptr<std::atomic<bool>> is_woken = std::make_shared<std::atomic<bool>>(false);
    asio::steady_timer timer{*io};
    Cluster cluster;
    std::vector<std::unique_ptr<Watch>> watches;
    TopologyPtr published;
    std::function<void(TopologyPtr)> on_server_change;
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
    std::vector<Facts> facts;
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

void Checker::Impl::run() {
    tick();
    io->run();
}

void Checker::Impl::on_wake() {
    if (is_stopping) return;
    look_at_evidence(Clock::now());
    tick();
}

// Starts what is due and sleeps until something is.
void Checker::Impl::tick() {
    if (is_stopping) return;
    const auto now = Clock::now();
    const TimePoint next = start_due_probes(now);
    timer.expires_at(std::max(next, now + 100us));
    timer.async_wait([this](boost::system::error_code error) {
        if (error || is_stopping) return;
        publish(Clock::now());  // lag grows and patience ends by time alone
        tick();
    });
}

TimePoint Checker::Impl::start_due_probes(TimePoint now) {
    TimePoint next = now + std::min<Clock::duration>(config->health.interval, 250ms);
    const auto primary = cluster.primary();
    const auto visit = [&](ServerId server) {
        if (const auto kind = due(server, now)) start_probe(server, *kind, now);
        next = std::min(next, next_due(server, now));
    };
    if (primary) visit(*primary);
    for (std::uint16_t i = 0; i < watches.size(); ++i)
        if (!primary || primary->index != i) visit(ServerId{i});
    return next;
}

void Checker::Impl::look_at_evidence(TimePoint now) {
    for (std::uint16_t i = 0; i < watches.size(); ++i) {
        const ServerId server{i};
        const auto lost_at = evidence.lost_at(server);
        Watch& watch = *watches[i];
        if (lost_at == kNever || lost_at <= watch.evidence_seen) continue;
        watch.evidence_seen = lost_at;
        cluster.discard(server, lost_at);
        cluster.reset_back_off(server);
        watch.must_renew = now - watch.renewed_at >= kRenewSpacing;
        const auto earliest = watch.is_last_good ? now : watch.started_at + kEvidenceSpacing;
        watch.next_full = std::min(watch.next_full, earliest);
    }
    publish(now);
}

Clock::duration Checker::Impl::cheap_interval(TimePoint now) const {
    return evidence.is_freshness_wanted(now) ? Clock::duration{config->health.fast_interval}
                                             : sample_interval(*config);
}

// A replica's sample counts for more just after the primary's.
bool Checker::Impl::waits_for_primary(ServerId server, TimePoint now) const {
    const auto primary = cluster.primary();
    if (!primary || *primary == server) return false;
    const Watch& watch = *watches[primary->index];
    return watch.is_busy && watch.is_last_good && now - watch.started_at < kPrimaryFirst;
}

std::optional<Checker::Impl::Kind> Checker::Impl::due(ServerId server, TimePoint now) const {
    const Watch& watch = *watches[server.index];
    if (watch.is_busy || waits_for_primary(server, now)) return std::nullopt;
    if (now >= watch.next_full) return Kind::full;
    if (now >= next_due(server, now)) return Kind::cheap;
    return std::nullopt;
}

TimePoint Checker::Impl::next_due(ServerId server, TimePoint now) const {
    const Watch& watch = *watches[server.index];
    if (watch.is_busy) return TimePoint::max();  // its end calls tick()
    if (waits_for_primary(server, now))
        return watches[cluster.primary()->index]->started_at + kPrimaryFirst;
    auto next = watch.next_full;
    if (watch.is_last_good && watch.probe.is_connected() &&
        cluster.answered_as(server) != Role::unknown) {
        next = std::min(next, watch.started_at + cheap_interval(now));
        if (cluster.primary() == server) next = std::min(next, look_again_at);
    }
    return next;
}

void Checker::Impl::start_probe(ServerId server, Kind kind, TimePoint now) {
    Watch& watch = *watches[server.index];
    watch.is_busy = true;
    watch.started_at = now;
    ++watch.probes;
    probes.fetch_add(1, std::memory_order_relaxed);
    if (cluster.primary() == server) {
        look_again_at = TimePoint::max();
        if (kind == Kind::cheap && evidence.is_freshness_wanted(now))
            fast_rounds.fetch_add(1, std::memory_order_relaxed);
    }
    spawn(probe(server, kind));
}

asio::awaitable<void> Checker::Impl::probe(ServerId server, Kind kind) {
    Watch& watch = *watches[server.index];
    const auto started_at = watch.started_at;
    const auto result = co_await ask(server, kind, started_at + config->health.timeout);
    watch.is_busy = false;
    if (is_stopping) co_return;
    take(server, result, started_at);
    const auto now = Clock::now();
    if (kind == Kind::full || !watch.is_last_good) {
        auto interval = Clock::duration{cluster.status(server).probe_interval()};
        if (!cluster.primary()) interval = config->health.interval;  // somebody has to become it
        watch.next_full = started_at + interval;
    }
    // A role or a run that only a full probe can tell.
    if (watch.is_last_good && cluster.answered_as(server) == Role::unknown) watch.next_full = now;
    if (cluster.is_off_timeline(server))
        watch.next_full = std::min(watch.next_full, started_at + kOffTimelineInterval);
    publish(now);
    consider_nudge(now);
    // Between regular probes a broken connection is noticed at once; between fast ones soon enough.
    if (watch.is_last_good && !watch.is_busy && !evidence.is_freshness_wanted(now))
        watch.probe.watch([this, server] { on_lost(server); });
    tick();
}

void Checker::Impl::on_lost(ServerId server) {
    Watch& watch = *watches[server.index];
    if (is_stopping || watch.is_busy) return;
    const auto now = Clock::now();
    cluster.discard(server, now);
    publish(now);
    watch.next_full = now;
    tick();
}

asio::awaitable<ProbeResult> Checker::Impl::ask(ServerId server, Kind kind, TimePoint deadline) {
    Watch& watch = *watches[server.index];
    const bool was_connected = watch.probe.is_connected();
    const auto renew = [&watch] {
        watch.must_renew = false;
        watch.renewed_at = Clock::now();
        return Probe::Connection::renew;
    };
    if (kind == Kind::cheap) {
        const bool in_recovery = cluster.answered_as(server) == Role::replica;
        auto result = co_await watch.probe.cheap(in_recovery, deadline);
        if (std::holds_alternative<Observation>(result)) co_return result;
    } else {
        const auto connection =
            watch.must_renew || !was_connected ? renew() : Probe::Connection::keep;
        auto result = co_await watch.probe.full(connection, deadline);
        const auto* const error = std::get_if<PgError>(&result);
        if (!error || !was_connected || error->kind != PgError::Kind::lost) co_return result;
    }
    if (Clock::now() >= deadline || is_stopping)
        co_return PgError{PgError::Kind::timeout, {}, "timeout"};
    // The connection that stood until now is gone (or a cheap probe was refused, as after a
    // promotion): at once nothing known counts any more, and a new connection tells whether the
    // server is gone too.
    cluster.discard(server, Clock::now());
    publish(Clock::now());
    co_return co_await watch.probe.full(renew(), deadline);
}

void Checker::Impl::take(ServerId server, const ProbeResult& result, TimePoint started_at) {
    Watch& watch = *watches[server.index];
    if (const auto* const seen = std::get_if<Observation>(&result)) {
        watch.is_last_good = true;
        cluster.succeeded(server, *seen);
    } else {
        const auto& error = std::get<PgError>(result);
        watch.is_last_good = false;
        ++watch.failures;
        watch.last_error = error.text;
        watch.probe.close();
        cluster.failed(server, started_at, error.text);
        log::debug("a probe failed", "server", config->servers[server.index].name, "error",
                   error.text);
    }
}

void Checker::Impl::consider_nudge(TimePoint now) {
    const auto spacing = config->health.nudge_interval;
    if (spacing == 0ms || is_nudging) return;
    const auto patience =
        evidence.is_freshness_wanted(now) ? Cluster::kHeldUpWanted : Cluster::kHeldUpIdle;
    const auto verdict = cluster.nudge(patience);
    if (verdict == Cluster::Nudge::no) return;
    const auto primary = *cluster.primary();
    if (verdict == Cluster::Nudge::soon || now - nudged_at < spacing ||
        watches[primary.index]->is_busy) {
        look_again_at = std::min(look_again_at, std::max(now + patience, nudged_at + spacing));
        return;
    }
    nudged_at = now;
    is_nudging = true;
    watches[primary.index]->is_busy = true;  // its connection is in use
    nudges.fetch_add(1, std::memory_order_relaxed);
    spawn(nudge(primary));
}

// Then asks all of them again, as soon as the WAL can have arrived.
asio::awaitable<void> Checker::Impl::nudge(ServerId primary) {
    Watch& watch = *watches[primary.index];
    const auto error = co_await watch.probe.nudge(Clock::now() + config->health.timeout);
    is_nudging = false;
    watch.is_busy = false;
    if (is_stopping) co_return;
    const auto now = Clock::now();
    if (error) {
        log::warning("cannot make the primary flush its WAL", "server",
                     config->servers[primary.index].name, "error", error.text);
        watch.next_full = now;
    }
    constexpr auto kOnItsWay = 2ms;
    look_again_at = now + kOnItsWay;
    for (std::uint16_t i = 0; i < watches.size(); ++i)
        if (ServerId{i} != primary && watches[i]->is_last_good)
            watches[i]->started_at = now + kOnItsWay - cheap_interval(now);
    tick();
}

bool Checker::Impl::is_news(const routing::Topology& next) const {
    const auto& last = *published;
    if (next.primary != last.primary) return true;
    const Clock::duration refresh = config->health.interval / 4;
    for (std::size_t i = 0; i < next.servers.size(); ++i) {
        const auto& before = last.servers[i];
        const auto& after = next.servers[i];
        if (after.role != before.role || after.status != before.status ||
            after.incarnation != before.incarnation || after.fresh_as_of != before.fresh_as_of)
            return true;
        if (after.checked_at == before.checked_at) continue;
        const auto lost_at = evidence.lost_at(ServerId{static_cast<std::uint16_t>(i)});
        if (before.checked_at == kNever || after.checked_at - before.checked_at >= refresh ||
            (lost_at != kNever && lost_at >= before.checked_at))
            return true;
    }
    return false;
}

// Requests in flight on a server have to leave it.
bool Checker::Impl::must_leave(const routing::Topology& next) const {
    for (std::size_t i = 0; i < next.servers.size(); ++i) {
        const auto& before = published->servers[i];
        const auto& after = next.servers[i];
        if (after.role != before.role || after.incarnation.number != before.incarnation.number ||
            (after.status == Status::unhealthy && before.status != Status::unhealthy))
            return true;
    }
    return false;
}

void Checker::Impl::publish(TimePoint now) {
    auto next = cluster.assess(now);
    for (std::uint16_t i = 0; i < watches.size(); ++i) note_facts(ServerId{i});
    if (!is_news(next)) return;
    const bool is_new_primary = next.primary && next.primary != published->primary;
    const bool is_change = must_leave(next) || next.primary != published->primary;
    if (is_new_primary)  // what its replicas are worth shows in their next answers
        for (auto& watch : watches) watch->next_full = now;
    log_changes(next);
    next.version = published->version + 1;
    published = std::make_shared<const routing::Topology>(std::move(next));
    store.publish(published);
    if (!is_change) return;
    topology_changes.fetch_add(1, std::memory_order_relaxed);
    if (on_server_change) on_server_change(published);
}

void Checker::Impl::log_changes(const routing::Topology& next) {
    for (std::uint16_t i = 0; i < watches.size(); ++i) {
        const auto& after = next.servers[i];
        const std::string& server = config->servers[i].name;
        if (after.status != published->servers[i].status) {
            const bool is_bad =
                after.status == Status::unhealthy || after.status == Status::degraded;
            const auto& reason = cluster.status(ServerId{i}).reason();
            if (is_bad)
                log::warning("server is not healthy", "server", server, "status",
                             name(after.status), "reason", reason);
            else
                log::info("server is healthy", "server", server, "role", name(after.role));
        }
        if (after.role != published->servers[i].role)
            log::info("server changed its role", "server", server, "role", name(after.role),
                      "timeline", after.incarnation.timeline);
    }
    if (next.primary != published->primary) {
        if (next.primary)
            log::info("there is a primary", "server", config->servers[next.primary->index].name,
                      "timeline", next[*next.primary].incarnation.timeline);
        else
            log::error("there is no primary: nothing can be written");
    }
    if (cluster.roles().is_split && !was_split)
        log::error("several servers claim to be primary on one timeline: nothing can be written");
    was_split = cluster.roles().is_split;
}

void Checker::Impl::note_facts(ServerId server) {
    const Watch& watch = *watches[server.index];
    const NodeStatus& status = cluster.status(server);
    const std::lock_guard lock{mutex};
    Facts& fact = facts[server.index];
    if (fact.status_reason != status.reason()) fact.status_reason = status.reason();
    if (fact.last_error != watch.last_error) fact.last_error = watch.last_error;
    fact.consecutive_failures = status.consecutive_failures();
    fact.probes = watch.probes;
    fact.failures = watch.failures;
}

Checker::Checker(std::shared_ptr<const conf::Config> config,
                 TopologyStore& store,
                 Evidence& evidence)
    : impl_{std::make_unique<Impl>(std::move(config), store, evidence)} {}

Checker::~Checker() { stop(); }

void Checker::on_server_change(std::function<void(TopologyPtr)> callback) {
    impl_->on_server_change = std::move(callback);
}

void Checker::start() {
    impl_->thread = std::thread{[this] { impl_->run(); }};
}

void Checker::stop() {
    if (!impl_->thread.joinable()) return;
    asio::post(*impl_->io, [this] {
        impl_->is_stopping = true;
        impl_->io->stop();
    });
    impl_->thread.join();
}

std::vector<ServerReport> Checker::report() const {
    const auto topology = impl_->store.load();
    const auto now = Clock::now();
    const auto seconds = [](Clock::duration time) {
        return std::chrono::duration<double>(time).count();
    };
    std::vector<ServerReport> reports;
    const std::lock_guard lock{impl_->mutex};
    for (std::size_t i = 0; i < topology->servers.size(); ++i) {
        const auto& server = topology->servers[i];
        const auto& fact = impl_->facts[i];
        auto& report = reports.emplace_back();
        report.name = impl_->config->servers[i].name;
        report.host = impl_->config->servers[i].host;
        report.port = impl_->config->servers[i].port;
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
        const bool is_primary = topology->primary && topology->primary->index == i;
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
