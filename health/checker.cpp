#include "health/checker_impl.hpp"

#include <algorithm>
#include <chrono>
#include <utility>

namespace pgsteer::health {

using routing::Role;
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
    for (const auto server : servers.ids())
        if (primary != server) visit(server);
    return next;
}

bool Checker::Impl::is_doubted_anew(ServerId server) {
    const auto at = evidence.doubted_at(server);
    return at > std::exchange(watch_of(server).doubt_seen, at);
}

bool Checker::Impl::is_look_wanted_anew(ServerId server) {
    const auto at = evidence.look_wanted_at(server);
    return at > std::exchange(watch_of(server).look_seen, at);
}

// The primary is in trouble, or a server is not what it was: who is what has to be found out anew,
// and no server's back-off may delay that.
void Checker::Impl::ask_all(TimePoint now) {
    for (const auto server : servers.ids()) {
        Watch& watch = watch_of(server);
        cluster.reset_back_off(server);
        const auto earliest = std::max(now, watch.started_at + kEvidenceSpacing);
        watch.next_full = std::min(watch.next_full, earliest);
    }
}

void Checker::Impl::look_at_evidence(TimePoint now) {
    for (const auto server : servers.ids()) {
        Watch& watch = watch_of(server);
        const bool is_doubted = is_doubted_anew(server);
        const bool is_look_wanted = is_look_wanted_anew(server);
        if (!is_doubted && !is_look_wanted) continue;
        const bool is_urgent = is_doubted && watch.is_last_good;
        if (is_doubted) {
            cluster.discard(server, watch.doubt_seen);
            cluster.reset_back_off(server);
            if (cluster.primary() == server) ask_all(now);
        }
        watch.must_renew = now - watch.renewed_at >= kRenewSpacing;
        const auto earliest = is_urgent ? now : watch.started_at + kEvidenceSpacing;
        watch.next_full = std::min(watch.next_full, std::max(now, earliest));
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
    const Watch& watch = watch_of(*primary);
    return watch.is_busy && watch.is_last_good && now - watch.started_at < kPrimaryFirst;
}

std::optional<Checker::Impl::Kind> Checker::Impl::due(ServerId server, TimePoint now) const {
    const Watch& watch = watch_of(server);
    if (watch.is_busy || waits_for_primary(server, now)) return std::nullopt;
    if (now >= watch.next_full || cluster.must_be_asked(server)) return Kind::full;
    if (now >= next_due(server, now)) return Kind::cheap;
    return std::nullopt;
}

TimePoint Checker::Impl::next_due(ServerId server, TimePoint now) const {
    const Watch& watch = watch_of(server);
    if (watch.is_busy) return TimePoint::max();  // its end calls tick()
    if (waits_for_primary(server, now))
        return watch_of(*cluster.primary()).started_at + kPrimaryFirst;
    auto next = watch.next_full;
    if (watch.is_last_good && watch.probe.is_connected() &&
        cluster.answered_as(server) != Role::unknown) {
        next = std::min(next, watch.started_at + cheap_interval(now));
        if (cluster.primary() == server) next = std::min(next, look_again_at);
    }
    return next;
}

void Checker::Impl::start_probe(ServerId server, Kind kind, TimePoint now) {
    Watch& watch = watch_of(server);
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
    Watch& watch = watch_of(server);
    const auto started_at = watch.started_at;
    const auto result = co_await ask(server, kind, started_at + config->health.timeout);
    watch.is_busy = false;
    if (is_stopping) co_return;
    take(server, result, started_at);
    const auto now = Clock::now();
    if (kind == Kind::full || !watch.is_last_good) {
        auto interval = Clock::duration{cluster.status(server).probe_interval()};
        // Somebody else may become it, or have become it.
        if (!cluster.has_sound_primary()) interval = config->health.interval;
        watch.next_full = started_at + interval;
        // What was noticed after the question was sent is not answered by this.
        const auto* const seen = std::get_if<Observation>(&result);
        const auto asked_at = seen ? seen->sent_at : started_at;
        if (watch.doubt_seen >= asked_at || watch.look_seen >= asked_at)
            watch.next_full = std::min(watch.next_full, started_at + kEvidenceSpacing);
        if (watch.doubt_seen >= asked_at && seen) watch.next_full = now;
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
    Watch& watch = watch_of(server);
    if (is_stopping || watch.is_busy) return;
    const auto now = Clock::now();
    connection_lost(server, now);
    watch.next_full = now;
    tick();
}

// The connection that stood until now is gone: at once nothing known counts any more. The primary
// may be back in a moment as somebody who is none any more, so nothing is sent there before it is
// asked.
void Checker::Impl::connection_lost(ServerId server, TimePoint now) {
    cluster.discard(server, now);
    if (cluster.primary() == server) {
        doubt(server, now);
        ask_all(now);
    }
    publish(now);
}

void Checker::Impl::doubt(ServerId server, TimePoint since) {
    evidence.doubt(server, since);
    Watch& watch = watch_of(server);
    watch.doubt_seen = std::max(watch.doubt_seen, since);
}

asio::awaitable<ProbeResult> Checker::Impl::ask(ServerId server, Kind kind, TimePoint deadline) {
    Watch& watch = watch_of(server);
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
    // A new connection tells whether the server is gone too (a cheap probe is refused after a
    // promotion as well).
    connection_lost(server, Clock::now());
    co_return co_await watch.probe.full(renew(), deadline);
}

void Checker::Impl::take(ServerId server, const ProbeResult& result, TimePoint started_at) {
    Watch& watch = watch_of(server);
    if (const auto* const seen = std::get_if<Observation>(&result)) {
        watch.is_last_good = true;
        cluster.succeeded(server, *seen);
        note_configuration(server, *seen);
    } else {
        const auto& error = std::get<PgError>(result);
        watch.is_last_good = false;
        ++watch.failures;
        watch.last_error = error.text;
        watch.probe.close();
        cluster.failed(server, started_at, error.text);
        if (cluster.primary() == server) ask_all(Clock::now());
        log::debug("a probe failed", "server", servers[server].name, "error", error.text);
    }
}

// A restart is told as such: its sessions are all new.
void Checker::Impl::note_configuration(ServerId server, const Observation& seen) {
    if (!seen.is_full) return;
    const auto before = std::exchange(watch_of(server).configured_us, seen.configured_us);
    if (before != 0 && before != seen.configured_us && on_configuration_change)
        on_configuration_change(server);
}

void Checker::Impl::consider_nudge(TimePoint now) {
    const auto spacing = config->health.nudge_interval;
    if (spacing == 0ms || is_nudging) return;
    const auto patience =
        evidence.is_freshness_wanted(now) ? Cluster::kHeldUpWanted : Cluster::kHeldUpIdle;
    const auto verdict = cluster.nudge(patience);
    if (verdict == Cluster::Nudge::no) return;
    const auto primary = *cluster.primary();
    if (verdict == Cluster::Nudge::soon || now - nudged_at < spacing || watch_of(primary).is_busy) {
        look_again_at = std::min(look_again_at, std::max(now + patience, nudged_at + spacing));
        return;
    }
    nudged_at = now;
    is_nudging = true;
    watch_of(primary).is_busy = true;  // its connection is in use
    nudges.fetch_add(1, std::memory_order_relaxed);
    spawn(nudge(primary));
}

// Then asks all of them again, as soon as the WAL can have arrived.
asio::awaitable<void> Checker::Impl::nudge(ServerId primary) {
    Watch& watch = watch_of(primary);
    const auto error = co_await watch.probe.nudge(Clock::now() + config->health.timeout);
    is_nudging = false;
    watch.is_busy = false;
    if (is_stopping) co_return;
    const auto now = Clock::now();
    if (error) {
        log::warning("cannot make the primary flush its WAL", "server", servers[primary].name,
                     "error", error.text);
        watch.next_full = now;
    }
    constexpr auto kOnItsWay = 2ms;
    look_again_at = now + kOnItsWay;
    for (const auto server : servers.ids())
        if (server != primary && watch_of(server).is_last_good)
            watch_of(server).started_at = now + kOnItsWay - cheap_interval(now);
    tick();
}

Checker::Checker(std::shared_ptr<const conf::Config> config,
                 ServerTable servers,
                 TopologyStore& store,
                 Evidence& evidence)
    : impl_{std::make_unique<Impl>(std::move(config), std::move(servers), store, evidence)} {}

Checker::~Checker() { stop(); }

void Checker::on_configuration_change(std::function<void(ServerId)> callback) {
    impl_->on_configuration_change = std::move(callback);
}

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

}  // namespace pgsteer::health
