#include "routing/connection_state.hpp"

#include <gtest/gtest.h>

#include <string>

namespace pgsteer::routing {
namespace {

TEST(ConnectionState, ANewOneHasNothing) {
    const ConnectionState state;
    EXPECT_EQ(state.pin(), std::nullopt);
    EXPECT_FALSE(state.is_irreplaceable());
    EXPECT_EQ(state.memory_bytes(), 0U);
}

TEST(ConnectionState, WhatPinsReads) {
    ConnectionState state;
    state.unnamed_custom = true;
    EXPECT_EQ(state.pin(), Pin::opaque_settings);
    EXPECT_FALSE(state.is_irreplaceable()) << "a name can be used again";
    state.kept({Kept::What::resettable, "f"});
    EXPECT_EQ(state.pin(), Pin::backend_state);
    EXPECT_EQ(state.pinned_by(), "f");
    state.kept({Kept::What::state, "g"});
    EXPECT_EQ(state.pinned_by(), "g");
    EXPECT_TRUE(state.is_irreplaceable());
    state.temporary = true;
    EXPECT_EQ(state.pin(), Pin::temporary_table);
}

TEST(ConnectionState, WhatLeavesNothingThatCountsIsNotKept) {
    ConnectionState state;
    for (const auto what : {Kept::What::nothing, Kept::What::names, Kept::What::settings})
        state.kept({what, "f"});
    EXPECT_EQ(state.pin(), std::nullopt);
}

TEST(ConnectionState, WhatIsThereOnlyCannotBeReplaced) {
    ConnectionState cursors;
    cursors.hold_cursors.add("c");
    ConnectionState channels;
    channels.channels.add("x");
    ConnectionState locks;
    locks.advisory_locks = true;
    for (const auto& state : {cursors, channels, locks}) {
        EXPECT_TRUE(state.is_irreplaceable());
        EXPECT_EQ(state.pin(), std::nullopt) << "reads can run elsewhere";
    }
    cursors.hold_cursors.remove("c");
    EXPECT_FALSE(cursors.is_irreplaceable());
}

TEST(NameSet, BeyondItsBoundItKnowsThatThereAreMore) {
    NameSet names;
    for (std::size_t at = 0; at <= NameSet::kMaxNames; ++at) names.add(std::to_string(at));
    for (std::size_t at = 0; at <= NameSet::kMaxNames; ++at) names.remove(std::to_string(at));
    EXPECT_FALSE(names.empty());
    names.clear();
    EXPECT_TRUE(names.empty());
}

}  // namespace
}  // namespace pgsteer::routing
