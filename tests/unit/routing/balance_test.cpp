#include "routing/balance.hpp"

#include <gtest/gtest.h>

#include <map>
#include <random>
#include <vector>

namespace pgsteer::routing {
namespace {

using namespace std::chrono_literals;

constexpr int kDraws = 20'000;

Topology with_weights(const std::vector<int>& weights) {
    Topology topology;
    for (const int weight : weights) {
        Server server;
        server.role = Role::replica;
        server.weight = weight;
        topology.servers.push_back(server);
    }
    return topology;
}

Candidates all_of(const Topology& topology) {
    Candidates all;
    for (std::size_t i = 0; i < topology.servers.size(); ++i)
        all.push_back(ServerId{static_cast<std::uint16_t>(i)});
    return all;
}

// How often each server is chosen, in parts of one; exact for none and all.
std::vector<double> shares(const Topology& topology, const std::vector<std::uint32_t>& in_flight) {
    std::mt19937_64 random{42};
    std::vector<double> share(topology.servers.size());
    for (int i = 0; i < kDraws; ++i)
        share[balance(all_of(topology), in_flight, topology, random()).index] += 1;
    for (double& count : share) count /= kDraws;
    return share;
}

TEST(Balance, TakesTheOnlyCandidate) {
    const auto topology = with_weights({1, 1, 1});
    for (const std::uint64_t random : {0ULL, ~0ULL, 0x8000'0000ULL})
        EXPECT_EQ(balance({ServerId{2}}, {}, topology, random), ServerId{2});
}

TEST(Balance, SaysTheSameForTheSameBits) {
    const auto topology = with_weights({1, 2, 3});
    const std::vector<std::uint32_t> load{1, 2, 3};
    std::mt19937_64 random{1};
    for (int i = 0; i < 100; ++i) {
        const auto bits = random();
        EXPECT_EQ(balance(all_of(topology), load, topology, bits),
                  balance(all_of(topology), load, topology, bits));
    }
}

TEST(Balance, ChoosesOnlyCandidates) {
    const auto topology = with_weights({1, 1000, 1, 1000});
    const Candidates some{ServerId{0}, ServerId{2}};
    std::mt19937_64 random{3};
    for (int i = 0; i < 1000; ++i) {
        const auto chosen = balance(some, {}, topology, random());
        EXPECT_TRUE(chosen == ServerId{0} || chosen == ServerId{2});
    }
}

TEST(Balance, SharesIdleServersByWeight) {
    const auto equal = shares(with_weights({1, 1}), {0, 0});
    EXPECT_NEAR(equal[0], 0.5, 0.02);
    const auto weighted = shares(with_weights({3, 1}), {0, 0});
    EXPECT_NEAR(weighted[0], 0.75, 0.02);
    const auto three = shares(with_weights({5, 3, 2}), {});
    EXPECT_NEAR(three[0], 0.5, 0.02);
    EXPECT_NEAR(three[1], 0.3, 0.02);
    EXPECT_NEAR(three[2], 0.2, 0.02);
}

TEST(Balance, TakesTheLessLoadedOfTwo) {
    EXPECT_EQ(shares(with_weights({1, 1}), {3, 2})[1], 1.0);
    EXPECT_EQ(shares(with_weights({1000, 1}), {2000, 1})[1], 1.0);
}

TEST(Balance, CountsLoadPerWeight) {
    EXPECT_EQ(shares(with_weights({4, 1}), {7, 2})[0], 1.0);  // 1.75 and 2 per weight
    EXPECT_EQ(shares(with_weights({4, 1}), {9, 2})[1], 1.0);  // 2.25 and 2
    EXPECT_NEAR(shares(with_weights({4, 1}), {8, 2})[0], 0.8, 0.02);
}

TEST(Balance, LeavesTheMostLoadedOfManyAlone) {
    const auto share = shares(with_weights({1, 1, 1, 1}), {9, 1, 1, 1});
    EXPECT_EQ(share[0], 0.0);
    EXPECT_NEAR(share[1], 1.0 / 3, 0.02);
}

TEST(Balance, PrefersTheFasterWhenLoadIsEqual) {
    auto topology = with_weights({1, 1});
    topology.servers[0].response_time = 900us;
    topology.servers[1].response_time = 300us;
    EXPECT_EQ(shares(topology, {1, 1})[1], 1.0);
    EXPECT_EQ(shares(topology, {0, 1})[0], 1.0);  // load comes first
}

TEST(Balance, IgnoresSmallDifferencesInResponseTime) {
    auto topology = with_weights({1, 1});
    topology.servers[0].response_time = 500us;
    topology.servers[1].response_time = 300us;
    EXPECT_NEAR(shares(topology, {})[0], 0.5, 0.02);
}

TEST(Balance, SurvivesWeightsThatValidationWouldReject) {
    const auto share = shares(with_weights({0, -5}), {});
    EXPECT_NEAR(share[0], 0.5, 0.02);
}

TEST(Balance, EndsOfTheRandomRangeAreValid) {
    const auto topology = with_weights({1, 1000, 7});
    for (const std::uint64_t high : {0ULL, 0xFFFF'FFFFULL})
        for (const std::uint64_t low : {0ULL, 0xFFFF'FFFFULL})
            EXPECT_LT(balance(all_of(topology), {}, topology, high << 32 | low).index, 3);
}

}  // namespace
}  // namespace pgsteer::routing
