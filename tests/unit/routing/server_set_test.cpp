#include "routing/server_set.hpp"

#include "conf/config.hpp"

#include <gtest/gtest.h>

namespace pgsteer::routing {
namespace {

constexpr ServerId kFirst{0};
constexpr ServerId kSecond{1};
constexpr ServerId kLast{31};

static_assert(ServerSet::kMaxIndex == conf::kMaxServers);

TEST(ServerSet, ContainsWhatWasAdded) {
    ServerSet set{kSecond};
    set.add(kLast);
    EXPECT_TRUE(set.contains(kSecond));
    EXPECT_TRUE(set.contains(kLast));
    EXPECT_FALSE(set.contains(kFirst));
    EXPECT_FALSE(set.empty());
    EXPECT_TRUE(ServerSet{}.empty());
}

TEST(ServerSet, ContainsNoServerThatTheConfigurationCannotHave) {
    ServerSet set;
    set.add(ServerId{32});
    EXPECT_TRUE(set.empty());
    EXPECT_FALSE(ServerSet::of_bits(~0U).contains(ServerId{32}));
}

TEST(ServerSet, IsPartOfOneThatHasAllOfIt) {
    const ServerSet both{kFirst, kSecond};
    EXPECT_TRUE(ServerSet{kFirst}.is_part_of(both));
    EXPECT_TRUE(both.is_part_of(both));
    EXPECT_TRUE(ServerSet{}.is_part_of(ServerSet{}));
    EXPECT_FALSE(both.is_part_of({kFirst, kLast}));
    EXPECT_EQ((ServerSet{kFirst} | ServerSet{kSecond}), both);
}

}  // namespace
}  // namespace pgsteer::routing
