#include "proxy/session/preparing.hpp"

#include "proxy/wire/frontend.hpp"
#include "routing/classify.hpp"

#include <gtest/gtest.h>

#include <string>

namespace pgsteer::proxy {
namespace {

routing::StatementPtr classified(std::string_view sql) {
    return std::make_shared<routing::CachedStatement>(
        routing::CachedStatement{routing::classify(sql)});
}

// A client that has prepared something on its other connection, and this one.
class PreparingTest : public testing::Test {
protected:
    void define(std::string_view name, std::string_view sql = "SELECT 1") {
        wire::Buffer message;
        wire::encode_parse(message, name, sql, {});
        answer(client_.parse(name, message, classified(sql), other_));
    }
    void define_in_sql(std::string_view name) {
        const auto sql = "PREPARE " + std::string{name} + " AS SELECT 1";
        answer(client_.send(MessageKind::query, classified(sql), other_));
    }
    void close(std::string_view name) {
        answer(client_.close(name, other_));
        ledger_.left_over(name);
    }
    void answer(const ClientStatements::Sent& sent) {
        client_.completed(sent.of_client);
        client_.commit();
        other_.completed(sent.on_server);
    }
    // The letters of the messages that were written since the last call.
    std::string sent() {
        std::string letters;
        for (std::size_t at = 0; at < out_.size();) {
            letters.push_back(static_cast<char>(out_[at]));
            at += 1U + (std::size_t{out_[at + 3]} << 8 | out_[at + 4]);
        }
        out_.clear();
        return letters;
    }
    // All that is owed is answered as wished.
    void answer() {
        while (replies_.front() != nullptr) {
            if (replies_.front()->what == Expect::execute ||
                replies_.front()->what == Expect::query)
                replies_.statement_completed();
            replies_.pop();
        }
    }
    void sync() { replies_.push({.what = Expect::sync}); }

    ClientStatements client_;
    Ledger other_;
    Ledger ledger_;
    ReplyQueue replies_{ledger_};
    Preparing preparing_{client_, ledger_, replies_};
    wire::Buffer out_;
};

TEST_F(PreparingTest, AStatementIsPreparedWhereItIsMissing) {
    define("s1");
    preparing_.statement("s1", out_);
    EXPECT_EQ(sent(), "P");
    EXPECT_EQ(replies_.entries().size(), 1U);
    EXPECT_TRUE(replies_.front()->internal);
    answer();
    preparing_.statement("s1", out_);
    EXPECT_EQ(sent(), "");
}

TEST_F(PreparingTest, WhatIsSentIsItsOwnText) {
    define("s1", "SELECT 5");
    preparing_.statement("s1", out_);
    const std::string text{out_.begin(), out_.end()};
    EXPECT_NE(text.find("SELECT 5"), std::string::npos);
}

TEST_F(PreparingTest, WhatTheClientHasNotGotIsNotPrepared) {
    preparing_.statement("s1", out_);
    preparing_.statement("", out_);
    EXPECT_EQ(sent(), "");
}

TEST_F(PreparingTest, APortalAtItsEndIsLeftByAStatementOfOurs) {
    preparing_.sync(out_);
    EXPECT_EQ(sent(), "");
    preparing_.portal_at_end("", out_);
    preparing_.portal_at_end("c", out_);
    preparing_.sync(out_);
    EXPECT_EQ(sent(), "PBECPBECS");
    answer();
    preparing_.sync(out_);
    EXPECT_EQ(sent(), "") << "nothing is behind the last one";
}

TEST_F(PreparingTest, TwoUsesInOneRequestNeedItOnce) {
    define("s1");
    preparing_.statement("s1", out_);
    preparing_.statement("s1", out_);
    EXPECT_EQ(sent(), "P");
}

TEST_F(PreparingTest, TheNextRequestDoesNotRelyOnWhatIsNotAnswered) {
    define("s1");
    preparing_.statement("s1", out_);
    sync();
    preparing_.statement("s1", out_);
    EXPECT_EQ(sent(), "PCP");
    answer();
    preparing_.statement("s1", out_);
    EXPECT_EQ(sent(), "");
}

TEST_F(PreparingTest, WhatWasSkippedIsPreparedAgain) {
    define("s1");
    replies_.push({.what = Expect::bind});
    preparing_.statement("s1", out_);
    sync();
    replies_.skip_to_sync([](const Expected&) {});
    replies_.pop();
    EXPECT_EQ(sent(), "P");
    preparing_.statement("s1", out_);
    EXPECT_EQ(sent(), "P");
}

TEST_F(PreparingTest, AnotherStatementOfThatNameMakesPlaceFirst) {
    define("s1");
    preparing_.statement("s1", out_);
    sync();
    answer();
    sent();
    close("s1");
    define("s1", "SELECT 2");
    preparing_.statement("s1", out_);
    EXPECT_EQ(sent(), "CP");
}

TEST_F(PreparingTest, AClosedStatementIsNotFoundThereAnyMore) {
    define("s1");
    preparing_.statement("s1", out_);
    sync();
    answer();
    sent();
    close("s1");
    preparing_.statement("s1", out_);
    EXPECT_EQ(sent(), "C");
}

TEST_F(PreparingTest, TheUnnamedOneIsPreparedAgainBehindAQuery) {
    define("");
    preparing_.statement("", out_);
    sync();
    answer();
    EXPECT_EQ(sent(), "P");
    replies_.push({.what = Expect::query, .internal = true});
    answer();
    preparing_.statement("", out_);
    EXPECT_EQ(sent(), "P");
}

TEST_F(PreparingTest, WhatSqlHasPreparedIsPreparedByFiveMessages) {
    define_in_sql("s1");
    preparing_.statement("s1", out_);
    EXPECT_EQ(sent(), "PBECC");
    sync();
    answer();
    preparing_.statement("s1", out_);
    EXPECT_EQ(sent(), "");
}

TEST_F(PreparingTest, OursIsClosedFirstIfItWasLeft) {
    define_in_sql("s1");
    preparing_.statement("s1", out_);
    sync();
    replies_.pop();                                 // Parse
    replies_.pop();                                 // Bind
    replies_.skip_to_sync([](const Expected&) {});  // Execute has failed
    replies_.pop();
    sent();
    preparing_.statement("s1", out_);
    EXPECT_EQ(sent(), "CPBECC");
}

TEST_F(PreparingTest, ANameThatIsTakenIsTakenByAnything) {
    define("s1", "SELECT 5");
    preparing_.name("s1", out_);
    const std::string text{out_.begin(), out_.end()};
    EXPECT_EQ(text.find("SELECT 5"), std::string::npos);
    EXPECT_EQ(sent(), "P");
    sync();
    answer();
    preparing_.name("s1", out_);
    EXPECT_EQ(sent(), "") << "it is";
    preparing_.statement("s1", out_);
    EXPECT_EQ(sent(), "CP") << "but not by what it means";
}

TEST_F(PreparingTest, ANameThatIsFreeIsFree) {
    define("s1");
    preparing_.statement("s1", out_);
    sync();
    answer();
    sent();
    close("s1");
    preparing_.name("s1", out_);
    EXPECT_EQ(sent(), "C");
}

TEST_F(PreparingTest, NamesAreFoundInStatements) {
    define("s1");
    define("s2");
    preparing_.names_in(classified("EXPLAIN EXECUTE s1"), out_);
    EXPECT_EQ(sent(), "P");
    preparing_.names_in(classified("EXECUTE s1; SELECT 1; EXECUTE s2(1 + 1)"), out_);
    EXPECT_EQ(sent(), "P") << "s1 is there";
    preparing_.names_in(classified("CREATE TABLE t AS EXECUTE s2"), out_);
    preparing_.names_in(classified("SELECT 1"), out_);
    preparing_.names_in(nullptr, out_);
    EXPECT_EQ(sent(), "");
}

TEST_F(PreparingTest, AStatementThatExecutesItselfIsPreparedOnce) {
    define("s1", "EXECUTE s1");
    preparing_.statement("s1", out_);
    EXPECT_EQ(sent(), "P");
}

TEST_F(PreparingTest, DeallocateNeedsItsName) {
    define("s1");
    preparing_.names_in(classified("DEALLOCATE s1"), out_);
    EXPECT_EQ(sent(), "P");
}

TEST_F(PreparingTest, NothingIsSentWhereTheServerSkips) {
    define("s1");
    replies_.push({.what = Expect::bind});
    replies_.skip_to_sync([](const Expected&) {});
    preparing_.statement("s1", out_);
    preparing_.name("s1", out_);
    EXPECT_EQ(sent(), "");
}

TEST_F(PreparingTest, WhatIsDescribedIsPreparedAnewWhateverIsThere) {
    define("s1");
    EXPECT_NE(preparing_.described("s1", out_).number, 0U);
    EXPECT_EQ(sent(), "CPD");
    sync();
    answer();
    EXPECT_NE(preparing_.described("s1", out_).number, 0U);
    EXPECT_EQ(sent(), "CPD");
    define("");
    EXPECT_NE(preparing_.described("", out_).number, 0U);
    EXPECT_EQ(sent(), "PD");
    define_in_sql("s2");
    EXPECT_NE(preparing_.described("s2", out_).number, 0U);
    EXPECT_EQ(sent(), "CPBECCD");
    EXPECT_EQ(preparing_.described("s3", out_).number, 0U) << "nothing is known of it";
    EXPECT_EQ(sent(), "");
}

TEST_F(PreparingTest, OnlyWhatHasOtherColumnsIsToFail) {
    const Columns::On on{routing::Slot::replica, 3};
    const Columns::On other{routing::Slot::primary, 1};
    Preparing preparing{client_, ledger_, replies_, on, 1};
    define("s1");
    auto& columns = client_.find("s1")->columns;
    EXPECT_FALSE(preparing.statement("s1", out_).has_others);
    columns.told(other, 5);
    EXPECT_FALSE(preparing.statement("s1", out_).has_others) << "not known";
    columns.found(on, 5);
    EXPECT_FALSE(preparing.statement("s1", out_).has_others);
    columns.found(on, 6);
    EXPECT_TRUE(preparing.statement("s1", out_).has_others);
    EXPECT_FALSE(preparing_.statement("s1", out_).has_others) << "another connection";
}

TEST_F(PreparingTest, AnOldCopyOfWhatTheClientWasNotToldIsMadeAnew) {
    const Columns::On on{routing::Slot::replica, 3};
    define("s1");
    Preparing{client_, ledger_, replies_, on, 1}.statement("s1", out_);
    EXPECT_EQ(sent(), "P");
    sync();
    answer();
    Preparing{client_, ledger_, replies_, on, 1}.statement("s1", out_);
    EXPECT_EQ(sent(), "");
    Preparing{client_, ledger_, replies_, on, 2}.statement("s1", out_);
    EXPECT_EQ(sent(), "CP");
    client_.find("s1")->columns.told(on, 5);
    Preparing{client_, ledger_, replies_, on, 3}.statement("s1", out_);
    EXPECT_EQ(sent(), "") << "it has been told what this one has";
}

TEST_F(PreparingTest, ACommandLeavesNothing) {
    preparing_.command("SAVEPOINT a", out_);
    EXPECT_EQ(sent(), "PBECC");
    sync();
    answer();
    replies_.push({.what = Expect::bind});
    replies_.skip_to_sync([](const Expected&) {});
    preparing_.command("SAVEPOINT a", out_);
    EXPECT_EQ(sent(), "");
}

TEST_F(PreparingTest, LeftoversAreClosedInARequestOfTheirOwn) {
    define("s1");
    define("s2");
    preparing_.statement("s1", out_);
    preparing_.statement("s2", out_);
    sync();
    answer();
    sent();
    close("s1");
    EXPECT_TRUE(ledger_.has_leftovers());
    preparing_.close_leftovers(out_);
    EXPECT_EQ(sent(), "CS");
    EXPECT_FALSE(ledger_.has_leftovers());
    answer();
    preparing_.statement("s2", out_);
    EXPECT_EQ(sent(), "");
}

TEST_F(PreparingTest, WhatIsInUseAgainIsNoLeftover) {
    define("s1");
    preparing_.statement("s1", out_);
    sync();
    answer();
    sent();
    ledger_.left_over("s1");
    preparing_.close_leftovers(out_);
    EXPECT_EQ(sent(), "");
}

TEST_F(PreparingTest, DeallocateAllIsDueOnTheOtherOneAsWell) {
    define("s1");
    preparing_.statement("s1", out_);
    sync();
    answer();
    sent();
    ledger_.all_left_over();
    preparing_.close_leftovers(out_);
    EXPECT_EQ(sent(), "Q");
    replies_.statement_completed();
    answer();
    preparing_.statement("s1", out_);
    EXPECT_EQ(sent(), "P");
}

}  // namespace
}  // namespace pgsteer::proxy
