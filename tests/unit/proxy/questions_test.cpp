// When servers are asked for positions, and what their answers prove.
#include "proxy/session/questions.hpp"

#include "tests/support/session_world.hpp"

namespace pgsteer::proxy {
namespace {

using namespace std::chrono_literals;
using routing::kNever;
using routing::Lsn;
using routing::TransactionStatus;
using testing::HasSubstr;
using testing::IsEmpty;

// The body of a DataRow.
std::string row(std::initializer_list<std::string_view> columns) {
    std::string body{'\0', static_cast<char>(columns.size())};
    for (const auto column : columns) {
        body += {'\0', '\0', '\0', static_cast<char>(column.size())};
        body += column;
    }
    return body;
}

class QuestionsTest : public SessionWorld {
protected:
    explicit QuestionsTest(const Change& change = {}) : SessionWorld{change} {
        memory_.freshness.start_with(routing::Consistency::session);
        client_.received_at = kReceived;
        course_.replies_at = kReplied;
    }
    void tell(Slot slot, std::initializer_list<std::string_view> columns) {
        questions_.note_position(slot, wire::as_bytes(row(columns)));
    }
    [[nodiscard]] routing::WrittenByAll written() {
        return lodging_.around.freshness().writes().seen(1, Clock::now());
    }

    static constexpr routing::TimePoint kReceived{1h};
    static constexpr routing::TimePoint kReplied{2h};
    Questions questions_{lodging_, client_, course_, memory_, sides_};
};

// --- behind a request on the primary ---

class SampleTest : public QuestionsTest {
protected:
    explicit SampleTest(const Change& change = {}) : QuestionsTest{change} {}

    // A request of the client's, all that is in flight. What is sent behind it.
    std::string sampled(std::string_view sql = "update t set a = 1") {
        if (!sides_[Slot::primary].lease) connect(Slot::primary);
        if (course_.requests.empty()) request(Slot::primary);
        facts_.executed = statement(sql);
        wire::Buffer out;
        questions_.add_sample(facts_, course_.requests.front(), out);
        return std::string{wire::as_text(out)};
    }
    BatchFacts facts_ = [] {
        BatchFacts facts;
        facts.ends = true;
        return facts;
    }();
};

TEST_F(SampleTest, IsAskedForBehindARequest) {
    EXPECT_EQ(sampled(), query("SELECT pg_catalog.pg_current_wal_insert_lsn()"));
    const auto& side = sides_[Slot::primary];
    EXPECT_TRUE(side.sample.is_pending);
    EXPECT_EQ(side.sample.asked_at, kReceived) << "it may stand for nothing that was sent later";
}

TEST_F(SampleTest, IsOwedToUs) {
    (void)sampled();
    const auto* owed = sides_[Slot::primary].lease->replies.front();
    ASSERT_NE(owed, nullptr);
    EXPECT_TRUE(owed->internal);
    EXPECT_EQ(owed->purpose, Purpose::sample);
}

TEST_F(SampleTest, ForgetsWhatWasToldBefore) {
    connect(Slot::primary);
    sides_[Slot::primary].told_position = Lsn{8};
    (void)sampled();
    EXPECT_FALSE(sides_[Slot::primary].told_position);
}

TEST_F(SampleTest, IsNotWantedWhereNothingHasToBeFresh) {
    memory_.freshness.start_with(routing::Consistency::eventual);
    EXPECT_THAT(sampled(), IsEmpty());
}

TEST_F(SampleTest, IsNotWantedBehindWhatRaisesNoFloor) {
    request(Slot::primary).does.raises_floor = false;
    EXPECT_THAT(sampled(), IsEmpty());
}

TEST_F(SampleTest, IsNotAskedForBeforeTheSyncOfItsRequest) {
    request(Slot::primary).open = true;
    EXPECT_THAT(sampled(), IsEmpty());
}

TEST_F(SampleTest, IsNotAskedForInAPipeline) {
    request(Slot::primary);
    request(Slot::primary);
    EXPECT_THAT(sampled(), IsEmpty());
}

TEST_F(SampleTest, IsNotAskedForTwice) {
    (void)sampled();
    EXPECT_THAT(sampled(), IsEmpty());
}

TEST_F(SampleTest, IsNotAskedForInATransaction) {
    completed(Slot::primary, "begin", TransactionStatus::in_block);
    EXPECT_THAT(sampled(), IsEmpty());
}

TEST_F(SampleTest, IsNotAskedForBehindABegin) { EXPECT_THAT(sampled("begin"), IsEmpty()); }

TEST_F(SampleTest, IsAskedForBehindACommit) {
    completed(Slot::primary, "begin", TransactionStatus::in_block);
    EXPECT_FALSE(sampled("commit").empty());
}

TEST_F(SampleTest, IsNotAskedForBehindACommitThatGoesOn) {
    completed(Slot::primary, "begin", TransactionStatus::in_block);
    EXPECT_THAT(sampled("commit and chain"), IsEmpty());
}

TEST_F(SampleTest, IsNotAskedForBehindACopyFromTheClient) {
    EXPECT_THAT(sampled("copy t from stdin"), IsEmpty());
}

TEST_F(SampleTest, IsNotAskedForBehindATextThatWasNotUnderstood) {
    EXPECT_THAT(sampled("select from where"), IsEmpty());
}

TEST_F(SampleTest, IsNotAskedForInTheMiddleOfABatch) {
    facts_.ends = false;
    EXPECT_THAT(sampled(), IsEmpty());
}

TEST_F(SampleTest, IsNotAskedForWhereItIsNotKnownWhatRuns) {
    connect(Slot::primary);
    request(Slot::primary);
    wire::Buffer out;
    questions_.add_sample(facts_, course_.requests.front(), out);
    EXPECT_TRUE(out.empty());
}

TEST_F(SampleTest, IsRareInASessionThatReadsNothing) {
    for (std::uint32_t i = 0; i < Freshness::kUnreadSamples; ++i)
        (void)memory_.freshness.is_sample_worthwhile();
    EXPECT_THAT(sampled(), IsEmpty());
}

TEST_F(SampleTest, IsWantedAllTheSameWhereOthersAskForWrites) {
    for (std::uint32_t i = 0; i < Freshness::kUnreadSamples; ++i)
        (void)memory_.freshness.is_sample_worthwhile();
    (void)written();
    EXPECT_FALSE(sampled().empty());
}

TEST_F(SampleTest, IsNotAskedForWhereTheServerWouldIgnoreIt) {
    connect(Slot::primary).replies.skip_to_sync([](const Expected&) {});
    EXPECT_THAT(sampled(), IsEmpty());
    EXPECT_FALSE(sides_[Slot::primary].sample.is_pending);
}

class NoSampleTest : public SampleTest {
protected:
    NoSampleTest()
        : SampleTest{[](conf::Config& config) { config.routing.sample_on_primary = false; }} {}
};

TEST_F(NoSampleTest, IsAskedForWhereTheConfigurationForbidsIt) {
    EXPECT_THAT(sampled(), IsEmpty());
}

class RareSampleTest : public SampleTest {
protected:
    RareSampleTest()
        : SampleTest{[](conf::Config& config) { config.routing.sample_interval = 1h; }} {}
};

TEST_F(RareSampleTest, IsAskedForOnceInItsInterval) {
    EXPECT_FALSE(sampled().empty());
    sides_[Slot::primary].sample = {};
    EXPECT_THAT(sampled(), IsEmpty());
}

// --- its answer ---

TEST_F(SampleTest, RaisesTheFloorToThePositionThatIsTold) {
    (void)sampled();
    tell(Slot::primary, {"0/5000028"});
    EXPECT_EQ(questions_.on_position_told(Purpose::sample), Verdict::swallow);
    const auto& position = memory_.freshness.floor().primary_position;
    EXPECT_EQ(position.timeline, 1U);
    EXPECT_EQ(position.lsn, routing::before_page_header(*routing::parse_lsn("0/5000028")));
    EXPECT_FALSE(sides_[Slot::primary].sample.is_pending);
}

TEST_F(SampleTest, CoversNoReadThatWasAnsweredAfterItWasAskedFor) {
    memory_.freshness.replica_has_answered(PoolWorld::kReplica, kReceived + 1s);
    (void)sampled();
    tell(Slot::primary, {"0/5000028"});
    (void)questions_.on_position_told(Purpose::sample);
    EXPECT_FALSE(memory_.freshness.floor().covers_replica);
}

TEST_F(SampleTest, CoversAReadThatWasAnsweredBefore) {
    memory_.freshness.replica_has_answered(PoolWorld::kReplica, kReceived);
    (void)sampled();
    tell(Slot::primary, {"0/5000028"});
    (void)questions_.on_position_told(Purpose::sample);
    EXPECT_TRUE(memory_.freshness.floor().covers_replica);
}

TEST_F(SampleTest, ProvesNothingWithoutARow) {
    (void)sampled();
    (void)questions_.on_position_told(Purpose::sample);
    EXPECT_EQ(memory_.freshness.floor().primary_position.timeline, 0U);
}

TEST_F(SampleTest, ProvesNothingOfAServerThatIsThePrimaryNoMore) {
    (void)sampled();
    tell(Slot::primary, {"0/5000028"});
    publish([](auto& topology) { topology.primary = PoolWorld::kReplica; });
    (void)questions_.on_position_told(Purpose::sample);
    EXPECT_EQ(memory_.freshness.floor().primary_position.timeline, 0U);
}

TEST_F(SampleTest, ProvesNothingWhileNobodyIsThePrimary) {
    (void)sampled();
    tell(Slot::primary, {"0/5000028"});
    publish([](auto& topology) { topology.primary.reset(); });
    (void)questions_.on_position_told(Purpose::sample);
    EXPECT_EQ(memory_.freshness.floor().primary_position.timeline, 0U);
}

TEST_F(SampleTest, DoesNotComeWhereItWasSkipped) {
    (void)sampled();
    questions_.skipped(Slot::primary, Purpose::sample);
    EXPECT_FALSE(sides_[Slot::primary].sample.is_pending);
    EXPECT_EQ(sides_[Slot::primary].sample.asked_at, kNever);
}

// --- what others may not miss ---

TEST_F(SampleTest, StandsForTheWriteThatItIsBehind) {
    (void)sampled();
    course_.requests.front().does.writes = true;
    questions_.note_written(Slot::primary, TransactionStatus::idle);
    EXPECT_EQ(written().at, kReplied);
    EXPECT_EQ(written().unpositioned, kNever);
    tell(Slot::primary, {"0/5000028"});
    (void)questions_.on_position_told(Purpose::sample);
    EXPECT_EQ(written().position.timeline, 1U);
}

TEST_F(SampleTest, LeavesAWriteWithoutAPositionWhereItWasSkipped) {
    (void)sampled();
    course_.requests.front().does.writes = true;
    questions_.note_written(Slot::primary, TransactionStatus::idle);
    questions_.skipped(Slot::primary, Purpose::sample);
    EXPECT_NE(written().unpositioned, kNever);
}

TEST_F(QuestionsTest, TellOthersOfAWriteBehindWhichNothingIsAsked) {
    connect(Slot::primary);
    request(Slot::primary).does.writes = true;
    questions_.note_written(Slot::primary, TransactionStatus::idle);
    EXPECT_EQ(written().unpositioned, kReplied);
}

TEST_F(QuestionsTest, TellOthersNothingOfReads) {
    connect(Slot::primary);
    request(Slot::primary);
    questions_.note_written(Slot::primary, TransactionStatus::idle);
    EXPECT_EQ(written().at, kNever);
}

TEST_F(QuestionsTest, TellOthersNothingOfReplicas) {
    request(Slot::replica).does.writes = true;
    questions_.note_written(Slot::replica, TransactionStatus::idle);
    EXPECT_EQ(written().at, kNever);
}

TEST_F(QuestionsTest, TellOthersNothingBeforeTheCommit) {
    connect(Slot::primary);
    request(Slot::primary).does.writes = true;
    questions_.note_written(Slot::primary, TransactionStatus::in_block);
    EXPECT_EQ(written().at, kNever);
}

TEST_F(QuestionsTest, TellOthersOfACommitThatBeginsAnotherTransaction) {
    connect(Slot::primary);
    auto& commit = request(Slot::primary);
    commit.does.writes = commit.does.may_commit = true;
    questions_.note_written(Slot::primary, TransactionStatus::in_block);
    EXPECT_EQ(written().at, kReplied);
}

TEST_F(QuestionsTest, TellOthersNothingWithoutARequest) {
    connect(Slot::primary);
    questions_.note_written(Slot::primary, TransactionStatus::idle);
    EXPECT_EQ(written().at, kNever);
}

// --- what was written in vain ---

class FlushTest : public QuestionsTest {
protected:
    explicit FlushTest(const Change& change = {}) : QuestionsTest{change} {
        memory_.freshness.primary_request_ended(true, true, TransactionStatus::idle);
    }
    std::string flushed() {
        questions_.flush_if_due();
        run();
        return server(Slot::primary).heard();
    }
};

TEST_F(FlushTest, IsWantedBehindAWriteThatHasFailed) {
    connect(Slot::primary);
    EXPECT_THAT(flushed(), HasSubstr("pg_logical_emit_message"));
    EXPECT_TRUE(sides_[Slot::primary].sample.is_pending);
}

TEST_F(FlushTest, IsDoneOnce) {
    connect(Slot::primary);
    (void)flushed();
    sides_[Slot::primary].lease->replies.pop();
    EXPECT_THAT(flushed(), IsEmpty());
}

TEST_F(FlushTest, IsNotWantedBehindWhatWasCommitted) {
    connect(Slot::primary);
    memory_.freshness.primary_request_ended(true, false, TransactionStatus::idle);
    EXPECT_THAT(flushed(), IsEmpty());
}

TEST_F(FlushTest, WaitsForWhatIsInFlight) {
    connect(Slot::primary);
    owes(Slot::primary);
    EXPECT_THAT(flushed(), IsEmpty());
    EXPECT_TRUE(memory_.freshness.is_unflushed());
}

TEST_F(FlushTest, WaitsForTheEndOfATransaction) {
    connect(Slot::primary).transaction_status = TransactionStatus::in_block;
    EXPECT_THAT(flushed(), IsEmpty());
}

TEST_F(FlushTest, IsNotDoneWithoutAConnection) { EXPECT_THAT(flushed(), IsEmpty()); }

TEST_F(FlushTest, IsNotDoneWhereTheServerWouldIgnoreIt) {
    connect(Slot::primary).replies.skip_to_sync([](const Expected&) {});
    EXPECT_THAT(flushed(), IsEmpty());
}

class NoFlushTest : public FlushTest {
protected:
    NoFlushTest() : FlushTest{[](conf::Config& config) { config.health.nudge_interval = 0ms; }} {}
};

TEST_F(NoFlushTest, IsDoneWhereTheConfigurationForbidsIt) {
    connect(Slot::primary);
    EXPECT_THAT(flushed(), IsEmpty());
}

// --- before a read on a replica ---

class VerificationTest : public QuestionsTest {
protected:
    // Asked before a read that needs `needed`.
    Request& asked(routing::WalPosition needed = {1, Lsn{100}}) {
        connect(Slot::replica);
        auto& read = request(Slot::replica);
        read.needed = needed;
        wire::Buffer out;
        questions_.add_verification(out);
        sent_ = wire::as_text(out);
        return read;
    }
    Verdict told(std::initializer_list<std::string_view> columns) {
        tell(Slot::replica, columns);
        return questions_.on_position_told(Purpose::verify);
    }
    [[nodiscard]] Lsn learnt() {
        return lodging_.around.freshness().learnt().of(PoolWorld::kReplica, 1);
    }
    std::string sent_;
};

TEST_F(VerificationTest, AsksForThePositionOfAStandby) {
    asked();
    EXPECT_THAT(sent_, HasSubstr("pg_is_in_recovery(), pg_catalog.pg_last_wal_replay_lsn()"));
    EXPECT_TRUE(sides_[Slot::replica].verification.is_pending);
    EXPECT_EQ(sides_[Slot::replica].lease->replies.front()->purpose, Purpose::verify);
}

TEST_F(VerificationTest, LetsAReadRunThatMissesNothing) {
    asked();
    EXPECT_EQ(told({"t", "0/64"}), Verdict::swallow);
    EXPECT_FALSE(sides_[Slot::replica].verification.is_pending);
    EXPECT_FALSE(sides_[Slot::replica].verification.is_behind);
    EXPECT_EQ(counters().verifications_passed.get(), 1U);
}

TEST_F(VerificationTest, ProvesWhatTheSessionNeeds) {
    memory_.freshness.sampled({1, Lsn{100}}, kReceived);
    asked();
    (void)told({"t", "0/64"});
    EXPECT_EQ(memory_.freshness.floor().proven_incarnation, 1U);
    EXPECT_EQ(memory_.freshness.floor().last_replica, PoolWorld::kReplica);
}

TEST_F(VerificationTest, LetsAReadRunElsewhereThatWouldMissSomething) {
    asked();
    EXPECT_EQ(told({"t", "0/63"}), Verdict::run_again);
    EXPECT_TRUE(sides_[Slot::replica].verification.is_behind);
    EXPECT_EQ(counters().verifications_behind.get(), 1U);
}

TEST_F(VerificationTest, TellsOthersThePositionEitherWay) {
    asked();
    (void)told({"t", "0/63"});
    EXPECT_EQ(learnt(), Lsn{99});
}

TEST_F(VerificationTest, ProvesNothingOnAnotherTimeline) {
    asked({2, Lsn{100}});
    EXPECT_EQ(told({"t", "0/64"}), Verdict::run_again);
}

TEST_F(VerificationTest, ProvesNothingOfAServerThatHasRestarted) {
    asked();
    publish([](auto& topology) { topology.servers[1].incarnation.number = 2; });
    EXPECT_EQ(told({"t", "0/64"}), Verdict::run_again);
    EXPECT_EQ(learnt(), Lsn{});
}

TEST_F(VerificationTest, ProvesNothingOfAServerThatIsNoStandby) {
    asked();
    EXPECT_EQ(told({"f", "0/64"}), Verdict::run_again);
}

TEST_F(VerificationTest, ProvesNothingByWhatItDidNotAskFor) {
    asked();
    EXPECT_EQ(told({"0/64"}), Verdict::run_again);
}

TEST_F(VerificationTest, ProvesNothingByARowThatCannotBeRead) {
    asked();
    questions_.note_position(Slot::replica, wire::as_bytes("x"));
    EXPECT_EQ(told({}), Verdict::run_again);
}

TEST_F(VerificationTest, IsNoAnswerWithoutARequest) {
    asked();
    course_.requests.clear();
    EXPECT_EQ(told({"t", "0/64"}), Verdict::broken);
}

TEST_F(VerificationTest, DoesNotComeWhereItWasSkipped) {
    asked();
    questions_.skipped(Slot::replica, Purpose::verify);
    EXPECT_FALSE(sides_[Slot::replica].verification.is_pending);
}

}  // namespace
}  // namespace pgsteer::proxy
