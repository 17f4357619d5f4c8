// The server connections of a session: who hears them, and what becomes of them and of what the
// session had there.
#include "proxy/session/sides.hpp"

#include "tests/support/session_world.hpp"

namespace pgsteer::proxy {
namespace {

using routing::TransactionStatus;
using testing::HasSubstr;
using testing::IsEmpty;

class SidesTest : public SessionWorld {};

// --- who hears them ---

TEST_F(SidesTest, TellWhatAServerSaysToTheEarOfItsSlot) {
    connect(Slot::primary);
    connect(Slot::replica);
    server(Slot::replica).say("hello");
    EXPECT_EQ(ear(Slot::replica).heard, "hello");
    EXPECT_THAT(ear(Slot::primary).heard, IsEmpty());
}

TEST_F(SidesTest, HoldAConnectionUntilItIsReleased) {
    const auto connection = connect(Slot::primary).shared_from_this();
    EXPECT_TRUE(sides_.is_held(*connection));
    sides_.release(Slot::primary);
    EXPECT_FALSE(sides_.is_held(*connection));
}

TEST_F(SidesTest, DoNotHoldWhatIsSomebodyElses) {
    connect(Slot::primary);
    OtherEnd end{base().io};
    const auto other = PoolWorld::connected(end);
    EXPECT_FALSE(sides_.is_held(*other));
}

TEST_F(SidesTest, HoldNothingBeforeItIsKnownWhoHears) {
    const Sides sides{memory_};
    EXPECT_FALSE(sides.is_held(connect(Slot::primary)));
}

// --- given back ---

TEST_F(SidesTest, GiveAConnectionBackToBeReset) {
    connect(Slot::primary);
    sides_.release(Slot::primary);
    run();
    EXPECT_FALSE(sides_[Slot::primary].lease);
    EXPECT_THAT(server(Slot::primary).heard(), HasSubstr("DISCARD ALL"));
}

TEST_F(SidesTest, CloseOneThatIsInTheMiddleOfAMessage) {
    connect(Slot::primary);
    sides_[Slot::primary].partial = 1;
    sides_.release(Slot::primary);
    run();
    EXPECT_EQ(server(Slot::primary).heard(), support::message('X', ""));
}

TEST_F(SidesTest, GiveNobodyElseOneThatKnowsACustomSetting) {
    const auto connection = connect(Slot::primary).shared_from_this();
    completed(Slot::primary, "set my.own = '1'", TransactionStatus::idle);
    sides_.release(Slot::primary);
    EXPECT_TRUE(connection->outlives_discard_all);
}

TEST_F(SidesTest, GiveOthersOneThatKnowsNone) {
    const auto connection = connect(Slot::primary).shared_from_this();
    completed(Slot::primary, "set datestyle = 'iso'", TransactionStatus::idle);
    sides_.release(Slot::primary);
    EXPECT_FALSE(connection->outlives_discard_all);
}

TEST_F(SidesTest, HaveNothingToReleaseWhereThereIsNone) {
    connect(Slot::primary);
    sides_.release(Slot::replica);
    EXPECT_TRUE(sides_[Slot::primary].lease);
}

TEST_F(SidesTest, CloseWhatIsDiscarded) {
    connect(Slot::replica);
    sides_.discard(Slot::replica);
    run();
    EXPECT_FALSE(sides_[Slot::replica].lease);
    EXPECT_EQ(server(Slot::replica).heard(), support::message('X', ""));
}

// --- what the session had there ---

TEST_F(SidesTest, RepeatSettingsOnANewConnection) {
    connect(Slot::primary);
    completed(Slot::primary, "set datestyle = 'iso'", TransactionStatus::idle);
    memory_.state.settings_applied(Slot::replica);
    connect(Slot::replica);
    EXPECT_TRUE(memory_.state.settings_pending(Slot::replica));
}

TEST_F(SidesTest, ForgetATransactionWithItsConnection) {
    connect(Slot::primary);
    completed(Slot::primary, "begin", TransactionStatus::in_block);
    sides_.discard(Slot::primary);
    EXPECT_FALSE(memory_.state.transaction_on());
}

TEST_F(SidesTest, KeepATransactionThatIsOnTheOtherConnection) {
    connect(Slot::primary);
    connect(Slot::replica);
    completed(Slot::primary, "begin", TransactionStatus::in_block);
    sides_.release(Slot::replica);
    EXPECT_EQ(memory_.state.transaction_on(), Slot::primary);
}

TEST_F(SidesTest, BeginAnewWithEachConnection) {
    connect(Slot::replica);
    sides_[Slot::replica].discarding = true;
    sides_[Slot::replica].verification.is_behind = true;
    sides_.discard(Slot::replica);
    EXPECT_FALSE(sides_[Slot::replica].discarding);
    EXPECT_FALSE(sides_[Slot::replica].verification.is_behind);
}

TEST_F(SidesTest, KnowWhichWasUsedLastAsLongAsItIsThere) {
    connect(Slot::primary);
    connect(Slot::replica);
    sides_.used(Slot::replica);
    sides_.release(Slot::primary);
    EXPECT_EQ(sides_.last_used(), Slot::replica);
    sides_.release(Slot::replica);
    EXPECT_FALSE(sides_.last_used());
}

TEST_F(SidesTest, KnowTheServerOfASlot) {
    connect(Slot::replica);
    EXPECT_EQ(sides_.server_of(Slot::replica), PoolWorld::kReplica);
}

TEST_F(SidesTest, KnowNoServerWhereNoneIsConnected) {
    EXPECT_EQ(sides_.server_of(Slot::replica), std::nullopt);
    EXPECT_EQ(sides_.server_of(std::nullopt), std::nullopt);
}

}  // namespace
}  // namespace pgsteer::proxy
