// Runs the Checker alone and prints a line of JSON for every server ten times a second;
// tests/integration/ health_check.py drives it. Commands on stdin: "fast" and "slow" (freshness
// wanted or not), "lost N" (a connection to server N broke), "quit".
//
// health_watch USER HOST:PORT... [--interval MS] [--fast MS] [--timeout MS] [--nudge MS] [--admin
// PORT] with the password in PGPASSWORD.
#include "health/admin_server.hpp"
#include "health/checker.hpp"
#include "health/node_status.hpp"

#include <nlohmann/json.hpp>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <iostream>
#include <memory>
#include <string>
#include <sys/resource.h>
#include <thread>

namespace {

using namespace pgsteer;
using namespace std::chrono_literals;

std::shared_ptr<conf::Config> read_arguments(int argc, char** argv) {
    auto config = std::make_shared<conf::Config>();
    config->health.user = argv[1];
    config->health.password =
        conf::Secret{std::getenv("PGPASSWORD") ? std::getenv("PGPASSWORD") : ""};
    config->admin.port = 0;
    for (int i = 2; i < argc; ++i) {
        const std::string argument = argv[i];
        if (argument.starts_with("--") && i + 1 < argc) {
            const std::chrono::milliseconds value{std::atoi(argv[++i])};
            if (argument == "--interval") config->health.interval = value;
            if (argument == "--fast") config->health.fast_interval = value;
            if (argument == "--timeout") config->health.timeout = value;
            if (argument == "--admin")
                config->admin.port = static_cast<std::uint16_t>(value.count());
            if (argument == "--nudge") config->health.nudge_interval = value;
            continue;
        }
        const auto colon = argument.rfind(':');
        conf::ServerConfig server;
        server.name = "pg" + std::to_string(config->servers.size() + 1);
        server.host = argument.substr(0, colon);
        server.port = static_cast<std::uint16_t>(std::atoi(argument.c_str() + colon + 1));
        config->servers.push_back(server);
    }
    return config;
}

double cpu_seconds() {
    rusage usage{};
    getrusage(RUSAGE_SELF, &usage);
    return static_cast<double>(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           static_cast<double>(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

void print(const health::Checker& checker,
           const health::TopologyStore& store,
           const health::Evidence& evidence,
           int changes) {
    const auto topology = store.load();
    const auto counters = checker.counters();
    nlohmann::json line{{"cpu", cpu_seconds()},
                        {"version", topology->version},
                        {"primary", topology->primary ? topology->primary->index : -1},
                        {"suspects", !evidence.suspects(*topology).empty()},
                        {"changes", changes},
                        {"fast_rounds", counters.fast_rounds},
                        {"nudges", counters.nudges}};
    const auto reports = checker.report();
    for (std::size_t i = 0; i < reports.size(); ++i)
        line["servers"].push_back({{"role", health::name(reports[i].role)},
                                   {"status", health::name(reports[i].status)},
                                   {"reason", reports[i].status_reason},
                                   {"staleness", reports[i].lag_seconds},
                                   {"bytes", reports[i].lag_bytes},
                                   {"checked", reports[i].last_check_age_seconds},
                                   {"failures", reports[i].consecutive_failures},
                                   {"probes", reports[i].probes_total},
                                   {"timeline", reports[i].timeline},
                                   {"incarnation", topology->servers[i].incarnation.number},
                                   {"response", reports[i].response_time_seconds}});
    std::cout << line.dump() << std::endl;
}

}  // namespace

int main(int argc, char** argv) {
    if (argc < 3) return 2;
    const auto config = read_arguments(argc, argv);
    const health::ServerTable servers{config};
    health::TopologyStore store{health::first_topology(servers)};
    health::Evidence evidence{config->servers.size()};
    health::Checker checker{config, servers, store, evidence};
    std::atomic<int> changes{0};
    checker.on_server_change([&](const health::TopologyPtr&) { ++changes; });
    checker.start();
    const health::Metrics metrics{{.config = config.get(),
                                   .checker = &checker,
                                   .topology = &store,
                                   .workers = {},
                                   .error_names = {},
                                   .draining = {}}};
    health::AdminServer admin{config->admin, [&](std::string_view method, std::string_view target) {
                                  return health::respond(metrics, method, target);
                              }};
    admin.start();

    std::atomic<bool> is_done{false};
    std::atomic<bool> is_fast{false};
    std::thread printer{[&] {
        for (int i = 0; !is_done; ++i) {
            if (is_fast) evidence.freshness_wanted();
            if (i % 5 == 0) print(checker, store, evidence, changes);
            std::this_thread::sleep_for(20ms);
        }
    }};
    std::string command;
    while (std::cin >> command && command != "quit") {
        if (command == "fast") is_fast = true;
        if (command == "slow") is_fast = false;
        std::uint16_t server = 0;
        if (command == "lost" && std::cin >> server)
            evidence.server_unreachable(routing::ServerId{server});
    }
    is_done = true;
    printer.join();
    checker.stop();
}
