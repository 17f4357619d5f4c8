#include "routing/safety_net.hpp"

#include <gtest/gtest.h>

namespace pgsteer::routing {
namespace {

TEST(SafetyNet, RunsAgainWhatMayHaveFailedOnlyBecauseItWasAReplica) {
    for (const char* sqlstate :
         {"25006", "0A000", "55000", "40001", "40P01", "57P04", "42P01", "42703", "42704", "42883",
          "3F000", "42501", "22P02", "XX000", "57P01", "57P02", "57P03", "53300"})
        EXPECT_TRUE(runs_again_on_primary(sqlstate)) << sqlstate;
}

TEST(SafetyNet, NeverRunsAgainACancelOrATimeLimit) {
    for (const char* sqlstate : {"57014", "55P03", "25P03"})
        EXPECT_FALSE(runs_again_on_primary(sqlstate)) << sqlstate;
}

TEST(SafetyNet, LeavesOrdinaryErrorsAndStrangeCodesToTheClient) {
    for (const char* sqlstate :
         {"22012", "42601", "23505", "25P02", "26000", "34000", "57P05", "53200", "08006", "",
          "2500", "25006 ", "xx000", "250060", "00000"})
        EXPECT_FALSE(runs_again_on_primary(sqlstate)) << '"' << sqlstate << '"';
}

TEST(SafetyNet, SuspectsTheCatalogOnlyOfWhatItCouldHaveKnown) {
    for (const char* sqlstate : {"25006", "0A000", "42P01", "42883", "42704"})
        EXPECT_TRUE(may_be_the_catalogs_fault(sqlstate)) << sqlstate;
    for (const char* sqlstate : {"40001", "57P01", "42703", "22P02", ""})
        EXPECT_FALSE(may_be_the_catalogs_fault(sqlstate)) << sqlstate;
}

}  // namespace
}  // namespace pgsteer::routing
