#include "proxy/shared/session_numbers.hpp"

#include <gtest/gtest.h>

#include <random>
#include <set>

namespace pgsteer::proxy {
namespace {

constexpr std::uint32_t kMaxWorker = (1U << SessionNumbers::kWorkerBits) - 1;

TEST(SessionNumbers, LeadBackToTheirOwner) {
    std::mt19937_64 random{1};
    for (int round = 0; round < 10'000; ++round) {
        const SessionNumbers numbers{random()};
        const SessionNumbers::Owner owner{
            static_cast<std::uint32_t>(random()) & kMaxWorker,
            static_cast<std::uint32_t>(random()) & SessionNumbers::kMaxSession};
        EXPECT_EQ(numbers.owner(numbers.process_id(owner)), owner);
    }
}

TEST(SessionNumbers, AreAnIntegerThatPostgresqlCouldHaveGiven) {
    const SessionNumbers numbers{0xdead'beef'1234'5678};
    for (const std::uint32_t worker : {0U, 1U, kMaxWorker})
        for (const std::uint32_t session : {1U, 2U, SessionNumbers::kMaxSession})
            EXPECT_LE(numbers.process_id({worker, session}), 0x7fff'ffffU);
}

TEST(SessionNumbers, DifferBetweenSessionsAndBetweenProcesses) {
    const SessionNumbers here{0x1111'2222'3333'4444};
    const SessionNumbers there{0x9999'8888'7777'6666};
    std::set<std::uint32_t> seen;
    for (std::uint32_t session = 1; session <= 1000; ++session) {
        seen.insert(here.process_id({0, session}));
        seen.insert(here.process_id({1, session}));
        seen.insert(there.process_id({0, session}));
    }
    EXPECT_EQ(seen.size(), 3000U);
}

}  // namespace
}  // namespace pgsteer::proxy
