#include "proxy/worker.hpp"

#include "conf/log.hpp"
#include "proxy/io/spawn.hpp"
#include "proxy/session/client_session.hpp"
#include "routing/classify.hpp"

#include <boost/asio/post.hpp>

#include <algorithm>
#include <pthread.h>

namespace pgsteer::proxy {

namespace {

constexpr std::chrono::milliseconds kLookForClients{250};
constexpr int kTicksOfASecond = 4;

}  // namespace

Worker::Worker(std::uint16_t index,
               GenerationPtr generation,
               Shared& shared,
               Post post_to_worker,
               Post post_to_others)
    : index_{index},
      shared_{shared},
      post_to_worker_{std::move(post_to_worker)},
      post_to_others_{std::move(post_to_others)},
      io_{BOOST_ASIO_CONCURRENCY_HINT_UNSAFE_IO},
      counters_{std::make_unique<health::WorkerCounters>()},
      pool_{std::make_unique<Pool>(pool_environment(generation))},
      surroundings_{std::make_unique<Surroundings>(lent(generation))},
      housekeeping_timer_{io_.get_executor()} {}

Worker::~Worker() { join(); }

Pool::Environment Worker::pool_environment(GenerationPtr generation) {
    return {
        .executor = io_.get_executor(),
        .generation = std::move(generation),
        .topology = &shared_.facts.topology,
        .evidence = &shared_.facts.evidence,
        .counters = counters_.get(),
        .back_off = &shared_.back_off,
        .replica_settings = &shared_.replica_settings,
        .workers = shared_.workers,
        .ask_other_workers =
            [this](const BudgetKey& key) {
                post_to_others_(index_, [key](Worker& other) { other.pool().close_idle(key); });
            },
        .tell_other_workers =
            [this](const BudgetKey& key) {
                post_to_others_(index_, [key](Worker& other) { other.pool().wake(key); });
            },
        .on_all_workers =
            [this](const std::function<void(Room&)>& work) {
                post_to_others_(index_, [work](Worker& other) { work(other.pool().room()); });
                post([work](Worker& self) { work(self.pool().room()); });
            },
        .replicas_are_outdated =
            [this](const SessionKind& kind) {
                post_to_others_(index_,
                                [kind](Worker& other) { other.replicas_are_outdated(kind); });
                replicas_are_outdated(kind);
            },
    };
}

Surroundings::Lent Worker::lent(GenerationPtr generation) {
    return {
        .executor = io_.get_executor(),
        .worker = index_,
        .generation = std::move(generation),
        .facts = shared_.facts,
        .pool = *pool_,
        .counters = *counters_,
        .cancel_on =
            [this](std::size_t worker, wire::CancelRequest request) {
                post_to_worker_(worker, [request](Worker& owner) {
                    owner.surroundings().sessions().cancel(request);
                });
            },
        .logins_change = [this] { logins_change(); },
    };
}

void Worker::start() {
    // PostgreSQL's grammar recurses: the stack is sized for the limits that classify() sets.
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, routing::kParserStackBytes);
    spawn(io_.get_executor(), housekeeping(), "worker.housekeeping");
    const auto body = [](void* self) -> void* {
        static_cast<Worker*>(self)->run();
        return nullptr;
    };
    if (pthread_create(&thread_, &attributes, body, this) != 0)
        throw std::runtime_error("cannot start a worker thread");
    pthread_attr_destroy(&attributes);
    started_ = true;
}

void Worker::run() {
    const auto work = asio::make_work_guard(io_);
    io_.run();
}

void Worker::join() {
    if (!started_) return;
    started_ = false;
    pthread_join(thread_, nullptr);
}

void Worker::post(std::function<void(Worker&)> work) {
    asio::post(io_, [this, work = std::move(work)] { work(*this); });
}

void Worker::accept(int socket, int family) {
    Socket connected{io_};
    error_code ec;
    connected.assign(asio::generic::stream_protocol{family, 0}, socket, ec);
    if (ec) {
        shared_.facts.clients.gone();
        log::warning("cannot take over a client's socket", "error", ec.message());
        return;
    }
    counters_->clients_accepted.add();
    std::make_shared<ClientSession>(*surroundings_, surroundings_->generation(),
                                    std::move(connected))
        ->start();
}

void Worker::adopt(const GenerationPtr& generation) {
    surroundings_->adopt(generation);
    pool_->adopt(generation);
}

void Worker::servers_changed(const health::TopologyPtr& topology) {
    for (std::uint16_t i = 0; i < topology->servers.size(); ++i) {
        if (topology->servers[i].status == routing::Status::unhealthy)
            pool_->close_idle_to(routing::ServerId{i});
    }
    surroundings_->sessions().for_each(
        [&](Sessions::Member& session) { session.servers_changed(*topology); });
}

void Worker::logins_change() {
    shared_.replica_settings.logins_have_changed();
    forget_logins();
    post_to_others_(index_, [](Worker& other) { other.forget_logins(); });
}

void Worker::forget_logins() {
    surroundings_->parameters().forget_all();
    pool_->retire_all();
}

void Worker::settings_have_changed(routing::ServerId server) {
    surroundings_->parameters().forget_all();
    pool_->retire(server);
    surroundings_->sessions().for_each(
        [&](Sessions::Member& session) { session.outdate_replica(server); });
}

void Worker::replicas_are_outdated(const SessionKind& kind) {
    pool_->close_idle_replicas(kind);
    surroundings_->sessions().for_each(
        [&](Sessions::Member& session) { session.outdate_replica(kind); });
}

void Worker::look_at_settings_again() {
    spawn(io_.get_executor(), pool_->look_at_settings_again(), "pool.look_at_settings_again");
}

void Worker::drain() { surroundings_->sessions().drain(); }

void Worker::stop() {
    stopped_ = true;
    surroundings_->sessions().for_each([](Sessions::Member& session) { session.stop(); });
    pool_->close_all_idle();
    housekeeping_timer_.cancel();
    io_.stop();
}

awaitable<void> Worker::housekeeping() {
    for (int tick = 1; !stopped_; ++tick) {
        housekeeping_timer_.expires_after(kLookForClients);
        co_await housekeeping_timer_.async_wait(as_result);
        if (stopped_) break;
        surroundings_->sessions().look_for_clients();
        if (tick % kTicksOfASecond == 0) every_second(routing::Clock::now());
    }
}

void Worker::every_second(routing::TimePoint now) {
    pool_->close_expired(now);
    counters_->databases.forget_unused(now);
    pool_->log_accepted_logins(now);
    const auto has_limit = [](const auto& server) { return server.query_timeout.count() > 0; };
    if (std::ranges::any_of(surroundings_->generation()->config->servers, has_limit))
        surroundings_->sessions().for_each(
            [&](Sessions::Member& session) { session.check_timeouts(now); });
    surroundings_->statements().count(*counters_);
}

}  // namespace pgsteer::proxy
