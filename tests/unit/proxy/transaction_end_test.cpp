// What is done when the session's transaction has ended, and not before.
#include "proxy/session/transaction_end.hpp"

#include "tests/support/session_world.hpp"

namespace pgsteer::proxy {
namespace {

using routing::TransactionStatus;
using testing::IsEmpty;

class TransactionEndTest : public SessionWorld {
protected:
    // The replica connection that the session holds; of a run of its server that goes on.
    ServerConnection& replica() { return connect(Slot::replica); }
    [[nodiscard]] bool is_outdated() {
        return sides_[Slot::replica].lease->origin.incarnation == kOutdated;
    }
    // The session has left a connection that was outdated, and gets another one.
    void connect_anew(ParameterMap parameters) {
        replica();
        transaction_end_.outdate_replica(PoolWorld::kReplica);
        sides_.discard(Slot::replica);
        OtherEnd end{base().io};
        const auto next = PoolWorld::connected(end, PoolWorld::kReplica);
        next->parameters = ReportedParameters{std::move(parameters)};
        transaction_end_.replica_connected(*next);
        run();
    }
    static SessionKind kind(std::string database, std::string user) {
        return {std::move(database), std::move(user), {}};
    }

    TransactionEnd transaction_end_{lodging_, client_, who_, course_, memory_, sides_};
};

// --- logins ---

TEST_F(TransactionEndTest, TellsOfChangedLoginsOnceItHasCome) {
    transaction_end_.changes_logins();
    EXPECT_EQ(worker_.login_changes, 0);
    transaction_end_.has_ended();
    EXPECT_EQ(worker_.login_changes, 1);
}

TEST_F(TransactionEndTest, TellsOfThemOnlyOnce) {
    transaction_end_.changes_logins();
    transaction_end_.has_ended();
    transaction_end_.has_ended();
    transaction_end_.session_ends();
    EXPECT_EQ(worker_.login_changes, 1);
}

TEST_F(TransactionEndTest, TellsOfThemAlsoWhereTheSessionEndsFirst) {
    transaction_end_.changes_logins();
    transaction_end_.session_ends();
    EXPECT_EQ(worker_.login_changes, 1);
}

TEST_F(TransactionEndTest, TellsOfNothingThatHasNotChanged) {
    transaction_end_.has_ended();
    transaction_end_.session_ends();
    EXPECT_EQ(worker_.login_changes, 0);
}

// --- a replica connection that is outdated ---

TEST_F(TransactionEndTest, OutdatesAReplicaAtOnceWhereNothingIsInFlight) {
    replica();
    transaction_end_.outdate_replica(PoolWorld::kReplica);
    EXPECT_TRUE(is_outdated());
}

TEST_F(TransactionEndTest, OutdatesNoneOfAnotherServer) {
    replica();
    transaction_end_.outdate_replica(PoolWorld::kPrimary);
    EXPECT_FALSE(is_outdated());
}

TEST_F(TransactionEndTest, OutdatesOneOfSessionsOfItsKind) {
    replica();
    transaction_end_.outdate_replica(kind("app", "joe"));
    EXPECT_TRUE(is_outdated());
}

TEST_F(TransactionEndTest, OutdatesNoneOfOtherKinds) {
    replica();
    transaction_end_.outdate_replica(kind("app", "ann"));
    transaction_end_.outdate_replica(kind("shop", "joe"));
    EXPECT_FALSE(is_outdated());
}

TEST_F(TransactionEndTest, GoesByTheDatabaseAsServersCallIt) {
    who_.identity.database = "alias";
    replica();
    transaction_end_.outdate_replica(kind("app", "joe"));
    EXPECT_TRUE(is_outdated());
}

TEST_F(TransactionEndTest, OutdatesNoneThatThereIsNot) {
    transaction_end_.outdate_replica(PoolWorld::kReplica);
    transaction_end_.outdate_replica(kind("app", "joe"));
    replica();
    transaction_end_.has_ended();
    EXPECT_FALSE(is_outdated()) << "it has come later";
}

TEST_F(TransactionEndTest, LetsWhatIsInFlightEndWhereItHasBegun) {
    replica();
    request(Slot::replica);
    transaction_end_.outdate_replica(PoolWorld::kReplica);
    EXPECT_FALSE(is_outdated());
    transaction_end_.has_ended();
    EXPECT_TRUE(is_outdated());
}

TEST_F(TransactionEndTest, WaitsForAllThatIsInFlight) {
    replica();
    request(Slot::replica);
    request(Slot::replica);
    transaction_end_.outdate_replica(PoolWorld::kReplica);
    transaction_end_.has_ended();
    EXPECT_FALSE(is_outdated());
}

TEST_F(TransactionEndTest, WaitsAsLongAsTheSessionDependsOnTheConnection) {
    replica();
    completed(Slot::replica, "begin", TransactionStatus::in_block);
    transaction_end_.outdate_replica(PoolWorld::kReplica);
    EXPECT_FALSE(is_outdated());
    completed(Slot::replica, "commit", TransactionStatus::idle);
    transaction_end_.has_ended();
    EXPECT_TRUE(is_outdated());
}

TEST_F(TransactionEndTest, OutdatesNothingOfASessionThatHasEnded) {
    replica();
    request(Slot::replica);
    transaction_end_.outdate_replica(PoolWorld::kReplica);
    transaction_end_.session_ends();
    transaction_end_.has_ended();
    EXPECT_FALSE(is_outdated());
}

// --- the next one ---

TEST_F(TransactionEndTest, TellsTheClientTheValuesOfTheNextConnection) {
    who_.shown.start({{"DateStyle", "ISO, MDY"}}, false);
    connect_anew({{"DateStyle", "German"}});
    EXPECT_EQ(client_end_.heard(),
              support::message('S', std::string_view{"DateStyle\0German\0", 17}));
}

TEST_F(TransactionEndTest, TellsTheClientNoValueThatItHas) {
    who_.shown.start({{"DateStyle", "German"}}, false);
    connect_anew({{"DateStyle", "German"}});
    EXPECT_THAT(client_end_.heard(), IsEmpty());
}

TEST_F(TransactionEndTest, TellsTheClientNoValueThatTheSessionHasSet) {
    who_.shown.start({{"DateStyle", "ISO, MDY"}}, false);
    completed(Slot::primary, "set datestyle = 'SQL'", TransactionStatus::idle);
    connect_anew({{"DateStyle", "German"}});
    EXPECT_THAT(client_end_.heard(), IsEmpty());
}

TEST_F(TransactionEndTest, TellsTheClientNoValuesThatServersDifferInByNature) {
    who_.shown.start({{"in_hot_standby", "off"}}, false);
    connect_anew({{"in_hot_standby", "on"}});
    EXPECT_THAT(client_end_.heard(), IsEmpty());
}

TEST_F(TransactionEndTest, TellsTheClientNothingOfAConnectionInThePlaceOfNone) {
    who_.shown.start({{"DateStyle", "ISO, MDY"}}, false);
    OtherEnd end{base().io};
    const auto first = PoolWorld::connected(end, PoolWorld::kReplica);
    first->parameters = {{"DateStyle", "German"}};
    transaction_end_.replica_connected(*first);
    run();
    EXPECT_THAT(client_end_.heard(), IsEmpty());
}

}  // namespace
}  // namespace pgsteer::proxy
