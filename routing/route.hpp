#pragma once

#include "routing/read_options.hpp"
#include "routing/reason.hpp"
#include "routing/topology.hpp"

#include <boost/container/static_vector.hpp>

namespace pgsteer::routing {

using Candidates = boost::container::static_vector<ServerId, 32>;

// Where a request may run. Empty candidates: nowhere now (Reason::no_primary).
struct Route {
    Candidates candidates;
    Reason reason = Reason::no_primary;
    bool to_replica = false;
    // With Reason::replica_behind: replicas that lack nothing but the proof that they have replayed
    // up to `needed`. Ask one of them right before the read.
    Candidates unproven = {};
    WalPosition needed = {};
};

}  // namespace pgsteer::routing
