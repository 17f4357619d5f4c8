#include "proxy/session/seldom.hpp"

#include <gtest/gtest.h>

#include <string>

namespace pgsteer::proxy {
namespace {

TEST(Seldom, IsAsItWasMadeUntilItIsEdited) {
    Seldom<std::string> text;
    EXPECT_EQ(*text, "");
    text.edit() = "a";
    EXPECT_EQ(*text, "a");
    EXPECT_EQ(text->size(), 1U);
    text.clear();
    EXPECT_EQ(*text, "");
}

TEST(Seldom, IsCopiedWithItsValue) {
    Seldom<std::string> text;
    text.edit() = "a";
    Seldom<std::string> copy{text};
    text.edit() = "b";
    EXPECT_EQ(*copy, "a");
    copy = text;
    EXPECT_EQ(*copy, "b");
    copy = *&copy;
    EXPECT_EQ(*copy, "b");
    copy = Seldom<std::string>{};
    EXPECT_EQ(*copy, "");
    EXPECT_EQ(*text, "b");
}

static_assert(sizeof(Seldom<std::string>) == sizeof(void*));

}  // namespace
}  // namespace pgsteer::proxy
