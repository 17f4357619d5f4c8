#include "proxy/session/prepared_statements.hpp"

#include "proxy/wire/frontend.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace pgsteer::proxy {
namespace {

using routing::Slot;
using testing::ElementsAre;
using testing::IsEmpty;

wire::Buffer parse_message(std::string_view name, std::string_view sql = "SELECT 1") {
    wire::Buffer out;
    wire::encode_parse(out, name, sql, {});
    return out;
}

routing::StatementPtr statement() { return std::make_shared<routing::CachedStatement>(); }

class PreparedStatementsTest : public testing::Test {
protected:
    StatementChange define(std::string_view name, std::string_view sql = "SELECT 1") {
        return prepared.define(name, parse_message(name, sql), statement());
    }
    PreparedPtr define_on(std::string_view name, std::initializer_list<Slot> slots) {
        auto change = define(name);
        for (const auto slot : slots)
            change.defined->prepared_on[static_cast<std::size_t>(slot)] = 17;
        return change.defined;
    }
    PreparedStatements prepared;
};

TEST_F(PreparedStatementsTest, FindsWhatWasDefined) {
    const auto of = statement();
    const auto message = parse_message("s1");
    const auto change = prepared.define("s1", message, of);
    const auto found = prepared.find("s1");
    ASSERT_NE(found, nullptr);
    EXPECT_EQ(found, change.defined);
    EXPECT_EQ(change.closed, nullptr);
    EXPECT_EQ(found->name, "s1");
    EXPECT_EQ(found->definition, message);
    EXPECT_EQ(found->statement, of);
    EXPECT_THAT(found->prepared_on, ElementsAre(0, 0));
}

TEST_F(PreparedStatementsTest, FindsNothingElse) {
    EXPECT_EQ(prepared.find("s1"), nullptr);
    EXPECT_EQ(prepared.find(""), nullptr);
    define("s1");
    EXPECT_EQ(prepared.find("s"), nullptr);
    EXPECT_EQ(prepared.find("S1"), nullptr);
    EXPECT_EQ(prepared.find(""), nullptr);
}

TEST_F(PreparedStatementsTest, TheUnnamedOneHasNoEffectOnNamedOnes) {
    const auto named = define("s1").defined;
    const auto unnamed = define("").defined;
    EXPECT_EQ(prepared.find("s1"), named);
    EXPECT_EQ(prepared.find(""), unnamed);
    prepared.close("");
    EXPECT_EQ(prepared.find(""), nullptr);
    EXPECT_EQ(prepared.find("s1"), named);
}

TEST_F(PreparedStatementsTest, ANewUnnamedStatementIsPreparedNowhere) {
    define_on("", {Slot::primary, Slot::replica});
    const auto second = define("", "SELECT 2").defined;
    EXPECT_THAT(second->prepared_on, ElementsAre(0, 0));
    EXPECT_EQ(second->definition, parse_message("", "SELECT 2"));
    EXPECT_EQ(prepared.find(""), second);
}

TEST_F(PreparedStatementsTest, AnUnnamedStatementThatIsStillOwedAnAnswerKeepsItsText) {
    const auto first = define("", "SELECT 1");  // holds it, as what is in flight does
    const auto second = define("", "SELECT 2");
    EXPECT_NE(first.defined, second.defined);
    EXPECT_EQ(first.defined->definition, parse_message("", "SELECT 1"));
    EXPECT_EQ(prepared.find(""), second.defined);
}

TEST_F(PreparedStatementsTest, ASkippedParseOfTheUnnamedOneLeavesTheFormerOne) {
    const auto first = define("", "SELECT 1").defined;
    prepared.undo(define("", "SELECT 2"));
    EXPECT_EQ(prepared.find(""), first);
}

TEST_F(PreparedStatementsTest, CloseForgets) {
    const auto defined = define("s1").defined;
    const auto change = prepared.close("s1");
    EXPECT_EQ(change.closed, defined);
    EXPECT_EQ(change.defined, nullptr);
    EXPECT_EQ(prepared.find("s1"), nullptr);
}

TEST_F(PreparedStatementsTest, CloseOfAnUnknownNameChangesNothing) {
    define("s1");
    const auto change = prepared.close("s2");
    EXPECT_EQ(change.closed, nullptr);
    prepared.undo(change);
    EXPECT_NE(prepared.find("s1"), nullptr);
    EXPECT_EQ(prepared.find("s2"), nullptr);
}

TEST_F(PreparedStatementsTest, UndoTakesADefinitionBack) {
    prepared.undo(define("s1"));
    EXPECT_EQ(prepared.find("s1"), nullptr);
    prepared.undo(define(""));
    EXPECT_EQ(prepared.find(""), nullptr);
}

TEST_F(PreparedStatementsTest, UndoBringsAClosedStatementBack) {
    const auto named = define("s1").defined;
    prepared.undo(prepared.close("s1"));
    EXPECT_EQ(prepared.find("s1"), named);
    const auto unnamed = define("").defined;
    prepared.undo(prepared.close(""));
    EXPECT_EQ(prepared.find(""), unnamed);
}

TEST_F(PreparedStatementsTest, ChangesAreUndoneFromTheLastToTheFirst) {
    const auto first = define("s1").defined;
    const auto closed = prepared.close("s1");
    const auto second = define("s1", "SELECT 2");
    const auto closed_again = prepared.close("s1");
    prepared.undo(closed_again);
    EXPECT_EQ(prepared.find("s1"), second.defined);
    prepared.undo(second);
    EXPECT_EQ(prepared.find("s1"), nullptr);
    prepared.undo(closed);
    EXPECT_EQ(prepared.find("s1"), first);
}

TEST_F(PreparedStatementsTest, UndoLeavesAlsoALaterDefinitionOfTheNameAlone) {
    const auto first = define("s1");
    prepared.close("s1");
    const auto second = define("s1").defined;
    prepared.undo(first);
    EXPECT_EQ(prepared.find("s1"), second);
    const auto unnamed = define("");
    const auto later = define("").defined;
    prepared.undo(unnamed);
    EXPECT_EQ(prepared.find(""), later);
}

// --- what is closed here is left over there ---

TEST_F(PreparedStatementsTest, AClosedStatementIsLeftOverWhereItWasPreparedToo) {
    const auto both = define_on("both", {Slot::primary, Slot::replica});
    prepared.closed_on(*both, Slot::primary);
    EXPECT_THAT(prepared.leftovers(Slot::replica).names, ElementsAre("both"));
    EXPECT_TRUE(prepared.leftovers(Slot::primary).empty());

    const auto there = define_on("there", {Slot::primary});
    prepared.closed_on(*there, Slot::replica);
    EXPECT_THAT(prepared.leftovers(Slot::primary).names, ElementsAre("there"));
}

TEST_F(PreparedStatementsTest, AStatementPreparedOnOneServerLeavesNothingOver) {
    const auto here = define_on("here", {Slot::replica});
    prepared.closed_on(*here, Slot::replica);
    EXPECT_TRUE(prepared.leftovers(Slot::primary).empty());
    EXPECT_TRUE(prepared.leftovers(Slot::replica).empty());
}

TEST_F(PreparedStatementsTest, DeallocateAllIsDueOnTheOtherServer) {
    define_on("s1", {Slot::primary, Slot::replica});
    define_on("s2", {Slot::replica});
    prepared.closed_on(*prepared.close("s2").closed, Slot::primary);
    ASSERT_FALSE(prepared.leftovers(Slot::replica).names.empty());
    prepared.close_all();
    prepared.deallocated_all(Slot::primary);
    EXPECT_EQ(prepared.find("s1"), nullptr);
    EXPECT_TRUE(prepared.leftovers(Slot::primary).empty());
    EXPECT_TRUE(prepared.leftovers(Slot::replica).all);
    EXPECT_THAT(prepared.leftovers(Slot::replica).names, IsEmpty());
}

TEST_F(PreparedStatementsTest, DeallocateAllSettlesWhatIsDueOnItsOwnServer) {
    const auto both = define_on("s1", {Slot::primary, Slot::replica});
    prepared.closed_on(*both, Slot::replica);
    prepared.close_all();
    prepared.deallocated_all(Slot::replica);
    ASSERT_TRUE(prepared.leftovers(Slot::primary).all);
    prepared.close_all();
    prepared.deallocated_all(Slot::primary);
    EXPECT_TRUE(prepared.leftovers(Slot::primary).empty());
    EXPECT_TRUE(prepared.leftovers(Slot::replica).all);
}

TEST_F(PreparedStatementsTest, DeallocateAllKeepsTheUnnamedStatement) {
    const auto unnamed = define("").defined;
    prepared.close_all();
    prepared.deallocated_all(Slot::primary);
    EXPECT_EQ(prepared.find(""), unnamed);
}

TEST_F(PreparedStatementsTest, NothingIsLeftOverOnAConnectionThatIsGone) {
    const auto both = define_on("s1", {Slot::primary, Slot::replica});
    prepared.closed_on(*both, Slot::primary);
    prepared.closed_on(*both, Slot::replica);
    prepared.disconnected(Slot::replica);
    EXPECT_TRUE(prepared.leftovers(Slot::replica).empty());
    EXPECT_FALSE(prepared.leftovers(Slot::primary).empty());
    prepared.close_all();
    prepared.deallocated_all(Slot::replica);
    prepared.disconnected(Slot::primary);
    EXPECT_TRUE(prepared.leftovers(Slot::primary).empty());
}

// --- memory ---

constexpr std::size_t kHalf = PreparedStatements::kMaxBytes / 2;

class PreparedStatementsBytesTest : public testing::Test {
protected:
    StatementChange define_half(std::string_view name) {
        return prepared.define(name, wire::Buffer(kHalf), statement());
    }
    [[nodiscard]] bool is_half_free() const {
        return prepared.may_keep(kHalf) && !prepared.may_keep(kHalf + 1);
    }
    [[nodiscard]] bool is_free() const {
        return prepared.may_keep(2 * kHalf) && !prepared.may_keep(2 * kHalf + 1);
    }
    PreparedStatements prepared;
};

TEST_F(PreparedStatementsBytesTest, AreBounded) {
    EXPECT_TRUE(is_free());
    define_half("s1");
    EXPECT_TRUE(is_half_free());
    define_half("s2");
    EXPECT_TRUE(prepared.may_keep(0));
    EXPECT_FALSE(prepared.may_keep(1));
}

TEST_F(PreparedStatementsBytesTest, BeyondTheLimitANameIsKnownButNotItsText) {
    define_half("s1");
    define_half("s2");
    const auto third = define_half("s3").defined;
    EXPECT_EQ(prepared.find("s3"), third);
    EXPECT_TRUE(third->definition.empty());
    EXPECT_NE(third->statement, nullptr);
    prepared.close("s3");
    EXPECT_FALSE(prepared.may_keep(1)) << "what was never kept gives nothing back";
    prepared.close("s2");
    EXPECT_TRUE(is_half_free());
}

TEST_F(PreparedStatementsBytesTest, OfTheUnnamedStatementAreNotCounted) {
    define_half("");
    EXPECT_TRUE(is_free());
    prepared.undo(prepared.close(""));
    prepared.close("");
    EXPECT_TRUE(is_free());
}

TEST_F(PreparedStatementsBytesTest, AreGivenBackHoweverAStatementGoes) {
    prepared.undo(define_half("s1"));
    EXPECT_TRUE(is_free());
    define_half("s1");
    prepared.close("s1");
    EXPECT_TRUE(is_free());
    define_half("s1");
    prepared.close_all();
    prepared.deallocated_all(Slot::primary);
    EXPECT_TRUE(is_free());
}

TEST_F(PreparedStatementsBytesTest, AreCountedAgainWhenACloseIsUndone) {
    define_half("s1");
    const auto closed = prepared.close("s1");
    prepared.undo(closed);
    EXPECT_TRUE(is_half_free());
    prepared.undo(closed);  // there already
    EXPECT_TRUE(is_half_free());
}

TEST_F(PreparedStatementsBytesTest, AreGivenBackOnceWhenADefinitionIsUndoneAfterDeallocateAll) {
    const auto change = define_half("s1");
    prepared.close_all();
    prepared.deallocated_all(Slot::primary);
    prepared.undo(change);
    EXPECT_TRUE(is_free());
}

TEST_F(PreparedStatementsBytesTest, TheNumberOfStatementsIsBoundedToo) {
    for (std::size_t i = 0; i < PreparedStatements::kMaxStatements; ++i) {
        ASSERT_TRUE(prepared.may_keep(1));
        prepared.define(std::to_string(i), {}, nullptr);
    }
    EXPECT_FALSE(prepared.may_keep(1));
    EXPECT_FALSE(prepared.may_keep(0));
    const auto beyond = prepared.define("beyond", wire::as_bytes("text"), nullptr);
    EXPECT_EQ(prepared.find("beyond"), nullptr);
    EXPECT_TRUE(beyond.defined->definition.empty());
    prepared.undo(beyond);
    prepared.close("7");
    EXPECT_TRUE(prepared.may_keep(1));
}

TEST_F(PreparedStatementsTest, WhatIsWithdrawnIsAsItWas) {
    const auto first = define_on("s1", {Slot::replica});
    const auto closed = prepared.close("s1");
    const auto second = define("s1", "SELECT 2");
    prepared.withdraw(second, Slot::replica);
    prepared.withdraw(closed, Slot::replica);
    EXPECT_EQ(prepared.find("s1"), first);
    EXPECT_THAT(first->prepared_on, ElementsAre(0, 0)) << "who knows whether it was closed";
    EXPECT_THAT(prepared.leftovers(Slot::replica).names, ElementsAre("s1", "s1"));
    EXPECT_THAT(prepared.leftovers(Slot::primary).names, IsEmpty());
}

TEST_F(PreparedStatementsTest, WhatIsWithdrawnKeepsWhatTheOtherConnectionHas) {
    const auto statement = define_on("s1", {Slot::primary, Slot::replica});
    prepared.withdraw(prepared.close("s1"), Slot::replica);
    EXPECT_THAT(statement->prepared_on, ElementsAre(17, 0));
}

TEST_F(PreparedStatementsTest, TheUnnamedOneLeavesNothingWhenItIsWithdrawn) {
    const auto first = define("").defined;
    prepared.withdraw(define("", "SELECT 2"), Slot::replica);
    EXPECT_EQ(prepared.find(""), first);
    EXPECT_TRUE(prepared.leftovers(Slot::replica).empty());
}

}  // namespace
}  // namespace pgsteer::proxy
