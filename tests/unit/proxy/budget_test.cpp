#include "proxy/shared/budget.hpp"

#include <gtest/gtest.h>

#include <latch>
#include <set>
#include <thread>
#include <vector>

namespace pgsteer::proxy {
namespace {

using routing::ServerId;

TEST(Budget, GivesAsManyPlacesAsItHas) {
    Budget budget{3};
    for (int i = 0; i < 3; ++i) EXPECT_TRUE(budget.try_take());
    EXPECT_EQ(budget.used(), 3);
    EXPECT_FALSE(budget.try_take());
    EXPECT_EQ(budget.used(), 3);
}

TEST(Budget, GivesAPlaceThatCameBackAgain) {
    Budget budget{1};
    for (int i = 0; i < 5; ++i) {
        ASSERT_TRUE(budget.try_take());
        ASSERT_FALSE(budget.try_take());
        budget.give_back();
        ASSERT_EQ(budget.used(), 0);
    }
}

TEST(Budget, OfNothingGivesNothing) { EXPECT_FALSE(Budget{0}.try_take()); }

// All begin at once, or the first would be done before the last has started.
template <class Work>
void on_threads(int count, Work work) {
    std::latch start{count};
    std::vector<std::thread> threads;
    for (int i = 0; i < count; ++i) {
        threads.emplace_back([&] {
            start.arrive_and_wait();
            work();
        });
    }
    for (auto& thread : threads) thread.join();
}

// Counts places apart from the budget, so that one given too often is seen whenever it happens.
TEST(Budget, IsNeverExceededByThreadsThatTakeAndGiveBack) {
    constexpr int kLimit = 3;
    Budget budget{kLimit};
    std::atomic<int> held{0};
    std::atomic<int> most{0};
    std::atomic<int> taken{0};
    on_threads(4, [&] {
        for (int i = 0; i < 20'000; ++i) {
            if (!budget.try_take()) continue;
            taken.fetch_add(1);
            const int now = held.fetch_add(1) + 1;
            for (int seen = most.load(); seen < now && !most.compare_exchange_weak(seen, now);) {
            }
            if (i % 16 == 0) std::this_thread::yield();  // hold it while others try
            held.fetch_sub(1);
            budget.give_back();
        }
    });
    EXPECT_LE(most.load(), kLimit);
    EXPECT_GT(taken.load(), 0);
    EXPECT_EQ(budget.used(), 0);
}

TEST(Budget, GivesEachPlaceToOneThread) {
    constexpr int kLimit = 100'000;
    Budget budget{kLimit};
    std::atomic<int> taken{0};
    on_threads(4, [&] {
        for (int i = 0; i < kLimit; ++i) taken.fetch_add(budget.try_take() ? 1 : 0);
    });
    EXPECT_EQ(taken.load(), kLimit);
    EXPECT_EQ(budget.used(), kLimit);
}

TEST(Budgets, AreOnePerServerDatabaseAndUser) {
    Budgets budgets{1};
    const BudgetKey key{ServerId{1}, "app", "alice"};
    const auto budget = budgets.of(key);
    EXPECT_EQ(budgets.of(key), budget);
    const std::vector<BudgetKey> others{{ServerId{2}, "app", "alice"},
                                        {ServerId{1}, "app2", "alice"},
                                        {ServerId{1}, "app", "bob"},
                                        {ServerId{1}, "appa", "lice"}};
    std::set<std::shared_ptr<Budget>> all{budget};
    for (const auto& other : others) all.insert(budgets.of(other));
    EXPECT_EQ(all.size(), 1 + others.size());
    EXPECT_TRUE(budget->try_take());
    EXPECT_FALSE(budgets.of(key)->try_take());
    for (const auto& other : others)
        EXPECT_TRUE(budgets.of(other)->try_take()) << "each has places of its own";
}

TEST(Budgets, ForgetThoseThatNobodyKeeps) {
    Budgets budgets{1};
    const auto kept = budgets.of({ServerId{1}, "app", "alice"});
    ASSERT_TRUE(kept->try_take());
    for (int i = 0; i < 100; ++i) (void)budgets.of({ServerId{1}, std::to_string(i), "alice"});
    EXPECT_EQ(budgets.size(), 101U);
    budgets.forget_unused();
    EXPECT_EQ(budgets.size(), 1U);
    EXPECT_EQ(budgets.of({ServerId{1}, "app", "alice"}), kept);
}

TEST(Budgets, AreSharedByAllThreads) {
    Budgets budgets{5};
    std::atomic<int> taken{0};
    on_threads(4, [&] {
        for (std::uint16_t server = 0; server < 50; ++server) {
            const auto budget = budgets.of({ServerId{server}, "app", "alice"});
            for (int i = 0; i < 5; ++i) taken.fetch_add(budget->try_take() ? 1 : 0);
        }
    });
    EXPECT_EQ(taken.load(), 50 * 5);
}

}  // namespace
}  // namespace pgsteer::proxy
