#include "proxy/pool/login_back_off.hpp"

#include "proxy/pool/connection_limit.hpp"

#include <gtest/gtest.h>

namespace pgsteer::proxy {
namespace {

using namespace std::chrono_literals;
using Advice = LoginBackOff::Advice;
using routing::ServerId;
using routing::TimePoint;

const BudgetKey kLogin{ServerId{1}, "app", "alice"};

struct BackOff : testing::Test {
    LoginBackOff back_off;
    TimePoint now = TimePoint{} + 1h;

    bool refuse(const BudgetKey& login = kLogin, std::string_view sqlstate = "28000") {
        return back_off.refused(login, sqlstate, "no", now);
    }
    Advice advise(const BudgetKey& login = kLogin) { return back_off.advise(login, now); }
};

TEST_F(BackOff, HasNothingAgainstALoginThatWasNotTried) { EXPECT_EQ(advise(), Advice::try_it); }

TEST_F(BackOff, KeepsARefusedLoginFromBeingTriedUntilItsDelayIsOver) {
    refuse();
    EXPECT_EQ(advise(), Advice::refused);
    now += LoginBackOff::kFirstDelay - 1ms;
    EXPECT_EQ(advise(), Advice::refused);
    now += 1ms;
    EXPECT_EQ(advise(), Advice::due);
}

TEST_F(BackOff, SendsOneToLookAgainAndNotAllThatAsk) {
    refuse();
    now += LoginBackOff::kFirstDelay;
    EXPECT_EQ(advise(), Advice::due);
    EXPECT_EQ(advise(), Advice::refused);
    now += LoginBackOff::kFirstDelay;  // the one that was sent was never heard of again
    EXPECT_EQ(advise(), Advice::due);
}

TEST_F(BackOff, DoublesTheDelayUpToALimit) {
    auto delay = LoginBackOff::kFirstDelay;
    for (int i = 0; i < 12; ++i) {
        refuse();
        now += delay - 1ms;
        ASSERT_EQ(advise(), Advice::refused) << i;
        now += 1ms;
        ASSERT_EQ(advise(), Advice::due) << i;
        delay = std::min(delay * 2, LoginBackOff::kLastDelay);
    }
    EXPECT_EQ(delay, LoginBackOff::kLastDelay);
}

TEST_F(BackOff, ConcernsNoOtherServerDatabaseOrUser) {
    refuse();
    EXPECT_EQ(advise({ServerId{2}, "app", "alice"}), Advice::try_it);
    EXPECT_EQ(advise({ServerId{1}, "app2", "alice"}), Advice::try_it);
    EXPECT_EQ(advise({ServerId{1}, "app", "bob"}), Advice::try_it);
}

TEST_F(BackOff, EndsWhenTheLoginIsAccepted) {
    refuse();
    back_off.accepted(kLogin, now);
    EXPECT_EQ(advise(), Advice::try_it);
    EXPECT_TRUE(back_off.report(now).empty());
}

TEST_F(BackOff, IsNewsWhenItBeginsAndWhenItsReasonChanges) {
    EXPECT_TRUE(refuse());
    EXPECT_FALSE(refuse());
    EXPECT_TRUE(refuse(kLogin, "53300"));
    EXPECT_FALSE(refuse(kLogin, "53300"));
}

TEST_F(BackOff, IsOverWhenNothingWasRefusedForAWhile) {
    refuse();
    back_off.accepted(kLogin, now);
    now += LoginBackOff::kSettled - 1ms;
    EXPECT_TRUE(back_off.settle(now).empty());
    now += 1ms;
    EXPECT_EQ(back_off.settle(now), std::vector{kLogin});
    EXPECT_TRUE(back_off.settle(now).empty()) << "once";
    EXPECT_TRUE(refuse()) << "news again";
}

// At a limit of connections some are let in and some are not, all the time.
TEST_F(BackOff, OfALoginThatComesAndGoesIsOneChangeOfState) {
    int news = 0;
    for (int i = 0; i < 100; ++i) {
        news += refuse() ? 1 : 0;
        now += 1s;
        back_off.accepted(kLogin, now);
        news += static_cast<int>(back_off.settle(now).size());
        now += 1s;
        news += static_cast<int>(back_off.settle(now).size());
    }
    EXPECT_EQ(news, 1);
}

TEST_F(BackOff, IsForgottenWhenNobodyWantsTheLogin) {
    refuse();
    now += LoginBackOff::kForgotten;
    EXPECT_TRUE(back_off.settle(now).empty());
    EXPECT_EQ(back_off.report(now).size(), 1U);
    EXPECT_NE(advise(), Advice::try_it);  // which is wanting it
    now += LoginBackOff::kForgotten + 1ms;
    EXPECT_TRUE(back_off.settle(now).empty()) << "forgotten is not accepted";
    EXPECT_TRUE(back_off.report(now).empty());
}

TEST_F(BackOff, RemembersALimitedNumberTheLatestOnes) {
    for (std::size_t i = 0; i < LoginBackOff::kMaxLogins + 100; ++i) {
        now += 1ms;
        refuse({ServerId{1}, "invented" + std::to_string(i), "alice"});
    }
    EXPECT_EQ(back_off.report(now).size(), LoginBackOff::kMaxLogins);
    EXPECT_EQ(advise({ServerId{1}, "invented0", "alice"}), Advice::try_it);
    EXPECT_NE(advise({ServerId{1}, "invented200", "alice"}), Advice::try_it);
}

TEST_F(BackOff, KeepsLittleOfALongError) {
    back_off.refused(kLogin, "28000", std::string(100'000, 'x'), now);
    EXPECT_EQ(back_off.report(now).front().error.size(), LoginBackOff::kMaxErrorBytes);
}

TEST_F(BackOff, LooksAgainAtOnceWhenServersHaveChanged) {
    for (int i = 0; i < 10; ++i) refuse();
    EXPECT_EQ(advise(), Advice::refused);
    back_off.try_all_again();
    EXPECT_EQ(advise(), Advice::due);
}

TEST_F(BackOff, ReportsWhoIsRefusedSinceWhenAndWhy) {
    refuse();
    now += 2s;
    refuse();
    const auto report = back_off.report(now);
    ASSERT_EQ(report.size(), 1U);
    EXPECT_EQ(report[0].server, routing::ServerId{1});
    EXPECT_EQ(report[0].database, "app");
    EXPECT_EQ(report[0].user, "alice");
    EXPECT_EQ(report[0].sqlstate, "28000");
    EXPECT_EQ(report[0].error, "no");
    EXPECT_DOUBLE_EQ(report[0].since_seconds, 2);
    EXPECT_EQ(report[0].refusals, 2U);
}

TEST(ConnectionLimit, IsToldByTheFunctionThatRaisedTheError) {
    EXPECT_EQ(limit_reached("InitializeSessionUserId"), ConnectionLimit::role);
    EXPECT_EQ(limit_reached("CheckMyDatabase"), ConnectionLimit::database);
    EXPECT_EQ(limit_reached("InitProcess"), ConnectionLimit::server);
    EXPECT_EQ(limit_reached("InitPostgres"), ConnectionLimit::server);
    EXPECT_EQ(limit_reached(""), ConnectionLimit::server);
}

TEST_F(BackOff, TellsWhetherAnyServerHasAcceptedTheLogin) {
    back_off.accepted({ServerId{0}, "app", "alice"}, now);
    refuse();
    refuse({ServerId{1}, "app", "bob"});
    const auto report = back_off.report(now);
    ASSERT_EQ(report.size(), 2U);
    EXPECT_TRUE(report[0].is_known);
    EXPECT_FALSE(report[1].is_known);
}

}  // namespace
}  // namespace pgsteer::proxy
