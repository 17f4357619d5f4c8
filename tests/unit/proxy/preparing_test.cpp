#include "proxy/session/preparing.hpp"

#include "proxy/wire/frontend.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace pgsteer::proxy {
namespace {

using routing::Effect;
using routing::Slot;
using testing::ElementsAre;
using testing::IsEmpty;

constexpr std::uint64_t kLease = 7;

class PreparingTest : public testing::Test {
protected:
    PreparedPtr define(std::string_view name, std::string_view sql = "SELECT 1") {
        wire::Buffer message;
        wire::encode_parse(message, name, sql, {});
        return all.define(name, message, std::make_shared<routing::CachedStatement>()).defined;
    }
    PreparedPtr define_in_sql(std::string_view name) {
        wire::Buffer message;
        wire::encode_query(message, "PREPARE x AS SELECT 1");
        return all.define_in_sql(name, message, nullptr).defined;
    }
    // The letters of the messages that were written since the last call.
    std::string sent() {
        std::string letters;
        for (std::size_t at = 0; at < out.size();) {
            letters.push_back(static_cast<char>(out[at]));
            at += 1U + (std::size_t{out[at + 3]} << 8 | out[at + 4]);
        }
        out.clear();
        return letters;
    }
    // All that is owed is answered as wished.
    void answer(Slot slot = Slot::primary) {
        while (const auto* owed = replies.front()) {
            if (owed->prepared)
                owed->prepared->prepared_on[static_cast<std::size_t>(slot)] = kLease;
            replies.pop();
        }
        preparing.request_ended();
    }
    routing::StatementPtr saying(Effect::Kind kind, std::string_view name) {
        auto said = std::make_shared<routing::CachedStatement>();
        said->statement.effects.push_back({kind, 0, std::string{name}, {}, {}});
        return said;
    }

    PreparedStatements all;
    ReplyQueue replies;
    wire::Buffer out;
    Preparing preparing;
    Destination to{Slot::primary, kLease, replies};
};

TEST_F(PreparingTest, AStatementIsPreparedWhereItIsMissing) {
    const auto statement = define("s1");
    preparing.statement(statement, to, out);
    EXPECT_EQ(sent(), "CP");
    EXPECT_EQ(replies.size(), 2U);
    EXPECT_TRUE(replies.front()->internal);
    answer();
    preparing.statement(statement, to, out);
    EXPECT_EQ(sent(), "");
}

TEST_F(PreparingTest, WhatWasSentWithItIsItsOwnText) {
    const auto statement = define("s1", "SELECT 5");
    preparing.statement(statement, to, out);
    const std::string text{out.begin(), out.end()};
    EXPECT_NE(text.find("SELECT 5"), std::string::npos);
}

TEST_F(PreparingTest, TwoUsesInOneRequestNeedItOnce) {
    const auto statement = define("s1");
    preparing.statement(statement, to, out);
    preparing.statement(statement, to, out);
    EXPECT_EQ(sent(), "CP");
}

TEST_F(PreparingTest, TheNextRequestDoesNotRelyOnWhatIsNotAnswered) {
    const auto statement = define("s1");
    preparing.statement(statement, to, out);
    preparing.request_ended();
    preparing.statement(statement, to, out);
    EXPECT_EQ(sent(), "CPCP");
    answer();
    preparing.statement(statement, to, out);
    EXPECT_EQ(sent(), "");
}

TEST_F(PreparingTest, WhatWasSkippedIsPreparedAgain) {
    const auto statement = define("s1");
    preparing.statement(statement, to, out);
    replies.push({.what = Expect::sync});
    preparing.request_ended();
    replies.skip_to_sync([](const Expected&) {});
    replies.pop();
    sent();
    preparing.statement(statement, to, out);
    EXPECT_EQ(sent(), "CP");
}

TEST_F(PreparingTest, AnotherLeaseKnowsNothingOfIt) {
    const auto statement = define("s1");
    preparing.statement(statement, to, out);
    answer();
    sent();
    Destination other{Slot::primary, kLease + 1, replies};
    preparing.statement(statement, other, out);
    EXPECT_EQ(sent(), "CP");
}

TEST_F(PreparingTest, TheUnnamedStatementNeedsNoClose) {
    const auto statement = define("");
    preparing.statement(statement, to, out);
    EXPECT_EQ(sent(), "P");
    answer();
    preparing.statement(statement, to, out);
    EXPECT_EQ(sent(), "");
    replies.push({.what = Expect::query});
    preparing.statement(statement, to, out);
    EXPECT_EQ(sent(), "P") << "a Query has destroyed it";
}

TEST_F(PreparingTest, AnUnnamedStatementThatIsNoneIsClosedUnlessTheServerSkips) {
    Preparing::no_unnamed(to, out);
    EXPECT_EQ(sent(), "C");
    EXPECT_TRUE(replies.front()->internal);
    answer();
    replies.push({.what = Expect::bind});
    replies.skip_to_sync([](const Expected&) {});
    Preparing::no_unnamed(to, out);
    EXPECT_EQ(sent(), "");
}

TEST_F(PreparingTest, PrepareInSqlRunsByTheExtendedProtocol) {
    const auto statement = define_in_sql("x");
    preparing.statement(statement, to, out);
    EXPECT_EQ(sent(), "CPBECC");
    EXPECT_EQ(replies.size(), 6U);
    answer();
    preparing.statement(statement, to, out);
    EXPECT_EQ(sent(), "");
}

TEST_F(PreparingTest, WhatWasTooLargeToBeKeptCannotBePrepared) {
    const auto statement =
        all.define("s1", {}, std::make_shared<routing::CachedStatement>()).defined;
    preparing.statement(statement, to, out);
    EXPECT_THAT(out, IsEmpty());
    EXPECT_TRUE(replies.empty());
}

TEST_F(PreparingTest, NothingIsSentWhereTheServerSkips) {
    const auto statement = define("s1");
    replies.push({.what = Expect::bind});
    replies.skip_to_sync([](const Expected&) {});
    preparing.statement(statement, to, out);
    preparing.name(statement, all, to, out);
    EXPECT_THAT(out, IsEmpty());
}

TEST_F(PreparingTest, ANameIsTakenWithoutItsText) {
    const auto statement = define("s1", "SELECT nosuch");
    preparing.name(statement, all, to, out);
    EXPECT_EQ(std::string(out.begin(), out.end()).find("nosuch"), std::string::npos);
    EXPECT_EQ(sent(), "CP");
    EXPECT_THAT(all.leftovers(Slot::primary).names, ElementsAre("s1"));
    answer();
    preparing.statement(statement, to, out);
    EXPECT_EQ(sent(), "CP") << "the name alone is not the statement";
}

TEST_F(PreparingTest, ExecuteNeedsItsStatementDeallocateAndPrepareItsName) {
    define("s1", "SELECT 77");
    auto executes = std::make_shared<routing::CachedStatement>();
    executes->statement.executes = "s1";
    preparing.names_in(executes, all, to, out);
    EXPECT_NE(std::string(out.begin(), out.end()).find("77"), std::string::npos);
    preparing.request_ended();
    for (const auto kind : {Effect::Kind::deallocate, Effect::Kind::prepare}) {
        out.clear();
        preparing.names_in(saying(kind, "s1"), all, to, out);
        EXPECT_EQ(std::string(out.begin(), out.end()).find("77"), std::string::npos);
        EXPECT_EQ(sent(), "CP");
    }
    preparing.names_in(saying(Effect::Kind::deallocate, "s2"), all, to, out);
    preparing.names_in(nullptr, all, to, out);
    EXPECT_EQ(sent(), "");
}

TEST_F(PreparingTest, LeftoversAreClosedUnlessTheirNameIsInUseAgain) {
    all.leftovers(Slot::primary).names = {"s1", "s2"};
    const auto again = define("s2");
    note_prepared(*again, to);
    Preparing::close_leftovers(all, to, out);
    EXPECT_EQ(sent(), "CS");
    EXPECT_TRUE(all.leftovers(Slot::primary).empty());
    all.leftovers(Slot::primary).names = {"s2"};
    Preparing::close_leftovers(all, to, out);
    EXPECT_EQ(sent(), "");
}

TEST_F(PreparingTest, AllLeftoversGoAtOnce) {
    all.leftovers(Slot::primary).all = true;
    Preparing::close_leftovers(all, to, out);
    EXPECT_EQ(sent(), "Q");
    EXPECT_EQ(replies.front()->what, Expect::query);
}

}  // namespace
}  // namespace pgsteer::proxy
