// The files in conf/samples: each loads, and full.yaml shows the defaults as they are.
#include "conf/loader.hpp"
#include "conf/reader.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

namespace pgsteer::conf {
namespace {

const std::string kSamples = SOURCE_DIR "/conf/samples";

std::vector<std::string> sample_names() {
    std::vector<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator{kSamples})
        if (entry.path().extension() == ".yaml") names.push_back(entry.path().stem().string());
    std::sort(names.begin(), names.end());
    return names;
}

Config load_sample(const std::string& name) {
    const Loaded loaded = load_file(kSamples + "/" + name + ".yaml");
    for (const Problem& problem : loaded.problems) ADD_FAILURE() << problem.text();
    return loaded.config;
}

class Sample : public testing::TestWithParam<std::string> {
protected:
    void SetUp() override { setenv("PGSTEER_HEALTH_PASSWORD", "from the environment", 1); }
    void TearDown() override { unsetenv("PGSTEER_HEALTH_PASSWORD"); }
};

TEST_P(Sample, Loads) { EXPECT_THAT(validate(load_sample(GetParam())), testing::IsEmpty()); }

INSTANTIATE_TEST_SUITE_P(Samples,
                         Sample,
                         testing::ValuesIn(sample_names()),
                         [](const auto& tested) {
                             std::string name = tested.param;
                             std::replace(name.begin(), name.end(), '-', '_');
                             return name;
                         });

TEST_F(Sample, SecretsComeFromWhereItSays) {
    const Config config = load_sample("secrets");
    EXPECT_EQ(config.health.password.reveal(), "from the environment");
    ASSERT_EQ(config.auth.users.size(), 2U);
    EXPECT_EQ(config.auth.users[0].password.reveal(), "change-me");
    EXPECT_TRUE(config.auth.users[1].verifier.reveal().starts_with("SCRAM-SHA-256$4096:"));
}

// The lines of full.yaml that are examples, as its comments say: everything else is a default.
void expect_defaults(const Config& config) {
    const ListenConfig listen;
    EXPECT_EQ(config.listen.address, listen.address);
    EXPECT_EQ(config.listen.port, listen.port);
    EXPECT_EQ(config.listen.unix_socket, listen.unix_socket);
    EXPECT_EQ(config.listen.max_clients, listen.max_clients);
    EXPECT_EQ(config.listen.login_timeout, listen.login_timeout);
    EXPECT_EQ(config.admin.address, AdminConfig{}.address);
    EXPECT_EQ(config.admin.port, AdminConfig{}.port);
    EXPECT_EQ(config.workers, Config{}.workers);
    EXPECT_EQ(config.shutdown_timeout, Config{}.shutdown_timeout);
    const HealthConfig health;
    EXPECT_EQ(config.health.user, health.user);
    EXPECT_EQ(config.health.database, health.database);
    EXPECT_EQ(config.health.interval, health.interval);
    EXPECT_EQ(config.health.fast_interval, health.fast_interval);
    EXPECT_EQ(config.health.timeout, health.timeout);
    EXPECT_EQ(config.health.rise, health.rise);
    EXPECT_EQ(config.health.fall, health.fall);
    EXPECT_EQ(config.health.slow_factor, health.slow_factor);
    EXPECT_EQ(config.health.nudge_interval, health.nudge_interval);
    const RoutingConfig routing;
    EXPECT_EQ(config.routing.consistency, routing.consistency);
    EXPECT_EQ(config.routing.retry_buffer, routing.retry_buffer);
    EXPECT_EQ(config.routing.degraded_reads, routing.degraded_reads);
    EXPECT_EQ(config.routing.catalog_interval, routing.catalog_interval);
    EXPECT_EQ(config.routing.read_only_functions, routing.read_only_functions);
    EXPECT_EQ(config.routing.primary_functions, routing.primary_functions);
    const PoolConfig pool;
    EXPECT_EQ(config.pool.mode, pool.mode);
    EXPECT_EQ(config.pool.size, pool.size);
    EXPECT_EQ(config.pool.acquire_timeout, pool.acquire_timeout);
    EXPECT_EQ(config.pool.idle_timeout, pool.idle_timeout);
    EXPECT_EQ(config.pool.max_lifetime, pool.max_lifetime);
    EXPECT_EQ(config.auth.method, AuthConfig{}.method);
    EXPECT_EQ(config.log.level, LogConfig{}.level);
    EXPECT_EQ(config.log.format, LogConfig{}.format);
}

void expect_default_server(const ServerConfig& server) {
    const ServerConfig defaults;
    EXPECT_EQ(server.port, defaults.port);
    EXPECT_EQ(server.role, defaults.role);
    EXPECT_EQ(server.priority, defaults.priority);
    EXPECT_EQ(server.weight, defaults.weight);
    EXPECT_EQ(server.max_lag, defaults.max_lag);
    EXPECT_EQ(server.max_lag_hard, defaults.max_lag_hard);
    EXPECT_EQ(server.connect_timeout, defaults.connect_timeout);
    EXPECT_EQ(server.query_timeout, defaults.query_timeout);
}

TEST(FullSampleValues, AreTheDefaults) {
    const Config config = load_sample("full");
    expect_defaults(config);
    ASSERT_EQ(config.servers.size(), 2U);
    for (const ServerConfig& server : config.servers) expect_default_server(server);
    ASSERT_EQ(config.databases.size(), 1U);
    EXPECT_EQ(config.databases[0].name, "*");
}

// A key that full.yaml lacks would escape the comparison above. Every section says which keys it
// knows when it meets one that is nothing like any of them.
TEST(FullSampleKeys, AreAllThatAreSupported) {
    std::ostringstream text;
    text << std::ifstream{kSamples + "/full.yaml"}.rdbuf();
    const Loaded loaded = load_text(
        "zzzzzzzz: 1\nlisten: {zzzzzzzz: 1}\nadmin: {zzzzzzzz: 1}\nservers: [{zzzzzzzz: 1}]\n"
        "databases: [{zzzzzzzz: 1}]\nhealth: {zzzzzzzz: 1}\nrouting: {zzzzzzzz: 1}\n"
        "pool: {zzzzzzzz: 1}\nauth: {zzzzzzzz: 1, users: [{zzzzzzzz: 1}]}\nlog: {zzzzzzzz: 1}\n",
        "p.yaml", "");
    int keys = 0;
    for (const Problem& problem : loaded.problems) {
        const std::string marker = "(known here: ";
        const auto at = problem.message.find(marker);
        if (at == std::string::npos) continue;
        std::string list = problem.message.substr(at + marker.size());
        list.pop_back();  // the closing parenthesis
        std::replace(list.begin(), list.end(), ',', ' ');
        std::istringstream words{list};
        for (std::string key; words >> key; ++keys) {
            const bool shown = text.str().find(key + ":") != std::string::npos ||
                               (key == "verifier" && text.str().find(key) != std::string::npos);
            EXPECT_TRUE(shown) << problem.key_path << " knows " << key;
        }
    }
    EXPECT_GT(keys, 50);
}

}  // namespace
}  // namespace pgsteer::conf
