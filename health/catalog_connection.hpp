// Connections of the health user on which catalogs are looked at.
#pragma once

#include "conf/config.hpp"
#include "health/pg_client.hpp"

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>

#include <string>

namespace pgsteer::health {

// `client` outlives the call.
boost::asio::awaitable<PgError> connect_to_catalog(PgClient& client,
                                                   boost::asio::any_io_executor executor,
                                                   conf::ServerConfig server,
                                                   conf::HealthConfig health,
                                                   std::string database,
                                                   routing::TimePoint deadline);

}  // namespace pgsteer::health
