#pragma once

#include <string_view>

namespace pgsteer::routing {

// True for the SQLSTATEs with which a request that failed on a replica, and had no row released, is
// run on the primary: it may only have failed because it was a replica. Design, "The safety net".
bool runs_again_on_primary(std::string_view sqlstate);

// Of those: what a catalog that is too old lets through.
bool may_be_the_catalogs_fault(std::string_view sqlstate);

}  // namespace pgsteer::routing
