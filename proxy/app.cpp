#include "proxy/app.hpp"

#include "conf/log.hpp"
#include "health/admin_server.hpp"
#include "health/catalogs.hpp"
#include "health/checker.hpp"
#include "proxy/errors.hpp"
#include "proxy/io/listener.hpp"
#include "proxy/worker.hpp"

#include <boost/asio/post.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/steady_timer.hpp>

#include <csignal>
#include <random>
#include <sys/resource.h>
#include <thread>
#include <unistd.h>

namespace pgsteer::proxy {

namespace {

// As many file descriptors as the system lets us have: two for each client, and some.
void raise_file_limit(int max_clients) {
    rlimit limit{};
    if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
    limit.rlim_cur = limit.rlim_max;
    ::setrlimit(RLIMIT_NOFILE, &limit);
    const auto wanted = static_cast<rlim_t>(max_clients) * 3 + 256;
    if (limit.rlim_cur != RLIM_INFINITY && limit.rlim_cur < wanted)
        log::warning("the limit of open files is low for max_clients", "limit", limit.rlim_cur,
                     "wanted", wanted);
}

routing::HashSecret random_secret() {
    std::random_device device;
    const auto word = [&device] { return (static_cast<std::uint64_t>(device()) << 32) | device(); };
    return {word(), word()};
}

static_assert(kErrors.size() <= health::kErrorKinds, "each error has a counter");

std::vector<std::string> error_names() {
    std::vector<std::string> names;
    for (const auto& error : kErrors)
        names.push_back(fmt::format("{} {}", error.sqlstate, error.name));
    return names;
}

// Everything that lives from start to exit, in the order it is taken down again (from the end).
class App {
public:
    explicit App(std::shared_ptr<const conf::Config> config)
        : config_{std::move(config)},
          generations_{config_},
          store_{health::first_topology(first()->servers)},
          evidence_{health::ServerIds::kMost},
          checker_{config_, first()->servers, store_, evidence_},
          catalogs_{config_, first()->servers, store_},
          shared_{
              {store_, evidence_, catalogs_, random_secret(), SessionNumbers{random_secret().a}},
              worker_count()} {
        make_workers();
        make_admin();
        listener_ = std::make_unique<Listener>(
            config_->listen, [this](int socket, int family) { hand_out(socket, family); });
    }

    int run() {
        checker_.on_server_change([this](const health::TopologyPtr& topology) {
            for (auto& worker : workers_)
                worker->post([topology](Worker& target) { target.servers_changed(topology); });
            catalogs_.servers_changed();
            shared_.back_off.try_all_again();
            if (topology->primary && topology->primary != former_primary_) {
                former_primary_ = topology->primary;
                settings_have_changed(*topology->primary);
            }
        });
        checker_.on_configuration_change(
            [this](routing::ServerId server) { settings_have_changed(server); });
        catalogs_.on_role_settings([this] {
            shared_.replica_settings.logins_have_changed();
            for (auto& worker : workers_)
                worker->post([](Worker& target) { target.forget_logins(); });
        });
        catalogs_.on_change([this] {
            for (auto& worker : workers_)
                worker->post([](Worker& target) { target.catalogs_have_changed(); });
        });
        for (auto& worker : workers_) worker->start();
        checker_.start();
        catalogs_.start();
        admin_->start();
        listener_->start();
        log::info("pgsteer is ready", "address", config_->listen.address, "port", listener_->port(),
                  "unix_socket", listener_->unix_path(), "admin_port", admin_->port(), "workers",
                  workers_.size());
        wait_for_signals();
        for (auto& worker : workers_) worker->post([](Worker& target) { target.stop(); });
        for (auto& worker : workers_) worker->join();
        listener_->stop();
        catalogs_.stop();
        checker_.stop();
        admin_->stop();
        log::info("pgsteer has stopped");
        return 0;
    }

private:
    // It is the only one: what is loaded lives as long as the process.
    [[nodiscard]] GenerationPtr first() const { return generations_.current(); }

    [[nodiscard]] std::size_t worker_count() const {
        const auto count = static_cast<std::size_t>(config_->workers);
        return count > 0 ? count : std::max(1U, std::thread::hardware_concurrency());
    }

    void make_workers() {
        for (std::size_t i = 0; i < shared_.workers; ++i) {
            const auto to_worker = [this](std::size_t index, std::function<void(Worker&)> work) {
                if (index < workers_.size()) workers_[index]->post(std::move(work));
            };
            const auto to_others = [this](std::size_t sender, std::function<void(Worker&)> work) {
                for (std::size_t other = 0; other < workers_.size(); ++other)
                    if (other != sender) workers_[other]->post(work);
            };
            workers_.push_back(std::make_unique<Worker>(static_cast<std::uint16_t>(i), first(),
                                                        shared_, to_worker, to_others));
        }
    }

    // On the thread of the checker.
    void settings_have_changed(routing::ServerId server) {
        const bool is_primary = store_.load()->primary == server;
        shared_.replica_settings.forget(server);
        if (is_primary) shared_.replica_settings.primary_has_changed();
        for (auto& worker : workers_)
            worker->post([server](Worker& target) { target.settings_have_changed(server); });
        if (is_primary)
            workers_.front()->post([](Worker& target) { target.look_at_settings_again(); });
    }

    void make_admin() {
        health::Sources sources;
        sources.config = config_.get();
        sources.servers = first()->servers;
        sources.checker = &checker_;
        sources.catalogs = &catalogs_;
        sources.topology = &store_;
        for (const auto& worker : workers_) sources.workers.push_back(&worker->counters());
        sources.error_names = error_names();
        sources.refused_logins = [this] { return shared_.back_off.report(routing::Clock::now()); };
        sources.setting_differences = [this] { return shared_.replica_settings.report(); };
        sources.draining = [this] { return draining_.load(); };
        metrics_ = std::make_unique<health::Metrics>(std::move(sources));
        admin_ = std::make_unique<health::AdminServer>(
            config_->admin, [this](std::string_view method, std::string_view target) {
                return health::respond(*metrics_, method, target);
            });
    }

    // Called by the listener: clients go to the workers in turn.
    void hand_out(int socket, int family) {
        shared_.facts.clients.came();
        auto& worker = *workers_[next_worker_++ % workers_.size()];
        worker.post([socket, family](Worker& target) { target.accept(socket, family); });
    }

    // The first SIGTERM or SIGINT drains; a second one, or shutdown_timeout, ends it.
    void wait_for_signals() {
        asio::io_context io{1};
        asio::signal_set signals{io, SIGTERM, SIGINT, SIGHUP};
        asio::steady_timer timer{io};
        bool draining = false;
        std::function<void()> check = [&] {
            if (shared_.facts.clients.get() <= 0 ||
                asio::steady_timer::clock_type::now() >= drain_until_)
                return io.stop();
            timer.expires_after(std::chrono::milliseconds{20});
            timer.async_wait([&](error_code) { check(); });
        };
        std::function<void()> wait = [&] {
            signals.async_wait([&](error_code ec, int signal) {
                if (ec) return;
                if (signal == SIGHUP) {
                    log::warning(
                        "reloading the configuration is not supported yet: restart to apply "
                        "changes");
                } else if (draining) {
                    log::info("stopping at once");
                    return io.stop();
                } else {
                    draining = true;
                    drain();
                    check();
                }
                wait();
            });
        };
        wait();
        io.run();
    }

    void drain() {
        log::info("draining: no new clients, open transactions may finish", "clients",
                  shared_.facts.clients.get(), "shutdown_timeout_ms",
                  config_->shutdown_timeout.count());
        drain_until_ = asio::steady_timer::clock_type::now() + config_->shutdown_timeout;
        draining_ = true;
        for (auto& worker : workers_) worker->post([](Worker& target) { target.drain(); });
    }

    std::shared_ptr<const conf::Config> config_;
    Generations generations_;
    health::TopologyStore store_;
    health::Evidence evidence_;
    health::Checker checker_;
    health::Catalogs catalogs_;
    Shared shared_;
    std::vector<std::unique_ptr<Worker>> workers_;
    std::unique_ptr<health::Metrics> metrics_;
    std::unique_ptr<health::AdminServer> admin_;
    std::unique_ptr<Listener> listener_;
    std::atomic<bool> draining_{false};
    std::size_t next_worker_ = 0;
    std::optional<routing::ServerId> former_primary_;  // the checker's thread alone looks at it
    asio::steady_timer::clock_type::time_point drain_until_{};
};

}  // namespace

int run(std::shared_ptr<const conf::Config> config) {
    std::signal(SIGPIPE, SIG_IGN);
    log::configure(config->log);
    raise_file_limit(config->listen.max_clients);
    try {
        App app{std::move(config)};
        return app.run();
    } catch (const std::exception& error) {
        log::error("pgsteer cannot start", "error", error.what());
        return 1;
    }
}

}  // namespace pgsteer::proxy
