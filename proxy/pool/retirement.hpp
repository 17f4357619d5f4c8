// Which connections are not given out again, whatever state they are in. Pure.
#pragma once

#include "health/server_table.hpp"
#include "routing/topology.hpp"

#include <array>
#include <map>
#include <string>
#include <vector>

namespace pgsteer::proxy {

// Of one worker; the clock is passed in.
class Retirement {
public:
    // PostgreSQL waits for 5 s for others to leave a database (CountOtherDBBackends), and a replica
    // knows a renamed one by its former name until it has replayed that: what was opened there by
    // the old name must not be given out by it.
    static constexpr std::chrono::seconds kKeptEmpty{30};

    Retirement() {
        retired_.fill(routing::kNever);
        again_.fill(routing::kNever);
    }

    // What was opened to this server until now.
    void retire(routing::ServerId server, routing::TimePoint now) { retired_[server.index] = now; }
    // To any server; and to replicas once more when they have replayed what has happened by now.
    void retire_all(routing::TimePoint now);
    [[nodiscard]] bool is_retired(routing::ServerId server, routing::TimePoint opened_at) const {
        return opened_at <= retired_[server.index];
    }
    // Nothing is left to be replayed there of what retire_all() was called for.
    [[nodiscard]] bool is_settled(routing::ServerId server) const {
        return again_[server.index] == routing::kNever;
    }
    // Replicas that have got that far. Each is told of once; the caller retires them.
    [[nodiscard]] std::vector<routing::ServerId> due(const routing::Topology& topology);

    // Connections to this database are not kept for a while.
    void keep_empty(const std::string& database, routing::TimePoint now) {
        emptied_[database] = now + kKeptEmpty;
    }
    [[nodiscard]] bool is_kept_empty(const std::string& database, routing::TimePoint now) const {
        const auto entry = emptied_.find(database);
        return entry != emptied_.end() && now < entry->second;
    }
    void forget(routing::TimePoint now);  // databases whose while is over

private:
    using ById = std::array<routing::TimePoint, health::ServerIds::kMost>;
    ById retired_;
    ById again_;                                         // when retire_all() was called last
    std::map<std::string, routing::TimePoint> emptied_;  // databases, and until when
};

}  // namespace pgsteer::proxy
