// How a session ends: at once, with a last word, or when it is in nobody's way.
#include "proxy/session/ending.hpp"

#include "tests/support/session_world.hpp"

namespace pgsteer::proxy {
namespace {

using routing::TransactionStatus;
using testing::AllOf;
using testing::HasSubstr;
using testing::IsEmpty;

class EndingTest : public SessionWorld {
protected:
    [[nodiscard]] std::string last_words() {
        run();
        return client_end_.heard();
    }

    TransactionEnd transaction_end_{lodging_, client_, who_, course_, memory_, sides_};
    Ending ending_{lodging_, client_, who_, course_, memory_, sides_, transaction_end_};
};

// --- leave ---

TEST_F(EndingTest, ClosesTheClient) {
    ending_.leave();
    EXPECT_TRUE(client_.closing);
    EXPECT_FALSE(client_.stream.is_open());
}

TEST_F(EndingTest, GivesBothConnectionsBack) {
    connect(Slot::primary);
    connect(Slot::replica);
    ending_.leave();
    run();
    EXPECT_THAT(server(Slot::primary).heard(), HasSubstr("DISCARD ALL"));
    EXPECT_THAT(server(Slot::replica).heard(), HasSubstr("DISCARD ALL"));
}

TEST_F(EndingTest, CancelsWhatIsInFlight) {
    const auto connection = connect(Slot::primary).shared_from_this();
    owes(Slot::primary);
    request(Slot::primary);
    ending_.leave();
    EXPECT_EQ(connection->cancels_in_flight, 1);
}

TEST_F(EndingTest, CancelsNothingWhereOnlyWeAreOwed) {
    const auto connection = connect(Slot::primary).shared_from_this();
    owes_us(Slot::primary, Purpose::sample);
    ending_.leave();
    EXPECT_EQ(connection->cancels_in_flight, 0);
}

TEST_F(EndingTest, CancelsNothingWhereNothingIsOwed) {
    const auto connection = connect(Slot::replica).shared_from_this();
    connect(Slot::primary);
    owes(Slot::primary);
    request(Slot::primary);
    ending_.leave();
    EXPECT_EQ(connection->cancels_in_flight, 0);
}

TEST_F(EndingTest, CountsWhatWasInFlightNoMore) {
    connect(Slot::primary);
    owes(Slot::primary);
    request(Slot::primary);
    ending_.leave();
    EXPECT_TRUE(course_.requests.empty());
    EXPECT_EQ(lodging_.around.in_flight()[0], 0U);
}

TEST_F(EndingTest, WakesWhoWaits) {
    const auto waiting = start(course_.changed.wait());
    EXPECT_FALSE(*waiting);
    ending_.leave();
    run();
    EXPECT_TRUE(*waiting);
}

TEST_F(EndingTest, TellsOfLoginsThatMayHaveChanged) {
    transaction_end_.changes_logins();
    ending_.leave();
    EXPECT_EQ(worker_.login_changes, 1);
}

TEST_F(EndingTest, ClosesAlsoWhatWasConnectedAfterIt) {
    ending_.leave();
    connect(Slot::primary);
    ending_.leave();
    EXPECT_FALSE(sides_[Slot::primary].lease);
}

TEST_F(EndingTest, DoesNothingASecondTime) {
    ending_.leave();
    transaction_end_.changes_logins();
    ending_.leave();
    EXPECT_EQ(worker_.login_changes, 0);
}

// --- die ---

TEST_F(EndingTest, SaysWhyItDies) {
    ending_.die(ProxyErrc::server_lost, "it is gone");
    EXPECT_THAT(last_words(),
                AllOf(HasSubstr("SFATAL"), HasSubstr("C08006"), HasSubstr("Mit is gone")));
    EXPECT_FALSE(client_.stream.is_open());
}

TEST_F(EndingTest, SaysItAsTheTableOfErrorsDoes) {
    ending_.die(ProxyErrc::server_lost);
    EXPECT_THAT(last_words(), HasSubstr(std::string{info(ProxyErrc::server_lost).message}));
}

TEST_F(EndingTest, DiesOnlyOnce) {
    ending_.die(ProxyErrc::server_lost);
    (void)last_words();
    ending_.die(ProxyErrc::shutting_down);
    EXPECT_EQ(counters().errors[static_cast<std::size_t>(ProxyErrc::shutting_down)].get(), 0U);
}

TEST_F(EndingTest, SaysNothingInTheMiddleOfARelayedMessage) {
    wire::MessageBoundary relayed;
    relayed.passed(wire::as_bytes("d"));
    client_.relayed = &relayed;
    ending_.die(ProxyErrc::shutting_down);
    EXPECT_THAT(last_words(), IsEmpty());
    EXPECT_TRUE(client_.closing);
}

// --- drain ---

TEST_F(EndingTest, DrainsASessionThatIsIdle) {
    ending_.drain();
    EXPECT_THAT(last_words(), AllOf(HasSubstr("SFATAL"), HasSubstr("C57P01")));
}

TEST_F(EndingTest, DrainsWhenWhatIsInFlightIsAnswered) {
    request(Slot::primary);
    ending_.drain();
    EXPECT_FALSE(client_.closing);
    course_.requests.finish_front();
    ending_.drain_if_asked();
    EXPECT_TRUE(client_.closing);
}

TEST_F(EndingTest, DrainsNothingThatIsBeingRunAgain) {
    course_.running_again = true;
    ending_.drain();
    EXPECT_FALSE(client_.closing);
}

TEST_F(EndingTest, DrainsWhenTheTransactionHasEnded) {
    completed(Slot::primary, "begin", TransactionStatus::in_block);
    ending_.drain();
    EXPECT_FALSE(client_.closing);
    completed(Slot::primary, "commit", TransactionStatus::idle);
    ending_.drain_if_asked();
    EXPECT_TRUE(client_.closing);
}

TEST_F(EndingTest, DrainsNobodyInTheMiddleOfABatch) {
    (void)receive(support::message('P', std::string_view{"s1\0select 1\0\0\0", 14}));
    ending_.drain();
    EXPECT_FALSE(client_.closing);
}

TEST_F(EndingTest, DrainsNobodyWhoIsLoggingIn) {
    who_.is_registered = false;
    ending_.drain();
    EXPECT_FALSE(client_.closing);
}

TEST_F(EndingTest, DrainsNobodyWhereItWasNotAskedFor) {
    ending_.drain_if_asked();
    EXPECT_FALSE(client_.closing);
}

// --- stop ---

TEST_F(EndingTest, StopsASessionWhateverIsInFlight) {
    connect(Slot::primary);
    owes(Slot::primary);
    request(Slot::primary);
    ending_.stop();
    EXPECT_THAT(last_words(), HasSubstr("C57P01"));
    EXPECT_TRUE(client_.closing);
}

TEST_F(EndingTest, StopsWithoutAWordBeforeTheProtocolIsAgreedOn) {
    who_.is_registered = false;
    ending_.stop();
    EXPECT_THAT(last_words(), IsEmpty());
    EXPECT_TRUE(client_.closing);
}

}  // namespace
}  // namespace pgsteer::proxy
