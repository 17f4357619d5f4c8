#include "health/metrics.hpp"

#include "health/topology_store.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <set>
#include <sstream>

namespace pgsteer::health {
namespace {

using testing::HasSubstr;
using testing::Not;

struct World {
    World() {
        config->servers.resize(2);
        config->servers[0].name = "pg1";
        config->servers[1].name = "pg2";
    }
    [[nodiscard]] std::string text() const {
        return Metrics{{.config = config.get(),
                        .checker = nullptr,
                        .topology = &store,
                        .workers = {&first, &second},
                        .error_names = {"00000 ok", "57P03 no_primary"},
                        .draining = {}}}
            .text();
    }
    std::shared_ptr<conf::Config> config = std::make_shared<conf::Config>();
    TopologyStore store{std::make_shared<routing::Topology>()};
    WorkerCounters first;
    WorkerCounters second;
};

TEST(Metrics, SumsTheWorkersUp) {
    World world;
    const auto reason = static_cast<std::size_t>(routing::Reason::fresh_replica);
    world.first.databases.of("shop")->servers[1].replica_requests[reason].add(3);
    world.second.databases.of("shop")->servers[1].replica_requests[reason].add(4);
    EXPECT_THAT(
        world.text(),
        HasSubstr("pgsteer_requests_total{database=\"shop\",server=\"pg2\",role=\"replica\","
                  "reason=\"fresh_replica\"} 7\n"));
}

TEST(Metrics, NamesErrorsBySqlstate) {
    World world;
    world.first.errors[1].add();
    EXPECT_THAT(world.text(),
                HasSubstr("pgsteer_errors_total{sqlstate=\"57P03\",error=\"no_primary\"} 1\n"));
    EXPECT_THAT(world.text(), Not(HasSubstr("error=\"ok\"")));
}

TEST(Metrics, EscapesWhatClientsCallTheirDatabases) {
    World world;
    world.first.databases.of("a\"b\\c\nd")->servers[0].failed.add();
    EXPECT_THAT(world.text(), HasSubstr(R"(database="a\"b\\c\nd")"));
}

TEST(Metrics, HasEveryFamilyThatIsShownInTheTable) {
    World world;
    world.first.databases.of("shop")->servers[0].requests[0].add();
    world.first.errors[1].add();
    std::set<std::string> known;
    for (const auto& family : metric_help()) known.insert(std::string{family.name});
    EXPECT_EQ(known.size(), metric_help().size()) << "a name occurs twice";
    std::istringstream lines{world.text()};
    for (std::string line; std::getline(lines, line);) {
        if (!line.starts_with("# TYPE ")) continue;
        const auto name = line.substr(7, line.find(' ', 7) - 7);
        EXPECT_TRUE(known.contains(name)) << name;
    }
}

TEST(Metrics, AreAllInTheDocument) {
    std::ifstream file{SOURCE_DIR "/health/metrics.md"};
    std::stringstream document;
    document << file.rdbuf();
    for (const auto& family : metric_help()) {
        const auto line = "| `" + std::string{family.name} + "` | " + std::string{family.type} +
                          " | " + std::string{family.labels} + " | " + std::string{family.help} +
                          " |";
        EXPECT_THAT(document.str(), HasSubstr(line));
    }
}

struct Bound {
    std::uint64_t microseconds;
    std::size_t step;
};

class Latency : public testing::TestWithParam<Bound> {};

TEST_P(Latency, FallsIntoTheBucketWhoseBoundItDoesNotExceed) {
    LatencyHistogram histogram;
    histogram.observe(GetParam().microseconds);
    for (std::size_t step = 0; step < LatencyHistogram::kSteps; ++step)
        EXPECT_EQ(histogram.buckets[step].get(), step == GetParam().step ? 1U : 0U) << step;
    EXPECT_EQ(histogram.sum_us.get(), GetParam().microseconds);
}

INSTANTIATE_TEST_SUITE_P(Bounds,
                         Latency,
                         testing::Values(Bound{0, 0},
                                         Bound{1, 0},
                                         Bound{64, 0},
                                         Bound{65, 1},
                                         Bound{128, 1},
                                         Bound{129, 2},
                                         Bound{64ULL << 17, 17},
                                         Bound{(64ULL << 17) + 1, 18},
                                         Bound{UINT64_MAX, 18}));

TEST(LatencyHistogram, IsCumulativeInTheText) {
    World world;
    auto& latency = world.first.databases.of("shop")->servers[0].latency;
    latency.observe(64);
    latency.observe(100);
    latency.observe(3'600'000'000);
    const auto text = world.text();
    const std::string labels = R"({database="shop",server="pg1",le=)";
    const std::string bucket = "pgsteer_request_duration_seconds_bucket" + labels;
    EXPECT_THAT(text, HasSubstr(bucket + "\"6.4e-05\"} 1\n"));
    EXPECT_THAT(text, HasSubstr(bucket + "\"0.000128\"} 2\n"));
    EXPECT_THAT(text, HasSubstr(bucket + "\"+Inf\"} 3\n"));
}

TEST(DatabaseCountersList, LetsAllFurtherDatabasesShareOneEntry) {
    DatabaseCountersList list;
    const std::size_t most = DatabaseCountersList::kMost;
    for (std::size_t i = 0; i < 3 * most; ++i)
        list.of("db" + std::to_string(i))->servers[0].failed.add();
    ASSERT_EQ(list.all().size(), most);
    EXPECT_EQ(list.all().back()->name, "(other)");
    EXPECT_EQ(list.all().back()->servers.find({0})->failed.get(), 2 * most + 1);
    EXPECT_EQ(list.of("db7"), list.all()[7]);
}

TEST(DatabaseCountersList, ForgetsWhatNobodyHasUsedForLong) {
    using std::chrono::minutes;
    DatabaseCountersList list;
    const routing::TimePoint start{std::chrono::hours{5}};
    auto held = list.of("held");
    list.of("left")->servers[0].latency.observe(100);
    for (int minute = 0; minute < 60; ++minute) list.forget_unused(start + minutes{minute});
    EXPECT_EQ(list.all().size(), 2U);
    list.forget_unused(start + minutes{61});
    ASSERT_EQ(list.all().size(), 2U);
    EXPECT_EQ(list.all()[0]->name, "held");
    EXPECT_EQ(list.all()[1]->name, "(other)");
    EXPECT_EQ(list.all()[1]->servers.find({0})->latency.sum_us.get(), 100U);
    held.reset();
    list.forget_unused(start + minutes{62});
    list.forget_unused(start + minutes{120});
    EXPECT_EQ(list.all().size(), 2U) << "used until minute 61";
    list.forget_unused(start + minutes{122});
    EXPECT_EQ(list.all().size(), 1U);
}

}  // namespace
}  // namespace pgsteer::health
