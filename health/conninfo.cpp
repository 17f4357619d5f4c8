#include "health/conninfo.hpp"

#include "health/pg_client.hpp"

#include <charconv>
#include <string_view>

namespace pgsteer::health {

namespace {

// "" if `value` is a port.
std::string read_port(std::string_view value, std::uint16_t& port) {
    const char* const end = value.data() + value.size();
    const auto [stop, error] = std::from_chars(value.data(), end, port);
    if (error == std::errc{} && stop == end && port > 0) return {};
    return "port " + std::string{value} + " is not supported: give one port, 1..65535";
}

std::string read_connect_timeout(const std::string& value, conf::ServerConfig& server) {
    unsigned seconds = 0;
    const auto [stop, error] = std::from_chars(value.data(), value.data() + value.size(), seconds);
    if (error != std::errc{} || stop != value.data() + value.size() || seconds > 86'400)
        return "connect_timeout " + value + " is not a number of seconds";
    if (seconds > 0) server.connect_timeout = std::chrono::seconds{seconds};
    return {};
}

// Returns what is wrong with it, "" = nothing. What would change how the connection works, and is
// not built yet, is refused, not ignored.
std::string read_parameter(const std::string& keyword, const std::string& value, ConnInfo& info) {
    if (keyword == "host" || keyword == "hostaddr") {
        if (value.find(',') != std::string::npos)
            return "several hosts in one URI: give one for each";
        if (keyword == "hostaddr" || info.server.host.empty()) info.server.host = value;
        return {};
    }
    if (keyword == "port") return read_port(value, info.server.port);
    if (keyword == "user") return info.user = value, std::string{};
    if (keyword == "password") return info.password = conf::Secret{value}, std::string{};
    if (keyword == "dbname") return info.database = value, std::string{};
    if (keyword == "connect_timeout") return read_connect_timeout(value, info.server);
    if (keyword == "application_name" || keyword == "fallback_application_name") return {};
    if (keyword == "sslmode" && (value == "disable" || value == "allow" || value == "prefer"))
        return {};
    if (keyword == "gssencmode" && (value == "disable" || value == "prefer")) return {};
    return keyword + " is not supported yet";
}

}  // namespace

ConnInfo parse_conninfo(const std::string& uri) {
    ConnInfo info;
    const auto parsed = parse_connection_string(uri);
    info.error = parsed.error;
    for (const auto& [keyword, value] : parsed.parameters) {
        if (!info.error.empty()) break;
        info.error = read_parameter(keyword, value, info);
    }
    if (info.server.host.empty()) info.server.host = "localhost";
    info.server.name = info.server.host + ":" + std::to_string(info.server.port);
    return info;
}

}  // namespace pgsteer::health
