// What has to be known of a session for deciding where its statements run.
#include "proxy/session/judge.hpp"

#include "tests/support/session_world.hpp"

namespace pgsteer::proxy {
namespace {

using namespace std::chrono_literals;
using routing::Consistency;
using routing::kNever;
using routing::TransactionStatus;

constexpr std::size_t kRetryBuffer = 10 * 1024;

class JudgeTest : public SessionWorld {
protected:
    explicit JudgeTest(const Change& change = {}) : SessionWorld{change} { (void)options_.start(); }
    [[nodiscard]] routing::SessionView view(std::string_view sql = "select 1",
                                            const Demand& demand = {},
                                            routing::ServerSet avoid = {}) {
        const auto judged = statement(sql);
        return judge_.view(judged->statement, *base().topology_.load(), demand, avoid);
    }
    static routing::ServerSet set_of(routing::ServerId server) {
        routing::ServerSet set;
        set.add(server);
        return set;
    }
    // Answered here, and waiting for a server.
    void begin(std::string_view sql, conf::Transactions policy) {
        EXPECT_FALSE(
            memory_.transaction.answer(statement(sql)->statement, policy, options_.default_modes())
                .empty());
    }

    Options options_{lodging_, who_, memory_};
    Judge judge_{lodging_, client_, who_, course_, memory_, sides_, options_};
};

// --- texts ---

TEST_F(JudgeTest, ReadsTexts) {
    const auto read = judge_.classify("select 1");
    ASSERT_NE(read, nullptr);
    EXPECT_EQ(read->statement.access, routing::Access::read_only);
}

TEST_F(JudgeTest, ReadsNoTextsThatCannotBeReadSafely) {
    who_.shown.start({{"standard_conforming_strings", "off"}}, false);
    EXPECT_EQ(judge_.classify("select 1"), nullptr);
}

TEST_F(JudgeTest, ReadsMessagesThatWereCollectedBefore) {
    const auto bytes = query("select 1");
    const auto batch = judge_.parse_batch(wire::as_bytes(bytes));
    ASSERT_EQ(batch.items.size(), 1U);
    EXPECT_NE(batch.items.front().statement, nullptr);
    EXPECT_TRUE(batch.ends);
}

// --- the catalog ---

TEST_F(JudgeTest, SeesTheCatalogThatTheSessionSeesNow) {
    publish_catalog();
    judge_.update();
    const auto before = memory_.catalog.number();
    completed(Slot::primary, "set search_path = shop", TransactionStatus::idle);
    judge_.update();
    EXPECT_NE(memory_.catalog.number(), before);
}

TEST_F(JudgeTest, TrustsNamesAgainWhenNothingIsInFlight) {
    course_.names_may_change = true;
    judge_.update();
    EXPECT_FALSE(course_.names_may_change);
}

TEST_F(JudgeTest, TrustsNoNamesThatMayChangeInFlight) {
    course_.names_may_change = true;
    request(Slot::primary);
    judge_.update();
    EXPECT_TRUE(course_.names_may_change);
}

// --- what is kept for another run ---

class JudgeOfSizesTest : public JudgeTest {
protected:
    explicit JudgeOfSizesTest(std::size_t retry_buffer = kRetryBuffer)
        : JudgeTest{[=](conf::Config& config) { config.routing.retry_buffer = retry_buffer; }} {}

    // Whether a read of so many bytes may go to a replica.
    [[nodiscard]] bool reads_on_replica(std::size_t bytes) {
        const auto sql = "select '" + std::string(bytes, 'x') + "'";
        const auto message = query(sql);
        const auto batch = judge_.parse_batch(wire::as_bytes(message));
        publish_catalog();
        judge_.update();
        const auto facts = judge_.facts_of(batch, wire::as_bytes(message));
        return facts.statement->statement.access == routing::Access::read_only;
    }
    // A complete batch of so many bytes, or one that goes on.
    [[nodiscard]] static Batch batch(std::size_t bytes, bool ends = true) {
        Batch batch;
        batch.bytes = bytes;
        batch.ends = ends;
        return batch;
    }
};

class JudgeWithoutABufferTest : public JudgeOfSizesTest {
protected:
    JudgeWithoutABufferTest() : JudgeOfSizesTest{0} {}
};

TEST_F(JudgeOfSizesTest, KeepsReadsUpToTheSizeOfTheBuffer) {
    EXPECT_TRUE(reads_on_replica(kRetryBuffer - 100));
    EXPECT_FALSE(reads_on_replica(kRetryBuffer));
}

TEST_F(JudgeWithoutABufferTest, KeepsSmallReadsAllTheSame) {
    EXPECT_TRUE(reads_on_replica(8 * 1024 - 100));
    EXPECT_FALSE(reads_on_replica(8 * 1024));
}

TEST_F(JudgeOfSizesTest, VerifiesAReadWhoseMessagesAreAllHere) {
    EXPECT_TRUE(judge_.may_verify(batch(2 * kRetryBuffer)));
}

TEST_F(JudgeOfSizesTest, VerifiesNoReadThatIsTooLarge) {
    EXPECT_FALSE(judge_.may_verify(batch(2 * kRetryBuffer + 1)));
}

TEST_F(JudgeOfSizesTest, VerifiesNoReadWhoseSyncIsStillToCome) {
    EXPECT_FALSE(judge_.may_verify(batch(100, false)));
}

TEST_F(JudgeOfSizesTest, VerifiesNoReadThatGoesOnBehindAFlush) {
    request(Slot::replica).open = true;
    EXPECT_FALSE(judge_.may_verify(batch(100)));
}

TEST_F(JudgeOfSizesTest, VerifiesNoReadBehindARequestThatMoves) {
    course_.moved = std::make_unique<Request>();
    EXPECT_FALSE(judge_.may_verify(batch(100)));
}

// --- the view: options ---

TEST_F(JudgeTest, TellsWhatTheStatementAsksFor) {
    const auto seen =
        view("/* pgsteer: consistency=strict, max_staleness=2s, min_lsn=1/0/64 */ select 1");
    EXPECT_EQ(seen.consistency, Consistency::strict);
    EXPECT_EQ(seen.max_staleness, 2s);
    EXPECT_EQ(seen.min_lsn, (routing::WalPosition{1, routing::Lsn{100}}));
}

TEST_F(JudgeTest, TellsTheLevelOfTheSession) {
    EXPECT_EQ(view().consistency, Consistency::session);
}

class JudgeOfLazyTransactionsTest : public JudgeTest {
protected:
    JudgeOfLazyTransactionsTest()
        : JudgeTest{[](conf::Config& config) {
              config.routing.transactions = conf::Transactions::lazy;
              config.routing.lazy_consistency = conf::Consistency::global;
          }} {}
};

TEST_F(JudgeOfLazyTransactionsTest, TellsTheLeastLevelOfOneThatMayWrite) {
    begin("begin isolation level read committed", conf::Transactions::lazy);
    EXPECT_EQ(view().consistency, Consistency::global);
}

TEST_F(JudgeOfLazyTransactionsTest, TellsAHigherLevelWhereItIsAskedFor) {
    begin("begin isolation level read committed", conf::Transactions::lazy);
    EXPECT_EQ(view("/* pgsteer: consistency=strict */ select 1").consistency, Consistency::strict);
}

TEST_F(JudgeOfLazyTransactionsTest, TellsTheLevelOfTheSessionInOneThatOnlyReads) {
    begin("begin read only", conf::Transactions::lazy);
    EXPECT_EQ(view().consistency, Consistency::session);
}

// --- the view: the session ---

TEST_F(JudgeTest, TellsTheFloor) {
    memory_.freshness.primary_has_answered(routing::TimePoint{1h});
    EXPECT_EQ(view().floor.primary_seen, routing::TimePoint{1h});
}

TEST_F(JudgeTest, TellsWhatPinsTheSession) {
    connect(Slot::primary);
    EXPECT_EQ(view().pin, std::nullopt);
    completed(Slot::primary, "create temp table t (a int)", TransactionStatus::idle);
    EXPECT_EQ(view().pin, routing::Pin::temporary_table);
}

TEST_F(JudgeTest, TellsWhereATransactionIsOpen) {
    connect(Slot::primary);
    EXPECT_EQ(view().transaction_on, std::nullopt);
    completed(Slot::primary, "begin", TransactionStatus::in_block);
    EXPECT_EQ(view().transaction_on, PoolWorld::kPrimary);
}

TEST_F(JudgeTest, TellsWhereACursorIsOpen) {
    connect(Slot::primary);
    completed(Slot::primary, "declare c cursor with hold for select 1", TransactionStatus::idle);
    EXPECT_EQ(view().cursor_on, PoolWorld::kPrimary);
}

TEST_F(JudgeTest, TellsWhichServerWasUsedLast) {
    connect(Slot::replica);
    EXPECT_EQ(view().last_used, std::nullopt);
    sides_.used(Slot::replica);
    EXPECT_EQ(view().last_used, PoolWorld::kReplica);
}

TEST_F(JudgeTest, TellsThatStatementsWerePreparedInSql) {
    connect(Slot::primary);
    completed(Slot::primary, "prepare s as select 1", TransactionStatus::idle);
    EXPECT_TRUE(view().prepared_in_sql);
}

TEST_F(JudgeTest, TellsThatATransactionWaits) {
    begin("begin read only", conf::Transactions::read_only);
    EXPECT_TRUE(view().transaction.waits);
    EXPECT_TRUE(view().transaction.read_only);
}

// --- the view: the request ---

TEST_F(JudgeTest, TellsWhenTheRequestCame) {
    Demand demand;
    demand.arrived = routing::TimePoint{1h};
    EXPECT_EQ(view("select 1", demand).arrived, routing::TimePoint{1h});
}

TEST_F(JudgeTest, TellsWhetherTheRequestTiesItsTransaction) {
    Demand demand;
    demand.ties = true;
    EXPECT_TRUE(view("select 1", demand).transaction.tied_by_request);
    EXPECT_FALSE(view().transaction.tied_by_request);
}

TEST_F(JudgeTest, TellsToAvoidWhatTheRequestAvoids) {
    Demand demand;
    demand.avoid.add(PoolWorld::kReplica);
    EXPECT_EQ(view("select 1", demand).avoid, set_of(PoolWorld::kReplica));
}

TEST_F(JudgeTest, TellsToAvoidWhatTheCallerAvoids) {
    const auto avoid = set_of(PoolWorld::kReplica);
    EXPECT_EQ(view("select 1", {}, avoid).avoid, avoid);
}

TEST_F(JudgeTest, TellsToAvoidServersThatAreSuspected) {
    base().evidence.server_unreachable(PoolWorld::kReplica);
    EXPECT_EQ(view().avoid, set_of(PoolWorld::kReplica));
}

// --- the view: servers ---

class JudgeOfDegradedReplicasTest : public JudgeTest {
protected:
    JudgeOfDegradedReplicasTest()
        : JudgeTest{[](conf::Config& config) {
              config.routing.degraded_reads = false;
              config.health.timeout = 1s;
              config.health.interval = 500ms;
              config.health.fall = 3;
          }} {}
};

TEST_F(JudgeOfDegradedReplicasTest, TellsWhetherTheyMayBeUsed) {
    EXPECT_FALSE(view().degraded_reads);
}

TEST_F(JudgeOfDegradedReplicasTest, TellsHowOldEvidenceMayBe) {
    EXPECT_EQ(view().tolerated_age, 3s) << "as long as it takes to find that a server is gone";
}

TEST_F(JudgeTest, TellsWhatAllHaveWrittenWhereThatCounts) {
    lodging_.around.freshness().writes().acknowledged(routing::TimePoint{1h});
    EXPECT_EQ(view("/* pgsteer: consistency=global */ select 1").written.at,
              routing::TimePoint{1h});
}

TEST_F(JudgeTest, TellsNothingOfOthersWhereThatCountsForNothing) {
    lodging_.around.freshness().writes().acknowledged(routing::TimePoint{1h});
    EXPECT_EQ(view().written.at, kNever);
}

TEST_F(JudgeTest, TellsPositionsWhereAPositionIsNeeded) {
    lodging_.around.freshness().learnt().learn(PoolWorld::kReplica, 1, routing::Lsn{100});
    const auto seen = view("/* pgsteer: min_lsn=1/0/64 */ select 1");
    ASSERT_EQ(seen.learnt.size(), 2U);
    EXPECT_EQ(seen.learnt[1], routing::Lsn{100});
}

TEST_F(JudgeTest, TellsPositionsWhereTheFloorIsOne) {
    memory_.freshness.sampled({1, routing::Lsn{100}}, routing::TimePoint{1h});
    EXPECT_EQ(view().learnt.size(), 2U);
}

TEST_F(JudgeTest, TellsNoPositionsWhereNobodyLooksAtThem) { EXPECT_TRUE(view().learnt.empty()); }

}  // namespace
}  // namespace pgsteer::proxy
