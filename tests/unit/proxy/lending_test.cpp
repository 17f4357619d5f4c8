#include "proxy/io/lending.hpp"

#include <gtest/gtest.h>

#include <vector>

namespace pgsteer::proxy {
namespace {

// A kind of its own, of which nobody else has given anything back.
struct Item {
    int value = 0;
};
using Items = std::vector<Item>;

TEST(Lending, GivesMemoryToOneAfterTheOther) {
    Items first;
    Lending<Items>::lend(first);
    EXPECT_EQ(first.capacity(), 0U) << "there is none";
    first.emplace_back();
    const auto* const memory = first.data();
    first.clear();
    Lending<Items>::take_back(first);
    EXPECT_EQ(first.capacity(), 0U);
    Items second;
    Lending<Items>::lend(second);
    EXPECT_EQ(second.data(), memory);
    EXPECT_TRUE(second.empty());
    Lending<Items>::take_back(second);
}

TEST(Lending, KeepsNoMoreThanItIsLikelyToBeAskedFor) {
    std::vector<Items> all(1'000);
    for (auto& one : all) one.reserve(1);
    for (auto& one : all) Lending<Items>::take_back(one);
    for (const auto& one : all) ASSERT_EQ(one.capacity(), 0U);
    std::size_t with_memory = 0;
    for (auto& one : all) {
        Lending<Items>::lend(one);
        if (one.capacity() > 0) ++with_memory;
    }
    EXPECT_EQ(with_memory, 64U);
}

}  // namespace
}  // namespace pgsteer::proxy
