#include "proxy/session/batcher.hpp"

#include "proxy/wire/body_writer.hpp"
#include "proxy/wire/message_types.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <string_view>
#include <vector>

namespace pgsteer::proxy {
namespace {

using namespace std::string_literals;
using namespace std::string_view_literals;
using testing::ElementsAre;
using testing::IsEmpty;
using Step = Batcher::Step;
namespace frontend = wire::frontend;

std::string message(std::uint8_t type, std::string_view body = {}) {
    wire::Buffer out;
    wire::BodyWriter{out, type}.bytes(wire::as_bytes(body));
    return {out.begin(), out.end()};
}

const std::string kSync = message(frontend::kSync);
const std::string kFlush = message(frontend::kFlush);
const std::string kExecute = message(frontend::kExecute, "\0\0\0\0\0"sv);
const std::string kBind = message(frontend::kBind, "\0s\0\0\0\0\0\0\0"sv);
std::string query(std::string_view sql) {
    return message(frontend::kQuery, std::string{sql} + '\0');
}
std::string parse(std::string_view sql) {
    return message(frontend::kParse, '\0' + std::string{sql} + "\0\0\0"s);
}

class BatcherTest : public testing::Test {
protected:
    void receive(std::string_view bytes) {
        while (!bytes.empty()) {
            const auto room = in_.prepare();
            const auto count = std::min(room.size(), bytes.size());
            std::memcpy(room.data(), bytes.data(), count);
            in_.commit(count);
            bytes.remove_prefix(count);
        }
    }
    Step next() {
        return batcher_.next([this](std::string_view sql) {
            classified_.emplace_back(sql);
            return routing::StatementPtr{};
        });
    }
    // The types of the batch that is due, and it is sent.
    std::string take() {
        EXPECT_EQ(next(), Step::dispatch);
        std::string types;
        for (const auto& item : batcher_.batch().items)
            types.push_back(static_cast<char>(item.type));
        batcher_.consume(true);
        return types;
    }
    std::string streamed() {
        std::string bytes;
        batcher_.stream([&](wire::Bytes part) { bytes += wire::as_text(part); });
        return bytes;
    }

    InputBuffer in_;
    Batcher batcher_{in_};
    std::vector<std::string> classified_;
};

TEST_F(BatcherTest, NeedsMoreBeforeAMessageIsThere) {
    EXPECT_EQ(next(), Step::need_more);
    receive(query("SELECT 1").substr(0, 7));
    EXPECT_EQ(next(), Step::need_more);
    EXPECT_TRUE(batcher_.is_between_messages());
    EXPECT_THAT(classified_, IsEmpty());
}

TEST_F(BatcherTest, ABatchEndsWithWhatCompletesARequest) {
    receive(parse("SELECT 1") + kBind + kExecute + kSync + query("SELECT 2") +
            message(frontend::kFunctionCall, "1234567890"));
    EXPECT_EQ(take(), "PBES");
    EXPECT_EQ(take(), "Q");
    EXPECT_EQ(take(), "F");
    EXPECT_EQ(next(), Step::need_more);
    EXPECT_THAT(classified_, ElementsAre("SELECT 1", "SELECT 2"));
}

TEST_F(BatcherTest, FlushSendsABatchThatIsNotComplete) {
    receive(parse("SELECT 1") + kFlush);
    ASSERT_EQ(next(), Step::dispatch);
    EXPECT_FALSE(batcher_.batch().ends);
}

TEST_F(BatcherTest, ABatchThatIsNotCompleteMayBeSent) {
    receive(parse("SELECT 1") + kBind.substr(0, 4));
    EXPECT_EQ(next(), Step::need_more);
    EXPECT_EQ(batcher_.batch().items.size(), 1U);
    EXPECT_FALSE(batcher_.is_between_messages());
    EXPECT_EQ(batcher_.bytes().size(), parse("SELECT 1").size());
    batcher_.consume(true);
    receive(kBind.substr(4) + kSync);
    EXPECT_EQ(take(), "BS");
}

TEST_F(BatcherTest, IsSentWhenItHasGrownLarge) {
    std::string many;
    while (many.size() < kMaxBatchBytes) many += kBind + kExecute;
    receive(many + kSync);
    EXPECT_GT(take().size(), kMaxBatchBytes / (kBind.size() + kExecute.size()));
    EXPECT_EQ(take(), "S");
}

TEST_F(BatcherTest, LeavesAMalformedMessageToTheServer) {
    receive(message(frontend::kDescribe, "no") + kSync);
    ASSERT_EQ(next(), Step::dispatch);
    EXPECT_EQ(batcher_.batch().items.front().type, kMalformed);
    EXPECT_EQ(batcher_.batch().items.front().target, frontend::kDescribe);
}

// --- messages that are not kept ---

TEST_F(BatcherTest, PassesOnALargeMessageInPieces) {
    const auto large = query(std::string(kMaxWholeMessage, 'x'));
    const auto front = kMaxWholeMessage / 2;
    receive(std::string_view{large}.substr(0, front));
    ASSERT_EQ(next(), Step::dispatch);
    EXPECT_EQ(batcher_.bytes().size(), front);
    EXPECT_THAT(classified_, IsEmpty()) << "too large to be judged";
    batcher_.consume(true);
    EXPECT_FALSE(batcher_.is_between_messages());
    EXPECT_EQ(next(), Step::need_more);
    receive(std::string_view{large}.substr(front));
    receive(kSync);
    ASSERT_EQ(next(), Step::stream);
    EXPECT_EQ(streamed(), large.substr(front)) << "and no byte of the next";
    EXPECT_EQ(take(), "S");
}

TEST_F(BatcherTest, ThrowsAwayTheRestOfWhatWasNotSent) {
    const auto large = query(std::string(kMaxWholeMessage, 'x'));
    receive(std::string_view{large}.substr(0, 20));
    ASSERT_EQ(next(), Step::dispatch);
    batcher_.consume(false);
    receive(std::string_view{large}.substr(20));
    receive(kSync);
    ASSERT_EQ(next(), Step::stream);
    EXPECT_EQ(streamed(), "");
    EXPECT_EQ(take(), "S");
}

TEST_F(BatcherTest, CopyDataIsNoBatch) {
    const auto data = message(frontend::kCopyData, "1\n");
    const auto done = message(frontend::kCopyDone);
    receive(kBind + data + done);
    EXPECT_EQ(take(), "B") << "what was collected comes first";
    ASSERT_EQ(next(), Step::copy);
    EXPECT_EQ(batcher_.copy_type(), frontend::kCopyData);
    batcher_.begin_copy(true);
    EXPECT_EQ(streamed(), data);
    ASSERT_EQ(next(), Step::copy);
    EXPECT_EQ(batcher_.copy_type(), frontend::kCopyDone);
    batcher_.begin_copy(false);
    EXPECT_EQ(streamed(), "");
    EXPECT_TRUE(batcher_.is_between_messages());
}

// --- behind an error ---

TEST_F(BatcherTest, SkipsToTheSyncThatTheServerAnswers) {
    batcher_.skip(Skipping::for_server);
    receive(kBind + query("SELECT 1") + message(frontend::kCopyDone) + kSync + query("SELECT 2"));
    EXPECT_EQ(take(), "S");
    EXPECT_EQ(batcher_.skipping(), Skipping::no);
    EXPECT_EQ(take(), "Q");
    EXPECT_THAT(classified_, ElementsAre("SELECT 2"));
}

TEST_F(BatcherTest, SkipsTheSyncThatIsAnsweredHere) {
    batcher_.skip(Skipping::for_us);
    receive(kBind + kExecute + kSync + query("SELECT 2"));
    EXPECT_EQ(next(), Step::skipped_sync);
    EXPECT_EQ(batcher_.skipping(), Skipping::no);
    EXPECT_EQ(take(), "Q");
}

TEST_F(BatcherTest, SkipsWhatWasCollectedBefore) {
    receive(kBind + kExecute);
    EXPECT_EQ(next(), Step::need_more);
    batcher_.skip(Skipping::for_server);
    receive(kBind + kSync);
    EXPECT_EQ(take(), "S");
}

TEST_F(BatcherTest, SkipsALargeMessageAsItComes) {
    batcher_.skip(Skipping::for_us);
    const auto large = query(std::string(kMaxWholeMessage, 'x'));
    receive(std::string_view{large}.substr(0, 20));
    EXPECT_EQ(next(), Step::need_more);
    EXPECT_TRUE(in_.empty());
    receive(std::string_view{large}.substr(20));
    receive(kSync);
    ASSERT_EQ(next(), Step::stream);
    EXPECT_EQ(streamed(), "");
    EXPECT_EQ(next(), Step::skipped_sync);
}

TEST_F(BatcherTest, OfABatchWhoseRequestHasFailedOnlyTheSyncCounts) {
    receive(kBind + kExecute + kSync + kBind + kFlush);
    ASSERT_EQ(next(), Step::dispatch);
    batcher_.skip(Skipping::for_server);
    batcher_.skip_batch();
    EXPECT_EQ(take(), "S");
    ASSERT_EQ(next(), Step::dispatch);
    batcher_.skip_batch();
    EXPECT_TRUE(in_.empty());
    EXPECT_TRUE(batcher_.is_between_messages());
}

// --- the end ---

TEST_F(BatcherTest, TheClientLeaves) {
    receive(message(frontend::kTerminate));
    EXPECT_EQ(next(), Step::terminate);
}

TEST_F(BatcherTest, WhatEndsTheSessionComesBehindWhatWasCollected) {
    receive(kBind + message('!', "x"));
    EXPECT_EQ(take(), "B");
    EXPECT_EQ(next(), Step::violation);
    EXPECT_EQ(batcher_.unknown_type(), '!');
}

TEST_F(BatcherTest, NoMessageHasThatLength) {
    receive("Q\0\0\0\3"sv);
    EXPECT_EQ(next(), Step::violation);
    EXPECT_EQ(batcher_.unknown_type(), 0);
    InputBuffer in;
    Batcher other{in};
    const auto too_long = "S\0\1\0\0"sv;
    std::memcpy(in.prepare().data(), too_long.data(), too_long.size());
    in.commit(too_long.size());
    EXPECT_EQ(other.next([](std::string_view) { return routing::StatementPtr{}; }),
              Step::violation);
    EXPECT_EQ(other.unknown_type(), 0);
}

TEST_F(BatcherTest, APasswordIsNoMessageAnyMore) {
    receive(message(frontend::kPassword, "secret"));
    EXPECT_EQ(next(), Step::violation);
    EXPECT_EQ(batcher_.unknown_type(), frontend::kPassword);
}

// --- again ---

TEST(ReadBatch, ReadsWhatWasCollected) {
    const auto text = parse("SELECT 1") + kBind + kExecute + kSync;
    std::vector<std::string> classified;
    const auto batch = read_batch(wire::as_bytes(text), [&](std::string_view sql) {
        classified.emplace_back(sql);
        return routing::StatementPtr{};
    });
    EXPECT_EQ(batch.items.size(), 4U);
    EXPECT_EQ(batch.bytes, text.size());
    EXPECT_TRUE(batch.ends);
    EXPECT_THAT(classified, ElementsAre("SELECT 1"));
}

TEST(ReadBatch, StopsAtWhatIsNotThere) {
    const auto text = kBind + kExecute.substr(0, 3);
    const auto batch =
        read_batch(wire::as_bytes(text), [](std::string_view) { return routing::StatementPtr{}; });
    EXPECT_EQ(batch.bytes, kBind.size());
    EXPECT_FALSE(batch.ends);
}

}  // namespace
}  // namespace pgsteer::proxy
