#include "conf/loader.hpp"

#include "conf/reader.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

namespace pgsteer::conf {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::IsEmpty;

// What every configuration needs, to stand behind the lines a test is about.
const std::string kRest = "servers: [{name: pg1, host: h1}]\nauth: {method: trust}\n";

std::vector<std::string> texts(const Loaded& loaded) {
    std::vector<std::string> out;
    for (const Problem& problem : loaded.problems) out.push_back(problem.text());
    return out;
}

std::vector<std::string> problems(const std::string& yaml) {
    return texts(load_text(yaml, "p.yaml", ""));
}

Config loaded(const std::string& yaml) {
    Loaded result = load_text(yaml, "p.yaml", "");
    EXPECT_THAT(texts(result), IsEmpty()) << yaml;
    return std::move(result.config);
}

struct ProblemCase {
    std::string yaml;  // kRest is put behind it
    std::string problem;
};
void PrintTo(const ProblemCase& c, std::ostream* out) { *out << c.yaml; }
class OneProblem : public testing::TestWithParam<ProblemCase> {};

TEST_P(OneProblem, IsToldWithItsPlaceAndKey) {
    EXPECT_THAT(problems(GetParam().yaml + "\n" + kRest), ElementsAre(GetParam().problem));
}

INSTANTIATE_TEST_SUITE_P(
    Types,
    OneProblem,
    testing::Values(
        ProblemCase{"workers: many", "p.yaml:1:10: workers: 'many' is not a whole number"},
        ProblemCase{"workers: 1.5", "p.yaml:1:10: workers: '1.5' is not a whole number"},
        ProblemCase{"workers: [1]", "p.yaml:1:10: workers: expected a single value, found a list"},
        ProblemCase{"workers: {a: 1}",
                    "p.yaml:1:10: workers: expected a single value, found a mapping"},
        ProblemCase{"workers:", "p.yaml:1:1: workers: a value is missing"},
        ProblemCase{"workers: ~", "p.yaml:1:1: workers: a value is missing"},
        ProblemCase{"log: {level:}", "p.yaml:1:7: log.level: a value is missing"},
        ProblemCase{"pool: 5",
                    "p.yaml:1:7: pool: expected a mapping (key: value), found a single value"},
        ProblemCase{"pool: [5]", "p.yaml:1:7: pool: expected a mapping (key: value), found a list"},
        ProblemCase{"databases: app",
                    "p.yaml:1:12: databases: expected a list, found a single value"},
        ProblemCase{"databases: {name: app}",
                    "p.yaml:1:12: databases: expected a list, found a mapping"},
        ProblemCase{
            "databases: [app]",
            "p.yaml:1:13: databases[0]: expected a mapping (key: value), found a single value"},
        ProblemCase{"databases:\n  -\n",
                    "p.yaml:2:3: databases[0]: expected a mapping (key: value), found nothing"},
        ProblemCase{"routing: {degraded_reads: maybe}",
                    "p.yaml:1:27: routing.degraded_reads: 'maybe' is not true or false"},
        ProblemCase{"health: {slow_factor: big}",
                    "p.yaml:1:23: health.slow_factor: 'big' is not a number"},
        ProblemCase{"log: {level: loud}",
                    "p.yaml:1:14: log.level: 'loud' is not one of debug, info, warning, error"},
        ProblemCase{"log: {format: xml}",
                    "p.yaml:1:15: log.format: 'xml' is not one of text, json"},
        ProblemCase{"routing: {consistency: best}",
                    "p.yaml:1:24: routing.consistency: 'best' is not one of eventual, session, "
                    "global, strict"},
        ProblemCase{"pool: {mode: statement}",
                    "p.yaml:1:14: pool.mode: 'statement' is not session"},
        ProblemCase{"listen: {address: \"a\\nb\"}",
                    "p.yaml:1:19: listen.address: 'a\\x0ab' holds a control character"},
        ProblemCase{"? [a, b]\n: 1\n", "p.yaml:1:3: a key must be a plain word"}));

INSTANTIATE_TEST_SUITE_P(
    Units,
    OneProblem,
    testing::Values(
        ProblemCase{"shutdown_timeout: 30",
                    "p.yaml:1:19: shutdown_timeout: 30 needs a unit (ms, s, m, h or d), as in 30s"},
        ProblemCase{"shutdown_timeout: 5 minutes",
                    "p.yaml:1:19: shutdown_timeout: 'minutes' is not a unit: use ms, s, m, h or d"},
        ProblemCase{
            "routing: {retry_buffer: 65536}",
            "p.yaml:1:25: routing.retry_buffer: 65536 needs a unit (B, KiB, MiB or GiB), as "
            "in 65536KiB"}));

INSTANTIATE_TEST_SUITE_P(
    Ranges,
    OneProblem,
    testing::Values(
        ProblemCase{"workers: -1", "p.yaml:1:10: workers: -1 is outside 0..1024"},
        ProblemCase{"shutdown_timeout: 31d",
                    "p.yaml:1:19: shutdown_timeout: 31d is outside 0..30d"},
        ProblemCase{"listen: {port: 65536}", "p.yaml:1:16: listen.port: 65536 is outside 0..65535"},
        ProblemCase{"listen: {port: -1}", "p.yaml:1:16: listen.port: -1 is outside 0..65535"},
        ProblemCase{"listen: {port: 99999999999999999999}",
                    "p.yaml:1:16: listen.port: 99999999999999999999 is too large"},
        ProblemCase{"listen: {max_clients: 0}",
                    "p.yaml:1:23: listen.max_clients: 0 is outside 1..1000000"},
        ProblemCase{"listen: {login_timeout: 0}",
                    "p.yaml:1:25: listen.login_timeout: 0 is outside 1ms..30d"},
        ProblemCase{"admin: {port: 70000}", "p.yaml:1:15: admin.port: 70000 is outside 0..65535"},
        ProblemCase{"health: {interval: 1ms}",
                    "p.yaml:1:20: health.interval: 1ms is outside 10ms..1h"},
        ProblemCase{"health: {fast_interval: 0}",
                    "p.yaml:1:25: health.fast_interval: 0 is outside 1ms..1h"},
        ProblemCase{"health: {timeout: 2h}", "p.yaml:1:19: health.timeout: 2h is outside 10ms..1h"},
        ProblemCase{"health: {rise: 0}", "p.yaml:1:16: health.rise: 0 is outside 1..100"},
        ProblemCase{"health: {fall: 101}", "p.yaml:1:16: health.fall: 101 is outside 1..100"},
        ProblemCase{"health: {slow_factor: 0.5}",
                    "p.yaml:1:23: health.slow_factor: 0.5 is outside 1..1000"},
        ProblemCase{"health: {nudge_interval: 2h}",
                    "p.yaml:1:26: health.nudge_interval: 2h is outside 0..1h"},
        ProblemCase{"routing: {retry_buffer: 1GiB}",
                    "p.yaml:1:25: routing.retry_buffer: 1GiB is outside 0..16MiB"},
        ProblemCase{"pool: {size: 0}", "p.yaml:1:14: pool.size: 0 is outside 1..10000"},
        ProblemCase{"pool: {acquire_timeout: 0}",
                    "p.yaml:1:25: pool.acquire_timeout: 0 is outside 1ms..30d"},
        ProblemCase{"pool: {idle_timeout: 0s}",
                    "p.yaml:1:22: pool.idle_timeout: 0s is outside 1s..30d"},
        ProblemCase{"pool: {max_lifetime: 10ms}",
                    "p.yaml:1:22: pool.max_lifetime: 10ms is outside 1s..30d"}));

INSTANTIATE_TEST_SUITE_P(
    Keys,
    OneProblem,
    testing::Values(
        ProblemCase{"listen: {prot: 1}",
                    "p.yaml:1:10: listen.prot: unknown key, did you mean port?"},
        ProblemCase{"pol: {size: 5}", "p.yaml:1:1: pol: unknown key, did you mean pool?"},
        ProblemCase{"log: {colour: true}",
                    "p.yaml:1:7: log.colour: unknown key (known here: level, format)"},
        ProblemCase{"pool: {max_lag: 5s}",
                    "p.yaml:1:8: pool.max_lag: unknown key (known here: mode, size, "
                    "acquire_timeout, idle_timeout, max_lifetime)"},
        ProblemCase{"pool:\n  size: 5\n  mode: session\n  size: 6\n",
                    "p.yaml:4:3: pool.size: given twice, first on line 2"},
        ProblemCase{"servers: []", "p.yaml:2:1: servers: given twice, first on line 1"},
        ProblemCase{"log: {<<: {level: info}}", "p.yaml:1:7: log.<<: merge keys are not supported"},
        ProblemCase{"\"a\\nb\": 1",
                    "p.yaml:1:1: a\\x0ab: unknown key (known here: listen, admin, workers, "
                    "shutdown_timeout, servers, databases, health, routing, pool, auth, log)"}));

INSTANTIATE_TEST_SUITE_P(
    NotBuiltYet,
    OneProblem,
    testing::Values(
        ProblemCase{"listen: {tls: {mode: require}}", "p.yaml:1:10: listen.tls: not supported yet"},
        ProblemCase{"admin: {token_file: /t}", "p.yaml:1:9: admin.token_file: not supported yet"},
        ProblemCase{"health: {fence: 2s}", "p.yaml:1:10: health.fence: not supported yet"},
        ProblemCase{"pool: {mode: transaction}",
                    "p.yaml:1:14: pool.mode: transaction is not supported yet"},
        ProblemCase{"pool: {max_prepared: 200}",
                    "p.yaml:1:8: pool.max_prepared: not supported yet"},
        ProblemCase{"pool: {failover_wait: 10s}",
                    "p.yaml:1:8: pool.failover_wait: not supported yet"}));

INSTANTIATE_TEST_SUITE_P(
    FunctionLists,
    OneProblem,
    testing::Values(
        ProblemCase{
            "routing: {read_only_functions: app.f}",
            "p.yaml:1:32: routing.read_only_functions: expected a list, found a single value"},
        ProblemCase{
            "routing: {read_only_functions: [[a.b]]}",
            "p.yaml:1:33: routing.read_only_functions[0]: expected a single value, found a list"},
        ProblemCase{"routing: {read_only_functions: [f]}",
                    "p.yaml:1:32: routing.read_only_functions[0]: 'f' is not schema.name"},
        ProblemCase{"routing: {primary_functions: [a.b, .b]}",
                    "p.yaml:1:30: routing.primary_functions[1]: '.b' is not schema.name"},
        ProblemCase{"routing: {catalog_interval: 10ms}",
                    "p.yaml:1:29: routing.catalog_interval: 10ms is outside 1s..30d"}));

INSTANTIATE_TEST_SUITE_P(
    AcrossKeys,
    OneProblem,
    testing::Values(
        ProblemCase{"listen: {address: ''}",
                    "p.yaml:1:19: listen.address: either address or unix_socket must be given"},
        ProblemCase{"listen: {address: '', port: 0, unix_socket: /tmp}",
                    "p.yaml:1:29: listen.port: a Unix socket alone needs a port: it is part of its "
                    "name"},
        ProblemCase{"listen: {unix_socket: tmp}",
                    "p.yaml:1:23: listen.unix_socket: must be an absolute path"},
        ProblemCase{"listen: {port: 0, unix_socket: /" + std::string(92, 'x') + "}",
                    "p.yaml:1:32: listen.unix_socket: the socket's path would be 108 bytes long, "
                    "the system allows 107"},
        ProblemCase{"admin: {address: ''}", "p.yaml:1:18: admin.address: must not be empty"},
        ProblemCase{"admin: {port: 6432}",
                    "p.yaml:1:15: admin.port: 6432 is already the port of listen"},
        ProblemCase{"listen: {port: 9932}",
                    "p.yaml:1:1: admin.port: 9932 is already the port of listen"},
        ProblemCase{"health: {user: ''}", "p.yaml:1:16: health.user: must not be empty"},
        ProblemCase{"health: {database: ''}", "p.yaml:1:20: health.database: must not be empty"},
        ProblemCase{
            "health: {interval: 10ms, fast_interval: 20ms}",
            "p.yaml:1:41: health.fast_interval: 20ms must not be more than interval (10ms)"},
        ProblemCase{"databases: [{name: a}, {name: b}, {name: a}]",
                    "p.yaml:1:42: databases[2].name: 'a' is already the name of databases[0]"},
        ProblemCase{"databases: [{}]", "p.yaml:1:13: databases[0].name: is required"},
        ProblemCase{"databases: [{name: ''}]", "p.yaml:1:20: databases[0].name: must not be empty"},
        ProblemCase{"databases: [{name: '*', server_name: app}]",
                    "p.yaml:1:38: databases[0].server_name: cannot be given for '*', which passes "
                    "every name on"}));

class ServerProblem : public testing::TestWithParam<ProblemCase> {};

TEST_P(ServerProblem, IsToldWithTheIndexOfTheServer) {
    EXPECT_THAT(problems("auth: {method: trust}\nservers:" + GetParam().yaml),
                ElementsAre(GetParam().problem));
}

INSTANTIATE_TEST_SUITE_P(
    Servers,
    ServerProblem,
    testing::Values(
        ProblemCase{" []", "p.yaml:2:10: servers: at least one server is required"},
        ProblemCase{"", "p.yaml:2:1: servers: at least one server is required"},
        ProblemCase{" [{host: h}]", "p.yaml:2:11: servers[0].name: is required"},
        ProblemCase{" [{name: a}]", "p.yaml:2:11: servers[0].host: is required"},
        ProblemCase{" [{name: '', host: h}]", "p.yaml:2:18: servers[0].name: must not be empty"},
        ProblemCase{" [{name: a, host: ''}]", "p.yaml:2:27: servers[0].host: must not be empty"},
        ProblemCase{"\n  - {name: a, host: h}\n  - {name: b, host: h2, port: 0}",
                    "p.yaml:4:31: servers[1].port: 0 is outside 1..65535"},
        ProblemCase{"\n  - {name: a, host: h}\n  - {name: a, host: h2}",
                    "p.yaml:4:12: servers[1].name: 'a' is already the name of servers[0]"},
        ProblemCase{"\n  - {name: a, host: h}\n  - {name: b, host: h, port: 5432}",
                    "p.yaml:4:21: servers[1].host: same host and port as servers[0]"},
        ProblemCase{
            "\n  - {name: a, host: h, role: primary}\n  - {name: b, host: i, role: primary}",
            "p.yaml:4:30: servers[1].role: servers[0] is already the primary"},
        ProblemCase{" [{name: a, host: h, role: standby}]",
                    "p.yaml:2:36: servers[0].role: 'standby' is not one of auto, primary, replica"},
        ProblemCase{" [{name: a, host: h, weight: 0}]",
                    "p.yaml:2:38: servers[0].weight: 0 is outside 1..1000"},
        ProblemCase{" [{name: a, host: h, priority: 1001}]",
                    "p.yaml:2:40: servers[0].priority: 1001 is outside -1000..1000"},
        ProblemCase{" [{name: a, host: h, max_lag: 5m}]",
                    "p.yaml:2:39: servers[0].max_lag: 5m must be less than max_lag_hard (5m)"},
        ProblemCase{" [{name: a, host: h, max_lag_hard: 10s}]",
                    "p.yaml:2:11: servers[0].max_lag: 30s must be less than max_lag_hard (10s)"},
        ProblemCase{" [{name: a, host: h, max_lag: 0}]",
                    "p.yaml:2:39: servers[0].max_lag: 0 is outside 1ms..30d"},
        ProblemCase{
            " [{name: a, host: h, connect_timeout: 5}]",
            "p.yaml:2:47: servers[0].connect_timeout: 5 needs a unit (ms, s, m, h or d), as "
            "in 5s"},
        ProblemCase{" [{name: a, host: h, replication: logical}]",
                    "p.yaml:2:43: servers[0].replication: logical is not supported yet"},
        ProblemCase{" [{name: a, host: h, replication: none}]",
                    "p.yaml:2:43: servers[0].replication: 'none' is not physical"},
        ProblemCase{" [{name: a, host: h, sslmode: require}]",
                    "p.yaml:2:39: servers[0].sslmode: require is not supported yet"},
        ProblemCase{" [{name: a, host: h, sslmode: never}]",
                    "p.yaml:2:39: servers[0].sslmode: 'never' is not one of disable, prefer"},
        ProblemCase{" [{name: a, host: /" + std::string(100, 'x') + "}]",
                    "p.yaml:2:27: servers[0].host: the socket's path would be 115 bytes long, the "
                    "system allows 107"}));

TEST(Servers, AreAtMostThirtyTwo) {
    std::string yaml = "auth: {method: trust}\nservers:\n";
    for (int i = 0; i < 32; ++i)
        yaml += "  - {name: s" + std::to_string(i) + ", host: h" + std::to_string(i) + "}\n";
    EXPECT_THAT(problems(yaml), IsEmpty());
    EXPECT_THAT(problems(yaml + "  - {name: last, host: last}\n"),
                ElementsAre("p.yaml:3:3: servers: 33 servers, but at most 32 are possible"));
}

constexpr const char* kVerifier =
    "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:"
    "wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQqSxrmfPwDl2Y=";

class AuthProblem : public testing::TestWithParam<ProblemCase> {};

TEST_P(AuthProblem, IsToldWithoutTheSecret) {
    EXPECT_THAT(problems("servers: [{name: pg1, host: h1}]\nauth:" + GetParam().yaml),
                ElementsAre(GetParam().problem));
}

INSTANTIATE_TEST_SUITE_P(
    Auth,
    AuthProblem,
    testing::Values(
        ProblemCase{"",
                    "p.yaml:2:1: auth.users: at least one user is required (only method trust goes "
                    "without)"},
        ProblemCase{
            " {users: []}",
            "p.yaml:2:15: auth.users: at least one user is required (only method trust goes "
            "without)"},
        ProblemCase{" {method: cert}", "p.yaml:2:16: auth.method: cert is not supported yet"},
        ProblemCase{" {method: secret}",
                    "p.yaml:2:16: auth.method: 'secret' is not one of scram-sha-256, md5, trust"},
        ProblemCase{" {users: [{name: a}]}",
                    "p.yaml:2:16: auth.users[0]: one of password, password_file and verifier is "
                    "required"},
        ProblemCase{" {users: [{password: hunter2}]}",
                    "p.yaml:2:16: auth.users[0].name: is required"},
        ProblemCase{" {users: [{name: a, password: ''}]}",
                    "p.yaml:2:36: auth.users[0].password: must not be empty"},
        ProblemCase{" {users: [{name: a, password: }]}",
                    "p.yaml:2:26: auth.users[0].password: a value is missing"},
        ProblemCase{" {users: [{name: a, password: \"hunter\\02\"}]}",
                    "p.yaml:2:36: auth.users[0].password: holds a NUL byte"},
        ProblemCase{" {users: [{name: a, password: [hunter2]}]}",
                    "p.yaml:2:36: auth.users[0].password: expected a single value, found a list"},
        ProblemCase{
            " {users: [{name: a, pasword: hunter2, verifier: '" + std::string{kVerifier} + "'}]}",
            "p.yaml:2:26: auth.users[0].pasword: unknown key, did you mean password?"},
        ProblemCase{" {users: [{name: a, password: x}, {name: a, password: y}]}",
                    "p.yaml:2:47: auth.users[1].name: 'a' is already the name of auth.users[0]"},
        ProblemCase{" {users: [{name: a, password: x, password_file: /f}]}",
                    "p.yaml:2:54: auth.users[0].password_file: cannot be given together with "
                    "password"},
        ProblemCase{
            " {users: [{name: a, password: x, verifier: '" + std::string{kVerifier} + "'}]}",
            "p.yaml:2:49: auth.users[0].verifier: cannot be given together with a password"},
        ProblemCase{" {users: [{name: a, password_file: /nonexistent/f}]}",
                    "p.yaml:2:41: auth.users[0].password_file: /nonexistent/f cannot be read: No "
                    "such file or directory"},
        ProblemCase{" {users: [{name: a, password_file: ''}]}",
                    "p.yaml:2:41: auth.users[0].password_file: must not be empty"},
        ProblemCase{" {users: [{name: a, verifier: md5aabbccdd}]}",
                    "p.yaml:2:36: auth.users[0].verifier: must have the form "
                    "SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey> as in "
                    "pg_authid.rolpassword"},
        ProblemCase{
            " {method: md5, users: [{name: a, verifier: '" + std::string{kVerifier} + "'}]}",
            "p.yaml:2:49: auth.users[0].verifier: method md5 needs the password itself"}));

TEST(Problems, AreAllToldAtOnceInOrderOfPlace) {
    EXPECT_THAT(
        problems("log: {level: loud}\n"
                 "pool:\n"
                 "  size: 0\n"
                 "  mode: transaction\n"
                 "  sise: 3\n"
                 "workers: x\n"
                 "servers:\n"
                 "  - {name: a, host: h, max_lag: 1h}\n"
                 "  - {name: a, prot: 1}\n"),
        ElementsAre("p.yaml:1:1: auth.users: at least one user is required (only method "
                    "trust goes without)",
                    "p.yaml:1:14: log.level: 'loud' is not one of debug, info, warning, error",
                    "p.yaml:3:9: pool.size: 0 is outside 1..10000",
                    "p.yaml:4:9: pool.mode: transaction is not supported yet",
                    "p.yaml:5:3: pool.sise: unknown key, did you mean size?",
                    "p.yaml:6:10: workers: 'x' is not a whole number",
                    "p.yaml:8:33: servers[0].max_lag: 1h must be less than max_lag_hard (5m)",
                    "p.yaml:9:5: servers[1].host: is required",
                    "p.yaml:9:12: servers[1].name: 'a' is already the name of servers[0]",
                    "p.yaml:9:15: servers[1].prot: unknown key, did you mean port?"));
}

TEST(Problems, DoNotFollowFromOthers) {
    // The limit that could not be read must not be compared with.
    EXPECT_THAT(
        problems("servers: [{name: a, host: h, max_lag: soon, max_lag_hard: 1s}]\n"
                 "auth: {method: trust}\n"),
        ElementsAre("p.yaml:1:39: servers[0].max_lag: 'soon' is not a duration: use a whole "
                    "number with ms, s, m, h or d"));
}

TEST(Problems, OfTheWholeFileHaveNoLine) {
    const Loaded missing = load_file("/nonexistent/p.yaml");
    EXPECT_FALSE(missing.ok());
    EXPECT_THAT(texts(missing),
                ElementsAre("/nonexistent/p.yaml: cannot be read: No such file or directory"));
}

TEST(Defaults, HoldForEverythingLeftOut) {
    const Config config = loaded(kRest);
    EXPECT_EQ(config.listen.address, "127.0.0.1");
    EXPECT_EQ(config.listen.port, 6432);
    EXPECT_EQ(config.pool.acquire_timeout, 10s);
    EXPECT_EQ(config.routing.consistency, Consistency::session);
    ASSERT_EQ(config.databases.size(), 1U);
    EXPECT_EQ(config.databases[0].name, "*");
    EXPECT_EQ(config.databases[0].server_name, "");
    EXPECT_EQ(config.servers[0].port, 5432);
}

TEST(Defaults, HoldForASectionWithNothingInIt) {
    EXPECT_EQ(loaded("pool:\nlisten: {}\ndatabases:\n" + kRest).pool.size, 20);
}

TEST(Values, AreReadForEveryKey) {
    const Config config = loaded(
        "listen: {address: '::1', port: 1, unix_socket: /s, max_clients: 2, login_timeout: 3s}\n"
        "admin: {address: ::2, port: 4}\n"
        "workers: 5\n"
        "shutdown_timeout: 6s\n"
        "servers:\n"
        "  - {name: a, host: h, port: 7, role: primary, priority: -8, weight: 9, max_lag: 10s,\n"
        "     max_lag_hard: 11s, connect_timeout: 12s, query_timeout: 13s, replication: physical,\n"
        "     sslmode: disable}\n"
        "  - {name: b, host: h, role: replica, sslmode: prefer}\n"
        "databases: [{name: app, server_name: other}, {name: '*'}]\n"
        "health: {user: u, password: p, database: d, interval: 14s, fast_interval: 15ms,\n"
        "         timeout: 16s, rise: 17, fall: 18, slow_factor: 1.5, nudge_interval: 0}\n"
        "routing: {consistency: eventual, transactions: read_only, retry_buffer: 19KiB,\n"
        "          degraded_reads: false, catalog_interval: 24s,\n"
        "          read_only_functions: [app.get_*, a.b], primary_functions: ['*.put']}\n"
        "pool: {mode: session, size: 20, acquire_timeout: 21s, idle_timeout: 22m,\n"
        "       max_lifetime: 23h}\n"
        "auth: {method: md5, users: [{name: app, password: secret}]}\n"
        "log: {level: error, format: json}\n");
    EXPECT_EQ(config.listen.address, "::1");
    EXPECT_EQ(config.listen.port, 1);
    EXPECT_EQ(config.listen.unix_socket, "/s");
    EXPECT_EQ(config.listen.max_clients, 2);
    EXPECT_EQ(config.listen.login_timeout, 3s);
    EXPECT_EQ(config.admin.address, "::2");
    EXPECT_EQ(config.admin.port, 4);
    EXPECT_EQ(config.workers, 5);
    EXPECT_EQ(config.shutdown_timeout, 6s);
    ASSERT_EQ(config.servers.size(), 2U);
    const ServerConfig& server = config.servers[0];
    EXPECT_EQ(server.name, "a");
    EXPECT_EQ(server.host, "h");
    EXPECT_EQ(server.port, 7);
    EXPECT_EQ(server.role, ServerRole::primary);
    EXPECT_EQ(server.priority, -8);
    EXPECT_EQ(server.weight, 9);
    EXPECT_EQ(server.max_lag, 10s);
    EXPECT_EQ(server.max_lag_hard, 11s);
    EXPECT_EQ(server.connect_timeout, 12s);
    EXPECT_EQ(server.query_timeout, 13s);
    EXPECT_EQ(config.servers[1].role, ServerRole::replica);
    ASSERT_EQ(config.databases.size(), 2U);
    EXPECT_EQ(config.databases[0].name, "app");
    EXPECT_EQ(config.databases[0].server_name, "other");
    EXPECT_EQ(config.health.user, "u");
    EXPECT_EQ(config.health.password.reveal(), "p");
    EXPECT_EQ(config.health.database, "d");
    EXPECT_EQ(config.health.interval, 14s);
    EXPECT_EQ(config.health.fast_interval, 15ms);
    EXPECT_EQ(config.health.timeout, 16s);
    EXPECT_EQ(config.health.rise, 17);
    EXPECT_EQ(config.health.fall, 18);
    EXPECT_EQ(config.health.slow_factor, 1.5);
    EXPECT_EQ(config.health.nudge_interval, 0ms);
    EXPECT_EQ(config.routing.consistency, Consistency::eventual);
    EXPECT_EQ(config.routing.retry_buffer, 19U * 1024);
    EXPECT_FALSE(config.routing.degraded_reads);
    EXPECT_EQ(config.routing.catalog_interval, 24s);
    EXPECT_EQ(config.routing.read_only_functions, (std::vector<std::string>{"app.get_*", "a.b"}));
    EXPECT_EQ(config.routing.primary_functions, std::vector<std::string>{"*.put"});
    EXPECT_EQ(config.pool.size, 20);
    EXPECT_EQ(config.pool.acquire_timeout, 21s);
    EXPECT_EQ(config.pool.idle_timeout, 22min);
    EXPECT_EQ(config.pool.max_lifetime, 23h);
    EXPECT_EQ(config.auth.method, AuthMethod::md5);
    ASSERT_EQ(config.auth.users.size(), 1U);
    EXPECT_EQ(config.auth.users[0].name, "app");
    EXPECT_EQ(config.auth.users[0].password.reveal(), "secret");
    EXPECT_EQ(config.log.level, LogLevel::error);
    EXPECT_EQ(config.log.format, LogFormat::json);
}

TEST(Values, MayBeQuotedAndShared) {
    const Config config = loaded(
        "listen: {port: '7000'}\npool: {idle_timeout: &t 5m, max_lifetime: *t}\n"
        "databases: [{name: 123}, {name: \"true\"}]\n" +
        kRest);
    EXPECT_EQ(config.listen.port, 7000);
    EXPECT_EQ(config.pool.max_lifetime, 5min);
    EXPECT_EQ(config.databases[0].name, "123");
    EXPECT_EQ(config.databases[1].name, "true");
}

TEST(Values, ThatAreAliasesAreReportedWhereTheyAreUsed) {
    EXPECT_THAT(problems("workers: &n 2000\npool: {size: *n}\nservers: [{name: a, host: h, "
                         "weight: *n}]\nauth: {method: trust}\n"),
                ElementsAre("p.yaml:1:10: workers: 2000 is outside 0..1024",
                            "p.yaml:3:38: servers[0].weight: 2000 is outside 1..1000"));
}

class Environment : public testing::Test {
protected:
    void SetUp() override {
        setenv("PGSTEER_TEST_VALUE", "7", 1);
        unsetenv("PGSTEER_TEST_UNSET");
    }
    void TearDown() override { unsetenv("PGSTEER_TEST_VALUE"); }
};

TEST_F(Environment, FillsScalarsOfEveryType) {
    const Config config = loaded(
        "listen: {port: '${PGSTEER_TEST_VALUE}'}\n"
        "shutdown_timeout: ${PGSTEER_TEST_VALUE}s\n"
        "health: {user: 'u${PGSTEER_TEST_VALUE}', password: 'a$${b${PGSTEER_TEST_VALUE}$'}\n" +
        kRest);
    EXPECT_EQ(config.listen.port, 7);
    EXPECT_EQ(config.shutdown_timeout, 7s);
    EXPECT_EQ(config.health.user, "u7");
    EXPECT_EQ(config.health.password.reveal(), "a${b7$");
}

TEST_F(Environment, ThatIsMissingIsAProblemAtItsPlace) {
    EXPECT_THAT(
        problems("health:\n  user: ${PGSTEER_TEST_UNSET}\n  password: ${-}\n" + kRest),
        ElementsAre(
            "p.yaml:2:9: health.user: the environment variable PGSTEER_TEST_UNSET is not set",
            "p.yaml:3:13: health.password: '${' must be followed by the name of an "
            "environment variable and '}' (write $${ for a plain ${)"));
}

class PasswordFile : public testing::Test {
protected:
    void SetUp() override {
        directory_ = testing::TempDir() + "pgsteer_conf_" + std::to_string(getpid());
        std::filesystem::create_directory(directory_);
    }
    void TearDown() override { std::filesystem::remove_all(directory_); }

    void write(const std::string& name, const std::string& content) const {
        std::ofstream{directory_ + "/" + name, std::ios::binary} << content;
    }
    [[nodiscard]] std::string path(const std::string& name) const {
        return directory_ + "/" + name;
    }

    std::string directory_;
};

TEST_F(PasswordFile, StartsAtTheFolderOfTheConfigurationAndLosesOneNewline) {
    write("health.password", "two lines\n\n");
    write("app.password", "${PLAIN}");  // a file is taken as it is
    write("p.yaml",
          "servers: [{name: pg1, host: h1}]\n"
          "health: {password_file: health.password}\n"
          "auth: {users: [{name: app, password_file: " +
              path("app.password") + "}]}\n");
    const Loaded result = load_file(path("p.yaml"));
    EXPECT_THAT(texts(result), IsEmpty());
    EXPECT_EQ(result.config.health.password.reveal(), "two lines\n");
    EXPECT_EQ(result.config.auth.users[0].password.reveal(), "${PLAIN}");
}

TEST_F(PasswordFile, ThatCannotBeUsedIsAProblemAtItsPlace) {
    write("empty", "\n");
    write("binary", std::string{"a\0b", 3});
    write("huge", std::string(70'000, 'x'));
    const std::string yaml =
        "servers: [{name: pg1, host: h1}]\nhealth: {password_file: missing}\nauth:\n  users:\n"
        "    - {name: a, password_file: empty}\n"
        "    - {name: b, password_file: binary}\n"
        "    - {name: c, password_file: huge}\n"
        "    - {name: d, password_file: .}\n";
    EXPECT_THAT(
        texts(load_text(yaml, "p.yaml", directory_)),
        ElementsAre(
            "p.yaml:2:25: health.password_file: " + path("missing") +
                " cannot be read: No such file or directory",
            "p.yaml:5:32: auth.users[0].password_file: " + path("empty") + " is empty",
            "p.yaml:6:32: auth.users[1].password_file: " + path("binary") + " holds a NUL byte",
            "p.yaml:7:32: auth.users[2].password_file: " + path("huge") +
                " is larger than 65536 bytes",
            "p.yaml:8:32: auth.users[3].password_file: " + path(".") +
                " cannot be read: Is a directory"));
}

TEST_F(PasswordFile, AndPasswordTogetherAreAProblem) {
    write("f", "x");
    EXPECT_THAT(
        texts(load_text("health: {password: x, password_file: f}\n" + kRest, "p.yaml", directory_)),
        ElementsAre("p.yaml:1:38: health.password_file: cannot be given together with "
                    "password"));
}

}  // namespace
}  // namespace pgsteer::conf
