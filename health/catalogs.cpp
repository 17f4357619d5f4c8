#include "health/catalogs.hpp"

#include "conf/log.hpp"
#include "health/catalog_loader.hpp"
#include "routing/classify.hpp"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <algorithm>
#include <exception>
#include <map>
#include <mutex>
#include <pthread.h>
#include <stdexcept>
#include <utility>

namespace pgsteer::health {

namespace asio = boost::asio;
using routing::Clock;
using routing::TimePoint;
using namespace std::chrono_literals;

namespace {

// Looks that somebody asked for are at least this far apart: a migration is many statements.
constexpr auto kSpacing = 20ms;
// Those that may be wanted with every request; doubled while they find nothing new, so that an
// application that keeps naming what does not exist costs the primary nothing.
constexpr auto kRareSpacing = 1s;
constexpr auto kFirstRetry = 500ms;
constexpr auto kLastRetry = 30s;
constexpr auto kLookTimeout = 30s;
// Databases looked at at once. More than one, so that one that hangs does not hold up the others.
constexpr int kLookers = 3;

}  // namespace

struct Catalogs::Impl {
    struct Entry {
        std::shared_ptr<CatalogStore> store;
        bool is_busy = false;
        std::uint64_t answered = 0;  // what was asked before this is done, or has failed
        TimePoint started_at = TimePoint{};
        TimePoint next_look = TimePoint{};  // at once
        Clock::duration retry = kFirstRetry;
        bool was_wanted = false;  // the look that is under way
        Clock::duration rare_spacing = kRareSpacing;
        std::string fingerprint;
        routing::ServerId source;  // of the fingerprint, and which run of it
        routing::Incarnation incarnation;
        // For report(): guarded by the mutex.
        std::string last_error;
        TimePoint looked_at = routing::kNever;
        std::uint64_t loaded = 0, unchanged = 0, failed = 0;
    };

    Impl(std::shared_ptr<const conf::Config> the_config, const TopologyStore& the_topology)
        : config{std::move(the_config)},
          topology{the_topology},
          overrides{overrides_of(config->routing)} {
        for (int i = 0; i < kLookers; ++i)
            timers.push_back(std::make_unique<asio::steady_timer>(*io));
    }

    void wake();
    void run();
    std::shared_ptr<CatalogStore> database(const std::string& name);
    asio::awaitable<void> work(asio::steady_timer& timer);
    std::shared_ptr<Entry> next(TimePoint now, TimePoint& when);
    TimePoint due(const Entry& entry) const;
    asio::awaitable<void> look(Entry& entry);
    void take(Entry& entry, CatalogAnswer answer);
    void fail(Entry& entry, const std::string& error);
    void look_at_all_again();

    std::shared_ptr<const conf::Config> config;
    const TopologyStore& topology;
    std::shared_ptr<const routing::FunctionOverrides> overrides;
    std::shared_ptr<asio::io_context> io = std::make_shared<asio::io_context>(1);
    std::vector<std::unique_ptr<asio::steady_timer>> timers;  // of the lookers that wait
    std::function<void()> on_change;
    bool is_stopping = false;
    std::uint64_t last_epoch = 0;

    mutable std::mutex mutex;  // of the map, and of what report() shows
    std::map<std::string, std::shared_ptr<Entry>> entries;

    pthread_t thread{};
    bool is_started = false;
};

// From any thread.
void Catalogs::Impl::wake() {
    asio::post(*io, [this] {
        for (auto& timer : timers) timer->cancel();
    });
}

std::shared_ptr<CatalogStore> Catalogs::Impl::database(const std::string& name) {
    {
        const std::lock_guard lock{mutex};
        auto& entry = entries[name];
        if (entry) return entry->store;
        entry = std::make_shared<Entry>();
        entry->store = std::make_shared<CatalogStore>(name, [this] { wake(); });
    }
    wake();
    const std::lock_guard lock{mutex};
    return entries[name]->store;
}

TimePoint Catalogs::Impl::due(const Entry& entry) const {
    const bool has_failed = entry.retry != kFirstRetry;
    if (has_failed) return entry.next_look;
    if (entry.store->asked() > entry.answered)
        return std::min(entry.next_look, entry.started_at + kSpacing);
    if (entry.store->is_wanted())
        return std::min(entry.next_look, entry.started_at + entry.rare_spacing);
    return entry.next_look;
}

std::shared_ptr<Catalogs::Impl::Entry> Catalogs::Impl::next(TimePoint now, TimePoint& when) {
    const std::lock_guard lock{mutex};
    std::shared_ptr<Entry> first;
    when = now + 10s;
    for (const auto& [name, entry] : entries) {
        if (entry->is_busy) continue;
        const TimePoint at = due(*entry);
        if (at > when) continue;
        when = at;
        first = entry;
    }
    return first && when <= now ? first : nullptr;
}

asio::awaitable<void> Catalogs::Impl::work(asio::steady_timer& timer) {
    while (!is_stopping) {
        TimePoint when{};
        const auto entry = next(Clock::now(), when);
        if (entry) {
            entry->is_busy = true;
            co_await look(*entry);
            entry->is_busy = false;
        } else {
            timer.expires_at(when);
            co_await timer.async_wait(asio::as_tuple(asio::use_awaitable));
        }
    }
}

asio::awaitable<void> Catalogs::Impl::look(Entry& entry) {
    const auto now = Clock::now();
    entry.was_wanted = entry.store->is_wanted();
    entry.store->begins();
    const auto asked = entry.store->asked();
    const auto servers = topology.load();
    entry.started_at = now;
    if (!servers->primary) {
        entry.next_look = now + 50ms;  // soon, and no failure of the database's
        entry.answered = asked;
        co_return;
    }
    const auto primary = *servers->primary;
    const auto& incarnation = (*servers)[primary].incarnation;
    const bool is_same_run = entry.source == primary && entry.incarnation == incarnation;
    std::string known;
    if (is_same_run) known = entry.fingerprint;
    auto answer = co_await look_at_catalog(io->get_executor(), config->servers[primary.index],
                                           config->health, entry.store->database(),
                                           std::move(known), overrides, now + kLookTimeout);
    if (is_stopping) co_return;
    entry.answered = asked;
    if (answer.error) {
        fail(entry, answer.error.text);
    } else {
        entry.source = primary;
        entry.incarnation = incarnation;
        take(entry, std::move(answer));
        entry.store->looked(asked);
    }
}

void Catalogs::Impl::take(Entry& entry, CatalogAnswer answer) {
    entry.retry = kFirstRetry;
    entry.next_look = entry.started_at + config->routing.catalog_interval;
    entry.fingerprint = std::move(answer.fingerprint);
    const bool is_new = answer.catalog != nullptr;
    if (is_new)
        entry.rare_spacing = kRareSpacing;
    else if (entry.was_wanted)
        entry.rare_spacing =
            std::min<Clock::duration>(entry.rare_spacing * 2, config->routing.catalog_interval);
    if (is_new) {
        answer.catalog->set_epoch(++last_epoch);
        log::info(
            "catalog loaded", "database", entry.store->database(), "epoch", last_epoch, "bytes",
            answer.catalog->memory_bytes(), "milliseconds",
            std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - entry.started_at)
                .count());
        if (const auto& obstacle = answer.catalog->obstacle())
            log::warning("all reads of a database run on the primary", "database",
                         entry.store->database(), "reason", routing::name(obstacle->reason),
                         "because_of", obstacle->detail);
        entry.store->publish(std::move(answer.catalog));
    }
    {
        const std::lock_guard lock{mutex};
        ++(is_new ? entry.loaded : entry.unchanged);
        entry.last_error.clear();
        entry.looked_at = entry.started_at;
    }
    entry.store->tried();
    if (is_new && on_change) on_change();
}

// What was known stays: a look that fails says nothing about the catalog.
void Catalogs::Impl::fail(Entry& entry, const std::string& error) {
    entry.next_look = Clock::now() + entry.retry;
    entry.retry = std::min<Clock::duration>(entry.retry * 2, kLastRetry);
    bool is_news = false;
    {
        const std::lock_guard lock{mutex};
        ++entry.failed;
        is_news = entry.last_error != error;
        entry.last_error = error;
    }
    if (is_news)
        log::warning("the catalog of a database cannot be read", "database",
                     entry.store->database(), "error", error, "reads",
                     entry.store->load() ? "by the catalog known so far" : "on the primary");
    const bool is_first = !entry.store->is_tried();
    entry.store->tried();
    if (is_first && on_change) on_change();
}

void Catalogs::Impl::look_at_all_again() {
    const auto now = Clock::now();
    {
        const std::lock_guard lock{mutex};
        for (const auto& [name, entry] : entries) {
            entry->next_look = now;
            entry->retry = kFirstRetry;
        }
    }
    for (auto& timer : timers) timer->cancel();
}

void Catalogs::Impl::run() {
    for (auto& timer : timers)
        asio::co_spawn(*io, work(*timer), [](const std::exception_ptr& failure) {
            if (!failure) return;
            try {
                std::rethrow_exception(failure);
            } catch (const std::exception& error) {
                log::error("looking at catalogs failed unexpectedly", "error", error.what());
            }
        });
    io->run();
}

Catalogs::Catalogs(std::shared_ptr<const conf::Config> config, const TopologyStore& topology)
    : impl_{std::make_unique<Impl>(std::move(config), topology)} {}

Catalogs::~Catalogs() { stop(); }

void Catalogs::on_change(std::function<void()> callback) { impl_->on_change = std::move(callback); }

void Catalogs::start() {
    for (const auto& database : impl_->config->databases)
        if (database.name != "*")
            impl_->database(database.server_name.empty() ? database.name : database.server_name);
    // The SQL of views is classified on this thread.
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, routing::kParserStackBytes);
    const auto body = [](void* self) -> void* {
        static_cast<Impl*>(self)->run();
        return nullptr;
    };
    impl_->is_started = pthread_create(&impl_->thread, &attributes, body, impl_.get()) == 0;
    pthread_attr_destroy(&attributes);
    if (!impl_->is_started) throw std::runtime_error("cannot start the thread of the catalogs");
}

void Catalogs::stop() {
    if (!impl_->is_started) return;
    impl_->is_started = false;
    asio::post(*impl_->io, [impl = impl_.get()] {
        impl->is_stopping = true;
        impl->io->stop();
    });
    pthread_join(impl_->thread, nullptr);
}

std::shared_ptr<CatalogStore> Catalogs::database(const std::string& name) {
    return impl_->database(name);
}

void Catalogs::servers_changed() {
    asio::post(*impl_->io, [impl = impl_.get()] { impl->look_at_all_again(); });
}

std::vector<CatalogReport> Catalogs::report() const {
    std::vector<CatalogReport> reports;
    const auto now = Clock::now();
    const std::lock_guard lock{impl_->mutex};
    for (const auto& [name, entry] : impl_->entries) {
        auto& report = reports.emplace_back();
        report.database = name;
        report.last_error = entry->last_error;
        report.loaded = entry->loaded;
        report.unchanged = entry->unchanged;
        report.failed = entry->failed;
        if (entry->looked_at != routing::kNever)
            report.age_seconds = std::chrono::duration<double>(now - entry->looked_at).count();
        const auto catalog = entry->store->load();
        if (!catalog) continue;
        report.is_loaded = true;
        report.epoch = catalog->epoch();
        report.bytes = catalog->memory_bytes();
        if (const auto& obstacle = catalog->obstacle()) report.obstacle = obstacle->detail;
    }
    return reports;
}

}  // namespace pgsteer::health
