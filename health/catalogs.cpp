#include "health/catalogs.hpp"

#include "conf/log.hpp"
#include "health/catalog_loader.hpp"
#include "health/commit_watch.hpp"
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
#include <optional>
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
// A catalog that could not be read in whole, because of DDL under way, is read again at once, then
// after the usual retries.
constexpr int kTriesAtOnce = 3;
// Nobody is logged in to it: no looks any more, and forgotten.
constexpr auto kForgetAfter = 15min;
constexpr auto kLeft = 6s;  // PostgreSQL waits for 5 s for others to leave a database
// Databases looked at at once. More than one, so that one that hangs does not hold up the others.
constexpr int kLookers = 3;

// Empty: there are none. What follows, if anything does, is the database's own.
std::string_view role_settings_in(std::string_view fingerprint) {
    const auto parts = fingerprint.substr(0, fingerprint.find(" | "));
    const auto begin = parts.find(kRoleSettingsPart);
    if (begin == std::string_view::npos) return {};
    const auto end = parts.find_first_not_of("-0123456789 ", begin + kRoleSettingsPart.size());
    const auto part = parts.substr(begin, end - begin);
    return part.substr(0, part.find_last_not_of(' ') + 1);
}

}  // namespace

struct Catalogs::Impl {
    struct Entry {
        std::shared_ptr<CatalogStore> store;
        bool is_busy = false;
        std::uint64_t answered = 0;  // what was asked before this is done, or has failed
        std::uint64_t asked = 0;     // before the look that is under way
        TimePoint started_at = TimePoint{};
        TimePoint next_look = TimePoint{};  // at once
        TimePoint left_until = TimePoint{};
        Clock::duration retry = kFirstRetry;
        bool has_failed = false;  // the last look
        bool was_wanted = false;  // the look that is under way
        Clock::duration rare_spacing = kRareSpacing;
        std::string fingerprint;
        std::string state;         // of CommitWatch, from before the last good look; "": not known
        routing::ServerId source;  // of the fingerprint, and which run of it
        routing::Incarnation incarnation;
        std::vector<std::string> unreadable;  // see CatalogAnswer
        bool is_configured = false;
        bool is_gone = false;             // the database does not exist any more: only looked for
        TimePoint used_at = TimePoint{};  // when somebody was logged in to it last
        // For report(): guarded by the mutex.
        std::string last_error;
        TimePoint looked_at = routing::kNever;
        std::uint64_t loaded = 0, unchanged = 0, failed = 0;
    };

    Impl(std::shared_ptr<const conf::Config> the_config,
         ServerTable the_servers,
         const TopologyStore& the_topology)
        : config{std::move(the_config)},
          table{std::move(the_servers)},
          topology{the_topology},
          overrides{overrides_of(config->routing)},
          commits{io->get_executor(), config, table} {
        for (int i = 0; i < kLookers; ++i)
            timers.push_back(std::make_unique<asio::steady_timer>(*io));
    }

    void wake();
    void run();
    std::shared_ptr<CatalogStore> database(const std::string& name);
    asio::awaitable<void> work(asio::steady_timer& timer);
    std::shared_ptr<Entry> next(TimePoint now, TimePoint& when);
    TimePoint due(const Entry& entry) const;
    void forget_unused(TimePoint now);
    asio::awaitable<void> look(std::shared_ptr<Entry> entry);
    asio::awaitable<CatalogAnswer> read(const Entry& entry, routing::ServerId primary);
    std::vector<std::shared_ptr<Entry>> may_be_unchanged(const routing::Topology& servers,
                                                         TimePoint now);
    bool is_known(const Entry& entry, const routing::Topology& servers) const;
    void begin(Entry& entry, TimePoint now);
    void take_unchanged(Entry& entry);
    void take(Entry& entry, CatalogAnswer answer);
    void publish(Entry& entry, CatalogAnswer answer);
    void note_role_settings(std::string_view fingerprint);
    void fail(Entry& entry, const PgError& error);
    asio::awaitable<bool> is_dropped(const Entry& entry, routing::ServerId primary);
    void gone(const std::shared_ptr<Entry>& entry);
    void look_at_all_again();

    std::shared_ptr<const conf::Config> config;
    ServerTable table;
    const TopologyStore& topology;
    std::shared_ptr<const routing::FunctionOverrides> overrides;
    std::shared_ptr<asio::io_context> io = std::make_shared<asio::io_context>(1);
    CommitWatch commits;
    std::vector<std::unique_ptr<asio::steady_timer>> timers;  // of the lookers that wait
    std::function<void()> on_change;
    std::function<void()> on_role_settings;
    std::optional<std::string> role_settings;  // as last seen, in whichever database
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
    const std::lock_guard lock{mutex};
    auto& entry = entries[name];
    if (!entry) {
        entry = std::make_shared<Entry>();
        entry->store = std::make_shared<CatalogStore>(name, [this] { wake(); });
        entry->used_at = Clock::now();
        wake();
    } else if (entry->is_gone) {  // made again
        entry->store->ask();
    }
    return entry->store;
}

// Also asks a database that is gone whether it is back. With the mutex held.
void Catalogs::Impl::forget_unused(TimePoint now) {
    std::erase_if(entries, [now](const auto& known) {
        Entry& entry = *known.second;
        const bool is_used = entry.is_configured || entry.store.use_count() > 1;
        if (is_used) entry.used_at = now;
        return !is_used && !entry.is_busy && (entry.is_gone || now - entry.used_at > kForgetAfter);
    });
}

TimePoint Catalogs::Impl::due(const Entry& entry) const {
    if (entry.has_failed) return entry.next_look;
    if (entry.store->asked() > entry.answered)
        return std::min(entry.next_look, entry.started_at + kSpacing);
    if (entry.store->is_wanted())
        return std::min(entry.next_look, entry.started_at + entry.rare_spacing);
    return entry.next_look;
}

std::shared_ptr<Catalogs::Impl::Entry> Catalogs::Impl::next(TimePoint now, TimePoint& when) {
    const std::lock_guard lock{mutex};
    forget_unused(now);
    std::shared_ptr<Entry> first;
    when = now + 10s;
    for (const auto& [name, entry] : entries) {
        if (entry->is_busy) continue;
        const TimePoint at = std::max(due(*entry), entry->left_until);
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
            co_await look(entry);
            entry->is_busy = false;
        } else {
            timer.expires_at(when);
            co_await timer.async_wait(asio::as_tuple(asio::use_awaitable));
        }
    }
}

void Catalogs::Impl::begin(Entry& entry, TimePoint now) {
    entry.was_wanted = entry.store->is_wanted();
    entry.store->begins();
    entry.asked = entry.store->asked();
    entry.started_at = now;
}

bool Catalogs::Impl::is_known(const Entry& entry, const routing::Topology& servers) const {
    return servers.primary && entry.source == *servers.primary &&
           entry.incarnation == servers[*servers.primary].incarnation;
}

// Those that one question may answer: due, or so soon that it need not be asked again. They are
// busy until then.
std::vector<std::shared_ptr<Catalogs::Impl::Entry>> Catalogs::Impl::may_be_unchanged(
    const routing::Topology& servers, TimePoint now) {
    std::vector<std::shared_ptr<Entry>> found;
    const std::lock_guard lock{mutex};
    for (const auto& [name, entry] : entries) {
        if (entry->is_busy || entry->state.empty() || !is_known(*entry, servers) ||
            due(*entry) > now + config->routing.catalog_interval / 4)
            continue;
        entry->is_busy = true;
        begin(*entry, now);
        found.push_back(entry);
    }
    return found;
}

asio::awaitable<void> Catalogs::Impl::look(std::shared_ptr<Entry> entry) {
    const auto now = Clock::now();
    begin(*entry, now);
    const auto servers = topology.load();
    if (!servers->primary) {
        entry->next_look = now + 50ms;  // soon, and no failure of the database's
        entry->answered = entry->asked;
        co_return;
    }
    const auto primary = *servers->primary;
    const auto others = may_be_unchanged(*servers, now);
    const auto state = co_await commits.state(primary);
    if (is_stopping) co_return;
    for (const auto& other : others) {
        other->is_busy = false;
        if (!state.empty() && other->state == state)
            take_unchanged(*other);
        else
            other->next_look = now;
    }
    if (!others.empty())  // those that have changed are due
        for (auto& timer : timers) timer->cancel();
    if (!state.empty() && entry->state == state && is_known(*entry, *servers)) {
        take_unchanged(*entry);
        co_return;
    }
    if (!is_known(*entry, *servers)) entry->fingerprint.clear();
    auto answer = co_await read(*entry, primary);
    if (is_stopping) co_return;
    entry->answered = entry->asked;
    entry->state.clear();
    if (answer.error) {
        if (co_await is_dropped(*entry, primary)) {
            gone(entry);
        } else {
            fail(*entry, answer.error);
        }
        co_return;
    }
    entry->source = primary;
    entry->incarnation = (*servers)[primary].incarnation;
    if (answer.unreadable.empty()) entry->state = state;
    take(*entry, std::move(answer));
    entry->store->looked(entry->asked);
}

// DDL of others, between two queries of a look, can fail it: that says nothing about the next one.
asio::awaitable<CatalogAnswer> Catalogs::Impl::read(const Entry& entry, routing::ServerId primary) {
    const auto deadline = Clock::now() + kLookTimeout;
    const std::string known = entry.unreadable.empty() ? entry.fingerprint : std::string{};
    CatalogAnswer answer;
    for (int i = 0; i < kTriesAtOnce && !is_stopping; ++i) {
        answer = co_await look_at_catalog(io->get_executor(), table[primary], config->health,
                                          entry.store->database(), known, overrides, deadline);
        const bool is_passing =
            answer.error.kind == PgError::Kind::rejected &&
            (answer.error.sqlstate == "XX000" || answer.error.sqlstate.starts_with("42"));
        if (!is_passing) break;
    }
    co_return answer;
}

void Catalogs::Impl::take_unchanged(Entry& entry) {
    CatalogAnswer answer;
    answer.fingerprint = entry.fingerprint;
    entry.answered = entry.asked;
    take(entry, std::move(answer));
    entry.store->looked(entry.asked);
}

// All databases have them in common. Looks at two of them may be told in the other order: then what
// depends on the settings is made anew once too often.
void Catalogs::Impl::note_role_settings(std::string_view fingerprint) {
    const auto seen = role_settings_in(fingerprint);
    if (role_settings == seen) return;
    const bool is_first = !role_settings;
    role_settings = seen;
    if (!is_first && on_role_settings) on_role_settings();
}

void Catalogs::Impl::take(Entry& entry, CatalogAnswer answer) {
    note_role_settings(answer.fingerprint);
    const bool is_whole = answer.unreadable.empty();
    entry.has_failed = false;
    if (is_whole) {
        entry.retry = kFirstRetry;
        entry.next_look = entry.started_at + config->routing.catalog_interval;
    } else {
        entry.next_look = Clock::now() + entry.retry;
        entry.retry = std::min<Clock::duration>(entry.retry * 2, kLastRetry);
    }
    const bool is_new =
        answer.catalog != nullptr && (is_whole || answer.fingerprint != entry.fingerprint ||
                                      answer.unreadable != entry.unreadable);
    if (is_new)
        entry.rare_spacing = kRareSpacing;
    else if (entry.was_wanted)
        entry.rare_spacing =
            std::min<Clock::duration>(entry.rare_spacing * 2, config->routing.catalog_interval);
    if (is_new) publish(entry, std::move(answer));
    {
        const std::lock_guard lock{mutex};
        ++(is_new ? entry.loaded : entry.unchanged);
        entry.is_gone = false;
        entry.last_error.clear();
        entry.looked_at = entry.started_at;
    }
    entry.store->tried();
    if (is_new && on_change) on_change();
}

void Catalogs::Impl::publish(Entry& entry, CatalogAnswer answer) {
    answer.catalog->set_epoch(++last_epoch);
    log::info("catalog loaded", "database", entry.store->database(), "epoch", last_epoch, "bytes",
              answer.catalog->memory_bytes(), "unreadable", answer.unreadable.size(),
              "milliseconds",
              std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - entry.started_at)
                  .count());
    if (const auto& obstacle = answer.catalog->obstacle())
        log::warning("all reads of a database run on the primary", "database",
                     entry.store->database(), "reason", routing::name(obstacle->reason),
                     "because_of", obstacle->detail);
    entry.fingerprint = std::move(answer.fingerprint);
    entry.unreadable = std::move(answer.unreadable);
    entry.store->publish(std::move(answer.catalog));
}

asio::awaitable<bool> Catalogs::Impl::is_dropped(const Entry& entry, routing::ServerId primary) {
    if (entry.is_configured) co_return false;  // whoever has named it shall be told
    const auto databases = co_await commits.databases(primary);
    if (!databases) co_return false;
    co_return std::find(databases->begin(), databases->end(), entry.store->database()) ==
        databases->end();
}

// Sessions that are still logged in to it hold the store: they have no catalog, and it is looked
// for again rarely, or when somebody logs in. Without any, next() forgets it.
void Catalogs::Impl::gone(const std::shared_ptr<Entry>& entry) {
    entry->fingerprint.clear();
    entry->retry = kFirstRetry;
    entry->has_failed = false;
    entry->next_look = Clock::now() + kLastRetry;
    if (entry->is_gone) return;
    log::info("a database is gone, its catalog is forgotten", "database", entry->store->database());
    {
        const std::lock_guard lock{mutex};
        entry->is_gone = true;
        entry->last_error.clear();
    }
    entry->store->publish(nullptr);
    entry->store->tried();
    if (on_change) on_change();
}

// What was known stays: a look that fails says nothing about the catalog.
void Catalogs::Impl::fail(Entry& entry, const PgError& error) {
    // DROP DATABASE ... WITH (FORCE) ends the loader's session before the database is gone; the
    // login of the next look waits for it. So the first loss is no news.
    const bool may_be_dropped =
        error.kind == PgError::Kind::lost && !entry.has_failed && !entry.is_configured;
    entry.next_look = Clock::now() + entry.retry;
    entry.retry = std::min<Clock::duration>(entry.retry * 2, kLastRetry);
    entry.has_failed = true;
    bool is_news = false;
    {
        const std::lock_guard lock{mutex};
        ++entry.failed;
        if (!may_be_dropped) is_news = std::exchange(entry.last_error, error.text) != error.text;
    }
    if (is_news)
        log::warning("the catalog of a database cannot be read", "database",
                     entry.store->database(), "error", error.text, "reads",
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
            entry->has_failed = false;
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

Catalogs::Catalogs(std::shared_ptr<const conf::Config> config,
                   ServerTable servers,
                   const TopologyStore& topology)
    : impl_{std::make_unique<Impl>(std::move(config), std::move(servers), topology)} {}

Catalogs::~Catalogs() { stop(); }

void Catalogs::on_change(std::function<void()> callback) { impl_->on_change = std::move(callback); }

void Catalogs::on_role_settings(std::function<void()> callback) {
    impl_->on_role_settings = std::move(callback);
}

void Catalogs::leave(const std::string& database) {
    const std::lock_guard lock{impl_->mutex};
    const auto entry = impl_->entries.find(database);
    if (entry != impl_->entries.end()) entry->second->left_until = Clock::now() + kLeft;
}

void Catalogs::start() {
    for (const auto& database : impl_->config->databases)
        if (database.name != "*") {
            const auto& name = database.name_there();
            impl_->database(name);
            const std::lock_guard lock{impl_->mutex};
            impl_->entries.at(name)->is_configured = true;
        }
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
        if (entry->is_gone) continue;
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
