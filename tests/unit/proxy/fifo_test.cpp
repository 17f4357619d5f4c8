#include "proxy/server/fifo.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <memory>
#include <random>
#include <vector>

namespace pgsteer::proxy {
namespace {

using Shared = std::shared_ptr<int>;

std::vector<int> numbers(const Fifo<Shared>& queue) {
    std::vector<int> all;
    for (const auto& one : queue) all.push_back(*one);
    return all;
}

void push(Fifo<Shared>& queue, int number) { queue.emplace_back() = std::make_shared<int>(number); }

TEST(Fifo, GivesWhatItWasGivenInItsOrder) {
    Fifo<Shared> queue;
    EXPECT_TRUE(queue.empty());
    for (int i = 0; i < 3; ++i) push(queue, i);
    EXPECT_EQ(queue.size(), 3U);
    EXPECT_EQ(*queue.front(), 0);
    queue.pop_front();
    EXPECT_EQ(numbers(queue), (std::vector{1, 2}));
}

TEST(Fifo, KeepsNothingWhenNothingIsLeft) {
    Fifo<Shared> queue;
    push(queue, 1);
    push(queue, 2);
    const std::weak_ptr<int> first = queue.front();
    queue.pop_front();
    queue.pop_front();
    EXPECT_TRUE(first.expired());
}

TEST(Fifo, UsesTheRoomOfWhatWasTaken) {
    Fifo<Shared> queue;
    std::vector<std::weak_ptr<int>> all;
    for (int i = 0; i < 100; ++i) {
        push(queue, i);
        all.emplace_back(*(queue.end() - 1));
        if (i > 2) queue.pop_front();
    }
    const auto kept =
        std::count_if(all.begin(), all.end(), [](auto& one) { return !one.expired(); });
    EXPECT_LT(kept, 20);
}

TEST(Fifo, ErasesFromTheMiddleAndAtBothEnds) {
    Fifo<Shared> queue;
    for (int i = 0; i < 6; ++i) push(queue, i);
    queue.pop_front();
    queue.erase(queue.begin() + 1, queue.begin() + 3);
    EXPECT_EQ(numbers(queue), (std::vector{1, 4, 5}));
    queue.erase(queue.begin());
    queue.erase(queue.end() - 1);
    EXPECT_EQ(numbers(queue), (std::vector{4}));
    queue.erase(queue.begin(), queue.end());
    EXPECT_TRUE(queue.empty());
}

TEST(Fifo, IsWhatADequeIsUnderAnyLoad) {
    std::mt19937 random{7};
    Fifo<Shared> queue;
    std::deque<int> expected;
    for (int i = 0; i < 20'000; ++i) {
        const auto action = random() % 100;
        const bool grows = i / 500 % 2 == 0;
        if (action == 0) queue.reserve(random() % 50);
        if (action < (grows ? 60U : 40U)) {
            push(queue, i);
            expected.push_back(i);
        } else if (!expected.empty()) {
            ASSERT_EQ(*queue.front(), expected.front());
            queue.pop_front();
            expected.pop_front();
        }
        ASSERT_EQ(queue.size(), expected.size());
    }
    EXPECT_EQ(numbers(queue), std::vector(expected.begin(), expected.end()));
}

}  // namespace
}  // namespace pgsteer::proxy
