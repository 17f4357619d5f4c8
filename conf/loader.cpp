#include "conf/loader.hpp"

#include "conf/reader.hpp"
#include "conf/text.hpp"
#include "conf/validate.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <filesystem>

namespace pgsteer::conf {
namespace {

using namespace std::chrono_literals;

constexpr Range<milliseconds> kPositive{1ms, 720h};  // 30 days
constexpr Range<milliseconds> kMayBeZero{0ms, 720h};
constexpr Range<milliseconds> kAtLeastASecond{1s, 720h};
constexpr Range<int> kPort{1, 65'535};
constexpr Range<int> kPortOrAny{0, 65'535};

enum class Accepted : std::uint8_t { yes };  // keys that have a single supported meaning so far

constexpr Choice<ServerRole> kRoles[] = {
    {"auto", ServerRole::automatic},
    {"primary", ServerRole::primary},
    {"replica", ServerRole::replica},
};
constexpr Choice<Accepted> kReplications[] = {
    {"physical", Accepted::yes},
    {"logical", std::nullopt},
};
// Both mean a connection without TLS for now: prefer falls back to that.
constexpr Choice<Accepted> kSslModes[] = {
    {"disable", Accepted::yes}, {"prefer", Accepted::yes},   {"allow", std::nullopt},
    {"require", std::nullopt},  {"verify-ca", std::nullopt}, {"verify-full", std::nullopt},
};
constexpr Choice<Consistency> kConsistencies[] = {
    {"eventual", Consistency::eventual},
    {"session", Consistency::session},
    {"global", Consistency::global},
    {"strict", Consistency::strict},
};
constexpr Choice<Transactions> kTransactions[] = {
    {"primary", Transactions::primary},
    {"read_only", Transactions::read_only},
    {"lazy", Transactions::lazy},
};
constexpr Choice<PoolMode> kPoolModes[] = {
    {"session", PoolMode::session},
    {"transaction", std::nullopt},
};
constexpr Choice<AuthMethod> kAuthMethods[] = {
    {"scram-sha-256", AuthMethod::scram_sha_256},
    {"md5", AuthMethod::md5},
    {"trust", AuthMethod::trust},
    {"cert", std::nullopt},
    {"scram-sha-256-plus", std::nullopt},
    {"password", std::nullopt},
    {"peer", std::nullopt},
    {"ldap", std::nullopt},
    {"pam", std::nullopt},
    {"hba", std::nullopt},
};
constexpr Choice<LogLevel> kLogLevels[] = {
    {"debug", LogLevel::debug},
    {"info", LogLevel::info},
    {"warning", LogLevel::warning},
    {"error", LogLevel::error},
};
constexpr Choice<LogFormat> kLogFormats[] = {
    {"text", LogFormat::text},
    {"json", LogFormat::json},
};

void read_listen(Reader in, ListenConfig& listen) {
    in.read("address", listen.address);
    in.read("port", listen.port, kPortOrAny);
    in.read("unix_socket", listen.unix_socket);
    in.read("max_clients", listen.max_clients, {1, 1'000'000});
    in.read("login_timeout", listen.login_timeout, kPositive);
    in.unsupported("tls");
    in.reject_unknown_keys();
}

void read_admin(Reader in, AdminConfig& admin) {
    in.read("address", admin.address);
    in.read("port", admin.port, kPortOrAny);
    in.unsupported("token_file");
    in.reject_unknown_keys();
}

ServerConfig read_server(Reader in) {
    ServerConfig server;
    Accepted accepted{};
    in.read("name", server.name, Presence::required);
    in.read("host", server.host, Presence::required);
    in.read("port", server.port, kPort);
    in.read("role", server.role, kRoles);
    in.read("priority", server.priority, {-1'000, 1'000});
    in.read("weight", server.weight, {1, 1'000});
    in.read("max_lag", server.max_lag, kPositive);
    in.read("max_lag_hard", server.max_lag_hard, kPositive);
    in.read("connect_timeout", server.connect_timeout, kPositive);
    in.read("query_timeout", server.query_timeout, kMayBeZero);
    in.read("replication", accepted, kReplications);
    in.read("sslmode", accepted, kSslModes);
    in.reject_unknown_keys();
    return server;
}

void read_consistency(Reader& in, std::optional<Consistency>& consistency) {
    Consistency level{};
    if (in.read("consistency", level, kConsistencies)) consistency = level;
}

DatabaseConfig read_database(Reader in) {
    DatabaseConfig database;
    in.read("name", database.name, Presence::required);
    in.read("server_name", database.server_name);
    read_consistency(in, database.consistency);
    in.reject_unknown_keys();
    return database;
}

void read_health(Reader in, HealthConfig& health) {
    in.read("user", health.user);
    in.read_secret_or_file("password", health.password);
    in.read("database", health.database);
    in.read("interval", health.interval, {10ms, 1h});
    in.read("fast_interval", health.fast_interval, {1ms, 1h});
    in.read("timeout", health.timeout, {10ms, 1h});
    in.read("rise", health.rise, {1, 100});
    in.read("fall", health.fall, {1, 100});
    in.read("slow_factor", health.slow_factor, Range<double>{1, 1'000});
    in.read("nudge_interval", health.nudge_interval, {0ms, 1h});
    in.unsupported("fence");
    in.reject_unknown_keys();
}

void read_routing(Reader in, RoutingConfig& routing) {
    in.read("consistency", routing.consistency, kConsistencies);
    in.read("freshness_wait", routing.freshness_wait, Range<milliseconds>{0ms, 1min});
    in.read("sample_on_primary", routing.sample_on_primary);
    in.read("transactions", routing.transactions, kTransactions);
    in.read("retry_buffer", routing.retry_buffer, Range<std::size_t>{0, 16 * 1024 * 1024});
    in.read("degraded_reads", routing.degraded_reads);
    in.read("catalog_interval", routing.catalog_interval, kAtLeastASecond);
    in.read("read_only_functions", routing.read_only_functions);
    in.read("primary_functions", routing.primary_functions);
    in.read("lazy_consistency", routing.lazy_consistency, kConsistencies);
    in.read("sample_interval", routing.sample_interval, Range<milliseconds>{0ms, 1min});
    in.read("primary_read_limit", routing.primary_read_limit, {0, 1'000'000});
    in.read("freshness_wait_max", routing.freshness_wait_max, Range<milliseconds>{0ms, 10min});
    in.reject_unknown_keys();
}

void read_pool(Reader in, PoolConfig& pool) {
    in.read("mode", pool.mode, kPoolModes);
    in.read("size", pool.size, {1, 10'000});
    in.read("acquire_timeout", pool.acquire_timeout, kPositive);
    in.read("idle_timeout", pool.idle_timeout, kAtLeastASecond);
    in.read("max_lifetime", pool.max_lifetime, kAtLeastASecond);
    in.unsupported("max_prepared");
    in.unsupported("failover_wait");
    in.reject_unknown_keys();
}

AuthUser read_user(Reader in) {
    AuthUser user;
    in.read("name", user.name, Presence::required);
    in.read_secret_or_file("password", user.password);
    in.read("verifier", user.verifier);
    read_consistency(in, user.consistency);
    in.reject_unknown_keys();
    return user;
}

void read_auth(Reader in, AuthConfig& auth) {
    in.read("method", auth.method, kAuthMethods);
    for (Reader& user : in.list("users")) auth.users.push_back(read_user(user));
    in.reject_unknown_keys();
}

void read_log(Reader in, LogConfig& log) {
    in.read("level", log.level, kLogLevels);
    in.read("format", log.format, kLogFormats);
    in.reject_unknown_keys();
}

void read_config(Reader in, Config& config) {
    read_listen(in.section("listen"), config.listen);
    read_admin(in.section("admin"), config.admin);
    in.read("workers", config.workers, {0, 1'024});
    in.read("shutdown_timeout", config.shutdown_timeout, kMayBeZero);
    for (Reader& server : in.list("servers")) config.servers.push_back(read_server(server));
    for (Reader& database : in.list("databases"))
        config.databases.push_back(read_database(database));
    read_health(in.section("health"), config.health);
    read_routing(in.section("routing"), config.routing);
    read_pool(in.section("pool"), config.pool);
    read_auth(in.section("auth"), config.auth);
    read_log(in.section("log"), config.log);
    in.reject_unknown_keys();
}

// A rule about a value that could not be read would only repeat or confuse what was said already.
void report_conflicts(const Config& config, Document& document) {
    const auto is_doubtful = [&](const std::string& path) { return document.has_problem_at(path); };
    std::vector<Finding> findings = find_conflicts(config);
    std::erase_if(findings, [&](const Finding& finding) {
        return is_doubtful(finding.key_path) ||
               std::any_of(finding.other_paths.begin(), finding.other_paths.end(), is_doubtful);
    });
    for (Finding& finding : findings) document.report(finding.key_path, std::move(finding.message));
}

}  // namespace

std::string Problem::text() const {
    std::string out = file;
    if (line > 0) out += fmt::format(":{}:{}", line, column);
    if (!key_path.empty()) out += ": " + key_path;
    return out + ": " + message;
}

Loaded load_text(std::string_view yaml, const std::string& file, const std::string& directory) {
    Loaded loaded;
    const ParsedYaml parsed = parse_yaml(yaml);
    if (!parsed.root) {
        loaded.problems.push_back({file, parsed.place.line, parsed.place.column, {}, parsed.error});
        return loaded;
    }
    Document document{file, directory};
    read_config(Reader{document, parsed.root, {}}, loaded.config);
    report_conflicts(loaded.config, document);
    if (loaded.config.databases.empty()) loaded.config.databases.push_back({"*", {}, {}});
    loaded.problems = document.take_problems();
    return loaded;
}

Loaded load_file(const std::string& path) {
    const auto content = read_file(path, kMaxFileBytes);
    if (!content.value) return {{}, {{path, 0, 0, {}, content.error}}};
    return load_text(*content.value, path, std::filesystem::path{path}.parent_path().string());
}

}  // namespace pgsteer::conf
