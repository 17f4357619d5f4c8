#include "proxy/server/reply_queue.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <deque>
#include <random>
#include <string_view>
#include <utility>
#include <vector>

namespace pgsteer::proxy {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

struct WithLedger {
    Ledger ledger;
};

struct Queue : WithLedger, ReplyQueue {
    Queue(std::initializer_list<Expect> sent = {}) : ReplyQueue{ledger} {
        for (const auto what : sent) EXPECT_TRUE(push({.what = what}));
    }
};

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
    Queue queue;
    EXPECT_TRUE(queue.empty());
    EXPECT_EQ(queue.entries().size(), 0U);
    EXPECT_EQ(queue.front(), nullptr);
    EXPECT_FALSE(queue.skipping());
}

TEST(ReplyQueue, AnswersComeInTheOrderOfTheMessages) {
    Queue queue({Expect::parse, Expect::bind, Expect::describe, Expect::execute, Expect::sync,
                 Expect::query});
    EXPECT_EQ(queue.entries().size(), 6U);
    EXPECT_THAT(owed(queue), ElementsAre(Expect::parse, Expect::bind, Expect::describe,
                                         Expect::execute, Expect::sync, Expect::query));
    EXPECT_TRUE(queue.empty());
}

TEST(ReplyQueue, KeepsWhatWasNotedWithAMessage) {
    Queue queue;
    queue.push({.what = Expect::parse,
                .internal = true,
                .statement_index = 7,
                .of_client = {.number = 3}});
    const auto* front = queue.front();
    ASSERT_NE(front, nullptr);
    EXPECT_TRUE(front->internal);
    EXPECT_EQ(front->statement_index, 7);
    EXPECT_EQ(front->of_client.number, 3U);
}

TEST(ReplyQueue, TellsTheLedgerWhatComesOfEachMessage) {
    Queue queue;
    auto& names = queue.ledger.names();
    const auto parse = [&](std::string_view name, std::uint64_t id) {
        queue.push({.what = Expect::parse, .on_server = names.parse(name, {.id = id})});
    };
    parse("answered", 2);
    parse("fails", 3);
    parse("skipped", 4);
    queue.push({.what = Expect::sync});
    parse("later", 5);
    queue.pop();
    queue.skip_to_sync([](const Expected&) {});
    queue.pop();
    queue.pop();
    EXPECT_EQ(names.now("answered").id, 2U);
    EXPECT_FALSE(names.now("fails"));
    EXPECT_FALSE(names.now("skipped"));
    EXPECT_EQ(names.now("later").id, 5U);
}

TEST(ReplyQueue, AQueryDropsTheUnnamedStatementWhoseverItIs) {
    Queue queue;
    auto& names = queue.ledger.names();
    queue.push({.what = Expect::parse, .on_server = names.parse("", {.id = 2})});
    queue.pop();
    EXPECT_TRUE(names.now(""));
    queue.push({.what = Expect::query, .internal = true});
    queue.failed();
    EXPECT_FALSE(names.now(""));
}

TEST(ReplyQueue, StatementsOfAQueryCountOneByOne) {
    Queue queue;
    auto& names = queue.ledger.names();
    const auto query = names.send(MessageKind::query);
    names.prepare("first", {.id = 2}, 0);
    names.prepare("second", {.id = 3}, 1);
    queue.push({.what = Expect::query, .on_server = query});
    queue.statement_completed();
    EXPECT_TRUE(names.now("first"));
    EXPECT_FALSE(names.now("second"));
    queue.failed();
    queue.pop();
    EXPECT_FALSE(names.now("second"));
}

TEST(ReplyQueue, KnowsTheOldestMessageOfTheClients) {
    Queue queue;
    EXPECT_EQ(first_of_client(queue).number, 0U);
    queue.push({.what = Expect::parse, .internal = true});
    queue.push({.what = Expect::bind, .of_client = {.number = 3}});
    queue.push({.what = Expect::execute, .of_client = {.number = 4}});
    EXPECT_EQ(first_of_client(queue).number, 3U);
}

TEST(ReplyQueue, AnErrorDropsEverythingUpToSync) {
    Queue queue({Expect::bind, Expect::execute, Expect::bind, Expect::execute, Expect::sync,
                 Expect::parse, Expect::sync});
    queue.pop();
    EXPECT_THAT(dropped_by_error(queue),
                ElementsAre(Expect::execute, Expect::bind, Expect::execute));
    EXPECT_FALSE(queue.skipping());
    EXPECT_THAT(owed(queue), ElementsAre(Expect::sync, Expect::parse, Expect::sync));
}

TEST(ReplyQueue, AnErrorAtSyncDropsNothing) {
    Queue queue({Expect::sync, Expect::bind});
    EXPECT_THAT(dropped_by_error(queue), IsEmpty());
    EXPECT_FALSE(queue.skipping());
    EXPECT_EQ(queue.entries().size(), 2U);
}

TEST(ReplyQueue, AfterAnErrorNothingIsOwedBeforeTheNextSync) {
    Queue queue({Expect::parse, Expect::describe});
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

TEST(ReplyQueue, TheEndOfACopyIsNotAnsweredByItself) {
    Queue queue({Expect::execute, Expect::copy_end, Expect::sync});
    EXPECT_EQ(queue.front()->what, Expect::execute);
    queue.pop();
    EXPECT_EQ(queue.front()->what, Expect::sync);
}

TEST(ReplyQueue, AnErrorInACopyDropsItsEndToo) {
    Queue queue({Expect::execute, Expect::copy_end, Expect::sync});
    EXPECT_THAT(dropped_by_error(queue), ElementsAre(Expect::execute, Expect::copy_end));
    EXPECT_EQ(queue.front()->what, Expect::sync);
}

TEST(ReplyQueue, SyncsSentDuringACopyAreIgnoredByTheServer) {
    Queue queue({Expect::execute, Expect::sync, Expect::sync, Expect::copy_end, Expect::sync,
                 Expect::bind, Expect::sync});
    queue.copy_in_started();
    EXPECT_THAT(owed(queue),
                ElementsAre(Expect::execute, Expect::sync, Expect::bind, Expect::sync));
}

TEST(ReplyQueue, SyncsSentSoFarAreIgnoredIfTheCopyIsStillGoingOn) {
    Queue queue({Expect::execute, Expect::sync});
    queue.copy_in_started();
    EXPECT_EQ(queue.entries().size(), 1U);
    queue.push({.what = Expect::copy_end});
    queue.push({.what = Expect::sync});
    EXPECT_THAT(owed(queue), ElementsAre(Expect::execute, Expect::sync));
}

// It fails at the Bind if not before, and skips to the Sync.
TEST(ReplyQueue, OnlySyncsAreIgnoredDuringACopy) {
    Queue queue({Expect::execute, Expect::sync, Expect::bind, Expect::sync, Expect::query});
    queue.copy_in_started();
    EXPECT_FALSE(queue.copy_open());
    EXPECT_THAT(owed(queue),
                ElementsAre(Expect::execute, Expect::bind, Expect::sync, Expect::query));
}

TEST(ReplyQueue, ACopyInAnswerToSyncChangesNothing) {
    Queue queue({Expect::sync, Expect::bind});
    queue.copy_in_started();
    EXPECT_THAT(owed(queue), ElementsAre(Expect::sync, Expect::bind));
}

TEST(ReplyQueue, ASecondCopyOfAPipelineIsCountedByItself) {
    Queue queue({Expect::query, Expect::copy_end, Expect::query, Expect::sync, Expect::copy_end,
                 Expect::sync});
    queue.copy_in_started();
    EXPECT_EQ(queue.entries().size(), 6U);
    queue.pop();
    ASSERT_EQ(queue.front()->what, Expect::query);
    queue.copy_in_started();
    EXPECT_THAT(owed(queue), ElementsAre(Expect::query, Expect::sync));
}

TEST(ReplyQueue, ACopyThatNobodyAskedForChangesNothing) {
    Queue queue;
    queue.copy_in_started();
    EXPECT_TRUE(queue.empty());
}

// A connection that owes nothing may be given another request, or back to the pool.
TEST(ReplyQueue, IsEmptyWhenOnlyTheEndOfACopyIsLeft) {
    Queue queue({Expect::query, Expect::copy_end});
    queue.pop();
    EXPECT_TRUE(queue.empty());
    EXPECT_EQ(queue.entries().size(), 0U);
}

TEST(ReplyQueue, AQueryBehindAnErrorIsSkippedAndEndsNothing) {
    Queue queue({Expect::bind, Expect::execute, Expect::query, Expect::function_call, Expect::parse,
                 Expect::sync, Expect::query});
    EXPECT_THAT(queue.skip_to_sync([](const Expected&) {}), ElementsAre(0U, 1U));
    EXPECT_THAT(owed(queue), ElementsAre(Expect::sync, Expect::query));
}

TEST(ReplyQueue, OurOwnQueriesEndNoRequestOfTheClients) {
    Queue queue;
    for (const bool internal : {true, false, true, false})
        queue.push({.what = internal ? Expect::query : Expect::execute, .internal = internal});
    EXPECT_THAT(queue.skip_to_sync([](const Expected&) {}), IsEmpty());
    EXPECT_TRUE(queue.skipping());
}

TEST(ReplyQueue, ASyncBehindCopyDataIsIgnoredIfTheCopyCompletes) {
    Queue queue({Expect::execute, Expect::sync});
    queue.copy_data_sent();
    EXPECT_THAT(queue.copy_in_started(), ElementsAre(0U));
    EXPECT_TRUE(queue.copy_open());
    EXPECT_TRUE(queue.push({.what = Expect::sync}));
    EXPECT_TRUE(queue.push({.what = Expect::copy_end}));
    EXPECT_FALSE(queue.copy_open());
    EXPECT_TRUE(queue.push({.what = Expect::sync}));
    EXPECT_THAT(queue.copy_in_completed(), ElementsAre(0U));
    EXPECT_THAT(owed(queue), ElementsAre(Expect::execute, Expect::sync));
}

TEST(ReplyQueue, ASyncBehindCopyDataMayBeAnsweredIfTheCopyHasFailed) {
    for (const bool answered : {true, false}) {
        Queue queue({Expect::query});
        queue.copy_in_started();
        queue.copy_data_sent();
        queue.push({.what = Expect::sync});
        queue.copy_in_failed();
        EXPECT_FALSE(queue.in_doubt());  // the Query is answered first
        queue.pop();
        EXPECT_TRUE(queue.in_doubt());
        queue.push({.what = Expect::parse});
        if (answered) queue.pop();
        EXPECT_THAT(queue.settle(), testing::SizeIs(answered ? 0 : 1));
        EXPECT_THAT(owed(queue), ElementsAre(Expect::parse));
        EXPECT_FALSE(queue.in_doubt());
    }
}

// A server in a few lines, and a session: what the one answers to random pipelines of all messages,
// with random errors and copies, is what the queue says, and the other counts as many requests as
// ReadyForQuery come.
struct Message {
    Expect what{};
    bool is_data = false;
    bool is_ours = false;
};

class RandomPipeline {
    enum class Copy { no, of_execute, of_query };
    struct Request {
        bool bare = false;
        bool open = true;
    };

public:
    explicit RandomPipeline(unsigned seed) : random_{seed} {}

    void run() {
        for (int step = 0; step < 80 && !broken_; ++step) {
            if (roll(2) == 0) {
                send(kKinds[roll(kKinds.size())]);
            } else {
                serve();
            }
            if (testing::Test::HasFatalFailure()) return;
        }
        while (!broken_ && !unread_.empty()) serve();
        if (!broken_) send(kCopyEnd);
        while (!broken_ && !unread_.empty()) serve();
        in_data_ = false;
        if (!broken_) send(kSync);
        while (!broken_ && !unread_.empty()) serve();
        if (broken_) return;
        EXPECT_EQ(queue_.front(), nullptr);
        EXPECT_TRUE(requests_.empty());
    }

private:
    static constexpr Message kCopyEnd{Expect::copy_end};
    static constexpr Message kSync{Expect::sync};
    static constexpr std::array kKinds{
        Message{Expect::parse},          Message{Expect::bind},
        Message{Expect::describe},       Message{Expect::execute},
        Message{Expect::close},          Message{Expect::execute},
        Message{Expect::sync},           Message{Expect::query},
        Message{Expect::function_call},  Message{Expect::sync},
        Message{Expect::copy_end},       Message{Expect::copy_end},
        Message{Expect::copy_end, true}, Message{Expect::copy_end, true}};

    unsigned roll(std::size_t below) { return random_() % static_cast<unsigned>(below); }

    void send(Message message) {
        if (message.is_data) {
            in_data_ = true;
            queue_.copy_data_sent();
            return unread_.push_back(message);
        }
        if (message.what == Expect::copy_end) {
            in_data_ = false;
            queue_.push({.what = message.what});
            return unread_.push_back(message);
        }
        // While it is in doubt what a Sync between copy data was, the session waits; between the
        // data of an Execute no client known sends one.
        if (in_data_ && message.what != Expect::sync) return;
        if (in_data_ && !simple_) return;
        if (queue_.in_doubt() && !queue_.copying() && message.what != Expect::sync) return;
        if (message.what != Expect::sync) simple_ = message.what == Expect::query;
        unread_.push_back(message);
        if (requests_.empty() || !requests_.back().open)
            requests_.push_back(Request{message.what == Expect::sync, true});
        const bool owed = queue_.push({.what = message.what});
        if (owed && ends_request(message.what)) {
            requests_.back().open = false;
        } else if (requests_.back().bare) {
            requests_.pop_back();
        }
    }

    void serve() {
        if (unread_.empty()) return;
        const auto message = unread_.front();
        unread_.pop_front();
        if (copy_ != Copy::no) return copy(message);
        if (skips_ && message.what != Expect::sync) return;
        skips_ = false;
        switch (message.what) {
            case Expect::copy_end:
                return;  // and data: ignored
            case Expect::sync:
                return ready();
            case Expect::query:
            case Expect::function_call:
                if (message.what == Expect::query && !message.is_ours && roll(3) == 0)
                    return begin_copy(Copy::of_query);
                answer(message.what);
                return ready();
            default:
                if (message.what == Expect::execute && roll(2) == 0)
                    return begin_copy(Copy::of_execute);
                answer(message.what);
                if (roll(4) == 0) return fail();
                queue_.pop();
        }
    }

    void copy(Message message) {
        if (message.what == Expect::sync) return;
        if (message.what != Expect::copy_end) {
            broken_ = true;  // the server closes the connection
            return;
        }
        const bool fails = roll(3) == 0;
        if (message.is_data && !fails) return;
        const auto kind = std::exchange(copy_, Copy::no);
        if (fails) {
            queue_.copy_in_failed();
            return kind == Copy::of_query ? ready() : fail();
        }
        go_on(queue_.copy_in_completed());
        if (kind == Copy::of_query) return ready();
        answer(Expect::execute);
        queue_.pop();
    }

    void begin_copy(Copy kind) {
        answer(kind == Copy::of_query ? Expect::query : Expect::execute);
        go_on(queue_.copy_in_started());
        copy_ = kind;
    }

    // Something else than ReadyForQuery.
    void answer(Expect what) {
        if (queue_.in_doubt()) go_on(queue_.settle());
        const auto* owed = queue_.front();
        ASSERT_NE(owed, nullptr);
        ASSERT_EQ(owed->what, what);
    }

    void fail() {
        skips_ = true;
        go_on(queue_.skip_to_sync([](const Expected&) {}));
    }

    void ready() {
        const auto* owed = queue_.front();
        ASSERT_NE(owed, nullptr);
        ASSERT_TRUE(ends_request(owed->what));
        if (!owed->internal) {
            ASSERT_FALSE(requests_.empty());
            ASSERT_FALSE(requests_.front().open);
            requests_.pop_front();
        }
        queue_.pop();
        if (!queue_.in_doubt()) return;
        queue_.push({.what = Expect::query, .internal = true, .purpose = Purpose::settle});
        unread_.push_back(Message{Expect::query, false, true});
    }

    void go_on(const UnansweredEnds& ends) {
        for (auto place = ends.rbegin(); place != ends.rend(); ++place) {
            const auto at = requests_.begin() + static_cast<std::ptrdiff_t>(*place);
            if (at->bare) {
                requests_.erase(at);
            } else if (at + 1 == requests_.end()) {
                at->open = true;
            } else {
                at->open = (at + 1)->open;
                requests_.erase(at + 1);
            }
        }
    }

    std::mt19937 random_;
    Queue queue_;
    std::deque<Message> unread_;  // by the server
    std::deque<Request> requests_;
    Copy copy_ = Copy::no;
    bool skips_ = false;
    bool broken_ = false;
    bool in_data_ = false;  // copy data was sent, and not its end
    bool simple_ = false;   // behind a Query
};

TEST(ReplyQueue, AgreesWithAServerOnRandomPipelines) {
    const auto first = std::random_device{}();
    for (unsigned round = 0; round < 5'000 && !testing::Test::HasFailure(); ++round) {
        SCOPED_TRACE(testing::Message() << "seed " << first + round);
        RandomPipeline{first + round}.run();
    }
}

TEST(ReplyQueue, AnErrorSkipsToTheNextSyncWhoeverSentIt) {
    Queue queue;
    EXPECT_FALSE(skips_to_own_sync(queue));
    queue.push({.what = Expect::parse, .internal = true});
    EXPECT_FALSE(skips_to_own_sync(queue));
    queue.push({.what = Expect::bind});
    queue.push({.what = Expect::sync});
    EXPECT_FALSE(skips_to_own_sync(queue));
    Queue ours;
    ours.push({.what = Expect::parse, .internal = true});
    ours.push({.what = Expect::sync, .internal = true});
    ours.push({.what = Expect::query});
    EXPECT_TRUE(skips_to_own_sync(ours));
}

// --- which message fits ---

constexpr std::array kExpectations{Expect::parse,    Expect::bind,         Expect::close,
                                   Expect::describe, Expect::execute,      Expect::sync,
                                   Expect::query,    Expect::function_call};

struct FitCase {
    std::string_view messages;  // types
    std::vector<Expect> part;   // where it is a part of the answer
    std::vector<Expect> last;   // where it ends the answer; wrong where it is neither
};

class FitTest : public testing::TestWithParam<FitCase> {};

TEST_P(FitTest, SaysWhatEachMessageIsToEachExpectation) {
    const auto& row = GetParam();
    const auto has = [](const std::vector<Expect>& all, Expect what) {
        return std::find(all.begin(), all.end(), what) != all.end();
    };
    for (const char type : row.messages)
        for (const auto what : kExpectations) {
            Queue queue({what});
            const auto expected = has(row.last, what)   ? Fit::last
                                  : has(row.part, what) ? Fit::part
                                                        : Fit::wrong;
            EXPECT_EQ(fit(static_cast<std::uint8_t>(type), queue.front()), expected)
                << type << " to " << static_cast<int>(what);
            EXPECT_EQ(queue.entries().size(), 1U);
        }
}

const std::vector<Expect> kAll{kExpectations.begin(), kExpectations.end()};

INSTANTIATE_TEST_SUITE_P(
    Messages,
    FitTest,
    testing::Values(FitCase{"1", {}, {Expect::parse}},
                    FitCase{"2", {}, {Expect::bind}},
                    FitCase{"3", {}, {Expect::close}},
                    FitCase{"Z", {}, {Expect::sync, Expect::query, Expect::function_call}},
                    FitCase{"CIs", {Expect::query}, {Expect::execute}},
                    FitCase{"Tn", kAll, {Expect::describe}},
                    FitCase{"DtGHdcV", kAll, {}},
                    FitCase{"RKv?x", {}, {}}));

TEST(ReplyQueue, WhatAnswersNothingFitsAlways) {
    for (const auto what : kExpectations) {
        Queue queue({what});
        for (const char type : {'S', 'N', 'A'})
            EXPECT_EQ(fit(static_cast<std::uint8_t>(type), queue.front()), Fit::asynchronous);
        EXPECT_EQ(fit('E', queue.front()), Fit::error);
    }
    Queue nothing;
    EXPECT_EQ(fit('A', nothing.front()), Fit::asynchronous);
    EXPECT_EQ(fit('E', nothing.front()), Fit::error) << "the last words of a server";
    EXPECT_EQ(fit('Z', nothing.front()), Fit::wrong);
    EXPECT_EQ(fit('D', nothing.front()), Fit::wrong);
}

TEST(ReplyQueue, TheEndOfACopyIsPassedOver) {
    Queue queue({Expect::copy_end, Expect::sync});
    EXPECT_EQ(fit('Z', queue.front()), Fit::last);
    Queue nothing_else({Expect::copy_end});
    EXPECT_EQ(fit('C', nothing_else.front()), Fit::wrong);
}

}  // namespace
}  // namespace pgsteer::proxy
