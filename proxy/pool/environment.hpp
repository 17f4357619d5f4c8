// What the parts of a worker's pool have from outside.
#pragma once

#include "health/evidence.hpp"
#include "health/metrics.hpp"
#include "health/topology_store.hpp"
#include "proxy/io/asio.hpp"
#include "proxy/pool/login_back_off.hpp"
#include "proxy/pool/replica_settings.hpp"
#include "proxy/shared/budget.hpp"
#include "proxy/shared/generation.hpp"

#include <cstddef>
#include <functional>

namespace pgsteer::proxy {

class Room;

// One for each pool. What it points to outlives the pool.
struct PoolEnvironment {
    Executor executor;
    // The current one. A coroutine keeps a copy for as long as it uses what is in it.
    GenerationPtr generation;
    health::TopologyStore* topology;
    health::Evidence* evidence;
    health::WorkerCounters* counters;
    LoginBackOff* back_off;
    ReplicaSettings* replica_settings;
    std::size_t workers;  // how many there are
    std::function<void(const BudgetKey&)>
        ask_other_workers;  // a session waits: give idle ones back
    std::function<void(const BudgetKey&)> tell_other_workers;        // a place became free
    std::function<void(std::function<void(Room&)>)> on_all_workers;  // this one, too
    // Replica connections of this database and user answer by values that the primary has no more:
    // on all workers.
    std::function<void(const SessionKind&)> replicas_are_outdated;
};

}  // namespace pgsteer::proxy
