// Bodies of functions, as far as they may leave something in their server process, and the
// relations behind whose writes such functions are called.
#pragma once

#include "health/pg_client.hpp"
#include "routing/catalog.hpp"

#include <boost/asio/awaitable.hpp>

namespace pgsteer::health {

// Into CatalogFacts::bodies and written; the other facts have to be there. Those that keep
// something by themselves; then, round by round, those that name a function which does, or a table
// whose writes do. Nothing that the queries name is opened, so nothing that is dropped meanwhile
// matters.
boost::asio::awaitable<PgError> read_bodies(PgClient& client,
                                            const routing::FunctionOverrides& overrides,
                                            routing::TimePoint deadline,
                                            routing::CatalogFacts& facts);

}  // namespace pgsteer::health
