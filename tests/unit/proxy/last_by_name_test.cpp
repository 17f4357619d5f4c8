#include "proxy/session/last_by_name.hpp"

#include <gtest/gtest.h>

#include <iterator>
#include <string>
#include <vector>

namespace pgsteer::proxy {
namespace {

TEST(LastByName, KnowsNothingAtFirst) {
    LastByName<int> last;
    EXPECT_EQ(last.find(""), nullptr);
    EXPECT_EQ(last.begin(), last.end());
}

TEST(LastByName, TheLastThatWasSaidOfANameCounts) {
    LastByName<int> last;
    last.put("", 1);
    last.put("a", 2);
    EXPECT_EQ(last.put("", 3), 3);
    ASSERT_NE(last.find(""), nullptr);
    EXPECT_EQ(*last.find(""), 3);
    EXPECT_EQ(*last.find("a"), 2);
    EXPECT_EQ(last.find("b"), nullptr);
    EXPECT_EQ(std::distance(last.begin(), last.end()), 2);
}

// Around the number up to which they are searched one by one.
TEST(LastByName, IsTheSameForAFewAndForMany) {
    std::vector<std::string> names;
    for (int i = 0; i < 100; ++i) names.push_back("s" + std::to_string(i));
    LastByName<int> last;
    for (int count = 1; count <= 100; ++count) {
        last.put(names[count - 1], 0);
        last.put(names[0], count);
        last.put(names[count / 2], -count);
        ASSERT_EQ(std::distance(last.begin(), last.end()), count);
        ASSERT_EQ(*last.find(names[count / 2]), -count);
        if (count / 2 != 0) {
            ASSERT_EQ(*last.find(names[0]), count);
        }
        ASSERT_EQ(last.find("s"), nullptr);
    }
    for (int i = 0; i < 100; ++i) {
        const auto& [name, value] = *std::next(last.begin(), i);
        EXPECT_EQ(name, names[i]) << "in the order in which they were first named";
        EXPECT_EQ(last.find(names[i]), &value);
    }
}

}  // namespace
}  // namespace pgsteer::proxy
