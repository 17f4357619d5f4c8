// What a client is told about its routes.
#include "proxy/session/last_route.hpp"

#include "tests/support/session_world.hpp"

namespace pgsteer::proxy {
namespace {

using namespace std::chrono_literals;
using routing::Reason;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

class LastRouteTest : public SessionWorld {
protected:
    // A request there has been answered.
    void answered(Slot slot, Reason reason, bool retried = false) {
        Request request;
        request.server = id(slot);
        request.reason = reason;
        request.again.retried = retried;
        request.statement = statement("select 1");
        last_route_.note(slot, request);
    }
    // What is sent in front of a request.
    std::string sent(Slot slot, std::string_view sql) {
        if (!sides_[slot].lease) connect(slot);
        Request request;
        request.statement = statement(sql);
        wire::Buffer out;
        last_route_.add_shown(slot, out, request);
        return std::string{wire::as_text(out)};
    }
    std::string shown() { return sent(Slot::primary, "show pgsteer.last_route"); }
    [[nodiscard]] std::string explained(Slot slot, Reason reason) {
        Choice choice;
        choice.slot = slot;
        choice.reason = reason;
        last_route_.explain(choice);
        run();
        return client_end_.heard();
    }

    LastRoute last_route_{lodging_, client_, course_, memory_, sides_};
};

// --- SHOW pgsteer.last_route ---

TEST_F(LastRouteTest, IsEmptyBeforeTheFirstRequest) {
    EXPECT_EQ(shown(), query("SELECT pg_catalog.set_config('pgsteer.last_route', '', false)"));
}

TEST_F(LastRouteTest, NamesServerRoleAndReason) {
    answered(Slot::primary, Reason::write);
    EXPECT_THAT(shown(), HasSubstr("'server=primary role=primary reason=write'"));
}

TEST_F(LastRouteTest, TellsTheStalenessOfAReplica) {
    course_.replies_at = base().topology_.load()->servers[1].fresh_as_of + 7ms;
    answered(Slot::replica, Reason::fresh_replica);
    EXPECT_THAT(shown(), HasSubstr("reason=fresh_replica staleness=7ms'"));
}

TEST_F(LastRouteTest, TellsNoStalenessBelowZero) {
    course_.replies_at = base().topology_.load()->servers[1].fresh_as_of - 7ms;
    answered(Slot::replica, Reason::fresh_replica);
    EXPECT_THAT(shown(), HasSubstr("staleness=0ms"));
}

TEST_F(LastRouteTest, TellsNoStalenessThatIsNotKnown) {
    publish([](auto& topology) { topology.servers[1].fresh_as_of = routing::kNever; });
    answered(Slot::replica, Reason::fresh_replica);
    EXPECT_THAT(shown(), Not(HasSubstr("staleness")));
}

TEST_F(LastRouteTest, TellsThatARequestHasRunAgain) {
    answered(Slot::primary, Reason::failed_on_replica, true);
    EXPECT_THAT(shown(), HasSubstr(" retried"));
}

TEST_F(LastRouteTest, TellsWhichFunctionPinsTheSession) {
    answered(Slot::primary, Reason::pinned);
    connect(Slot::primary);
    memory_.state.kept(Slot::primary, {routing::Kept::What::state, "app.keeps"});
    EXPECT_THAT(shown(), HasSubstr(" backend_state=app.keeps"));
}

TEST_F(LastRouteTest, HoldsNothingThatWouldHaveToBeQuoted) {
    answered(Slot::primary, Reason::pinned);
    connect(Slot::primary);
    memory_.state.kept(Slot::primary, {routing::Kept::What::state, "o'\\f"});
    EXPECT_THAT(shown(), HasSubstr("backend_state=o??f'"));
}

TEST_F(LastRouteTest, IsThatOfTheRequestBeforeTheOneThatAsks) {
    answered(Slot::primary, Reason::write);
    Request asks;
    asks.server = PoolWorld::kReplica;
    asks.statement = statement("show pgsteer.last_route");
    last_route_.note(Slot::replica, asks);
    EXPECT_THAT(shown(), HasSubstr("server=primary"));
}

TEST_F(LastRouteTest, IsThatOfTheLastRequest) {
    answered(Slot::primary, Reason::write);
    answered(Slot::replica, Reason::fresh_replica);
    EXPECT_THAT(shown(), HasSubstr("server=replica role=replica"));
}

TEST_F(LastRouteTest, IsOwedToUs) {
    (void)shown();
    const auto* owed = sides_[Slot::primary].lease->replies.front();
    ASSERT_NE(owed, nullptr);
    EXPECT_TRUE(owed->internal);
    EXPECT_EQ(owed->purpose, Purpose::show);
}

// --- SHOW pgsteer.lsn ---

TEST_F(LastRouteTest, TellsThePositionOfThePrimaryWithItsTimeline) {
    publish([](auto& topology) { topology.servers[0].incarnation.timeline = 3; });
    EXPECT_THAT(sent(Slot::primary, "show pgsteer.lsn"),
                HasSubstr("set_config('pgsteer.lsn', pg_catalog.concat('3/', "
                          "pg_catalog.pg_current_wal_insert_lsn()), false)"));
}

TEST_F(LastRouteTest, TellsNoPositionOfAReplica) {
    EXPECT_THAT(sent(Slot::replica, "show pgsteer.lsn"), IsEmpty());
}

TEST_F(LastRouteTest, TellsNoPositionWithoutAPrimary) {
    publish([](auto& topology) { topology.primary.reset(); });
    EXPECT_THAT(sent(Slot::primary, "show pgsteer.lsn"), IsEmpty());
}

// --- where nothing is shown ---

TEST_F(LastRouteTest, IsNotToldBeforeOtherStatements) {
    EXPECT_THAT(sent(Slot::primary, "select 1"), IsEmpty());
    EXPECT_TRUE(sides_[Slot::primary].lease->replies.empty());
}

TEST_F(LastRouteTest, IsNotToldInAFailedTransaction) {
    connect(Slot::primary).transaction_status = routing::TransactionStatus::failed;
    EXPECT_THAT(shown(), IsEmpty());
}

TEST_F(LastRouteTest, IsNotToldWhereTheServerWouldIgnoreIt) {
    connect(Slot::primary).replies.skip_to_sync([](const Expected&) {});
    EXPECT_THAT(shown(), IsEmpty());
}

TEST_F(LastRouteTest, IsNotToldBeforeWhatWasNotRead) {
    connect(Slot::primary);
    wire::Buffer out;
    last_route_.add_shown(Slot::primary, out, Request{});
    EXPECT_TRUE(out.empty());
}

// --- pgsteer.explain ---

TEST_F(LastRouteTest, ExplainsAChoiceByANotice) {
    connect(Slot::replica);
    EXPECT_THAT(explained(Slot::replica, Reason::fresh_replica),
                HasSubstr("Mpgsteer: replica replica, reason fresh_replica"));
}

TEST_F(LastRouteTest, ExplainsNoFailure) {
    connect(Slot::primary);
    Choice choice;
    choice.failure.emplace();
    last_route_.explain(choice);
    run();
    EXPECT_THAT(client_end_.heard(), IsEmpty());
}

TEST_F(LastRouteTest, ExplainsNothingWithoutAConnection) {
    EXPECT_THAT(explained(Slot::primary, Reason::write), IsEmpty());
}

TEST_F(LastRouteTest, ExplainsByTheNameThatTheServerHasAfterAReload) {
    auto config = std::make_shared<conf::Config>(*base().generations_.current()->config);
    config->servers.erase(config->servers.begin());  // the others keep their numbers
    config->servers.emplace_back().name = "third";
    const auto next = base().generations_.prepare(config);
    base().generations_.publish(next);
    worker_.around.adopt(next);
    const Lodging lodging{worker_.around, next};  // of a session that has begun since
    LastRoute last_route{lodging, client_, course_, memory_, sides_};
    connect(Slot::replica);
    Choice choice;
    choice.slot = Slot::replica;
    choice.reason = Reason::fresh_replica;
    last_route.explain(choice);
    run();
    EXPECT_THAT(client_end_.heard(), HasSubstr("pgsteer: replica replica,"));
}

}  // namespace
}  // namespace pgsteer::proxy
