#include "proxy/session/outbox.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>
#include <string>
#include <string_view>
#include <vector>

namespace pgsteer::proxy {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

// One outbox and what it has written, a string for each piece.
class OutboxTest : public testing::Test {
protected:
    void start(std::string_view data) {
        data_ = data;
        outbox_.start(wire::as_bytes(data_));
    }
    bool release(std::size_t end) {
        return outbox_.release(end, [this](std::span<const wire::Bytes> parts) {
            ++writes_;
            for (const auto part : parts) written_.emplace_back(wire::as_text(part));
        });
    }
    // Of what is held; what a session does with it.
    bool release_held() {
        const auto held = outbox_.release_held();
        if (!held) return false;
        if (!held->empty()) written_.emplace_back(wire::as_text(*held));
        outbox_.forget_held();
        return true;
    }
    void hold(std::string_view data) {
        start(data);
        outbox_.forward(0, data.size());
        outbox_.hold_rest();
    }
    static wire::Buffer buffer(std::string_view text) { return {text.begin(), text.end()}; }

    Outbox outbox_;
    std::string data_;
    std::vector<std::string> written_;
    int writes_ = 0;
};

TEST_F(OutboxTest, SendsNeighboursAsOnePiece) {
    start("aabbccdd");
    outbox_.forward(0, 2);
    outbox_.forward(2, 4);
    outbox_.forward(6, 8);
    EXPECT_TRUE(release(8));
    EXPECT_THAT(written_, ElementsAre("aabb", "dd"));
    EXPECT_EQ(writes_, 1);
    EXPECT_FALSE(outbox_.has_rest());
}

TEST_F(OutboxTest, WritesNothingWhereNothingIsForwarded) {
    start("aa");
    outbox_.forward(1, 1);
    EXPECT_TRUE(release(2));
    EXPECT_EQ(writes_, 0);
}

TEST_F(OutboxTest, ForgetsThePiecesOfTheTurnBefore) {
    start("aa");
    outbox_.forward(0, 2);
    EXPECT_TRUE(release(2));
    start("bb");
    EXPECT_TRUE(release(2));
    EXPECT_THAT(written_, ElementsAre("aa"));
}

TEST_F(OutboxTest, HoldsWhatComesBehindTheEnd) {
    start("aabbcc");
    outbox_.forward(0, 6);
    EXPECT_TRUE(release(2));
    EXPECT_THAT(written_, ElementsAre("aa"));
    ASSERT_TRUE(outbox_.has_rest());
    outbox_.hold_rest();
    EXPECT_EQ(outbox_.held_bytes(), 4U);
    start("dd");
    outbox_.forward(0, 2);
    EXPECT_TRUE(release(2));
    EXPECT_THAT(written_, ElementsAre("aa", "bbcc", "dd"));
    EXPECT_EQ(writes_, 2) << "what was held and what follows go in one";
    EXPECT_EQ(outbox_.held_bytes(), 0U);
}

TEST_F(OutboxTest, KeepsHoldingWhereNothingMayGo) {
    hold("aa");
    start("bb");
    outbox_.forward(0, 2);
    EXPECT_TRUE(release(0));
    outbox_.hold_rest();
    EXPECT_THAT(written_, IsEmpty());
    EXPECT_TRUE(release_held());
    EXPECT_THAT(written_, ElementsAre("aabb"));
}

TEST_F(OutboxTest, TakesBackWhatRunsAgain) {
    hold("aa");
    start("bbccdd");
    outbox_.forward(0, 4);
    outbox_.take_back(0);
    EXPECT_EQ(outbox_.held_bytes(), 0U);
    EXPECT_TRUE(release(0));
    EXPECT_THAT(written_, ElementsAre());
}

TEST_F(OutboxTest, WhatWasHeldIsOfTheAnswerThatEndsFirst) {
    hold("aa");
    start("bbccdd");  // the answer ends with bb, and what comes behind it runs again
    outbox_.forward(0, 4);
    outbox_.take_back(2);
    EXPECT_TRUE(release(2));
    EXPECT_THAT(written_, ElementsAre("aa", "bb"));
    EXPECT_FALSE(outbox_.has_rest());
}

TEST_F(OutboxTest, PutsAMessageBehindWhatWasForwarded) {
    hold("aa");
    start("bbcc");
    outbox_.forward(0, 2);
    outbox_.hold_with(wire::as_bytes("error"));
    EXPECT_TRUE(release_held());
    outbox_.forward(2, 4);
    EXPECT_TRUE(release(4));
    EXPECT_THAT(written_, ElementsAre("aabberror", "cc"));
}

// --- an answer that comes again ---

TEST_F(OutboxTest, LeavesOutWhatTheClientHas) {
    outbox_.expect_again(buffer("aab"));
    start("aabbcc");
    outbox_.forward(0, 6);
    EXPECT_TRUE(release(6));
    EXPECT_THAT(written_, ElementsAre("bcc"));
    start("aab");
    outbox_.forward(0, 3);
    EXPECT_TRUE(release(3));
    EXPECT_THAT(written_, ElementsAre("bcc", "aab")) << "only once";
}

TEST_F(OutboxTest, LeavesItOutWhereItComesInParts) {
    outbox_.expect_again(buffer("aab"));
    hold("a");
    EXPECT_TRUE(release_held());
    EXPECT_THAT(written_, IsEmpty());
    start("-ab-c");
    outbox_.forward(1, 3);
    outbox_.forward(4, 5);
    EXPECT_TRUE(release(5));
    EXPECT_THAT(written_, ElementsAre("c"));
}

TEST_F(OutboxTest, SaysThatSomethingElseWasSentBefore) {
    outbox_.expect_again(buffer("aab"));
    start("aac");
    outbox_.forward(0, 3);
    EXPECT_FALSE(release(3));
    EXPECT_THAT(written_, IsEmpty());
    outbox_.forget_held();
    hold("b");
    EXPECT_FALSE(release_held());
}

TEST_F(OutboxTest, AnErrorMayComeWhereTheFirstAnswerWentOn) {
    outbox_.expect_again(buffer("aab"));
    outbox_.error_comes();
    start("aaE");
    outbox_.forward(0, 3);
    EXPECT_TRUE(release(3));
    EXPECT_THAT(written_, ElementsAre("E"));
}

TEST_F(OutboxTest, AnErrorWithoutARepetitionChangesNothing) {
    outbox_.error_comes();
    outbox_.expect_again(buffer("aab"));
    start("aac");
    outbox_.forward(0, 3);
    EXPECT_FALSE(release(3));
}

TEST_F(OutboxTest, ForgetsARepetition) {
    outbox_.expect_again(buffer("aab"));
    outbox_.expect_again({});
    start("c");
    outbox_.forward(0, 1);
    EXPECT_TRUE(release(1));
    EXPECT_THAT(written_, ElementsAre("c"));
}

// Whatever is held for however long, the client gets what was forwarded, in order.
TEST_F(OutboxTest, LosesNothingInRandomTurns) {
    std::mt19937 random{20261128};  // NOLINT: the same each time
    const auto below = [&](std::size_t n) { return static_cast<std::size_t>(random() % n); };
    std::string expected;
    char next = 'a';
    for (int turn = 0; turn < 2000; ++turn) {
        std::string data;
        for (auto size = below(12); size > 0; --size) {
            data.push_back(next);
            next = next == 'z' ? 'a' : static_cast<char>(next + 1);
        }
        start(data);
        for (std::size_t at = 0; at < data.size();) {
            const auto end = at + 1 + below(data.size() - at);
            if (below(3) > 0) {
                outbox_.forward(at, end);
                expected += data.substr(at, end - at);
            }
            at = end;
        }
        ASSERT_TRUE(release(below(2) > 0 ? data.size() : below(data.size() + 1)));
        outbox_.hold_rest();
        if (below(5) == 0) {
            ASSERT_TRUE(release_held());
        }
    }
    ASSERT_TRUE(release_held());
    std::string written;
    for (const auto& piece : written_) written += piece;
    EXPECT_EQ(written, expected);
}

}  // namespace
}  // namespace pgsteer::proxy
