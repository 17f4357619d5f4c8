#include "proxy/server/numbered_queue.hpp"

#include <gtest/gtest.h>

#include <memory>
#include <string>

namespace pgsteer::proxy {
namespace {

TEST(NumberedQueue, FindsWhatWasPushedByItsNumber) {
    NumberedQueue<std::string> queue;
    EXPECT_TRUE(queue.empty());
    const auto a = queue.end();
    queue.push("a");
    const auto b = queue.end();
    queue.push("b");
    EXPECT_EQ(queue.first(), a);
    EXPECT_EQ(queue[a], "a");
    EXPECT_EQ(queue.pop(), "a");
    EXPECT_EQ(queue.first(), b);
    EXPECT_EQ(queue[b], "b");
}

TEST(NumberedQueue, GivesNoNumberTwice) {
    NumberedQueue<int> queue;
    queue.push(1);
    queue.push(2);
    const auto end = queue.end();
    queue.pop();
    queue.clear();
    EXPECT_TRUE(queue.empty());
    EXPECT_EQ(queue.first(), end);
    EXPECT_EQ(queue.end(), end);
    queue.push(3);
    EXPECT_EQ(queue[end], 3);
}

TEST(NumberedQueue, KeepsNumbersWhenItGivesMemoryBack) {
    NumberedQueue<int> queue;
    int last = 0;
    for (int round = 0; round < 1'000; ++round) {
        for (int i = 0; i < 7; ++i) queue.push(++last);
        for (int i = 0; i < 6; ++i) queue.pop();
        queue.shrink();
        ASSERT_EQ(queue[queue.end() - 1], last);
        ASSERT_EQ(static_cast<std::uint64_t>(queue[queue.first()]), queue.first());
    }
}

TEST(NumberedQueue, HoldsNothingThatWasPopped) {
    NumberedQueue<std::shared_ptr<int>> queue;
    const auto held = std::make_shared<int>(1);
    queue.push(held);
    queue.push(nullptr);
    queue.pop();
    EXPECT_EQ(held.use_count(), 1);
}

}  // namespace
}  // namespace pgsteer::proxy
