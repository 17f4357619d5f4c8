#include "proxy/session/reply_queue.hpp"

#include "proxy/session/prepared_statements.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>
#include <vector>

namespace pgsteer::proxy {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

ReplyQueue queue_of(std::initializer_list<Expect> sent) {
    ReplyQueue queue;
    for (const auto what : sent) EXPECT_TRUE(queue.push({.what = what}));
    return queue;
}

// Takes out everything that is still owed, in order.
std::vector<Expect> owed(ReplyQueue& queue) {
    std::vector<Expect> all;
    while (const auto* entry = queue.front()) {
        all.push_back(entry->what);
        queue.pop();
    }
    return all;
}

std::vector<Expect> dropped_by_error(ReplyQueue& queue) {
    std::vector<Expect> dropped;
    queue.skip_to_sync([&](const Expected& entry) { dropped.push_back(entry.what); });
    return dropped;
}

TEST(ReplyQueue, OwesNothingAtFirst) {
    ReplyQueue queue;
    EXPECT_TRUE(queue.empty());
    EXPECT_EQ(queue.size(), 0U);
    EXPECT_EQ(queue.front(), nullptr);
    EXPECT_FALSE(queue.skipping());
}

TEST(ReplyQueue, AnswersComeInTheOrderOfTheMessages) {
    auto queue = queue_of({Expect::parse, Expect::bind, Expect::describe, Expect::execute,
                           Expect::sync, Expect::query});
    EXPECT_EQ(queue.size(), 6U);
    EXPECT_THAT(owed(queue), ElementsAre(Expect::parse, Expect::bind, Expect::describe,
                                         Expect::execute, Expect::sync, Expect::query));
    EXPECT_TRUE(queue.empty());
}

TEST(ReplyQueue, KeepsWhatWasNotedWithAMessage) {
    ReplyQueue queue;
    const auto prepared = std::make_shared<PreparedStatement>();
    queue.push({.what = Expect::parse,
                .internal = true,
                .change = true,
                .statement_index = 7,
                .prepared = prepared});
    const auto* front = queue.front();
    ASSERT_NE(front, nullptr);
    EXPECT_TRUE(front->internal);
    EXPECT_TRUE(front->change);
    EXPECT_EQ(front->statement_index, 7);
    EXPECT_EQ(front->prepared, prepared);
}

TEST(ReplyQueue, AnErrorDropsEverythingUpToSync) {
    auto queue = queue_of({Expect::bind, Expect::execute, Expect::bind, Expect::execute,
                           Expect::sync, Expect::parse, Expect::sync});
    queue.pop();
    EXPECT_THAT(dropped_by_error(queue),
                ElementsAre(Expect::execute, Expect::bind, Expect::execute));
    EXPECT_FALSE(queue.skipping());
    EXPECT_THAT(owed(queue), ElementsAre(Expect::sync, Expect::parse, Expect::sync));
}

TEST(ReplyQueue, AnErrorAtSyncDropsNothing) {
    auto queue = queue_of({Expect::sync, Expect::bind});
    EXPECT_THAT(dropped_by_error(queue), IsEmpty());
    EXPECT_FALSE(queue.skipping());
    EXPECT_EQ(queue.size(), 2U);
}

TEST(ReplyQueue, AfterAnErrorNothingIsOwedBeforeTheNextSync) {
    auto queue = queue_of({Expect::parse, Expect::describe});
    EXPECT_THAT(dropped_by_error(queue), ElementsAre(Expect::parse, Expect::describe));
    EXPECT_TRUE(queue.skipping());
    for (const auto ignored :
         {Expect::parse, Expect::bind, Expect::close, Expect::describe, Expect::execute,
          Expect::query, Expect::function_call, Expect::copy_end}) {
        EXPECT_FALSE(queue.push({.what = ignored}));
        EXPECT_TRUE(queue.empty());
        EXPECT_TRUE(queue.skipping());
    }
    EXPECT_TRUE(queue.push({.what = Expect::sync}));
    EXPECT_FALSE(queue.skipping());
    EXPECT_TRUE(queue.push({.what = Expect::bind}));
    EXPECT_THAT(owed(queue), ElementsAre(Expect::sync, Expect::bind));
}

TEST(ReplyQueue, ClearEndsSkipping) {
    auto queue = queue_of({Expect::parse});
    dropped_by_error(queue);
    ASSERT_TRUE(queue.skipping());
    queue.clear();
    EXPECT_FALSE(queue.skipping());
    EXPECT_TRUE(queue.push({.what = Expect::bind}));
}

TEST(ReplyQueue, TheEndOfACopyIsNotAnsweredByItself) {
    auto queue = queue_of({Expect::execute, Expect::copy_end, Expect::sync});
    EXPECT_EQ(queue.front()->what, Expect::execute);
    queue.pop();
    EXPECT_EQ(queue.front()->what, Expect::sync);
}

TEST(ReplyQueue, AnErrorInACopyDropsItsEndToo) {
    auto queue = queue_of({Expect::execute, Expect::copy_end, Expect::sync});
    EXPECT_THAT(dropped_by_error(queue), ElementsAre(Expect::execute, Expect::copy_end));
    EXPECT_EQ(queue.front()->what, Expect::sync);
}

TEST(ReplyQueue, SyncsSentDuringACopyAreIgnoredByTheServer) {
    auto queue = queue_of({Expect::execute, Expect::sync, Expect::sync, Expect::copy_end,
                           Expect::sync, Expect::bind, Expect::sync});
    queue.copy_in_started();
    EXPECT_THAT(owed(queue),
                ElementsAre(Expect::execute, Expect::sync, Expect::bind, Expect::sync));
}

TEST(ReplyQueue, SyncsSentSoFarAreIgnoredIfTheCopyIsStillGoingOn) {
    auto queue = queue_of({Expect::execute, Expect::sync});
    queue.copy_in_started();
    EXPECT_EQ(queue.size(), 1U);
    queue.push({.what = Expect::copy_end});
    queue.push({.what = Expect::sync});
    EXPECT_THAT(owed(queue), ElementsAre(Expect::execute, Expect::sync));
}

TEST(ReplyQueue, OnlySyncsAreIgnoredDuringACopy) {
    auto queue = queue_of({Expect::execute, Expect::bind, Expect::sync, Expect::query});
    queue.copy_in_started();
    EXPECT_THAT(owed(queue), ElementsAre(Expect::execute, Expect::bind, Expect::query));
}

TEST(ReplyQueue, ACopyInAnswerToSyncChangesNothing) {
    auto queue = queue_of({Expect::sync, Expect::bind});
    queue.copy_in_started();
    EXPECT_THAT(owed(queue), ElementsAre(Expect::sync, Expect::bind));
}

TEST(ReplyQueue, ASecondCopyOfAPipelineIsCountedByItself) {
    auto queue = queue_of({Expect::query, Expect::copy_end, Expect::query, Expect::sync,
                           Expect::copy_end, Expect::sync});
    queue.copy_in_started();
    EXPECT_EQ(queue.size(), 6U);
    queue.pop();
    ASSERT_EQ(queue.front()->what, Expect::query);
    queue.copy_in_started();
    EXPECT_THAT(owed(queue), ElementsAre(Expect::query, Expect::sync));
}

TEST(ReplyQueue, ACopyThatNobodyAskedForChangesNothing) {
    ReplyQueue queue;
    queue.copy_in_started();
    EXPECT_TRUE(queue.empty());
}

// A connection that owes nothing may be given another request, or back to the pool.
TEST(ReplyQueue, IsEmptyWhenOnlyTheEndOfACopyIsLeft) {
    auto queue = queue_of({Expect::query, Expect::copy_end});
    queue.pop();
    EXPECT_TRUE(queue.empty());
    EXPECT_EQ(queue.size(), 0U);
}

// A server in a few lines: what it answers to random pipelines, with random errors, is what the
// queue says.
TEST(ReplyQueue, AgreesWithAServerOnRandomPipelines) {
    const auto seed = std::random_device{}();
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    std::mt19937 random{seed};
    const auto roll = [&](unsigned below) { return random() % below; };
    for (int round = 0; round < 500; ++round) {
        ReplyQueue queue;
        std::vector<Expect> unread;  // messages the server has not handled yet
        bool server_skips = false;
        for (int step = 0; step < 60; ++step) {
            if (roll(2) == 0) {
                static constexpr std::array kKinds{Expect::parse,   Expect::bind,  Expect::describe,
                                                   Expect::execute, Expect::close, Expect::sync};
                const auto what = kKinds[roll(kKinds.size())];
                queue.push({.what = what});
                unread.push_back(what);
                continue;
            }
            while (!unread.empty() && server_skips && unread.front() != Expect::sync)
                unread.erase(unread.begin());
            if (unread.empty()) continue;
            server_skips = false;
            const auto handled = unread.front();
            unread.erase(unread.begin());
            const auto* expected = queue.front();
            ASSERT_NE(expected, nullptr);
            ASSERT_EQ(expected->what, handled);
            if (handled != Expect::sync && roll(4) == 0) {
                queue.skip_to_sync([](const Expected&) {});
                server_skips = true;
            } else {
                queue.pop();
            }
        }
        while (!unread.empty() && server_skips && unread.front() != Expect::sync)
            unread.erase(unread.begin());
        ASSERT_EQ(owed(queue), unread);
    }
}

TEST(ReplyQueue, AnErrorSkipsToTheNextSyncWhoeverSentIt) {
    ReplyQueue queue;
    EXPECT_FALSE(queue.skips_to_own_sync());
    queue.push({.what = Expect::parse, .internal = true});
    EXPECT_FALSE(queue.skips_to_own_sync());
    queue.push({.what = Expect::bind});
    queue.push({.what = Expect::sync});
    EXPECT_FALSE(queue.skips_to_own_sync());
    ReplyQueue ours;
    ours.push({.what = Expect::parse, .internal = true});
    ours.push({.what = Expect::sync, .internal = true});
    ours.push({.what = Expect::query});
    EXPECT_TRUE(ours.skips_to_own_sync());
}

}  // namespace
}  // namespace pgsteer::proxy
