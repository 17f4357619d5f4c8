#include "proxy/worker.hpp"

#include "conf/log.hpp"
#include "proxy/io/spawn.hpp"
#include "proxy/session/client_session.hpp"
#include "routing/classify.hpp"

#include <boost/asio/post.hpp>

#include <pthread.h>

namespace pgsteer::proxy {

namespace {

constexpr std::size_t kStatementCacheBytes = 32 * 1024 * 1024;
constexpr std::chrono::milliseconds kLookForClients{250};
constexpr int kTicksOfASecond = 4;
constexpr std::size_t kCatalogContextBytes = 512 * 1024;
constexpr std::size_t kParameterBytes = 1024 * 1024;  // of distinct (database, user, settings)

}  // namespace

Worker::Worker(std::uint16_t index,
               std::shared_ptr<Shared> shared,
               Post post_to_worker,
               Post post_to_others)
    : index_{index},
      shared_{std::move(shared)},
      post_to_worker_{std::move(post_to_worker)},
      post_to_others_{std::move(post_to_others)},
      io_{BOOST_ASIO_CONCURRENCY_HINT_UNSAFE_IO},
      users_{*shared_->credentials},
      counters_{std::make_unique<health::WorkerCounters>(shared_->config->servers.size())},
      statements_{kStatementCacheBytes, shared_->hash_secret},
      catalog_contexts_{kCatalogContextBytes},
      catalogs_changed_{io_.get_executor()},
      topology_{shared_->topology->load()},
      random_{std::random_device{}()},
      in_flight_(shared_->config->servers.size()),
      positions_(shared_->config->servers.size()),
      verifications_(shared_->config->servers.size()),
      parameters_{kParameterBytes},
      housekeeping_timer_{io_.get_executor()} {
    pool_ = std::make_unique<Pool>(Pool::Environment{
        .executor = io_.get_executor(),
        .config = shared_->config,
        .budgets = shared_->budgets,
        .credentials = shared_->credentials,
        .topology = shared_->topology,
        .evidence = shared_->evidence,
        .counters = counters_.get(),
        .back_off = &shared_->back_off,
        .replica_settings = &shared_->replica_settings,
        .workers = shared_->workers,
        .ask_other_workers =
            [this](const BudgetKey& key) {
                post_to_others_(index_, [key](Worker& other) { other.pool().close_idle(key); });
            },
        .tell_other_workers =
            [this](const BudgetKey& key) {
                post_to_others_(index_, [key](Worker& other) { other.pool().wake(key); });
            },
        .on_all_workers =
            [this](const std::function<void(Pool&)>& work) {
                post_to_others_(index_, [work](Worker& other) { work(other.pool()); });
                post([work](Worker& self) { work(self.pool()); });
            },
        .replicas_are_outdated =
            [this](const SessionKind& kind) {
                post_to_others_(index_,
                                [kind](Worker& other) { other.replicas_are_outdated(kind); });
                replicas_are_outdated(kind);
            },
    });
}

Worker::~Worker() {
    join();
    sessions_.clear();
}

void Worker::start() {
    // PostgreSQL's grammar recurses: the stack is sized for the limits that classify() sets.
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, routing::kParserStackBytes);
    spawn(executor(), housekeeping(), "worker.housekeeping");
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
        --shared_->clients;
        log::warning("cannot take over a client's socket", "error", ec.message());
        return;
    }
    counters_->clients_accepted.add();
    std::make_shared<ClientSession>(*this, std::move(connected))->start();
}

wire::BackendKeyData Worker::register_session(ClientSession& session) {
    const auto process_id = [this] {
        return session_numbers().process_id({index_, last_session_});
    };
    do {
        last_session_ = (last_session_ + 1) & SessionNumbers::kMaxSession;
    } while (process_id() == 0 || sessions_.contains(last_session_));
    sessions_.emplace(last_session_, &session);
    return {process_id(), static_cast<std::uint32_t>(random_())};
}

void Worker::unregister_session(ClientSession& session) {
    --shared_->clients;
    const auto entry = sessions_.find(session_numbers().owner(session.process_id()).session);
    if (entry != sessions_.end() && entry->second == &session) sessions_.erase(entry);
}

void Worker::forward_cancel(wire::CancelRequest request) {
    post_to_worker_(session_numbers().owner(request.process_id).worker,
                    [request](Worker& owner) { owner.cancel(request); });
}

void Worker::cancel(wire::CancelRequest request) {
    const auto entry = sessions_.find(session_numbers().owner(request.process_id).session);
    if (entry != sessions_.end()) entry->second->cancel_requested(request.secret_key);
}

// Sessions may end while they are told: the list is copied, and each one looked up again.
void Worker::for_each_session(const std::function<void(ClientSession&)>& action) {
    std::vector<std::uint32_t> numbers;
    numbers.reserve(sessions_.size());
    for (const auto& [number, session] : sessions_) numbers.push_back(number);
    for (const auto number : numbers) {
        const auto entry = sessions_.find(number);
        if (entry == sessions_.end()) continue;
        const auto session = entry->second->shared_from_this();
        action(*session);
    }
}

void Worker::servers_changed(const health::TopologyPtr& topology) {
    for (std::uint16_t i = 0; i < topology->servers.size(); ++i) {
        if (topology->servers[i].status == routing::Status::unhealthy)
            pool_->close_idle_to(routing::ServerId{i});
    }
    for_each_session([&](ClientSession& session) { session.servers_changed(*topology); });
}

void Worker::logins_change() {
    shared_->replica_settings.logins_have_changed();
    forget_logins();
    post_to_others_(index_, [](Worker& other) { other.forget_logins(); });
}

void Worker::forget_logins() {
    parameters_.clear();
    pool_->retire_all();
}

void Worker::settings_have_changed(routing::ServerId server) {
    parameters_.clear();
    pool_->retire(server);
    for_each_session([&](ClientSession& session) { session.outdate_replica(server); });
}

void Worker::replicas_are_outdated(const SessionKind& kind) {
    pool_->close_idle_replicas(kind);
    for_each_session([&](ClientSession& session) { session.outdate_replica(kind); });
}

void Worker::look_at_settings_again() {
    spawn(executor(), pool_->look_at_settings_again(), "pool.look_at_settings_again");
}

void Worker::drain() {
    draining_ = true;
    for_each_session([](ClientSession& session) { session.drain(); });
}

void Worker::stop() {
    stopped_ = true;
    for_each_session([](ClientSession& session) { session.stop(); });
    pool_->close_all_idle();
    housekeeping_timer_.cancel();
    io_.stop();
}

const routing::Topology& Worker::topology() {
    if (shared_->topology->version() != topology_->version) topology_ = shared_->topology->load();
    return *topology_;
}

std::span<const routing::Lsn> Worker::learnt_positions(const routing::Topology& topology) {
    for (std::uint16_t i = 0; i < positions_.size(); ++i)
        positions_[i] = learnt().of({i}, topology.servers[i].incarnation.number);
    return positions_;
}

bool Worker::may_sample(routing::TimePoint now) {
    if (sampled_at_ != routing::kNever && now - sampled_at_ < config().routing.sample_interval)
        return false;
    sampled_at_ = now;
    return true;
}

routing::StatementPtr Worker::classify(std::string_view sql) {
    return statements_.find_or_classify(sql);
}

// Numbers are not used again, so forgetting them costs a new verdict and nothing else.
std::uint64_t Worker::catalog_context(const routing::CatalogView& view) {
    std::string key;
    if (view.catalog != nullptr) {
        key = std::to_string(view.catalog->epoch());
        key.push_back(view.may_be_serializable ? 's' : '-');
        key.push_back(view.search_path.is_known ? 'k' : '-');
        for (const auto& schema : view.search_path.schemas) key.append(schema).push_back('\0');
    }
    if (const auto* known = catalog_contexts_.find(key)) return *known;
    catalog_contexts_.put(key, ++last_context_, 0);
    return last_context_;
}

const ParameterMap* Worker::known_parameters(const std::string& key) const {
    return parameters_.find(key);
}

void Worker::remember_parameters(const std::string& key, const ParameterMap& parameters) {
    std::size_t bytes = 0;
    for (const auto& [name, value] : parameters) bytes += name.size() + value.size() + 100;
    parameters_.put(key, parameters, bytes);
}

void Worker::look_for_clients() {
    std::vector<std::shared_ptr<ClientSession>> unread;
    for (const auto& [number, session] : sessions_)
        if (!session->is_reading()) unread.push_back(session->shared_from_this());
    for (const auto& session : unread) session->look_for_client();
}

awaitable<void> Worker::housekeeping() {
    std::uint64_t hits = 0;
    std::uint64_t misses = 0;
    std::uint64_t evictions = 0;
    std::uint64_t bytes = 0;
    for (int tick = 1; !stopped_; ++tick) {
        housekeeping_timer_.expires_after(kLookForClients);
        co_await housekeeping_timer_.async_wait(as_result);
        if (stopped_) break;
        look_for_clients();
        if (tick % kTicksOfASecond != 0) continue;
        const auto now = routing::Clock::now();
        pool_->close_expired(now);
        counters_->databases.forget_unused(now);
        pool_->log_accepted_logins(now);
        if (std::any_of(config().servers.begin(), config().servers.end(),
                        [](const auto& server) { return server.query_timeout.count() > 0; }))
            for_each_session([&](ClientSession& session) { session.check_timeouts(now); });
        const auto& cache = statements_.counters();
        counters_->cache_hits.add(cache.hits - std::exchange(hits, cache.hits));
        counters_->cache_misses.add(cache.misses - std::exchange(misses, cache.misses));
        counters_->cache_evictions.add(cache.evictions - std::exchange(evictions, cache.evictions));
        counters_->cache_bytes.add(cache.bytes -
                                   std::exchange(bytes, static_cast<std::uint64_t>(cache.bytes)));
    }
}

}  // namespace pgsteer::proxy
