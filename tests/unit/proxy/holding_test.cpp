// Which bytes of an answer go out, when, and what that means for the request.
#include "proxy/session/holding.hpp"

#include "tests/support/session_world.hpp"

namespace pgsteer::proxy {
namespace {

using namespace std::chrono_literals;
using testing::AllOf;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr std::size_t kRetryBuffer = 16;
constexpr routing::TimePoint kLongAgo{1s};
const routing::TimePoint kLongAfter = routing::Clock::now() + 1h;

class HoldingTest : public SessionWorld {
protected:
    HoldingTest()
        : SessionWorld{[](conf::Config& config) { config.routing.retry_buffer = kRetryBuffer; }} {}

    // A read that may run elsewhere, of which the replica owes the answer.
    Request& read() {
        connect(Slot::replica);
        owes(Slot::replica);
        auto& read = request(Slot::replica);
        read.again.retryable = true;
        return read;
    }
    // A turn: `bytes` have come at `at`, of which answers up to `complete` are complete.
    void comes(std::string_view bytes, std::size_t complete, routing::TimePoint at = kLongAfter) {
        turn_ = bytes;
        course_.replies_at = at;
        holding_.outbox().start(wire::as_bytes(turn_));
        holding_.outbox().forward(0, bytes.size());
        holding_.release_replies(complete, bytes.size());
    }
    [[nodiscard]] std::string client_hears() {
        run();
        return client_end_.heard();
    }
    // A run on the replica that nobody wants any more; the server owes this.
    ServerConnection& discarded() {
        auto& connection = connect(Slot::replica);
        sides_[Slot::replica].discarding = true;
        return connection;
    }

    std::string turn_;
    TransactionEnd transaction_end_{lodging_, client_, who_, course_, memory_, sides_};
    Ending ending_{lodging_, client_, who_, course_, memory_, sides_, transaction_end_};
    Holding holding_{lodging_, client_, course_, sides_, ending_};
};

// --- what goes out at once ---

TEST_F(HoldingTest, PassesOnCompleteAnswersAndHoldsTheRestOfARead) {
    read();
    comes("donehalf", 4);
    EXPECT_EQ(client_hears(), "done");
    EXPECT_EQ(holding_.outbox().held_bytes(), 4U);
}

TEST_F(HoldingTest, HoldsNothingOfThePrimary) {
    connect(Slot::primary);
    owes(Slot::primary);
    request(Slot::primary).again.retryable = true;
    comes("half", 0);
    EXPECT_EQ(client_hears(), "half");
}

TEST_F(HoldingTest, HoldsNothingThatCannotRunElsewhere) {
    read().again.retryable = false;
    comes("half", 0);
    EXPECT_EQ(client_hears(), "half");
}

TEST_F(HoldingTest, HoldsNothingThatHasFailed) {
    read().failed = true;
    comes("half", 0);
    EXPECT_EQ(client_hears(), "half");
}

TEST_F(HoldingTest, HoldsNothingThatIsNoRequests) {
    comes("notice", 0);
    EXPECT_EQ(client_hears(), "notice");
}

TEST_F(HoldingTest, PassesOnWhatIsTooMuchToBeHeld) {
    read();
    comes(std::string(kRetryBuffer + 1, 'x'), 0);
    EXPECT_EQ(client_hears().size(), kRetryBuffer + 1);
}

TEST_F(HoldingTest, HoldsAsMuchAsTheBufferTakes) {
    read();
    comes(std::string(kRetryBuffer, 'x'), 0);
    EXPECT_THAT(client_hears(), IsEmpty());
}

TEST_F(HoldingTest, PassesOnWhatTheServerHasNothingToAddTo) {
    read();
    sides_[Slot::replica].lease->replies.pop();
    comes("half", 0);
    EXPECT_EQ(client_hears(), "half");
}

// --- a silent server ---

TEST_F(HoldingTest, PassesOnWhatASilentServerHasSent) {
    read();
    comes("half", 0, kLongAgo);
    EXPECT_EQ(client_hears(), "half");
}

TEST_F(HoldingTest, WaitsAnewWithEachPartOfAnAnswer) {
    read();
    comes("ha", 0, kLongAgo);
    comes("lf", 0);
    EXPECT_THAT(client_hears(), IsEmpty());
    EXPECT_EQ(holding_.outbox().held_bytes(), 4U);
}

TEST_F(HoldingTest, PassesOnTheSecondPartWhenTheServerIsSilentBehindIt) {
    read();
    comes("ha", 0, kLongAgo);
    const auto now = Clock::now();
    comes("lf", 0, now);
    run_until(now + 21ms);
    EXPECT_EQ(client_hears(), "half");
}

TEST_F(HoldingTest, HasNothingToPassOnOfAnAnswerThatIsComplete) {
    read();
    comes("half", 0, kLongAgo);
    comes("done", 4);
    EXPECT_EQ(client_hears(), "halfdone");
}

TEST_F(HoldingTest, PassesNothingOnToASessionThatIsOver) {
    read();
    comes("half", 0, kLongAgo);
    client_.closing = true;
    EXPECT_THAT(client_hears(), IsEmpty());
}

// --- what that means for the request ---

TEST_F(HoldingTest, RemembersTheDescriptionsThatTheClientHas) {
    auto& request = read();
    comes("half", 0);
    holding_.release_held();
    EXPECT_TRUE(request.again.retryable);
    EXPECT_EQ(wire::as_text(request.again.released), "half");
}

TEST_F(HoldingTest, CannotRunElsewhereOnceTheClientHasRows) {
    auto& request = read();
    request.again.rows_seen = true;
    comes("half", 0);
    holding_.release_held();
    EXPECT_FALSE(request.again.retryable);
}

TEST_F(HoldingTest, CannotRunElsewhereInTheMiddleOfAMessage) {
    auto& request = read();
    sides_[Slot::replica].partial = 1;
    comes("half", 0);
    holding_.release_held();
    EXPECT_FALSE(request.again.retryable);
}

TEST_F(HoldingTest, CannotRunElsewhereWhenMoreWasPassedOnThanIsKept) {
    auto& request = read();
    comes(std::string(kRetryBuffer, 'x'), 0);
    holding_.release_held();
    EXPECT_TRUE(request.again.retryable);
    comes("x", 0);
    holding_.release_held();
    EXPECT_FALSE(request.again.retryable);
}

TEST_F(HoldingTest, HasNothingToPassOnWithoutARequest) {
    read();
    comes("half", 0);
    course_.requests.clear();
    holding_.release_held();
    EXPECT_THAT(client_hears(), IsEmpty());
}

// --- an answer that comes again ---

TEST_F(HoldingTest, EndsTheSessionWhenAnotherAnswerComesInstead) {
    read();
    holding_.outbox().expect_again({'d', 'o'});
    comes("gone", 4);
    EXPECT_TRUE(client_.closing);
    EXPECT_THAT(client_hears(), AllOf(HasSubstr("FATAL"), HasSubstr("08006"),
                                      HasSubstr("describes the result differently")));
}

TEST_F(HoldingTest, EndsTheSessionWhenAnotherAnswerIsPassedOnUnfinished) {
    read();
    holding_.outbox().expect_again({'d', 'o'});
    comes("gone", 0);
    holding_.release_held();
    EXPECT_TRUE(client_.closing);
}

// --- a run that nobody wants any more ---

TEST_F(HoldingTest, CancelsARunThatDoesNotEndByItself) {
    auto& connection = discarded();
    owes(Slot::replica);
    holding_.watch_discarded_run();
    EXPECT_EQ(connection.cancels_in_flight, 0) << "it may end by itself";
    run_until([&] { return connection.cancels_in_flight > 0; });
}

TEST_F(HoldingTest, CancelsWhatComesBehindARunAsWell) {
    auto& connection = discarded();
    owes(Slot::replica);
    holding_.watch_discarded_run();
    run_until([&] { return connection.cancels_in_flight > 0; });
    run_until([&] { return connection.cancels_in_flight == 0; });
    run_until([&] { return connection.cancels_in_flight > 0; });
}

TEST_F(HoldingTest, CancelsARunOnlyOnceAtATime) {
    auto& connection = discarded();
    owes(Slot::replica);
    connection.cancels_in_flight = 1;
    holding_.watch_discarded_run();
    run_until(Clock::now() + 10ms);
    EXPECT_EQ(connection.cancels_in_flight, 1);
    connection.cancels_in_flight = 0;
}

TEST_F(HoldingTest, CancelsNothingOfOurOwn) {
    auto& connection = discarded();
    owes_us(Slot::replica);
    holding_.watch_discarded_run();
    bool was_cancelled = false;
    const auto end = Clock::now() + 10ms;
    run_until([&] {
        was_cancelled = was_cancelled || connection.cancels_in_flight > 0;
        return Clock::now() >= end;
    });
    EXPECT_FALSE(was_cancelled);
}

TEST_F(HoldingTest, CancelsNothingThatHasEnded) {
    discarded();
    sides_.discard(Slot::replica);
    sides_[Slot::replica].discarding = true;
    holding_.watch_discarded_run();
    run_until(Clock::now() + 10ms);
    EXPECT_THAT(replica_end_.heard(), support::message('X', ""));
}

TEST_F(HoldingTest, LooksNoMoreAtARunThatHasEndedInTime) {
    auto& connection = discarded();
    owes(Slot::replica);
    holding_.watch_discarded_run();
    sides_[Slot::replica].discarding = false;
    run_until(Clock::now() + 10ms);
    EXPECT_EQ(connection.cancels_in_flight, 0);
}

}  // namespace
}  // namespace pgsteer::proxy
