#include "proxy/shared/shared_writes.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

namespace pgsteer::proxy {
namespace {

using routing::kNever;
using routing::Lsn;
using routing::TimePoint;
using namespace std::chrono_literals;

constexpr TimePoint kThen{1h};

TEST(SharedWrites, KnowNothingAtFirst) {
    SharedWrites writes;
    const auto seen = writes.seen(1, kThen);
    EXPECT_EQ(seen.at, kNever);
    EXPECT_EQ(seen.unpositioned, kNever);
    EXPECT_EQ(seen.position.timeline, 0U);
}

TEST(SharedWrites, TellAPositionOnceAllThatAreAwaitedWereTold) {
    SharedWrites writes;
    SharedWrites::Awaited first;
    SharedWrites::Awaited second;
    writes.acknowledged_before_position(first, kThen - 1s);
    writes.acknowledged_before_position(first, kThen);  // the same position covers both
    writes.acknowledged_before_position(second, kThen + 1s);
    EXPECT_EQ(writes.seen(1, kThen).at, kThen + 1s);
    EXPECT_EQ(writes.seen(1, kThen).position.timeline, 0U);
    second.told({1, Lsn{200}});
    EXPECT_EQ(writes.seen(1, kThen).position.timeline, 0U);
    first.told({1, Lsn{100}});
    EXPECT_EQ(writes.seen(1, kThen).position.timeline, 1U);
    EXPECT_EQ(writes.seen(1, kThen).position.lsn,
              Lsn{200});  // the last of them, not the latest told
    EXPECT_EQ(writes.seen(1, kThen).unpositioned, kNever);
    EXPECT_EQ(writes.seen(2, kThen).position.timeline, 0U);  // of another timeline
}

TEST(SharedWrites, RememberThoseThatNoPositionCoversByTime) {
    SharedWrites writes;
    writes.acknowledged(kThen);
    EXPECT_EQ(writes.seen(1, kThen).unpositioned, kThen);
    const auto before = routing::Clock::now();
    {
        SharedWrites::Awaited lost;
        writes.acknowledged_before_position(lost, kThen + 1s);
    }
    EXPECT_GE(writes.seen(1, kThen).unpositioned, before);
}

TEST(SharedWrites, AMovedPositionIsToldOnce) {
    SharedWrites writes;
    SharedWrites::Awaited awaited;
    writes.acknowledged_before_position(awaited, kThen);
    SharedWrites::Awaited kept = std::move(awaited);
    EXPECT_FALSE(awaited);  // NOLINT: what a move leaves behind is the matter
    kept.told({1, Lsn{7}});
    EXPECT_FALSE(kept);
    EXPECT_EQ(writes.seen(1, kThen).position.lsn, Lsn{7});
}

TEST(SharedWrites, AreAskedForASecond) {
    SharedWrites writes;
    EXPECT_FALSE(writes.is_asked(kThen));
    (void)writes.seen(1, kThen);
    EXPECT_TRUE(writes.is_asked(kThen + 999ms));
    EXPECT_FALSE(writes.is_asked(kThen + 1s));
}

// Whoever sees a position sees one at or beyond every write that was acknowledged before it looked.
TEST(SharedWrites, NeverTellAPositionThatLacksAnAcknowledgedWrite) {
    SharedWrites writes;
    std::atomic<std::uint64_t> position{1};
    std::atomic<std::uint64_t> acknowledged{0};
    std::atomic<bool> is_over{false};
    std::vector<std::thread> writers;
    for (int i = 0; i < 3; ++i)
        writers.emplace_back([&] {
            while (!is_over) {
                const auto mine = position.fetch_add(1);
                SharedWrites::Awaited awaited;
                writes.acknowledged_before_position(awaited, routing::Clock::now());
                auto known = acknowledged.load();
                while (known < mine && !acknowledged.compare_exchange_weak(known, mine)) {
                }
                awaited.told({1, Lsn{mine}});
            }
        });
    int told = 0;
    // While one is answered at least, however seldom the writers run.
    for (int i = 0; i < 200'000 || (told == 0 && i < 100'000'000); ++i) {
        if (i >= 200'000) std::this_thread::yield();
        const auto before = acknowledged.load();
        const auto seen = writes.seen(1, routing::Clock::now());
        if (seen.position.timeline == 0) continue;
        ++told;
        ASSERT_GE(seen.position.lsn.bytes, before);
    }
    is_over = true;
    for (auto& writer : writers) writer.join();
    EXPECT_GT(told, 0);
}

}  // namespace
}  // namespace pgsteer::proxy
