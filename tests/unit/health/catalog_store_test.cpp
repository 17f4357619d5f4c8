#include "health/catalog_store.hpp"

#include <gtest/gtest.h>

namespace pgsteer::health {
namespace {

TEST(CatalogStore, RemembersABoundedNumberOfNamesThatItDoesNotHave) {
    int woken = 0;
    CatalogStore store{"app", [&woken] { ++woken; }};
    for (int i = 0; i < 10'000; ++i) store.ask_about("invented" + std::to_string(i));
    EXPECT_EQ(store.asked(), 256U) << "asked at once for the first ones only";
    EXPECT_EQ(woken, 257) << "and once more for all others together";
}

TEST(CatalogStore, AsksAboutANameAgainWhenTheCatalogHasChanged) {
    CatalogStore store{"app", [] {}};
    store.ask_about("t");
    store.ask_about("t");
    EXPECT_EQ(store.asked(), 1U);
    store.publish(nullptr);
    store.ask_about("t");
    EXPECT_EQ(store.asked(), 2U);
}

}  // namespace
}  // namespace pgsteer::health
