#include "proxy/shared/bounded_map.hpp"

#include <gtest/gtest.h>

namespace pgsteer::proxy {
namespace {

TEST(BoundedMap, StaysWithinItsBytesWhateverIsPut) {
    BoundedMap<int> map{100'000};
    for (int i = 0; i < 10'000; ++i) {
        map.put("invented" + std::to_string(i), i, static_cast<std::size_t>(i % 700));
        ASSERT_LE(map.bytes(), 100'000U);
    }
    EXPECT_GT(map.size(), 50U);
    EXPECT_EQ(*map.find("invented9999"), 9999);
    EXPECT_EQ(map.find("invented0"), nullptr);
}

TEST(BoundedMap, ForgetsTheOldestFirst) {
    BoundedMap<int> map{1000};
    map.put("a", 1, 100);
    map.put("b", 2, 100);
    map.put("a", 3, 100);  // younger than b now
    for (int i = 0; map.find("b") != nullptr; ++i) map.put("c" + std::to_string(i), i, 100);
    ASSERT_NE(map.find("a"), nullptr);
    EXPECT_EQ(*map.find("a"), 3);
}

TEST(BoundedMap, DoesNotKeepWhatIsTooLargeAlone) {
    BoundedMap<int> map{1000};
    map.put("a", 1, 0);
    map.put("b", 2, 1000);
    map.put("a", 3, 1000);
    EXPECT_EQ(map.size(), 0U);
    EXPECT_EQ(map.bytes(), 0U);
    map.put("c", 4, 0);
    EXPECT_EQ(*map.find("c"), 4);
    map.clear();
    EXPECT_EQ(map.find("c"), nullptr);
}

}  // namespace
}  // namespace pgsteer::proxy
