// How far the requests in flight have got, and who waits for them.
#include "proxy/session/progress.hpp"

#include "tests/support/session_world.hpp"

namespace pgsteer::proxy {
namespace {

using testing::IsEmpty;

class ProgressTest : public SessionWorld {
protected:
    // The primary takes copy data for a request of the client's.
    Request& copying_in() {
        auto& connection = connect(Slot::primary);
        owes(Slot::primary);
        connection.replies.copy_in_started();
        return request(Slot::primary, "copy t from stdin");
    }
    // The client's copy has failed behind some of its data and a Sync: it is not known whether the
    // server has read that Sync before it failed.
    ReplyQueue& in_doubt() {
        auto& replies = connect(Slot::primary).replies;
        owes(Slot::primary);
        request(Slot::primary, "copy t from stdin");
        replies.copy_in_started();
        replies.copy_data_sent();
        owes(Slot::primary, Expect::sync);
        request(Slot::primary).bare = true;
        replies.copy_in_failed();
        replies.pop();
        course_.requests.finish_front();
        return replies;
    }
    static std::string sync() { return support::message('S', ""); }
    static std::string flush() { return support::message('H', ""); }

    Progress progress_{lodging_, client_, course_, sides_};
};

// --- copy data ---

TEST_F(ProgressTest, KnowsThatAServerWaitsForCopyData) {
    copying_in();
    EXPECT_TRUE(progress_.is_copying_in());
}

TEST_F(ProgressTest, KnowsThatTheCopyDataHasEnded) {
    copying_in();
    owes(Slot::primary, Expect::copy_end);
    EXPECT_FALSE(progress_.is_copying_in());
}

TEST_F(ProgressTest, KnowsOfNoCopyWithoutARequest) { EXPECT_FALSE(progress_.is_copying_in()); }

TEST_F(ProgressTest, KnowsOfNoCopyOnAConnectionThatIsGone) {
    copying_in();
    sides_.discard(Slot::primary);
    EXPECT_FALSE(progress_.is_copying_in());
}

// --- back-pressure ---

TEST_F(ProgressTest, IsFullWhenSoMuchIsOwed) {
    connect(Slot::primary);
    request(Slot::primary);
    for (int i = 0; i < 32 * 1024; ++i) owes(Slot::primary);
    EXPECT_FALSE(progress_.is_pipeline_full());
    owes(Slot::primary);
    EXPECT_TRUE(progress_.is_pipeline_full());
}

TEST_F(ProgressTest, IsFullWhenSoMuchIsKeptForAnotherRun) {
    connect(Slot::replica);
    const std::string kept(1024 * 1024 + 1, 'x');
    request(Slot::replica);
    course_.requests.keep(wire::as_bytes(kept));
    EXPECT_FALSE(progress_.is_pipeline_full()) << "one may always be sent";
    request(Slot::replica);
    EXPECT_TRUE(progress_.is_pipeline_full());
}

TEST_F(ProgressTest, IsNotFullWithoutARequest) { EXPECT_FALSE(progress_.is_pipeline_full()); }

// --- a Sync or Flush by itself ---

TEST_F(ProgressTest, SendsASyncBehindItsRequest) {
    connect(Slot::primary);
    request(Slot::primary);
    (void)receive(sync());
    EXPECT_TRUE(progress_.follows_its_request());
}

TEST_F(ProgressTest, SendsAFlushBehindItsRequest) {
    connect(Slot::primary);
    request(Slot::primary);
    (void)receive(flush());
    EXPECT_TRUE(progress_.follows_its_request());
}

TEST_F(ProgressTest, HasNothingThatAQueryFollows) {
    connect(Slot::primary);
    request(Slot::primary);
    (void)receive(query("select 1"));
    EXPECT_FALSE(progress_.follows_its_request());
}

TEST_F(ProgressTest, HasNothingThatASyncFollowsBehindOtherMessages) {
    connect(Slot::primary);
    request(Slot::primary);
    (void)receive(support::message('P', std::string_view{"\0select 1\0\0\0", 12}) + sync());
    EXPECT_FALSE(progress_.follows_its_request());
}

TEST_F(ProgressTest, HasNothingThatASyncFollowsWhereNothingIsInFlight) {
    connect(Slot::primary);
    (void)receive(sync());
    EXPECT_FALSE(progress_.follows_its_request());
}

TEST_F(ProgressTest, HasNothingThatASyncFollowsWhileItsRequestIsBetweenServers) {
    connect(Slot::primary);
    request(Slot::primary);
    course_.running_again = true;
    (void)receive(sync());
    EXPECT_FALSE(progress_.follows_its_request());
}

TEST_F(ProgressTest, HasNothingThatASyncFollowsWhereAnswersAreDropped) {
    connect(Slot::replica);
    request(Slot::replica);
    sides_[Slot::replica].discarding = true;
    (void)receive(sync());
    EXPECT_FALSE(progress_.follows_its_request());
}

TEST_F(ProgressTest, HasNothingThatASyncFollowsOnAConnectionThatIsGone) {
    request(Slot::primary);
    (void)receive(sync());
    EXPECT_FALSE(progress_.follows_its_request());
}

// --- until all is answered ---

TEST_F(ProgressTest, WaitsForNothingWhereNothingIsInFlight) {
    EXPECT_TRUE(*start(progress_.answered()));
}

TEST_F(ProgressTest, WaitsUntilTheLastRequestIsAnswered) {
    connect(Slot::primary);
    owes(Slot::primary);
    request(Slot::primary);
    const auto waits = start(progress_.answered());
    course_.changed.notify_all();
    run();
    EXPECT_FALSE(*waits);
    course_.requests.finish_front();
    course_.changed.notify_all();
    run();
    EXPECT_TRUE(*waits);
}

TEST_F(ProgressTest, WaitsUntilWhatRunsAgainHasRun) {
    course_.running_again = true;
    const auto waits = start(progress_.answered());
    EXPECT_FALSE(*waits);
    course_.running_again = false;
    course_.changed.notify_all();
    run();
    EXPECT_TRUE(*waits);
}

TEST_F(ProgressTest, WaitsForNoSyncThatIsStillToCome) {
    connect(Slot::primary);
    request(Slot::primary).open = true;
    EXPECT_TRUE(*start(progress_.answered()));
}

TEST_F(ProgressTest, WaitsForNothingOnceTheSessionIsOver) {
    request(Slot::primary);
    const auto waits = start(progress_.answered());
    client_.closing = true;
    course_.changed.notify_all();
    run();
    EXPECT_TRUE(*waits);
}

TEST_F(ProgressTest, WaitsForNothingThatTheClientHasToSendFirst) {
    copying_in();
    EXPECT_TRUE(*start(progress_.answered()));
}

TEST_F(ProgressTest, WaitsForNothingThatTheServerSkips) {
    connect(Slot::primary);
    owes(Slot::primary);
    request(Slot::primary);
    client_.batcher.skip(Skipping::for_server);
    EXPECT_TRUE(*start(progress_.answered()));
}

TEST_F(ProgressTest, AsksOnceForAnswersToWhatHasNoSyncYet) {
    connect(Slot::primary);
    owes(Slot::primary, Expect::execute);
    request(Slot::primary).open = true;
    (void)start(progress_.answered());
    course_.changed.notify_all();
    run();
    EXPECT_EQ(server(Slot::primary).heard(), flush());
}

TEST_F(ProgressTest, AsksForNoAnswersThatComeByThemselves) {
    connect(Slot::primary);
    owes(Slot::primary);
    request(Slot::primary);
    (void)start(progress_.answered());
    EXPECT_THAT(server(Slot::primary).heard(), IsEmpty());
}

TEST_F(ProgressTest, AsksForNoAnswersThatHaveCome) {
    connect(Slot::primary);
    progress_.ask_for_answers(request(Slot::primary));
    run();
    EXPECT_THAT(server(Slot::primary).heard(), IsEmpty());
}

// --- Syncs between copy data ---

TEST_F(ProgressTest, HasNoDoubtWhereThereWasNoCopy) {
    EXPECT_TRUE(*start(progress_.doubt_settled()));
}

TEST_F(ProgressTest, IsNoMoreInDoubtWhenTheServerHasAnswered) {
    auto& replies = in_doubt();
    ASSERT_TRUE(replies.in_doubt());
    const auto settled = start(progress_.doubt_settled());
    EXPECT_FALSE(*settled);
    replies.pop();
    course_.requests.finish_front();
    run_until([&] { return settled->has_value(); });
    EXPECT_FALSE(replies.skipping());
}

TEST_F(ProgressTest, TakesASyncForIgnoredThatTheServerDoesNotAnswer) {
    auto& replies = in_doubt();
    const auto settled = start(progress_.doubt_settled());
    run_until([&] { return settled->has_value(); });
    EXPECT_FALSE(replies.in_doubt());
    EXPECT_TRUE(replies.skipping()) << "up to the next Sync";
}

TEST_F(ProgressTest, SkipsWhatTheServerSkipsBehindACopyThatHasFailed) {
    in_doubt();
    auto& copy = course_.requests.front();
    copy.bare = false;
    copy.failed = true;
    const auto settled = start(progress_.doubt_settled());
    run_until([&] { return settled->has_value(); });
    EXPECT_TRUE(copy.open) << "its Sync was ignored";
    EXPECT_EQ(client_.batcher.skipping(), Skipping::for_server);
}

TEST_F(ProgressTest, IsInNoDoubtOnceTheSessionIsOver) {
    auto& replies = in_doubt();
    client_.closing = true;
    EXPECT_TRUE(*start(progress_.doubt_settled()));
    EXPECT_TRUE(replies.in_doubt());
}

}  // namespace
}  // namespace pgsteer::proxy
