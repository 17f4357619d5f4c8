#include "conf/validate.hpp"

#include "conf/loader.hpp"
#include "conf/text.hpp"
#include "conf/units.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <functional>
#include <map>
#include <optional>

namespace pgsteer::conf {
namespace {

constexpr std::size_t kMaxSocketPath = 107;  // sockaddr_un.sun_path less its final NUL
constexpr std::size_t kScramKeyBytes = 32;   // SHA-256

using Findings = std::vector<Finding>;

std::string element(std::string_view list, std::size_t index, std::string_view key = {}) {
    return key.empty() ? fmt::format("{}[{}]", list, index)
                       : fmt::format("{}[{}].{}", list, index, key);
}

// "" or why `directory` cannot hold the socket .s.PGSQL.<port>.
std::string socket_error(const std::string& directory, std::uint16_t port) {
    if (!directory.starts_with('/')) return "must be an absolute path";
    const std::string path = fmt::format("{}/.s.PGSQL.{}", directory, port);
    if (path.size() <= kMaxSocketPath) return {};
    return fmt::format("the socket's path would be {} bytes long, the system allows {}",
                       path.size(), kMaxSocketPath);
}

void check_listen(const Config& config, Findings& out) {
    const ListenConfig& listen = config.listen;
    if (listen.address.empty() && listen.unix_socket.empty())
        out.push_back({"listen.address",
                       "either address or unix_socket must be given",
                       {"listen.unix_socket"}});
    if (listen.address.empty() && !listen.unix_socket.empty() && listen.port == 0)
        out.push_back({"listen.port",
                       "a Unix socket alone needs a port: it is part of its name",
                       {"listen.address"}});
    if (!listen.unix_socket.empty()) {
        // Port 0: the system chooses one, of up to five digits.
        auto error = socket_error(listen.unix_socket, listen.port == 0 ? 65'535 : listen.port);
        if (!error.empty())
            out.push_back({"listen.unix_socket", std::move(error), {"listen.port"}});
    }
    if (config.admin.address.empty())
        out.push_back({"admin.address", "must not be empty", {}});
    else if (listen.port != 0 && listen.port == config.admin.port &&
             listen.address == config.admin.address)
        out.push_back({"admin.port",
                       fmt::format("{} is already the port of listen", config.admin.port),
                       {"listen.port", "listen.address", "admin.address"}});
}

// Complains of every name that an earlier element has already.
template <class Element>
void check_names(std::string_view list, const std::vector<Element>& elements, Findings& out) {
    std::map<std::string, std::size_t> first;
    for (std::size_t i = 0; i < elements.size(); ++i) {
        const std::string& name = elements[i].name;
        if (name.empty()) {
            out.push_back({element(list, i, "name"), "must not be empty", {element(list, i)}});
            continue;
        }
        const auto [found, is_new] = first.try_emplace(name, i);
        if (!is_new)
            out.push_back({element(list, i, "name"),
                           fmt::format("'{}' is already the name of {}", printable(name),
                                       element(list, found->second)),
                           {}});
    }
}

void check_server(const ServerConfig& server, std::size_t index, Findings& out) {
    const auto path = [&](std::string_view key) { return element("servers", index, key); };
    if (server.host.empty()) out.push_back({path("host"), "must not be empty", {path("")}});
    if (server.host.starts_with('/')) {
        auto error = socket_error(server.host, server.port);
        if (!error.empty()) out.push_back({path("host"), std::move(error), {path("port")}});
    }
    if (server.max_lag >= server.max_lag_hard)
        out.push_back(
            {path("max_lag"),
             fmt::format("{} must be less than max_lag_hard ({})", format_duration(server.max_lag),
                         format_duration(server.max_lag_hard)),
             {path("max_lag_hard")}});
}

void check_servers(const std::vector<ServerConfig>& servers, Findings& out) {
    if (servers.empty()) out.push_back({"servers", "at least one server is required", {}});
    if (servers.size() > kMaxServers)
        out.push_back(
            {"servers",
             fmt::format("{} servers, but at most {} are possible", servers.size(), kMaxServers),
             {}});
    check_names("servers", servers, out);
    std::optional<std::size_t> primary;
    std::map<std::pair<std::string, std::uint16_t>, std::size_t> first_at;
    for (std::size_t i = 0; i < servers.size(); ++i) {
        check_server(servers[i], i, out);
        if (servers[i].role == ServerRole::primary) {
            if (primary)
                out.push_back(
                    {element("servers", i, "role"),
                     fmt::format("{} is already the primary", element("servers", *primary)),
                     {}});
            else
                primary = i;
        }
        if (servers[i].host.empty()) continue;
        const auto [found, is_new] = first_at.try_emplace({servers[i].host, servers[i].port}, i);
        if (!is_new)
            out.push_back(
                {element("servers", i, "host"),
                 fmt::format("same host and port as {}", element("servers", found->second)),
                 {element("servers", i, "port"), element("servers", found->second, "port")}});
    }
}

void check_databases(const std::vector<DatabaseConfig>& databases, Findings& out) {
    check_names("databases", databases, out);
    for (std::size_t i = 0; i < databases.size(); ++i)
        if (databases[i].name == "*" && !databases[i].server_name.empty())
            out.push_back({element("databases", i, "server_name"),
                           "cannot be given for '*', which passes every name on",
                           {}});
}

void check_health(const HealthConfig& health, Findings& out) {
    if (health.fast_interval > health.interval)
        out.push_back(
            {"health.fast_interval",
             fmt::format("{} must not be more than interval ({})",
                         format_duration(health.fast_interval), format_duration(health.interval)),
             {"health.interval"}});
    if (health.user.empty()) out.push_back({"health.user", "must not be empty", {}});
    if (health.database.empty()) out.push_back({"health.database", "must not be empty", {}});
}

void check_user(const AuthUser& user, std::size_t index, AuthMethod method, Findings& out) {
    const auto path = [&](std::string_view key) { return element("auth.users", index, key); };
    const std::vector<std::string> secrets{path("password"), path("password_file"),
                                           path("verifier"), path("")};
    if (!user.password.empty() && !user.verifier.empty())
        out.push_back({path("verifier"), "cannot be given together with a password", secrets});
    if (method != AuthMethod::trust && user.password.empty() && user.verifier.empty())
        out.push_back(
            {path(""), "one of password, password_file and verifier is required", secrets});
    if (user.verifier.empty()) return;
    if (auto error = verifier_error(user.verifier.reveal()); !error.empty())
        out.push_back({path("verifier"), std::move(error), {}});
    if (method == AuthMethod::md5)
        out.push_back({path("verifier"), "method md5 needs the password itself", {"auth.method"}});
}

void check_auth(const AuthConfig& auth, Findings& out) {
    if (auth.users.empty() && auth.method != AuthMethod::trust)
        out.push_back({"auth.users",
                       "at least one user is required (only method trust goes without)",
                       {"auth.method"}});
    check_names("auth.users", auth.users, out);
    for (std::size_t i = 0; i < auth.users.size(); ++i)
        check_user(auth.users[i], i, auth.method, out);
}

// The number of bytes that base64 text stands for; nullopt: not base64 with its padding.
std::optional<std::size_t> base64_bytes(std::string_view text) {
    if (text.empty() || text.size() % 4 != 0) return std::nullopt;
    std::size_t padding = 0;
    while (padding < 2 && text[text.size() - 1 - padding] == '=') ++padding;
    const auto in_alphabet = [](char c) {
        return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
               c == '+' || c == '/';
    };
    const std::string_view digits = text.substr(0, text.size() - padding);
    if (!std::all_of(digits.begin(), digits.end(), in_alphabet)) return std::nullopt;
    return text.size() / 4 * 3 - padding;
}

// Cuts `text` at the first `separator`; what is before it, and `text` becomes what is behind.
std::string_view cut(std::string_view& text, char separator) {
    const auto at = std::min(text.find(separator), text.size());
    const std::string_view before = text.substr(0, at);
    text.remove_prefix(std::min(at + 1, text.size()));
    return before;
}

// A name without its schema would mean all functions of that name, which is seldom meant.
void check_routing(const RoutingConfig& routing, Findings& out) {
    const auto check = [&](std::string_view list, const std::vector<std::string>& names) {
        for (std::size_t i = 0; i < names.size(); ++i) {
            const auto dot = names[i].find('.');
            if (dot != std::string::npos && dot > 0 && dot + 1 < names[i].size()) continue;
            out.push_back({element(list, i),
                           fmt::format("'{}' is not schema.name", printable(names[i])),
                           {}});
        }
    };
    check("routing.read_only_functions", routing.read_only_functions);
    check("routing.primary_functions", routing.primary_functions);
}

}  // namespace

std::string verifier_error(std::string_view text) {
    constexpr std::string_view kForm =
        "SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey> as in pg_authid.rolpassword";
    if (cut(text, '$') != "SCRAM-SHA-256") return fmt::format("must have the form {}", kForm);
    const auto iterations = parse_integer(cut(text, ':'));
    const auto salt = base64_bytes(cut(text, '$'));
    const auto stored_key = base64_bytes(cut(text, ':'));
    const auto server_key = base64_bytes(text);
    constexpr std::int64_t kMaxIterations = 2'147'483'647;  // an int in PostgreSQL
    if (!iterations.value || *iterations.value < 1 || *iterations.value > kMaxIterations)
        return "its iteration count is not a number above 0";
    if (!salt) return "its salt is not base64";
    if (stored_key != kScramKeyBytes || server_key != kScramKeyBytes)
        return fmt::format("its StoredKey and ServerKey must be {} bytes each, in base64",
                           kScramKeyBytes);
    return {};
}

std::vector<Finding> find_conflicts(const Config& config) {
    Findings out;
    check_listen(config, out);
    check_servers(config.servers, out);
    check_databases(config.databases, out);
    check_health(config.health, out);
    check_routing(config.routing, out);
    check_auth(config.auth, out);
    return out;
}

std::vector<std::string> validate(const Config& config) {
    std::vector<std::string> messages;
    for (const Finding& finding : find_conflicts(config))
        messages.push_back(finding.key_path + ": " + finding.message);
    return messages;
}

}  // namespace pgsteer::conf
