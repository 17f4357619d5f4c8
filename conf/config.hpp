// The configuration as plain structs: the default, unit and meaning of every key on one line.
// Immutable once loaded; worker threads share it as std::shared_ptr<const Config>.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace pgsteer::conf {

using std::chrono::milliseconds;

// A password or key. Formatting it prints ***; `reveal` is the only way to the text.
class Secret {
public:
    Secret() = default;
    explicit Secret(std::string text) : text_{std::move(text)} {}
    [[nodiscard]] const std::string& reveal() const { return text_; }
    [[nodiscard]] bool empty() const { return text_.empty(); }
    bool operator==(const Secret&) const = default;

private:
    std::string text_;
};

struct ListenConfig {
    std::string address = "127.0.0.1";   // IPv4, IPv6 address or host name; "" = no TCP
    std::uint16_t port = 6432;           // 0 = any free port (logged at start)
    std::string unix_socket;             // directory of the socket .s.PGSQL.<port>; "" = none
    int max_clients = 10'000;            // client connections at once; more are refused with 53300
    milliseconds login_timeout{15'000};  // from accept to the end of authentication
};

struct AdminConfig {
    std::string address = "127.0.0.1";
    std::uint16_t port = 9932;  // 0 = any free port
};

enum class ServerRole : std::uint8_t { automatic, primary, replica };  // automatic: as found

struct ServerConfig {
    std::string name;  // shown in logs, metrics, /status; unique
    std::string host;  // name, IP address, or directory of a Unix socket
    std::uint16_t port = 5432;
    ServerRole role = ServerRole::automatic;
    int priority = 0;                     // lower is preferred for reads
    int weight = 1;                       // share among equals, 1..1000
    milliseconds max_lag{30'000};         // above: DEGRADED
    milliseconds max_lag_hard{300'000};   // above: UNHEALTHY
    milliseconds connect_timeout{5'000};  // TCP connect to ReadyForQuery
    milliseconds query_timeout{0};        // a request without any answer byte; 0 = no limit
};

enum class Consistency : std::uint8_t { eventual, session, global, strict };

struct DatabaseConfig {
    std::string name;                             // as clients call it; "*" = any name, passed on
    std::string server_name;                      // as the servers call it; "" = the same
    std::optional<Consistency> consistency = {};  // instead of routing.consistency
    [[nodiscard]] const std::string& name_there() const {
        return server_name.empty() ? name : server_name;
    }
};

struct HealthConfig {
    std::string user = "postgres";  // needs pg_monitor and REPLICATION
    Secret password;
    std::string database = "postgres";
    milliseconds interval{1'000};      // between probes of one server
    milliseconds fast_interval{2};     // the same while a session is kept off replicas
    milliseconds timeout{1'000};       // one probe
    int rise = 2;                      // good probes until HEALTHY
    int fall = 3;                      // bad probes until UNHEALTHY
    double slow_factor = 4;            // response time over this multiple of the best: DEGRADED
    milliseconds nudge_interval{200};  // least time between two nudges of the WAL; 0 = off
};

enum class Transactions : std::uint8_t { primary, read_only, lazy };

struct RoutingConfig {
    Consistency consistency = Consistency::session;
    milliseconds freshness_wait{
        0};  // a read waits so long for a replica before it takes the primary
    bool sample_on_primary = true;  // ask the primary for its WAL position behind requests there
    Transactions transactions = Transactions::read_only;  // which explicit ones may go to a replica
    Consistency lazy_consistency = Consistency::global;   // the least of reads in lazy ones
    // Reads in flight on the primary for want of a replica, all workers; 0: any number.
    int primary_read_limit = 0;
    milliseconds freshness_wait_max{1'000};  // what comes on top of them waits so long at most
    // A request on the primary gets no sample if one was sent less than this ago by the same
    // worker.
    milliseconds sample_interval{0};
    std::size_t retry_buffer = 64 * 1024;  // bytes of an answer held back so that it can be retried
    bool degraded_reads = true;            // use DEGRADED replicas before the primary
    milliseconds catalog_interval{60'000};  // between two looks at a database's catalog
    // `schema.name`; * stands for any characters, ? for one. Both override the volatility.
    std::vector<std::string> read_only_functions;
    std::vector<std::string> primary_functions;  // wins over read_only_functions
};

enum class PoolMode : std::uint8_t { session };

struct PoolConfig {
    PoolMode mode = PoolMode::session;
    int size = 20;                         // connections per (server, database, user), all workers
    milliseconds acquire_timeout{10'000};  // waiting for a free server connection, then 53300
    milliseconds idle_timeout{600'000};    // an unused server connection is closed after this
    milliseconds max_lifetime{3'600'000};  // a server connection is not given out again after this
};

enum class AuthMethod : std::uint8_t { scram_sha_256, md5, trust };

// Exactly one of password and verifier is set (trust: both may be empty).
struct AuthUser {
    std::string name;
    Secret password;  // clear text
    Secret verifier;  // "SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>" as in pg_authid
    std::optional<Consistency> consistency = {};  // instead of that of the database
};

struct AuthConfig {
    AuthMethod method = AuthMethod::scram_sha_256;
    std::vector<AuthUser> users;
};

enum class LogLevel : std::uint8_t { debug, info, warning, error };
enum class LogFormat : std::uint8_t { text, json };

struct LogConfig {
    LogLevel level = LogLevel::info;
    LogFormat format = LogFormat::text;
};

struct Config {
    ListenConfig listen;
    AdminConfig admin;
    int workers = 0;                        // worker threads; 0 = number of cores
    milliseconds shutdown_timeout{30'000};  // SIGTERM to exit
    std::vector<ServerConfig> servers;      // 1..32
    std::vector<DatabaseConfig> databases;  // none given = {"*"}
    HealthConfig health;
    RoutingConfig routing;
    PoolConfig pool;
    AuthConfig auth;
    LogConfig log;
};

inline constexpr std::size_t kMaxServers = 32;

}  // namespace pgsteer::conf
