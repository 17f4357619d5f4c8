#include "proxy/session/repetition.hpp"

#include "proxy/session/batcher.hpp"
#include "routing/classify.hpp"
#include "tests/support/client_messages.hpp"

#include <gtest/gtest.h>

#include <string>

namespace pgsteer::proxy {
namespace {

routing::StatementPtr classified(std::string_view sql) {
    return std::make_shared<const routing::CachedStatement>(
        routing::CachedStatement{routing::classify(sql)});
}

constexpr FetchedRows kMore{7, true};
constexpr FetchedRows kEnd{8, false};

// A request that is open, and what its portals run.
class RepetitionTest : public testing::Test {
protected:
    void reads(std::string_view portal) { runs(portal, "SELECT 1"); }
    void runs(std::string_view portal, std::string_view sql) {
        put_portal(portals_, {std::string{portal}, classified(sql)});
    }
    const Repetition& of(const Messages& messages,
                         std::vector<FetchedRows> fetched = {},
                         bool uses_unnamed = false) {
        messages_ = messages;
        batch_ = read_batch(wire::Bytes{messages_.bytes}, classified);
        repetition_ = repetition_of(whole(), fetched, portals_, uses_unnamed);
        return repetition_;
    }
    // The letter of each step with the item that it is of: s: statement, p: parse, c: close, e: at
    // its end, x: executed.
    std::string steps(const Messages& messages,
                      std::vector<FetchedRows> fetched = {},
                      bool uses_unnamed = false) {
        std::string text;
        for (const auto& step : of(messages, std::move(fetched), uses_unnamed).steps)
            text += "spmcex"[static_cast<int>(step.what)] + std::to_string(step.item) + ' ';
        return text;
    }

    [[nodiscard]] WholeBatch whole() const { return {batch_, wire::Bytes{messages_.bytes}}; }

    Portals portals_;
    Messages messages_;
    Batch batch_;
    Repetition repetition_;
};

Messages one(std::string_view portal) { return Messages{}.parse("", "SELECT 1").bind(portal, ""); }

TEST_F(RepetitionTest, APortalThatWasBoundIsBoundAgain) {
    reads("c");
    EXPECT_EQ(steps(one("c").flush()), "s1 m1 ");
    EXPECT_TRUE(repetition_.rows.empty());
}

TEST_F(RepetitionTest, WhatWasFetchedInPartIsFetchedAgain) {
    reads("c");
    EXPECT_EQ(steps(one("c").limited("c", 2).limited("c", 3).flush(), {kMore, kEnd}),
              "s1 m1 m2 m3 ");
    EXPECT_EQ(repetition_.rows, (std::vector{kMore, kEnd}));
}

TEST_F(RepetitionTest, TheRowsOfPortalsThatAreGoneAreNotCompared) {
    reads("c");
    reads("d");
    const auto sent = one("c").limited("c").close('P', "c").bind("d", "").limited("d").flush();
    EXPECT_EQ(steps(sent, {kEnd, kMore}), "s4 m4 m5 ");
    EXPECT_EQ(repetition_.rows, std::vector{kMore});
}

TEST_F(RepetitionTest, APortalWithANameIsExecutedToItsEndAgain) {
    reads("c");
    EXPECT_EQ(steps(one("c").execute("c").flush()), "s1 m1 m2 ");
    EXPECT_TRUE(repetition_.rows.empty()) << "nothing more comes of it: others may be there";
}

TEST_F(RepetitionTest, TheUnnamedPortalAtItsEndIsExecutedAgainOnlyIfItIsUsed) {
    reads("");
    EXPECT_EQ(steps(one("").execute("").flush()), "s1 m1 c1 x2 ");
    EXPECT_EQ(steps(one("").execute("").flush(), {}, true), "s1 m1 m2 ");
    EXPECT_EQ(steps(one("").limited("").flush(), {kMore}), "s1 m1 m2 ");
    EXPECT_EQ(steps(one("").flush()), "s1 m1 ");
}

TEST_F(RepetitionTest, TheLastOfAName) {
    reads("");
    EXPECT_EQ(steps(one("").limited("").bind("", "").flush(), {kMore}), "s3 m3 x2 ");
    EXPECT_TRUE(repetition_.rows.empty());
}

TEST_F(RepetitionTest, WhatANameHasMeantIsParsedAgain) {
    reads("c");
    reads("d");
    EXPECT_EQ(steps(one("c").parse("", "SELECT 2").bind("d", "").flush()), "p0 m1 s3 m3 ");
    EXPECT_EQ(steps(one("c").close('S', "").flush()), "p0 m1 ");
    EXPECT_EQ(steps(Messages{}.parse("s", "SELECT 1").parse("t", "SELECT 2").bind("c", "s")),
              "s2 m2 ");
}

TEST_F(RepetitionTest, WhatCannotBeKnownIsLeftBehind) {
    reads("c");
    EXPECT_EQ(steps(Messages{}.bind("c", "s").close('S', "s").flush()), "")
        << "what s was before this request";
    EXPECT_EQ(steps(Messages{}.bind("c", "s").flush()), "s0 m0 ") << "it is still that";
}

TEST_F(RepetitionTest, OnlyReadsAreExecutedAgain) {
    runs("c", "INSERT INTO t VALUES (1)");
    EXPECT_EQ(steps(one("c").execute("c").flush()), "p0 x2 ") << "on a replica it has failed";
    EXPECT_EQ(steps(one("c").flush()), "s1 m1 ") << "what is bound does nothing";
    put_portal(portals_, {"c", nullptr});
    EXPECT_EQ(steps(one("c").flush()), "p0 ");
    portals_.clear();
    EXPECT_EQ(steps(one("c").flush()), "p0 ");
}

TEST_F(RepetitionTest, WhatReturnsNoRowsIsAtItsEnd) {
    runs("c", "SET work_mem = '1MB'");
    EXPECT_EQ(steps(one("c").flush()), "s1 m1 ");
    portals_.front().is_executed = true;
    EXPECT_EQ(steps(one("c").execute("c").flush()), "e1 ");
}

TEST_F(RepetitionTest, WhatWasExecutedCountsForWhatFollows) {
    reads("");
    EXPECT_EQ(steps(one("").execute("").bind("", "").flush()), "s3 m3 x2 ");
    EXPECT_EQ(steps(one("").execute("").close('P', "").flush()), "p0 x2 ");
    EXPECT_EQ(steps(Messages{}.parse("", "SELECT 1").flush()), "p0 ");
    EXPECT_EQ(steps(Messages{}.parse("", "BEGIN").flush()), "");
}

TEST_F(RepetitionTest, WhoUsesTheUnnamedPortal) {
    const auto uses = [](const Messages& messages) {
        const wire::Bytes bytes{messages.bytes};
        const auto batch = read_batch(bytes, classified);
        return uses_unnamed_portal({batch, bytes});
    };
    EXPECT_TRUE(uses(Messages{}.execute("").sync()));
    EXPECT_TRUE(uses(Messages{}.parse("", "SELECT 1").describe('P', "").flush()));
    EXPECT_FALSE(uses(Messages{}.bind("", "s").execute("").sync()));
    EXPECT_FALSE(uses(Messages{}.query("SELECT 1")));
    EXPECT_FALSE(uses(Messages{}.execute("c").describe('P', "c").describe('S', "").sync()));
}

// What is written, in letters, and what of it is owed.
class RepeatTest : public RepetitionTest {
protected:
    std::string repeat_on(const Messages& messages, std::vector<FetchedRows> fetched = {}) {
        out_.clear();
        const auto& again = of(messages, std::move(fetched));
        EXPECT_TRUE(repeat(again, whole(), {client_, ledger_, replies_}, out_));
        std::string letters;
        for (std::size_t at = 0; at < out_.size();
             at += 1U + (std::size_t{out_[at + 3]} << 8 | out_[at + 4]))
            letters.push_back(static_cast<char>(out_[at]));
        return letters;
    }
    void knows(std::string_view name) {  // on another connection
        wire::Buffer message;
        wire::encode_parse(message, name, "SELECT 1", {});
        client_.completed(client_.parse(name, message, classified("SELECT 1"), other_).of_client);
        client_.commit();
    }

    ClientStatements client_;
    Ledger other_;
    Ledger ledger_;
    ReplyQueue replies_{ledger_};
    wire::Buffer out_;
};

TEST_F(RepeatTest, NothingOfItIsTheClients) {
    reads("c");
    knows("");
    EXPECT_EQ(repeat_on(one("c").limited("c").flush(), {kMore}), "PBE");
    ASSERT_EQ(replies_.entries().size(), 3U);
    for (const auto& owed : replies_.entries()) EXPECT_TRUE(owed.internal);
    const auto& last = *(replies_.entries().end() - 1);
    EXPECT_TRUE(last.limited);
    EXPECT_EQ(last.purpose, Purpose::repeat);
}

TEST_F(RepeatTest, AnotherStatementOfThatNameIsClosedBefore) {
    reads("c");
    reads("d");
    knows("s");
    Messages sent;
    sent.parse("s", "SELECT 1")
        .bind("c", "s")
        .close('S', "s")
        .parse("s", "SELECT 2")
        .bind("d", "s");
    EXPECT_EQ(repeat_on(sent), "PBCPB") << "c of the first s, d of the second";
}

TEST_F(RepeatTest, ThePortalAtItsEndIsClosed) {
    reads("");
    knows("");
    EXPECT_EQ(repeat_on(one("").execute("").flush()), "PBCPBECC") << "and a statement of ours";
}

TEST(Fetches, RowsAndTheirOrderCount) {
    const auto fetch = [](Fetches& to, std::initializer_list<const char*> rows, bool suspended) {
        for (const std::string_view row : rows) to.bytes(wire::as_bytes(row));
        to.executed(suspended);
    };
    const auto is_the_same = [&](std::initializer_list<const char*> rows, bool suspended) {
        Fetches fetches;
        fetch(fetches, {"a", "b"}, true);
        const auto first = fetches.all();
        fetches.repeat(first);
        fetch(fetches, rows, suspended);
        const bool same = fetches.end_of_repetition();
        EXPECT_EQ(fetches.all(), first);
        return same;
    };
    EXPECT_TRUE(is_the_same({"a", "b"}, true));
    EXPECT_FALSE(is_the_same({"b", "a"}, true));
    EXPECT_FALSE(is_the_same({"a"}, true));
    EXPECT_FALSE(is_the_same({"a", "b", "c"}, true));
    EXPECT_TRUE(is_the_same({"ab"}, true)) << "pieces do not count";
    EXPECT_FALSE(is_the_same({"a", "b"}, false));
}

TEST(Fetches, WhatIsNotAnsweredIsNotTheSame) {
    Fetches fetches;
    fetches.bytes(wire::as_bytes("a"));
    fetches.executed(false);
    fetches.repeat(fetches.all());
    EXPECT_FALSE(fetches.end_of_repetition());
    fetches.executed(false);
    EXPECT_EQ(fetches.all().size(), 2U) << "the client's again";
}

}  // namespace
}  // namespace pgsteer::proxy
