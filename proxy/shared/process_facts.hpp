// What the sessions of all workers share.
#pragma once

#include "health/catalogs.hpp"
#include "health/evidence.hpp"
#include "health/topology_store.hpp"
#include "proxy/shared/client_count.hpp"
#include "proxy/shared/crashes.hpp"
#include "proxy/shared/learnt_positions.hpp"
#include "proxy/shared/session_numbers.hpp"
#include "proxy/shared/shared_writes.hpp"
#include "routing/statement_cache.hpp"

#include <atomic>

namespace pgsteer::proxy {

// One for the process, whatever generations there are; outlives the workers. Each of them is
// thread-safe by itself, or immutable.
struct ProcessFacts {
    ProcessFacts(health::TopologyStore& the_topology,
                 health::Evidence& the_evidence,
                 health::Catalogs& the_catalogs,
                 routing::HashSecret secret,
                 SessionNumbers numbers)
        : topology{the_topology},
          evidence{the_evidence},
          catalogs{the_catalogs},
          hash_secret{secret},
          session_numbers{numbers} {}

    health::TopologyStore& topology;
    health::Evidence& evidence;
    health::Catalogs& catalogs;
    routing::HashSecret hash_secret;
    SessionNumbers session_numbers;
    LearntPositions learnt{health::ServerIds::kMost};
    Crashes crashes{health::ServerIds::kMost};
    SharedWrites writes;
    std::atomic<int> primary_reads{0};  // see PrimaryRead
    ClientCount clients;
};

}  // namespace pgsteer::proxy
