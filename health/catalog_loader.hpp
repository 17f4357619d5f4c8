// What is asked of a database's system catalogs, and what the answers mean.
#pragma once

#include "conf/config.hpp"
#include "health/pg_client.hpp"
#include "routing/catalog.hpp"

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>

#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace pgsteer::health {

// What is set for roles and databases is this part of every fingerprint; a count and a sum follow.
inline constexpr std::string_view kRoleSettingsPart = "se ";

// One look at one database.
struct CatalogAnswer {
    PgError error;
    std::string fingerprint;  // the same as long as nothing that a Catalog holds has changed
    // Ids of views, policies and domain checks whose definition could not be read, being dropped or
    // locked right then: the catalog says that they keep reads on the primary. Look again soon.
    std::vector<std::string> unreadable;
    std::shared_ptr<routing::Catalog>
        catalog;  // null: the fingerprint is the known one, or an error
};

// Connects as the health user, asks in a READ ONLY transaction of its own, and leaves. All of that
// ends by `deadline`. `known_fingerprint` may be empty. The thread's stack must be at least
// routing::kParserStackBytes. The server must be a primary: else the error says so.
boost::asio::awaitable<CatalogAnswer> look_at_catalog(
    boost::asio::any_io_executor executor,
    conf::ServerConfig server,
    conf::HealthConfig health,
    std::string database,
    std::string known_fingerprint,
    std::shared_ptr<const routing::FunctionOverrides> overrides,
    routing::TimePoint deadline);

std::shared_ptr<const routing::FunctionOverrides> overrides_of(const conf::RoutingConfig& routing);

// For `pgsteer explain`: the catalog from whichever server of the configuration is a primary. On a
// thread of its own; waits for it.
CatalogAnswer load_catalog_now(const conf::Config& config, const std::string& database);

}  // namespace pgsteer::health
