#include "proxy/server/ledger.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace pgsteer::proxy {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

class LedgerTest : public testing::Test {
protected:
    SentMessage parse(std::string_view name, std::uint64_t id) {
        return ledger.names().parse(name, {.id = id});
    }
    void sync() { ledger.skipped(ledger.names().send(MessageKind::sync)); }
    void have(std::string_view name, std::uint64_t id) {
        ledger.completed(parse(name, id));
        sync();
    }
    Ledger::Leftovers take_leftovers(std::string_view used = {}) {
        return ledger.take_leftovers(
            [&](const std::string& name, std::uint64_t) { return name == used; });
    }

    Ledger ledger;
};

TEST_F(LedgerTest, LacksWhatItHasNot) {
    EXPECT_EQ(ledger.lack_of("a", 5), Lack::parse);
    EXPECT_EQ(ledger.lack_of("", 5), Lack::parse);
    EXPECT_EQ(ledger.lack_of_any("a"), Lack::parse);
    EXPECT_EQ(ledger.lack_of_none("a"), Lack::nothing);
}

TEST_F(LedgerTest, LacksNothingThatItHas) {
    have("a", 5);
    have("", 6);
    EXPECT_EQ(ledger.lack_of("a", 5), Lack::nothing);
    EXPECT_EQ(ledger.lack_of("", 6), Lack::nothing);
    EXPECT_EQ(ledger.lack_of_any("a"), Lack::nothing);
    EXPECT_EQ(ledger.lack_of_none("a"), Lack::close);
    EXPECT_EQ(ledger.lack_of_none(""), Lack::close);
}

TEST_F(LedgerTest, ClosesAnotherOneOfTheSameName) {
    have("a", 5);
    have("", 6);
    EXPECT_EQ(ledger.lack_of("a", 7), Lack::close_and_parse);
    EXPECT_EQ(ledger.lack_of("", 7), Lack::parse);  // which replaces it
}

TEST_F(LedgerTest, LacksNothingBehindAParseInTheSameRequest) {
    parse("a", 5);
    EXPECT_EQ(ledger.lack_of("a", 5), Lack::nothing);
    EXPECT_EQ(ledger.lack_of_any("a"), Lack::nothing);
}

TEST_F(LedgerTest, TrustsNoParseOfARequestBeforeThatMayFail) {
    const auto parsed = parse("a", 5);
    const auto unnamed = parse("", 6);
    ledger.names().send(MessageKind::sync);
    EXPECT_EQ(ledger.lack_of("a", 5), Lack::close_and_parse);
    EXPECT_EQ(ledger.lack_of("", 6), Lack::parse);
    EXPECT_EQ(ledger.lack_of_any("a"), Lack::close_and_parse);
    EXPECT_EQ(ledger.lack_of_none("a"), Lack::close);
    ledger.completed(parsed);
    ledger.failed(unnamed);
    EXPECT_EQ(ledger.lack_of("a", 5), Lack::nothing);
    EXPECT_EQ(ledger.lack_of("", 6), Lack::parse);
}

TEST_F(LedgerTest, TrustsWhatOneOfOursHasClosedAndParsedInTheSameRequest) {
    have("a", 4);
    ledger.names().close("a");
    parse("a", 5);
    EXPECT_EQ(ledger.lack_of("a", 5), Lack::nothing);
    EXPECT_EQ(ledger.lack_of("a", 4), Lack::close_and_parse);
}

TEST_F(LedgerTest, LacksTheUnnamedOneBehindAQuery) {
    have("", 6);
    ledger.names().send(MessageKind::query);
    EXPECT_EQ(ledger.lack_of("", 6), Lack::parse);
}

TEST_F(LedgerTest, ClosesWhatIsLeftOver) {
    have("a", 5);
    have("b", 6);
    have("c", 7);
    have("", 8);
    ledger.left_over("a");
    ledger.left_over("b");
    ledger.left_over("c");
    ledger.left_over("d");
    ledger.left_over("");
    EXPECT_TRUE(ledger.has_leftovers());
    const auto closed = ledger.names().close("b");
    ledger.completed(closed);
    EXPECT_THAT(take_leftovers("c").names, ElementsAre("a"));
    EXPECT_FALSE(ledger.has_leftovers());
    EXPECT_THAT(take_leftovers().names, IsEmpty());
}

TEST_F(LedgerTest, DeallocatesAllThatIsLeftOver) {
    ledger.all_left_over();
    EXPECT_FALSE(ledger.has_leftovers());
    have("a", 5);
    ledger.left_over("a");
    ledger.all_left_over();
    const auto leftovers = take_leftovers();
    EXPECT_TRUE(leftovers.all);
    EXPECT_THAT(leftovers.names, IsEmpty());
}

}  // namespace
}  // namespace pgsteer::proxy
