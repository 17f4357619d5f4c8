// Whatever happens, and in whatever order: what follows from it is settled at once.
#include "health/cluster.hpp"

#include <gtest/gtest.h>

#include <array>
#include <random>
#include <set>
#include <tuple>

namespace pgsteer::health {
namespace {

using routing::Role;
using routing::ServerId;
using routing::Status;
using routing::TimePoint;
using routing::Topology;
using namespace std::chrono_literals;

constexpr int kServers = 3;
// By time alone: over max_lag, over max_lag_hard, slow, and given up.
constexpr int kChangesByTime = 4;

// What everybody would see of a topology.
using Verdicts = std::vector<std::tuple<Role, Status, std::string>>;

Verdicts verdicts(const Cluster& cluster, const Topology& topology) {
    Verdicts all;
    for (std::uint16_t i = 0; i < topology.servers.size(); ++i) {
        const auto& server = topology.servers[i];
        all.emplace_back(server.role, server.status, cluster.status(ServerId{i}).reason());
    }
    return all;
}

// Servers that are promoted, restarted, rewound, lost and found at random, and a Cluster that hears
// of it in any order.
class Chaos {
public:
    explicit Chaos(std::uint32_t seed) : random_{seed} {
        auto config = std::make_shared<conf::Config>();
        config->servers.resize(kServers);
        cluster_ = std::make_unique<Cluster>(config);
        for (auto& server : servers_) server.in_recovery = below(3) != 0;
    }

    Cluster& cluster() { return *cluster_; }
    [[nodiscard]] TimePoint now() const { return now_; }

    void next_event() {
        const auto number = static_cast<std::uint16_t>(below(kServers));
        const ServerId id{number};
        auto& server = servers_[number];
        now_ += std::chrono::microseconds{below(4) == 0 ? below(1'500'000) : below(5'000)};
        switch (below(8)) {
            case 0:
                return change(server);
            case 1:
                return cluster_->discard(id, now_ - std::chrono::microseconds{below(3'000)});
            case 2:
            case 3:
                return cluster_->failed(id, now_ - std::chrono::microseconds{below(1'000'000)},
                                        "timeout");
            default:
                server.position += below(100);
                return cluster_->succeeded(id, answer(server));
        }
    }

private:
    struct Model {
        bool in_recovery = true;
        std::uint32_t timeline = 1;
        std::int64_t run = 1'000;
        std::uint64_t position = 0x1000'0100;
    };

    std::uint32_t below(std::uint32_t limit) { return static_cast<std::uint32_t>(random_() % limit); }

    void change(Model& server) {
        switch (below(4)) {
            case 0:  // promoted, or two of them on one timeline
                server.in_recovery = false;
                server.timeline += below(2);
                break;
            case 1:
                server.in_recovery = true;
                server.timeline = 1 + below(4);
                ++server.run;
                break;
            case 2:
                ++server.run;
                break;
            default:
                server.position -= below(50);
        }
    }

    Observation answer(const Model& server) {
        const bool is_full = below(2) == 0;
        return {.in_recovery = server.in_recovery,
                .position = {server.position},
                .flushed = {server.position},
                .sent_at = now_ - std::chrono::microseconds{below(2'000)},
                .response_time = std::chrono::microseconds{500 + below(100'000)},
                .is_full = is_full,
                .postmaster_start_us = is_full ? server.run : 0,
                .system_identifier = is_full ? 42U : 0U,
                .timeline = is_full ? server.timeline : 0U};
    }

    std::mt19937 random_;
    TimePoint now_ = TimePoint{} + 1h;
    std::array<Model, kServers> servers_;
    std::unique_ptr<Cluster> cluster_;
};

class Settling : public testing::TestWithParam<std::uint32_t> {};

TEST_P(Settling, LookingAgainChangesNothing) {
    Chaos chaos{GetParam()};
    for (int event = 0; event < 400; ++event) {
        chaos.next_event();
        const auto first = chaos.cluster().assess(chaos.now());
        const auto seen = verdicts(chaos.cluster(), first);
        for (int look = 0; look < 3; ++look) {
            const auto again = chaos.cluster().assess(chaos.now());
            ASSERT_EQ(verdicts(chaos.cluster(), again), seen) << "event " << event;
            ASSERT_EQ(again.primary, first.primary) << "event " << event;
        }
    }
}

TEST_P(Settling, TimeAloneChangesEachServerAFewTimesAtMost) {
    Chaos chaos{GetParam()};
    for (int event = 0; event < 100; ++event) {
        chaos.next_event();
        Cluster silent = chaos.cluster();
        auto last = silent.assess(chaos.now());
        std::array<int, kServers> changes{};
        for (int step = 1; step <= 100; ++step) {
            auto next = silent.assess(chaos.now() + step * 4s);
            for (std::size_t i = 0; i < kServers; ++i)
                changes[i] += next.servers[i].status != last.servers[i].status;
            last = std::move(next);
        }
        for (const int count : changes) ASSERT_LE(count, kChangesByTime) << "event " << event;
        chaos.cluster().assess(chaos.now());
    }
}

TEST_P(Settling, AnEventChangesNoServerTwice) {
    Chaos chaos{GetParam()};
    auto last = verdicts(chaos.cluster(), chaos.cluster().assess(chaos.now()));
    for (int event = 0; event < 400; ++event) {
        chaos.next_event();
        std::set<std::pair<Role, Status>> seen[kServers];
        for (int look = 0; look < 5; ++look) {
            const auto topology = chaos.cluster().assess(chaos.now());
            for (std::size_t i = 0; i < kServers; ++i)
                seen[i].emplace(topology.servers[i].role, topology.servers[i].status);
        }
        for (const auto& states : seen) ASSERT_EQ(states.size(), 1U) << "event " << event;
    }
}

TEST_P(Settling, NobodyIsPrimaryWithoutBelongingToTheNewestTimelineSeen) {
    Chaos chaos{GetParam()};
    std::uint32_t newest = 0;
    for (int event = 0; event < 400; ++event) {
        chaos.next_event();
        const auto topology = chaos.cluster().assess(chaos.now());
        if (!topology.primary) continue;
        EXPECT_GE(topology.timeline(), newest) << "event " << event;
        newest = std::max(newest, topology.timeline());
        for (std::uint16_t i = 0; i < kServers; ++i) {
            if (ServerId{i} == *topology.primary) continue;
            EXPECT_NE(topology.servers[i].role, Role::primary);
        }
    }
}

INSTANTIATE_TEST_SUITE_P(Seeds, Settling, testing::Range(1U, 21U));

}  // namespace
}  // namespace pgsteer::health
