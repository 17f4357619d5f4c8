// Tells cheaply whether any transaction has ended on the primary.
#pragma once

#include "conf/config.hpp"
#include "health/pg_client.hpp"
#include "health/server_table.hpp"
#include "routing/topology.hpp"

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/steady_timer.hpp>

#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace pgsteer::health {

// One connection to the primary that stays open, for all databases. commit_watch.md says why equal
// states mean equal catalogs. For one thread; any number of coroutines may ask, one is answered at
// a time.
class CommitWatch {
public:
    CommitWatch(boost::asio::any_io_executor executor,
                std::shared_ptr<const conf::Config> config,
                ServerTable servers);

    // "": not to be had now. Begins after the call.
    boost::asio::awaitable<std::string> state(routing::ServerId primary);
    // Names of all databases; nullopt: not to be had now.
    boost::asio::awaitable<std::optional<std::vector<std::string>>> databases(
        routing::ServerId primary);

private:
    boost::asio::awaitable<PgRows> ask(routing::ServerId primary, std::string sql);

    boost::asio::any_io_executor executor_;
    std::shared_ptr<const conf::Config> config_;
    ServerTable servers_;
    PgClient client_;
    std::optional<routing::ServerId> server_;  // of the connection
    bool is_busy_ = false;
    boost::asio::steady_timer turn_;  // of those that wait; cancelled when it is somebody's turn
};

}  // namespace pgsteer::health
