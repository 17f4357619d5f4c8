// A CancelRequest of the client's: whom it hits, and when.
#include "proxy/session/cancelling.hpp"

#include "tests/support/session_world.hpp"

namespace pgsteer::proxy {
namespace {

class CancellingTest : public SessionWorld {
protected:
    // A request of the client's that the primary is working on.
    ServerConnection& working() {
        auto& connection = connect(Slot::primary);
        owes(Slot::primary);
        request(Slot::primary);
        return connection;
    }
    void cancel() { cancelling_.requested(who_.key.secret_key); }

    Cancelling cancelling_{lodging_, who_, course_, sides_};
};

TEST_F(CancellingTest, PassesACancelOn) {
    auto& connection = working();
    cancel();
    EXPECT_EQ(connection.cancels_in_flight, 1);
    EXPECT_EQ(course_.cancel, Cancel::passed_on);
    EXPECT_EQ(counters().cancels.get(), 1U);
}

TEST_F(CancellingTest, IgnoresOneOfSomebodyElse) {
    auto& connection = working();
    cancelling_.requested(who_.key.secret_key + 1);
    EXPECT_EQ(connection.cancels_in_flight, 0);
    EXPECT_EQ(counters().cancels.get(), 0U);
}

TEST_F(CancellingTest, IgnoresOneWhileNothingIsGoingOn) {
    cancel();
    EXPECT_EQ(course_.cancel, Cancel::none);
    EXPECT_EQ(counters().cancels.get(), 0U);
}

TEST_F(CancellingTest, PassesASecondOneOnOnlyToThatRequest) {
    auto& connection = working();
    cancel();
    cancel();
    EXPECT_EQ(connection.cancels_in_flight, 1);
    EXPECT_EQ(counters().cancels.get(), 2U);
}

TEST_F(CancellingTest, HitsNothingThatWeHaveSentInFront) {
    auto& connection = connect(Slot::primary);
    owes_us(Slot::primary);
    owes(Slot::primary);
    request(Slot::primary);
    cancel();
    EXPECT_EQ(connection.cancels_in_flight, 0);
    EXPECT_EQ(course_.cancel, Cancel::asked);
}

TEST_F(CancellingTest, HitsTheClientsMessageOnceItIsBeingAnswered) {
    auto& connection = connect(Slot::primary);
    owes_us(Slot::primary);
    owes(Slot::primary);
    request(Slot::primary);
    cancel();
    connection.replies.pop();
    cancelling_.pass_on_if_asked();
    EXPECT_EQ(connection.cancels_in_flight, 1);
}

TEST_F(CancellingTest, PassesNothingOnThatWasNotAsked) {
    auto& connection = working();
    cancelling_.pass_on_if_asked();
    EXPECT_EQ(connection.cancels_in_flight, 0);
}

TEST_F(CancellingTest, IsOverWhereTheClientHasItsAnswer) {
    connect(Slot::primary);
    request(Slot::primary);
    cancel();
    EXPECT_EQ(course_.cancel, Cancel::none);
}

TEST_F(CancellingTest, HoldsForTheBatchThatIsBeingDispatched) {
    connect(Slot::primary);
    request(Slot::primary);
    course_.choosing = true;
    cancel();
    EXPECT_EQ(course_.cancel, Cancel::asked);
}

TEST_F(CancellingTest, WaitsForARequestThatIsBetweenTwoServers) {
    auto& connection = working();
    course_.running_again = true;
    cancel();
    EXPECT_EQ(connection.cancels_in_flight, 0);
    EXPECT_EQ(course_.cancel, Cancel::asked);
}

TEST_F(CancellingTest, WaitsWhereTheConnectionIsGone) {
    request(Slot::primary);
    cancel();
    EXPECT_EQ(course_.cancel, Cancel::asked);
}

TEST_F(CancellingTest, EndsAWaitForAConnection) {
    course_.choosing = true;
    auto& group = connections_.group_of(PoolWorld::key());
    while (group.budget->try_take()) {
    }
    const auto target = PoolWorld::target();
    const auto waits = base().start(lodging_.around.pool().acquire(target, course_.place_in_pool));
    EXPECT_FALSE(*waits);
    cancel();
    run();
    ASSERT_TRUE(*waits);
    EXPECT_EQ((*waits)->failure.reason(), ProxyErrc::query_canceled);
}

TEST_F(CancellingTest, WakesWhoWaits) {
    course_.choosing = true;
    const auto waits = start(course_.changed.wait());
    cancel();
    run();
    EXPECT_TRUE(*waits);
}

}  // namespace
}  // namespace pgsteer::proxy
