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
    // A read that may run nowhere now; but there are servers that can be a replica for it, or the
    // primary, as soon as the next probes have told what they are and how far they have come.
    bool is_for_the_next_look = false;
};

}  // namespace pgsteer::routing
