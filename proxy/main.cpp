// The command line.
#include "conf/loader.hpp"
#include "health/catalog_loader.hpp"
#include "health/conninfo.hpp"
#include "proxy/app.hpp"
#include "routing/explain.hpp"

#include <CLI/CLI.hpp>

#include <cstdio>
#include <memory>
#include <string>
#include <vector>

namespace {

using namespace pgsteer;

struct Options {
    std::string config_file;
    std::string check_file;
    std::string primary;
    std::vector<std::string> replicas;
    std::string explain_sql;
    std::string explain_config;
    std::string explain_database;
    std::string explain_user;
    bool explain = false;
};

// Prints every problem; true if there is none.
bool report(const conf::Loaded& loaded) {
    for (const auto& problem : loaded.problems)
        std::fprintf(stderr, "%s\n", problem.text().c_str());
    return loaded.ok();
}

int check(const std::string& file) {
    if (!report(conf::load_file(file))) return 1;
    std::printf("%s: the configuration is valid\n", file.c_str());
    return 0;
}

int run_file(const std::string& file) {
    auto loaded = conf::load_file(file);
    if (!report(loaded)) return 1;
    return proxy::run(std::make_shared<const conf::Config>(std::move(loaded.config)));
}

// A configuration from connection strings alone: the primary's user is both the health role and the
// one client user.
int run_uris(const Options& options) {
    conf::Config config;
    bool valid = true;
    const auto add = [&](const std::string& uri, conf::ServerRole role) {
        auto info = health::parse_conninfo(uri);
        if (!info.error.empty()) {
            std::fprintf(stderr, "--%s: %s\n",
                         role == conf::ServerRole::primary ? "primary" : "replica",
                         info.error.c_str());
            valid = false;
            return;
        }
        info.server.role = conf::ServerRole::automatic;  // as found: a failover changes it
        config.servers.push_back(info.server);
        if (role != conf::ServerRole::primary) return;
        config.health.user = info.user;
        config.health.password = info.password;
        if (!info.database.empty()) config.health.database = info.database;
        if (info.password.empty()) {
            config.auth.method = conf::AuthMethod::trust;
        } else {
            config.auth.users.push_back({info.user, info.password, {}});
        }
    };
    add(options.primary, conf::ServerRole::primary);
    for (const auto& uri : options.replicas) add(uri, conf::ServerRole::replica);
    if (!valid) return 1;
    config.databases.push_back({"*", ""});
    const auto problems = conf::validate(config);
    for (const auto& problem : problems) std::fprintf(stderr, "%s\n", problem.c_str());
    if (!problems.empty()) return 1;
    return proxy::run(std::make_shared<const conf::Config>(std::move(config)));
}

int explain(const Options& options) {
    conf::Config config;
    if (!options.explain_config.empty()) {
        auto loaded = conf::load_file(options.explain_config);
        if (!report(loaded)) return 1;
        config = std::move(loaded.config);
    }
    if (options.explain_database.empty()) {
        std::fputs(routing::explain_text(options.explain_sql).c_str(), stdout);
        return 0;
    }
    const auto answer = health::load_catalog_now(config, options.explain_database);
    if (!answer.catalog) {
        std::fprintf(stderr, "the catalog of database %s cannot be read: %s\n",
                     options.explain_database.c_str(), answer.error.text.c_str());
        return 1;
    }
    const auto defaults = answer.catalog->defaults_of(options.explain_user);
    routing::CatalogView view{answer.catalog.get(), {}, defaults.may_be_serializable};
    if (defaults.search_path)
        view.search_path = routing::parse_search_path(*defaults.search_path, options.explain_user);
    std::fputs(routing::explain_text(options.explain_sql, &view).c_str(), stdout);
    return 0;
}

}  // namespace

int main(int argc, char** argv) {
    Options options;
    CLI::App app{
        "pgsteer: a PostgreSQL proxy that sends writes to the primary and reads to fresh replicas",
        "pgsteer"};
    app.set_version_flag("--version", "pgsteer " PGSTEER_VERSION);
    auto* config = app.add_option("--config", options.config_file, "run with this YAML file");
    auto* check_config =
        app.add_option("--check-config", options.check_file, "check this YAML file and exit");
    auto* primary = app.add_option("--primary", options.primary,
                                   "run without a file: connection string of the primary");
    app.add_option("--replica", options.replicas, "connection string of a replica; may be repeated")
        ->needs(primary);
    config->excludes(check_config)->excludes(primary);
    check_config->excludes(primary);
    auto* explain_command =
        app.add_subcommand("explain", "say where a statement would run, and why");
    auto* explain_config = explain_command->add_option("--config", options.explain_config,
                                                       "YAML file to check it with");
    auto* explain_database =
        explain_command
            ->add_option("--database", options.explain_database,
                         "judge by the catalog of this database (its name on the servers)")
            ->needs(explain_config);
    explain_command
        ->add_option("--user", options.explain_user, "whose search_path counts, with --database")
        ->needs(explain_database);
    explain_command->add_option("sql", options.explain_sql, "SQL text")->required();
    app.require_subcommand(0, 1);
    CLI11_PARSE(app, argc, argv);

    if (*explain_command) return explain(options);
    if (*check_config) return check(options.check_file);
    if (*config) return run_file(options.config_file);
    if (*primary) return run_uris(options);
    std::fputs(app.help().c_str(), stderr);
    return 2;
}
