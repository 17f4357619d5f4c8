#include "health/admin_routes.hpp"

#include "health/node_status.hpp"
#include "health/topology_store.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>

namespace pgsteer::health {

namespace {

using nlohmann::ordered_json;

AdminResponse json(int status, const ordered_json& body) {
    // Names come from the configuration and from servers: what is not UTF-8 is replaced, never
    // thrown over.
    return {status, "application/json",
            body.dump(2, ' ', false, ordered_json::error_handler_t::replace) + "\n"};
}

AdminResponse error(int status, std::string_view message) {
    return json(status, {{"error", message}});
}

ordered_json or_null(double value) { return value < 0 ? ordered_json{} : ordered_json(value); }
ordered_json or_null(std::int64_t value) {
    return value < 0 ? ordered_json{} : ordered_json(value);
}

bool is_draining(const Sources& sources) { return sources.draining && sources.draining(); }

struct Queries {
    std::uint64_t total = 0;
    std::uint64_t failed = 0;
    std::uint64_t retried = 0;
    std::uint64_t connections = 0;
};

Queries count_queries(const Sources& sources, routing::ServerId server) {
    Queries all;
    for (const WorkerCounters* worker : sources.workers) {
        all.connections += worker->server_connections[server.index].get();
        for (const auto& database : worker->databases.all()) {
            const auto* counters = database->servers.find(server);
            if (counters == nullptr) continue;
            for (const Count& count : counters->requests) all.total += count.get();
            for (const Count& count : counters->replica_requests) all.total += count.get();
            all.failed += counters->failed.get() + counters->lost.get();
            all.retried += counters->retried.get();
        }
    }
    return all;
}

// By ServerId.
std::vector<ordered_json> describe_refused_logins(const Sources& sources) {
    constexpr std::size_t kMaxShown = 20;
    std::vector<ordered_json> all(ServerIds::kMost, ordered_json::array());
    for (const RefusedLogin& login : known_refused_logins(sources)) {
        auto& shown = all[login.server.index];
        if (shown.size() == kMaxShown) continue;
        shown.push_back({{"database", login.database},
                         {"user", login.user},
                         {"since_seconds", login.since_seconds},
                         {"refusals", login.refusals},
                         {"sqlstate", login.sqlstate},
                         {"error", login.error}});
    }
    return all;
}

std::vector<ordered_json> describe_setting_differences(const Sources& sources) {
    std::vector<ordered_json> all(ServerIds::kMost, ordered_json::array());
    if (!sources.setting_differences) return all;
    for (const SettingDifference& difference : sources.setting_differences()) {
        ordered_json shown{{"name", difference.setting},
                           {"primary", difference.primary},
                           {"replica", difference.replica},
                           {"sessions_get", difference.is_made_up ? "primary" : "replica"}};
        if (!difference.is_made_up) {
            shown["database"] = difference.database;
            shown["user"] = difference.user;
        }
        all[difference.server.index].push_back(std::move(shown));
    }
    return all;
}

ordered_json describe(const ServerReport& report, const Queries& queries) {
    const auto good = queries.total > queries.failed ? queries.total - queries.failed : 0;
    return {{"name", report.name},
            {"host", report.host},
            {"port", report.port},
            {"role", name(report.role)},
            {"status", name(report.status)},
            {"reason", report.status_reason},
            {"lag_seconds", or_null(report.lag_seconds)},
            {"lag_bytes", or_null(report.lag_bytes)},
            {"position", report.position},
            {"timeline", report.timeline},
            {"last_check_seconds_ago", or_null(report.last_check_age_seconds)},
            {"response_seconds", report.response_time_seconds},
            {"consecutive_failures", report.consecutive_failures},
            {"probes_total", report.probes_total},
            {"probes_failed", report.probe_failures_total},
            {"last_error", report.last_error},
            {"connections", queries.connections},
            {"queries_total", queries.total},
            {"queries_failed", queries.failed},
            {"queries_retried_elsewhere", queries.retried},
            {"success_rate",
             queries.total == 0
                 ? ordered_json{}
                 : ordered_json(static_cast<double>(good) / static_cast<double>(queries.total))}};
}

// Replicas of the best priority that can serve now, DEGRADED ones only if there is nothing better.
ordered_json read_targets(const Sources& sources, const routing::Topology& topology) {
    using routing::Status;
    auto names = ordered_json::array();
    for (const auto wanted : {Status::healthy, Status::degraded}) {
        if (wanted == Status::degraded && !sources.config->routing.degraded_reads) break;
        int best = 0;
        for (const auto id : sources.servers.ids()) {
            const auto& server = topology[id];
            if (server.role != routing::Role::replica || server.status != wanted ||
                server.fresh_as_of == routing::kNever)
                continue;
            if (names.empty() || server.priority < best) {
                names.clear();
                best = server.priority;
            }
            if (server.priority == best) names.push_back(sources.servers[id].name);
        }
        if (!names.empty()) return names;
    }
    if (topology.primary) names.push_back(sources.servers[*topology.primary].name);
    return names;
}

ordered_json describe_all(const Sources& sources) {
    const auto topology = sources.topology->load();
    auto servers = ordered_json::array();
    const auto reports = sources.checker ? sources.checker->report() : std::vector<ServerReport>{};
    const auto refused = describe_refused_logins(sources);
    const auto settings = describe_setting_differences(sources);
    for (const auto& report : reports) {
        auto& server = servers.emplace_back(describe(report, count_queries(sources, report.id)));
        server["refused_logins"] = refused[report.id.index];
        server["settings"] = settings[report.id.index];
    }
    ordered_json primary;
    if (topology->primary) primary = sources.servers[*topology->primary].name;
    return {{"primary", primary},
            {"read_targets", read_targets(sources, *topology)},
            {"servers", std::move(servers)}};
}

ordered_json describe_catalogs(const Sources& sources) {
    auto catalogs = ordered_json::array();
    if (!sources.catalogs) return catalogs;
    for (const CatalogReport& report : sources.catalogs->report())
        catalogs.push_back({{"database", report.database},
                            {"loaded", report.is_loaded},
                            {"epoch", report.epoch},
                            {"looked_at_seconds_ago", or_null(report.age_seconds)},
                            {"bytes", report.bytes},
                            {"all_reads_on_primary_because_of", report.obstacle},
                            {"last_error", report.last_error}});
    return catalogs;
}

AdminResponse live(const Sources&) { return json(200, {{"status", "alive"}}); }

AdminResponse ready(const Sources& sources) {
    if (is_draining(sources)) return json(503, {{"ready", false}, {"reason", "draining"}});
    if (!sources.topology->load()->primary)
        return json(503, {{"ready", false}, {"reason", "no primary"}});
    return json(200, {{"ready", true}});
}

// For load balancers and monitors that know nothing of replicas: is the database behind this there?
AdminResponse database(const Sources& sources) {
    const auto topology = sources.topology->load();
    bool is_whole = topology->primary.has_value();
    for (const auto server : sources.servers.ids())
        is_whole = is_whole && (*topology)[server].status == routing::Status::healthy;
    const char* status = !topology->primary ? "unavailable" : is_whole ? "healthy" : "degraded";
    ordered_json body{{"status", status}};
    body.update(describe_all(sources));
    return json(topology->primary ? 200 : 503, body);
}

AdminResponse status(const Sources& sources) {
    const auto sum = [&](Count WorkerCounters::*member) {
        std::uint64_t total = 0;
        for (const WorkerCounters* worker : sources.workers) total += (worker->*member).get();
        return total;
    };
    ordered_json body{{"version", PGSTEER_VERSION},
                      {"draining", is_draining(sources)},
                      {"workers", sources.workers.size()},
                      {"clients", sum(&WorkerCounters::clients)},
                      {"clients_accepted", sum(&WorkerCounters::clients_accepted)},
                      {"requests_waiting", sum(&WorkerCounters::pool_waiting)},
                      {"topology_version", sources.topology->version()}};
    body.update(describe_all(sources));
    body["catalogs"] = describe_catalogs(sources);
    return json(200, body);
}

}  // namespace

AdminResponse respond(const Metrics& metrics, std::string_view method, std::string_view target) {
    const std::string_view path = target.substr(0, target.find('?'));
    const Sources& sources = metrics.sources();
    AdminResponse (*answer)(const Sources&) = nullptr;
    if (path == "/livez") answer = live;
    if (path == "/readyz") answer = ready;
    if (path == "/health/database") answer = database;
    if (path == "/status") answer = status;
    if (!answer && path != "/metrics")
        return error(404, "not found; there are /metrics /livez /readyz /health/database /status");
    if (method != "GET" && method != "HEAD") return error(405, "only GET and HEAD are allowed");
    if (!answer) return {200, "text/plain; version=0.0.4; charset=utf-8", metrics.text()};
    return answer(sources);
}

}  // namespace pgsteer::health
