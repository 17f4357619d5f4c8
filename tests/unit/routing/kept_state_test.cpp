#include "routing/kept_state.hpp"

#include <gtest/gtest.h>

namespace pgsteer::routing {
namespace {

using What = Kept::What;

TEST(KeptByCall, IsNothingForLargeObjectsAlone) {
    for (const std::uint32_t oid : {715U, 952U, 964U, 1004U, 3172U})
        EXPECT_EQ(kept_by_call(oid).what, What::nothing) << oid;
    for (const std::uint32_t oid : {0U, 1599U, 2078U, 1397U, 16'384U})
        EXPECT_EQ(kept_by_call(oid).what, What::state) << oid;
}

}  // namespace
}  // namespace pgsteer::routing
