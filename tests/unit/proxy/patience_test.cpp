#include "proxy/session/patience.hpp"

#include <gtest/gtest.h>

namespace pgsteer::proxy {
namespace {

using namespace std::chrono_literals;
constexpr auto kStart = routing::TimePoint{} + 1h;

TEST(Patience, LooksAgainSoonAndThenLessOften) {
    Patience patience;
    auto now = kStart;
    std::vector<routing::Clock::duration> pauses;
    for (int i = 0; i < 7; ++i) {
        const auto next = *patience.next_look(now, 2s);
        pauses.push_back(next - now);
        now = next;
    }
    EXPECT_EQ(pauses,
              (std::vector<routing::Clock::duration>{1ms, 2ms, 4ms, 8ms, 16ms, 16ms, 16ms}));
}

TEST(Patience, EndsAtItsLimitWhicheverWayTheTimePassed) {
    Patience patience;
    EXPECT_TRUE(patience.next_look(kStart, 20ms));
    EXPECT_EQ(patience.next_look(kStart + 19ms, 20ms), kStart + 20ms);
    EXPECT_FALSE(patience.next_look(kStart + 20ms, 20ms));
    EXPECT_FALSE(patience.next_look(kStart + 1s, 20ms));
}

TEST(Patience, OfNothingIsNone) { EXPECT_FALSE(Patience{}.next_look(kStart, 0ms)); }

}  // namespace
}  // namespace pgsteer::proxy
