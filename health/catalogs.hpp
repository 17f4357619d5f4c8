// Looks at the catalogs of all databases that are in use, on a thread of its own.
#pragma once

#include "conf/config.hpp"
#include "health/catalog_store.hpp"
#include "health/server_table.hpp"
#include "health/topology_store.hpp"

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace pgsteer::health {

// One database as /status and /metrics show it. A copy, taken on request.
struct CatalogReport {
    std::string database;
    bool is_loaded = false;
    std::uint64_t epoch = 0;
    double age_seconds = -1;  // since the last good look began; negative: none yet
    std::string obstacle;     // what keeps all reads on the primary; "": nothing
    std::string last_error;   // of the last look; "": it went well
    std::uint64_t bytes = 0;
    std::uint64_t loaded = 0;  // looks by their result
    std::uint64_t unchanged = 0;
    std::uint64_t failed = 0;
};

class Catalogs {
public:
    // `servers`: of `config`.
    Catalogs(std::shared_ptr<const conf::Config> config,
             ServerTable servers,
             const TopologyStore& topology);
    ~Catalogs();  // stops
    Catalogs(const Catalogs&) = delete;
    Catalogs& operator=(const Catalogs&) = delete;

    // Called on the thread of the catalogs after the first look at a database, and after each that
    // found another catalog. Set before start().
    void on_change(std::function<void()> callback);
    // The same, when what is set for roles and databases (pg_db_role_setting) has changed.
    void on_role_settings(std::function<void()> callback);
    void start();  // looks at the databases that the configuration names
    void stop();   // joins the thread; may be called twice

    // --- thread-safe ---
    // By the name that servers know. The first call for a database asks for its first look; only
    // for databases that exist.
    std::shared_ptr<CatalogStore> database(const std::string& name);
    // For a few seconds it is not looked at: a statement needs it to itself.
    void leave(const std::string& database);
    // There may be another primary: its catalogs are looked at anew.
    void servers_changed();
    [[nodiscard]] std::vector<CatalogReport> report() const;

private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace pgsteer::health
