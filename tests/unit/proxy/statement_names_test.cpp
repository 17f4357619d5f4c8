#include "proxy/server/statement_names.hpp"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace pgsteer::proxy {
namespace {

NamedStatement make(std::uint64_t id) { return {.id = id}; }

class StatementNamesTest : public testing::Test {
protected:
    SentMessage parse(std::string_view name, std::uint64_t id) {
        return names.parse(name, {.id = id});
    }
    SentMessage sync() { return names.send(MessageKind::sync); }
    SentMessage extended() { return names.send(MessageKind::extended); }
    SentMessage query() { return names.send(MessageKind::query); }
    void ready() { names.commit(); }
    // It is there, and nothing is under way.
    void have(std::string_view name, std::uint64_t id) {
        const auto message = parse(name, id);
        sync();
        names.completed(message);
        ready();
    }
    std::uint64_t now(std::string_view name) const { return names.now(name).id; }
    std::uint64_t after(std::string_view name) const { return names.after(name).id; }
    // 0: there is none; -1: it is not certain.
    int next(std::string_view name) const {
        const auto* const next = names.next(name);
        return next == nullptr ? -1 : static_cast<int>(next->id);
    }

    StatementNames names{1'000};
};

TEST(NameOf, IsWhatTheServerTakesOfAName) {
    EXPECT_EQ(name_of(""), "");
    EXPECT_EQ(name_of(std::string(63, 'n')), std::string(63, 'n'));
    EXPECT_EQ(name_of(std::string(64, 'n')), std::string(63, 'n'));
    EXPECT_EQ(name_of(std::string(63, 'n') + "1"), name_of(std::string(63, 'n') + "2"));
}

TEST(NameOf, CutsACharacterInTwo) {
    EXPECT_EQ(name_of(std::string(62, 'n') + "\xe2\x82\xac"), std::string(62, 'n') + "\xe2");
}

TEST_F(StatementNamesTest, KnowNothingAtFirst) {
    EXPECT_EQ(now("a"), 0U);
    EXPECT_EQ(after(""), 0U);
    EXPECT_TRUE(names.is_certain("a"));
    EXPECT_TRUE(names.is_certain(""));
    EXPECT_EQ(next("a"), 0);
}

TEST_F(StatementNamesTest, HaveWhatWasParsedWhenThatIsAnswered) {
    const auto message = parse("a", 1);
    sync();
    EXPECT_EQ(now("a"), 0U);
    EXPECT_EQ(after("a"), 1U);
    EXPECT_FALSE(names.is_certain("a"));
    EXPECT_EQ(next("a"), -1);
    names.completed(message);
    EXPECT_EQ(now("a"), 1U);
    EXPECT_TRUE(names.is_certain("a"));
    EXPECT_EQ(next("a"), 1);
}

TEST_F(StatementNamesTest, AreCertainOfWhatWasParsedForWhatIsSkippedWithIt) {
    parse("a", 1);
    EXPECT_EQ(next("a"), 1);
    names.close("a");
    EXPECT_EQ(next("a"), 0);
    sync();
    EXPECT_EQ(next("a"), -1);
}

TEST_F(StatementNamesTest, KeepWhatIsThereWhenItIsParsedAgain) {
    have("a", 1);
    const auto again = parse("a", 2);
    EXPECT_EQ(after("a"), 1U);
    EXPECT_TRUE(names.is_certain("a"));
    names.failed(again);
    EXPECT_EQ(now("a"), 1U);
}

TEST_F(StatementNamesTest, ExpectNothingBehindWhatMustFail) {
    have("a", 1);
    const auto again = parse("a", 2);
    names.close("a");
    parse("b", 3);
    EXPECT_EQ(after("a"), 1U);
    EXPECT_EQ(after("b"), 0U);
    sync();
    parse("b", 4);
    EXPECT_EQ(after("b"), 4U);
    names.failed(again);
    EXPECT_EQ(now("a"), 1U);
    EXPECT_EQ(after("b"), 4U);
}

TEST_F(StatementNamesTest, TakeTwoNamesForOneIfTheServerDoes) {
    const std::string cut(63, 'n');
    have(cut + "1", 1);
    EXPECT_EQ(now(cut + "22"), 1U);
    EXPECT_EQ(now(cut), 1U);
    const auto closed = names.close(cut + "333");
    names.completed(closed);
    EXPECT_EQ(now(cut + "1"), 0U);
}

TEST_F(StatementNamesTest, LoseTheUnnamedOneToAParseThatFails) {
    have("", 1);
    const auto again = parse("", 2);
    EXPECT_EQ(now(""), 1U);
    EXPECT_EQ(after(""), 2U);
    EXPECT_FALSE(names.is_certain(""));
    names.failed(again);
    EXPECT_EQ(now(""), 0U);
    EXPECT_EQ(after(""), 0U);
}

TEST_F(StatementNamesTest, KeepTheUnnamedOneBehindAnError) {
    have("", 1);
    const auto wrong = extended();
    parse("", 2);
    query();
    names.failed(wrong);
    EXPECT_EQ(now(""), 1U);
    EXPECT_EQ(after(""), 1U);
    EXPECT_TRUE(names.is_certain(""));
}

TEST_F(StatementNamesTest, LoseTheUnnamedOneToAQueryWhateverComesOfIt) {
    have("", 1);
    auto message = query();
    EXPECT_EQ(now(""), 1U);
    EXPECT_EQ(after(""), 0U);
    names.completed(message, 0);
    EXPECT_EQ(now(""), 0U);
    have("", 2);
    message = query();
    names.failed(message);
    EXPECT_EQ(now(""), 0U);
}

TEST_F(StatementNamesTest, KeepTheUnnamedOneInAFunctionCallAndInDeallocateAll) {
    have("", 1);
    names.completed(names.send(MessageKind::function_call));
    const auto execute = extended();
    names.deallocate_all(0);
    EXPECT_EQ(after(""), 1U);
    EXPECT_TRUE(names.is_certain(""));
    names.completed(execute);
    EXPECT_EQ(now(""), 1U);
}

TEST_F(StatementNamesTest, AreRightWhenSeveralRequestsUnderWayFail) {
    have("a", 1);
    const auto closed = names.close("a");
    const auto wrong = extended();
    sync();
    const auto parsed = parse("a", 2);
    const auto wrong_too = extended();
    names.close("a");
    sync();
    EXPECT_EQ(after("a"), 0U);
    names.completed(closed);
    names.failed(wrong);
    EXPECT_EQ(now("a"), 0U);
    names.completed(parsed);
    EXPECT_EQ(now("a"), 2U);
    names.failed(wrong_too);
    EXPECT_EQ(now("a"), 2U);
    EXPECT_EQ(after("a"), 2U);
    EXPECT_TRUE(names.is_certain("a"));
}

TEST_F(StatementNamesTest, ForeseeWhatFailsBecauseSomethingElseHas) {
    have("a", 1);
    const auto wrong = extended();
    names.close("a");
    sync();
    const auto again = parse("a", 2);
    sync();
    EXPECT_EQ(after("a"), 2U);
    names.failed(wrong);
    EXPECT_EQ(after("a"), 1U);  // it is there, and cannot be prepared again
    names.failed(again);
    EXPECT_EQ(now("a"), 1U);
}

TEST_F(StatementNamesTest, SkipUpToTheSyncAlone) {
    const auto wrong = extended();
    parse("a", 1);
    sync();
    const auto good = parse("a", 2);
    names.failed(wrong);
    EXPECT_EQ(after("a"), 2U);
    names.completed(good);
    EXPECT_EQ(now("a"), 2U);
}

TEST_F(StatementNamesTest, SkipWhatIsSentBehindAnErrorThatHasBeenSeen) {
    names.failed(extended());
    parse("a", 1);
    names.close("b");
    query();
    EXPECT_EQ(after("a"), 0U);
    EXPECT_TRUE(names.is_certain("a"));
    sync();
    parse("a", 2);
    EXPECT_EQ(after("a"), 2U);
}

TEST_F(StatementNamesTest, SkipNothingBehindAQueryThatFails) {
    const auto wrong = query();
    const auto parsed = parse("a", 1);
    names.failed(wrong);
    EXPECT_EQ(after("a"), 1U);
    names.completed(parsed);
    EXPECT_EQ(now("a"), 1U);
}

TEST_F(StatementNamesTest, KeepWhatAQueryHasDoneBeforeItFails) {
    have("b", 9);
    const auto message = query();
    names.prepare("a", make(1), 0);
    names.deallocate("b", 1);
    names.prepare("c", make(2), 2);
    EXPECT_EQ(after("a"), 1U);
    EXPECT_EQ(after("b"), 0U);
    EXPECT_EQ(after("c"), 2U);
    names.completed(message, 0);
    EXPECT_EQ(now("a"), 1U);
    EXPECT_EQ(now("b"), 9U);
    names.completed(message, 1);
    names.failed(message);
    EXPECT_EQ(now("a"), 1U);
    EXPECT_EQ(now("b"), 0U);
    EXPECT_EQ(now("c"), 0U);
    EXPECT_EQ(after("c"), 0U);
}

TEST_F(StatementNamesTest, ExpectNoMoreOfAQueryThatMustFail) {
    query();
    names.deallocate("a", 0);
    names.prepare("b", make(1), 1);
    EXPECT_EQ(after("b"), 0U);
    parse("c", 2);
    EXPECT_EQ(after("c"), 2U);
}

TEST_F(StatementNamesTest, AreNotCertainOfWhatAQueryInFrontPrepares) {
    query();
    names.prepare("a", make(1), 0);
    EXPECT_EQ(next("a"), -1);
    EXPECT_EQ(after("a"), 1U);
}

TEST_F(StatementNamesTest, AreCertainOfWhatAQueryInFrontDrops) {
    have("", 1);
    query();
    EXPECT_EQ(next(""), 0);
    sync();
    EXPECT_EQ(next(""), -1);
}

TEST_F(StatementNamesTest, AreCertainOfWhatCannotChange) {
    names.close("a");
    EXPECT_TRUE(names.is_certain("a"));  // there is none
    have("b", 1);
    names.close("a");
    parse("b", 2);  // fails
    EXPECT_TRUE(names.is_certain("b"));
    sync();
    names.close("b");
    EXPECT_FALSE(names.is_certain("b"));
    EXPECT_TRUE(names.is_certain("c"));
}

TEST_F(StatementNamesTest, ForgetAllNamesAtDeallocateAll) {
    have("a", 1);
    have("b", 2);
    parse("c", 3);
    const auto execute = extended();
    names.deallocate_all(0);
    const auto last = parse("d", 4);
    EXPECT_EQ(after("a"), 0U);
    EXPECT_EQ(after("c"), 0U);
    EXPECT_EQ(after("d"), 4U);
    EXPECT_EQ(next("b"), 0);
    EXPECT_FALSE(names.is_certain("a"));
    EXPECT_EQ(now("a"), 1U);
    names.completed(execute);
    EXPECT_EQ(now("a"), 0U);
    EXPECT_EQ(now("d"), 0U);
    names.completed(last);
    EXPECT_EQ(now("d"), 4U);
    ready();
    EXPECT_EQ(names.size(), 1U);
    EXPECT_EQ(after("d"), 4U);
}

TEST_F(StatementNamesTest, HaveAllNamesAgainWhenDeallocateAllFails) {
    have("a", 1);
    const auto execute = extended();
    names.deallocate_all(0);
    EXPECT_EQ(after("a"), 0U);
    names.failed(execute);
    EXPECT_EQ(after("a"), 1U);
    EXPECT_TRUE(names.is_certain("a"));
}

TEST_F(StatementNamesTest, FailAtDeallocateOfWhatIsNotThere) {
    const auto execute = extended();
    names.deallocate("a", 0);
    parse("b", 1);
    EXPECT_EQ(after("b"), 0U);
    names.failed(execute);
    EXPECT_EQ(now("b"), 0U);
}

TEST_F(StatementNamesTest, BelieveTheServer) {
    have("a", 1);
    names.completed(parse("a", 2));  // somebody has deallocated it behind our back
    EXPECT_EQ(now("a"), 2U);
    EXPECT_EQ(after("a"), 2U);
}

TEST_F(StatementNamesTest, TakeWhatWasLeftOutForNotDone) {
    parse("a", 1);
    names.completed(parse("b", 2));
    EXPECT_EQ(now("a"), 0U);
    EXPECT_EQ(after("a"), 0U);
    EXPECT_EQ(now("b"), 2U);
}

TEST_F(StatementNamesTest, TakeBackWhatIsNotFinal) {
    have("a", 1);
    have("", 5);
    const auto closed = names.close("a");
    const auto parsed = parse("a", 2);
    parse("", 6);
    names.completed(closed);
    names.completed(parsed);
    EXPECT_EQ(now("a"), 2U);
    names.withdraw();
    EXPECT_EQ(now("a"), 1U);
    EXPECT_EQ(after("a"), 1U);
    EXPECT_EQ(after(""), 5U);
    EXPECT_TRUE(names.is_certain("a"));
    EXPECT_EQ(next("a"), 1);
}

TEST_F(StatementNamesTest, ListenToNoAnswerToWhatWasTakenBack) {
    const auto parsed = parse("a", 1);
    const auto wrong = extended();
    names.withdraw();
    names.completed(parsed);
    names.failed(wrong);
    parse("a", 2);
    EXPECT_EQ(now("a"), 0U);
    EXPECT_EQ(after("a"), 2U);
}

TEST_F(StatementNamesTest, TakeBackDeallocateAll) {
    have("a", 1);
    const auto execute = extended();
    names.deallocate_all(0);
    names.completed(execute);
    names.withdraw();
    EXPECT_EQ(now("a"), 1U);
    EXPECT_EQ(names.size(), 1U);
}

TEST_F(StatementNamesTest, FailWithUs) {
    have("", 1);
    have("a", 2);
    const auto closed = names.close("a");
    parse("", 3);
    const auto last = sync();
    const auto other = parse("b", 4);
    names.completed(closed);
    names.fail_up_to(last);
    EXPECT_EQ(now(""), 0U);
    EXPECT_EQ(now("a"), 0U);  // that was answered
    EXPECT_EQ(after("b"), 4U);
    names.fail_up_to(last);  // nothing is left of it
    EXPECT_EQ(after("b"), 4U);
    names.completed(other);
    EXPECT_EQ(now("b"), 4U);
}

TEST_F(StatementNamesTest, ForgetWhatIsTooMuchAndSaySo) {
    StatementNames few{2};
    few.completed(few.parse("a", make(1)));
    few.completed(few.parse("b", make(2)));
    few.commit();
    EXPECT_TRUE(few.is_complete());
    few.parse("c", make(3));
    EXPECT_FALSE(few.is_complete());
    EXPECT_FALSE(few.is_certain("c"));
    EXPECT_EQ(few.next("d"), nullptr);
    EXPECT_EQ(few.now("a").id, 1U);
    EXPECT_TRUE(few.is_certain("a"));
    const auto execute = few.send(MessageKind::extended);
    few.deallocate("c", 0);  // may be there
    few.deallocate_all(0);
    few.completed(execute);
    few.commit();
    EXPECT_TRUE(few.is_complete());
    EXPECT_EQ(few.size(), 0U);
}

TEST_F(StatementNamesTest, AreIncompleteIfANameWasForgottenBehindDeallocateAll) {
    StatementNames few{1};
    few.completed(few.parse("a", make(1)));
    few.commit();
    const auto execute = few.send(MessageKind::extended);
    few.deallocate_all(0);
    few.parse("b", make(2));
    few.completed(execute);
    few.commit();
    EXPECT_FALSE(few.is_complete());
}

TEST_F(StatementNamesTest, AreAsCheapInLongPipelines) {
    std::vector<SentMessage> sent;
    for (std::uint64_t i = 1; i <= 50'000; ++i) {
        sent.push_back(parse("a", i));
        sent.push_back(names.close("a"));
        sync();
        EXPECT_EQ(after("a"), 0U);
    }
    for (const auto& message : sent) {
        names.completed(message);
        names.commit();
    }
    EXPECT_EQ(names.size(), 0U);
}

TEST_F(StatementNamesTest, AreAsCheapWhereAllOfALongPipelineFails) {
    std::vector<SentMessage> sent;
    for (std::uint64_t i = 1; i <= 50'000; ++i) {
        sent.push_back(parse("a", i));
        sync();
    }
    for (const auto& message : sent) {
        names.failed(message);
        names.commit();
    }
    EXPECT_EQ(names.size(), 0U);
    EXPECT_EQ(after("a"), 0U);
}

}  // namespace
}  // namespace pgsteer::proxy
