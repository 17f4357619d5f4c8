#include "health/admin_routes.hpp"

#include "health/topology_store.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace pgsteer::health {
namespace {

using routing::Role;
using routing::Status;
using testing::HasSubstr;

struct World {
    World() {
        for (const char* name : {"pg1", "pg2", "pg3"}) {
            config.servers.emplace_back();
            config.servers.back().name = name;
        }
        topology.servers.resize(3);
        for (auto& server : topology.servers) {
            server.status = Status::healthy;
            server.role = Role::replica;
            server.fresh_as_of = routing::Clock::now();
        }
        topology.servers[0].role = Role::primary;
        topology.primary = routing::ServerId{0};
    }
    AdminResponse get(std::string_view target, std::string_view method = "GET") {
        TopologyStore store{std::make_shared<routing::Topology>(topology)};
        const Metrics metrics{{.config = &config,
                               .checker = nullptr,
                               .topology = &store,
                               .workers = {},
                               .error_names = {},
                               .draining = [this] { return is_draining; },
                               .refused_logins = [this] { return refused; }}};
        return respond(metrics, method, target);
    }
    conf::Config config;
    routing::Topology topology;
    bool is_draining = false;
    std::vector<RefusedLogin> refused;
};

TEST(AdminRoutes, AreLiveAndReadyWithAPrimary) {
    World world;
    EXPECT_EQ(world.get("/livez").status, 200);
    EXPECT_EQ(world.get("/readyz").status, 200);
    EXPECT_EQ(world.get("/health/database").status, 200);
    EXPECT_THAT(world.get("/health/database").body, HasSubstr(R"("status": "healthy")"));
}

TEST(AdminRoutes, AreNotReadyWithoutAPrimary) {
    World world;
    world.topology.primary.reset();
    EXPECT_EQ(world.get("/livez").status, 200);
    EXPECT_EQ(world.get("/readyz").status, 503);
    EXPECT_THAT(world.get("/readyz").body, HasSubstr("no primary"));
    EXPECT_EQ(world.get("/health/database").status, 503);
    EXPECT_EQ(world.get("/status").status, 200);
    EXPECT_THAT(world.get("/status").body, HasSubstr(R"("primary": null)"));
}

TEST(AdminRoutes, AreNotReadyWhileDraining) {
    World world;
    world.is_draining = true;
    EXPECT_EQ(world.get("/livez").status, 200);
    EXPECT_EQ(world.get("/readyz").status, 503);
    EXPECT_THAT(world.get("/readyz").body, HasSubstr("draining"));
}

TEST(AdminRoutes, CallTheDatabaseDegradedWhileAServerIs) {
    World world;
    world.topology.servers[2].status = Status::unhealthy;
    EXPECT_EQ(world.get("/health/database").status, 200);
    EXPECT_THAT(world.get("/health/database").body, HasSubstr(R"("status": "degraded")"));
}

struct TargetCase {
    const char* name;
    std::vector<Status> replicas;
    std::vector<int> priorities;
    std::string targets;  // as in the answer, without spaces
};

class ReadTargets : public testing::TestWithParam<TargetCase> {};

TEST_P(ReadTargets, AreTheBestReplicasElseThePrimary) {
    World world;
    for (std::size_t i = 0; i < 2; ++i) {
        world.topology.servers[i + 1].status = GetParam().replicas[i];
        world.topology.servers[i + 1].priority = GetParam().priorities[i];
    }
    std::string body = world.get("/status").body;
    std::erase_if(body, [](char c) { return c == ' ' || c == '\n'; });
    EXPECT_THAT(body, HasSubstr("\"read_targets\":" + GetParam().targets));
}

INSTANTIATE_TEST_SUITE_P(
    Cases,
    ReadTargets,
    testing::Values(
        TargetCase{"All", {Status::healthy, Status::healthy}, {0, 0}, R"(["pg2","pg3"])"},
        TargetCase{"BestPriority", {Status::healthy, Status::healthy}, {1, 0}, R"(["pg3"])"},
        TargetCase{"Healthy", {Status::degraded, Status::healthy}, {0, 1}, R"(["pg3"])"},
        TargetCase{"Degraded", {Status::degraded, Status::unhealthy}, {0, 0}, R"(["pg2"])"},
        TargetCase{"Primary", {Status::unhealthy, Status::unknown}, {0, 0}, R"(["pg1"])"}),
    [](const auto& test) { return test.param.name; });

TEST(AdminRoutes, CountTheLoginsThatAServerRefuses) {
    World world;
    world.refused = {{{1}, "app", "alice", "28000", "no", 2, 3, true},
                     {{1}, "app", "bob", "53300", "full", 1, 1, true}};
    const auto text = world.get("/metrics").body;
    EXPECT_THAT(text, HasSubstr("pgsteer_server_refused_logins{server=\"pg1\"} 0\n"));
    EXPECT_THAT(text, HasSubstr("pgsteer_server_refused_logins{server=\"pg2\"} 2\n"));
}

TEST(AdminRoutes, CountNoLoginThatAClientInvented) {
    World world;
    world.config.auth.users.emplace_back().name = "alice";
    world.config.databases = {{.name = "shop", .server_name = "app"},
                              {.name = "*", .server_name = ""}};
    const auto is_counted = [&](const char* database, const char* user, bool is_known) {
        world.refused = {{{0}, database, user, "28000", "no", 2, 3, is_known}};
        return world.get("/metrics")
                   .body.find("pgsteer_server_refused_logins{server=\"pg1\"} 1\n") !=
               std::string::npos;
    };
    EXPECT_TRUE(is_counted("app", "alice", false)) << "both are in the configuration";
    EXPECT_TRUE(is_counted("other", "bob", true)) << "a server has let it in";
    EXPECT_FALSE(is_counted("made_up", "alice", false));
    EXPECT_FALSE(is_counted("app", "nobody", false));
}

TEST(AdminRoutes, AnswerMetricsAsPrometheusText) {
    World world;
    const auto answer = world.get("/metrics");
    EXPECT_EQ(answer.status, 200);
    EXPECT_EQ(answer.content_type, "text/plain; version=0.0.4; charset=utf-8");
    EXPECT_THAT(answer.body, HasSubstr("pgsteer_has_primary 1\n"));
}

TEST(AdminRoutes, RefuseWhatTheyDoNotKnow) {
    World world;
    EXPECT_EQ(world.get("/").status, 404);
    EXPECT_EQ(world.get("/statusx").status, 404);
    EXPECT_EQ(world.get("").status, 404);
    EXPECT_EQ(world.get("/nothing", "POST").status, 404);
    EXPECT_EQ(world.get("/status", "POST").status, 405);
    EXPECT_EQ(world.get("/metrics", "DELETE").status, 405);
    EXPECT_EQ(world.get("/status", "HEAD").status, 200);
    EXPECT_EQ(world.get("/status?verbose=1").status, 200);
}

}  // namespace
}  // namespace pgsteer::health
