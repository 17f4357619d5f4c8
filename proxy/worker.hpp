// One thread with all that belongs to it.
#pragma once

#include "proxy/io/asio.hpp"
#include "proxy/pool/pool.hpp"
#include "proxy/shared/generation.hpp"
#include "proxy/shared/process_facts.hpp"
#include "proxy/shared/surroundings.hpp"

#include <functional>
#include <memory>
#include <pthread.h>

namespace pgsteer::proxy {

// What all workers share. Thread-safe; outlives the workers.
struct Shared {
    ProcessFacts facts;
    std::size_t workers = 1;  // how many there are
    LoginBackOff back_off = {};
    ReplicaSettings replica_settings = {};
};

// Has an io_context, sessions, a pool and caches of its own; nothing of it is shared but by
// messages.
class Worker {
public:
    using Post = std::function<void(std::size_t worker, std::function<void(Worker&)>)>;

    // `post_to_worker` runs a function on a worker's thread, `post_to_others` on those of all
    // workers but the one that is named. Thread-safe.
    Worker(std::uint16_t index,
           GenerationPtr generation,
           Shared& shared,
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
    // For sessions that begin from now on, and for the pool. Those that are there keep theirs.
    void adopt(const GenerationPtr& generation);
    void servers_changed(const health::TopologyPtr& topology);
    void catalogs_have_changed() { surroundings_->catalogs_changed().notify_all(); }
    void settings_have_changed(routing::ServerId server);  // it has read its configuration again
    void look_at_settings_again();                         // of the primary; one worker does
    void forget_logins();  // what new sessions are told is asked anew
    void drain();          // sessions leave as soon as they are between transactions
    void stop();           // at once
    [[nodiscard]] Surroundings& surroundings() { return *surroundings_; }
    [[nodiscard]] Pool& pool() { return *pool_; }

private:
    Pool::Environment pool_environment(GenerationPtr generation);
    Surroundings::Lent lent(GenerationPtr generation);
    awaitable<void> housekeeping();
    void every_second(routing::TimePoint now);
    void logins_change();  // on all workers
    void replicas_are_outdated(const SessionKind& kind);
    void run();

    const std::uint16_t index_;
    Shared& shared_;
    Post post_to_worker_;
    Post post_to_others_;
    asio::io_context io_;
    std::unique_ptr<health::WorkerCounters> counters_;
    std::unique_ptr<Pool> pool_;
    std::unique_ptr<Surroundings> surroundings_;
    Timer housekeeping_timer_;
    bool stopped_ = false;
    pthread_t thread_{};
    bool started_ = false;
};

}  // namespace pgsteer::proxy
