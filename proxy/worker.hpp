#pragma once

#include "conf/config.hpp"
#include "health/catalogs.hpp"
#include "health/checker.hpp"
#include "health/metrics.hpp"
#include "proxy/auth/credentials.hpp"
#include "proxy/io/asio.hpp"
#include "proxy/io/signal.hpp"
#include "proxy/login/user_source.hpp"
#include "proxy/pool/pool.hpp"
#include "proxy/shared/bounded_map.hpp"
#include "proxy/shared/crashes.hpp"
#include "proxy/shared/learnt_positions.hpp"
#include "proxy/shared/session_numbers.hpp"
#include "proxy/shared/shared_writes.hpp"
#include "proxy/shared/verification.hpp"
#include "proxy/wire/startup.hpp"
#include "routing/statement_cache.hpp"
#include "routing/topology.hpp"

#include <atomic>
#include <map>
#include <memory>
#include <pthread.h>
#include <random>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

namespace pgsteer::proxy {

class ClientSession;

// What all workers share. Immutable, or thread-safe by itself; outlives the workers.
struct Shared {
    std::shared_ptr<const conf::Config> config;
    health::TopologyStore* topology = nullptr;
    health::Evidence* evidence = nullptr;
    auth::Credentials* credentials = nullptr;
    Budgets* budgets = nullptr;
    LoginBackOff back_off;
    ReplicaSettings replica_settings;
    std::size_t workers = 1;
    health::Catalogs* catalogs = nullptr;
    routing::HashSecret hash_secret;
    SessionNumbers session_numbers{0};
    std::unique_ptr<LearntPositions> learnt;
    std::unique_ptr<Crashes> crashes;
    SharedWrites writes;
    std::atomic<int> primary_reads{0};  // see PrimaryRead
    std::atomic<int> clients{0};        // accepted and not gone yet, over all workers
    std::atomic<bool> draining{false};
};

// One thread with its own io_context, sessions, pool and caches; nothing of it is shared but by
// messages.
class Worker {
public:
    using Post = std::function<void(std::size_t worker, std::function<void(Worker&)>)>;

    // `post` runs a function on another worker's thread. Thread-safe.
    Worker(std::uint16_t index,
           std::shared_ptr<Shared> shared,
           Post post_to_worker,
           Post post_to_others);
    ~Worker();

    void start();  // the thread
    void join();

    // --- any thread ---
    void post(std::function<void(Worker&)> work);
    [[nodiscard]] const health::WorkerCounters& counters() const { return *counters_; }

    // --- on the worker's thread ---
    void accept(int socket, int family);
    void cancel(wire::CancelRequest request);          // of one of this worker's sessions
    void forward_cancel(wire::CancelRequest request);  // to the worker that owns the session
    void servers_changed(const health::TopologyPtr& topology);
    void catalogs_have_changed() { catalogs_changed_.notify_all(); }
    void settings_have_changed(routing::ServerId server);  // it has read its configuration again
    void look_at_settings_again();                         // of the primary; one worker does
    void forget_logins();  // what new sessions are told is asked anew
    void drain();          // sessions leave as soon as they are between transactions
    void stop();           // at once

    // --- for this worker's sessions ---
    [[nodiscard]] Executor executor() { return io_.get_executor(); }
    [[nodiscard]] const conf::Config& config() const { return *shared_->config; }
    [[nodiscard]] health::Evidence& evidence() { return *shared_->evidence; }
    [[nodiscard]] UserSource& users() { return users_; }
    [[nodiscard]] Pool& pool() { return *pool_; }
    [[nodiscard]] health::WorkerCounters& mutable_counters() { return *counters_; }
    [[nodiscard]] const routing::Topology& topology();  // latest; valid until the next call
    routing::StatementPtr classify(std::string_view sql);
    [[nodiscard]] health::Catalogs& catalogs() { return *shared_->catalogs; }
    [[nodiscard]] Signal& catalogs_changed() { return catalogs_changed_; }
    // A number for what statements are judged by; equal views have the same, other views never.
    [[nodiscard]] std::uint64_t catalog_context(const routing::CatalogView& view);
    [[nodiscard]] routing::JudgedStatements& judged_statements() { return judged_statements_; }
    [[nodiscard]] std::uint64_t random() { return random_(); }
    [[nodiscard]] std::span<std::uint32_t> in_flight() { return in_flight_; }  // see Flight
    [[nodiscard]] routing::ServerSet suspects(const routing::Topology& topology) const {
        return shared_->evidence->suspects(topology);
    }
    [[nodiscard]] Crashes& crashes() { return *shared_->crashes; }
    [[nodiscard]] bool draining() const { return draining_; }

    // --- freshness beyond what the topology says ---
    [[nodiscard]] LearntPositions& learnt() { return *shared_->learnt; }
    [[nodiscard]] std::span<const routing::Lsn> learnt_positions(const routing::Topology& topology);
    [[nodiscard]] Verification& verification(routing::ServerId replica) {
        return verifications_[replica.index];
    }
    [[nodiscard]] SharedWrites& writes() { return shared_->writes; }
    [[nodiscard]] bool may_sample(routing::TimePoint now);  // true: now is the last time
    [[nodiscard]] std::atomic<int>& primary_reads() { return shared_->primary_reads; }

    // Parameters that a server reports for (database, user, settings): known from an earlier
    // connection.
    [[nodiscard]] const ParameterMap* known_parameters(const std::string& key) const;
    void remember_parameters(const std::string& key, const ParameterMap& parameters);
    // New sessions are told something else from now on, or refused: on all workers.
    void logins_change();

    // Keys of a session, by which a CancelRequest finds it.
    [[nodiscard]] const SessionNumbers& session_numbers() const { return shared_->session_numbers; }
    wire::BackendKeyData register_session(ClientSession& session);
    void unregister_session(ClientSession& session);
    [[nodiscard]] bool too_many_clients() const {
        return shared_->clients.load() > config().listen.max_clients;
    }

private:
    awaitable<void> housekeeping();
    void look_for_clients();
    void replicas_are_outdated(const SessionKind& kind);
    void for_each_session(const std::function<void(ClientSession&)>& action);
    void run();

    const std::uint16_t index_;
    std::shared_ptr<Shared> shared_;
    Post post_to_worker_;
    Post post_to_others_;
    asio::io_context io_;
    ConfiguredUsers users_;
    std::unique_ptr<health::WorkerCounters> counters_;
    routing::StatementCache statements_;
    routing::JudgedStatements judged_statements_;
    BoundedMap<std::uint64_t> catalog_contexts_;
    std::uint64_t last_context_ = 0;
    Signal catalogs_changed_;
    std::unique_ptr<Pool> pool_;
    health::TopologyPtr topology_;
    std::mt19937_64 random_;
    std::vector<std::uint32_t> in_flight_;
    std::vector<routing::Lsn> positions_;      // what learnt_positions() returns
    std::vector<Verification> verifications_;  // by ServerId
    routing::TimePoint sampled_at_ = routing::kNever;
    std::unordered_map<std::uint32_t, ClientSession*> sessions_;  // by their number
    std::uint32_t last_session_ = 0;
    BoundedMap<ParameterMap> parameters_;
    Timer housekeeping_timer_;
    bool draining_ = false;
    bool stopped_ = false;
    pthread_t thread_{};
    bool started_ = false;
};

}  // namespace pgsteer::proxy
