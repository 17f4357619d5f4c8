#pragma once

#include <boost/container/static_vector.hpp>

#include "routing/reason.hpp"
#include "routing/topology.hpp"

namespace pgsteer::routing {

using Candidates = boost::container::static_vector<ServerId, 32>;

// Where a request may run. Empty candidates: nowhere now (Reason::no_primary).
struct Route {
    Candidates candidates;
    Reason reason = Reason::no_primary;
    bool to_replica = false;
};

}  // namespace pgsteer::routing
