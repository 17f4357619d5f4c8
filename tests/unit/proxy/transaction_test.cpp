#include "proxy/session/transaction.hpp"

#include "routing/classify.hpp"

#include <gtest/gtest.h>

#include <string>

namespace pgsteer::proxy {
namespace {

using routing::Isolation;
using routing::Slot;
using routing::TransactionStatus;

const routing::DefaultModes kUsual{{Isolation::read_committed, false}, false};
constexpr auto kPolicy = conf::Transactions::read_only;

// A session's state and its transaction, told what the relay would tell them.
class TransactionTest : public testing::Test {
protected:
    TransactionTest() {
        state_.connected(Slot::primary, primary_);
        state_.connected(Slot::replica, replica_);
    }
    std::string answer(const std::string& sql, conf::Transactions policy = kPolicy) {
        const auto statement = routing::classify(sql);
        EXPECT_TRUE(Transaction::is_control(statement)) << sql;
        return std::string{transaction_.answer(statement, policy, kUsual)};
    }
    // A statement has run on `slot`, and the transaction is `status` behind it.
    void ran(Slot slot,
             const std::string& sql,
             TransactionStatus status = TransactionStatus::in_block,
             bool queries = false) {
        const auto statement = routing::classify(sql);
        const std::string tag{sql.substr(0, sql.find(' '))};
        state_.completed(slot, statement, 0, tag);
        if (slot == Slot::replica)
            for (const auto& effect : statement.effects)
                transaction_.completed_on_replica(effect, kUsual);
        state_.ready(slot, status);
        transaction_.ready(status);
        transaction_.answered(slot, queries, false);
    }
    [[nodiscard]] routing::SessionView::Transaction view(
        const std::string& sql, conf::Transactions policy = kPolicy) const {
        return transaction_.view(routing::classify(sql), policy, kUsual);
    }

    routing::ConnectionState primary_;
    routing::ConnectionState replica_;
    routing::SessionState state_;
    Transaction transaction_{state_};
};

TEST_F(TransactionTest, BeginIsAnsweredHereAndOpenedWhereItsFirstStatementRuns) {
    EXPECT_EQ(answer("BEGIN"), "BEGIN");
    EXPECT_TRUE(transaction_.is_waiting());
    EXPECT_EQ(transaction_.status(), TransactionStatus::in_block);
    EXPECT_EQ(transaction_.open(Slot::primary), "begin");
    EXPECT_FALSE(transaction_.is_waiting());
    EXPECT_EQ(state_.transaction_on(), Slot::primary);
    EXPECT_TRUE(transaction_.has_to_stay());
    EXPECT_EQ(transaction_.options(), nullptr) << "the primary has it for good";
}

TEST_F(TransactionTest, AnswersAreTheTagsOfPostgreSQL) {
    EXPECT_EQ(answer("START TRANSACTION READ ONLY"), "START TRANSACTION");
    EXPECT_EQ(answer("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"), "SET");
    EXPECT_EQ(answer("ROLLBACK"), "ROLLBACK");
    EXPECT_EQ(transaction_.status(), TransactionStatus::idle);
    EXPECT_EQ(answer("BEGIN"), "BEGIN");
    EXPECT_EQ(answer("COMMIT AND CHAIN"), "COMMIT");
    EXPECT_TRUE(transaction_.is_waiting()) << "another one like it";
    EXPECT_EQ(answer("COMMIT"), "COMMIT");
    EXPECT_EQ(transaction_.status(), TransactionStatus::idle);
}

TEST_F(TransactionTest, WhatOnlyAServerCanAnswerChangesNothing) {
    EXPECT_EQ(answer("COMMIT"), "") << "a WARNING";
    EXPECT_EQ(answer("ROLLBACK"), "");
    EXPECT_EQ(answer("SET TRANSACTION READ ONLY"), "");
    EXPECT_EQ(answer("BEGIN", conf::Transactions::primary), "");
    EXPECT_EQ(answer("/* pgsteer: primary */ BEGIN"), "");
    EXPECT_EQ(transaction_.status(), TransactionStatus::idle);
    answer("BEGIN");
    EXPECT_EQ(answer("BEGIN"), "") << "a WARNING";
    EXPECT_EQ(answer("PREPARE TRANSACTION 'x'"), "");
    EXPECT_TRUE(transaction_.is_waiting());
}

TEST_F(TransactionTest, OnlyControlByItselfIsControl) {
    EXPECT_FALSE(Transaction::is_control(routing::classify("SELECT 1")));
    EXPECT_FALSE(Transaction::is_control(routing::classify("BEGIN; SELECT 1")));
    EXPECT_FALSE(Transaction::is_control(routing::classify("SAVEPOINT s")));
    EXPECT_TRUE(Transaction::is_control(routing::classify("SET TRANSACTION READ ONLY")));
}

TEST_F(TransactionTest, OneThatReadsGoesOnOnThePrimaryWithWhatWasSet) {
    answer("BEGIN", conf::Transactions::lazy);
    EXPECT_EQ(transaction_.open(Slot::replica), "begin");
    EXPECT_TRUE(transaction_.is_open_on_replica());
    ran(Slot::replica, "SELECT 1", TransactionStatus::in_block, true);
    ran(Slot::replica, "SAVEPOINT s");
    EXPECT_TRUE(view("UPDATE t SET a = 1", conf::Transactions::lazy).may_move);
    EXPECT_FALSE(transaction_.has_to_stay());
    transaction_.leave_replica();
    EXPECT_TRUE(transaction_.is_waiting());
    EXPECT_EQ(transaction_.open(Slot::primary), "begin; SELECT; savepoint s");
}

TEST_F(TransactionTest, ASnapshotCannotBeTakenAlong) {
    answer("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY");
    (void)transaction_.open(Slot::replica);
    EXPECT_FALSE(transaction_.has_to_stay());
    ran(Slot::replica, "SELECT 1", TransactionStatus::in_block, true);
    EXPECT_TRUE(transaction_.has_to_stay());
    EXPECT_FALSE(transaction_.may_reopen());
}

TEST_F(TransactionTest, WhatIsInFlightIsTakenBack) {
    answer("BEGIN READ ONLY");
    (void)transaction_.open(Slot::replica);
    EXPECT_TRUE(transaction_.may_reopen()) << "the first statement is in flight: nothing has run";
    transaction_.withdraw();
    EXPECT_TRUE(transaction_.is_waiting());
    (void)transaction_.open(Slot::replica);
    ran(Slot::replica, "SAVEPOINT s");
    transaction_.completed_on_replica(routing::classify("SAVEPOINT t").effects.front(), kUsual);
    EXPECT_TRUE(transaction_.may_reopen());
    transaction_.withdraw();
    EXPECT_EQ(transaction_.open(Slot::replica), "begin read only; savepoint s");
}

TEST_F(TransactionTest, ABeginInFlightIsTakenBackWhole) {
    state_.completed(Slot::replica, routing::classify("BEGIN READ ONLY"), 0, "BEGIN");
    transaction_.completed_on_replica(routing::classify("BEGIN READ ONLY").effects.front(), kUsual);
    EXPECT_TRUE(transaction_.is_open_on_replica());
    transaction_.withdraw();
    EXPECT_FALSE(transaction_.is_open_on_replica());
    EXPECT_FALSE(transaction_.is_waiting());
}

TEST_F(TransactionTest, OneThatHasFailedHereHearsOnlyItsEnd) {
    answer("BEGIN");
    transaction_.fail();
    EXPECT_EQ(transaction_.status(), TransactionStatus::failed);
    EXPECT_EQ(transaction_.refusal(routing::classify("SELECT 1")), ProxyErrc::failed_transaction);
    EXPECT_EQ(answer("BEGIN"), "");
    EXPECT_EQ(answer("COMMIT"), "ROLLBACK");
    EXPECT_EQ(transaction_.status(), TransactionStatus::idle);
    EXPECT_EQ(transaction_.refusal(routing::classify("SELECT 1")), std::nullopt);
}

TEST_F(TransactionTest, WithoutATransactionNothingFails) {
    transaction_.fail();
    EXPECT_EQ(transaction_.status(), TransactionStatus::idle);
}

TEST_F(TransactionTest, ALossIsToldByTheFirstStatementBehindIt) {
    answer("BEGIN READ ONLY");
    (void)transaction_.open(Slot::replica);
    transaction_.lose(false);
    state_.disconnected(Slot::replica);
    EXPECT_EQ(transaction_.status(), TransactionStatus::failed);
    EXPECT_EQ(transaction_.refusal(routing::classify("SELECT 1")),
              ProxyErrc::transaction_lost_read_only);
    EXPECT_EQ(transaction_.refusal(routing::classify("SELECT 1")), ProxyErrc::failed_transaction);
    EXPECT_EQ(transaction_.refusal(routing::classify("ROLLBACK")), std::nullopt);
    EXPECT_FALSE(transaction_.is_lost());
}

TEST_F(TransactionTest, ALossOfWhichNobodyHasHeardCommits) {
    answer("BEGIN READ ONLY");
    (void)transaction_.open(Slot::replica);
    transaction_.lose(false);
    EXPECT_EQ(answer("COMMIT"), "COMMIT") << "all that it has read was right";
    (void)answer("BEGIN READ ONLY");
    (void)transaction_.open(Slot::replica);
    transaction_.lose(true);
    EXPECT_EQ(answer("COMMIT"), "ROLLBACK");
}

TEST_F(TransactionTest, TheEndOnAReplicaEndsIt) {
    answer("BEGIN READ ONLY");
    (void)transaction_.open(Slot::replica);
    ran(Slot::replica, "COMMIT", TransactionStatus::idle);
    EXPECT_FALSE(transaction_.is_open_on_replica());
    EXPECT_EQ(transaction_.status(), TransactionStatus::idle);
}

TEST_F(TransactionTest, WhereItMayStart) {
    EXPECT_FALSE(view("SELECT 1").may_start_on_replica) << "no BEGIN in it";
    EXPECT_TRUE(view("BEGIN READ ONLY").may_start_on_replica);
    EXPECT_TRUE(view("BEGIN READ ONLY").read_only);
    EXPECT_FALSE(view("BEGIN").may_start_on_replica);
    EXPECT_TRUE(view("BEGIN", conf::Transactions::lazy).may_start_on_replica);
    EXPECT_FALSE(view("BEGIN READ WRITE", conf::Transactions::lazy).may_start_on_replica);
    EXPECT_FALSE(view("BEGIN READ ONLY", conf::Transactions::primary).may_start_on_replica);
    EXPECT_FALSE(view("BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY").may_start_on_replica);
    const routing::DefaultModes of_session{{Isolation::read_committed, true}, true};
    EXPECT_FALSE(
        transaction_.view(routing::classify("BEGIN"), kPolicy, of_session).may_start_on_replica)
        << "a replica does not know the session's isolation level";
    answer("BEGIN READ ONLY");
    EXPECT_TRUE(view("SELECT 1").waits);
    EXPECT_TRUE(view("SELECT 1").may_start_on_replica);
    EXPECT_FALSE(view("SELECT 1", conf::Transactions::primary).may_start_on_replica);
}

TEST_F(TransactionTest, WhatBeginAsksOfItsReadsHoldsForAllOfIt) {
    EXPECT_EQ(transaction_.options(), nullptr);
    answer("/* pgsteer: max_staleness=5s */ BEGIN READ ONLY");
    ASSERT_NE(transaction_.options(), nullptr);
    EXPECT_TRUE(transaction_.options()->max_staleness.has_value());
}

TEST_F(TransactionTest, WhatATransactionTiesKeepsIt) {
    answer("BEGIN", conf::Transactions::lazy);
    (void)transaction_.open(Slot::replica);
    state_.ready(Slot::replica, TransactionStatus::in_block);
    transaction_.answered(Slot::replica, true, true);
    EXPECT_TRUE(transaction_.has_to_stay());
    EXPECT_FALSE(view("SELECT 1", conf::Transactions::lazy).may_move);
}

// One that has read on a replica at REPEATABLE READ.
class TransactionOfASnapshot : public TransactionTest {
protected:
    void SetUp() override {
        answer("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY");
        static_cast<void>(transaction_.open(Slot::replica));
        ran(Slot::replica, "SELECT 1", TransactionStatus::in_block, true);
    }
    std::string keep(const std::string& sql) {
        const auto statement = routing::classify(sql);
        EXPECT_TRUE(Transaction::is_for_primary(statement)) << sql;
        return std::string{transaction_.keep_for_primary(statement, sql)};
    }
    // What the client sees of default_transaction_read_only: as set; '-': nothing is; '?': reset.
    [[nodiscard]] std::string read_only() const {
        const auto said = transaction_.read_only_default();
        if (!said) return "-";
        return !said->value ? "?" : *said->value ? "on" : "off";
    }
};

TEST_F(TransactionOfASnapshot, KeepsWhatThePrimaryHasToDo) {
    EXPECT_EQ(keep("LISTEN a"), "LISTEN");
    ran(Slot::replica, "SAVEPOINT x");
    EXPECT_EQ(keep("NOTIFY b, 'c'"), "NOTIFY");
    ran(Slot::replica, "ROLLBACK TO x");
    EXPECT_EQ(keep("UNLISTEN *"), "UNLISTEN");
    EXPECT_EQ(transaction_.kept_for_primary(), "LISTEN a\n; UNLISTEN *");
    EXPECT_FALSE(state_.irreplaceable(Slot::primary)) << "not yet";
    ran(Slot::replica, "ROLLBACK", TransactionStatus::idle);
    EXPECT_EQ(transaction_.kept_for_primary(), "");
}

TEST_F(TransactionOfASnapshot, ListensOnThePrimaryOnceItHasCommitted) {
    keep("LISTEN a");
    ran(Slot::replica, "COMMIT", TransactionStatus::idle);
    EXPECT_TRUE(state_.irreplaceable(Slot::primary));
    EXPECT_FALSE(state_.irreplaceable(Slot::replica));
}

TEST_F(TransactionOfASnapshot, KeepsNothingThatFails) {
    EXPECT_EQ(keep("NOTIFY a, '" + std::string(8'000, 'x') + "'"), "");
    ran(Slot::replica, "SELECT 1", TransactionStatus::failed);
    EXPECT_EQ(keep("LISTEN a"), "");
    EXPECT_FALSE(Transaction::is_for_primary(routing::classify("SELECT 1")));
    EXPECT_FALSE(Transaction::is_for_primary(routing::classify("LISTEN a; LISTEN b")));
}

TEST_F(TransactionTest, KeepsNothingThatCanRunOnThePrimaryItself) {
    const auto listen = routing::classify("LISTEN a");
    EXPECT_EQ(transaction_.keep_for_primary(listen, "LISTEN a"), "") << "no transaction";
    answer("BEGIN READ ONLY");
    EXPECT_EQ(transaction_.keep_for_primary(listen, "LISTEN a"), "") << "no server has it";
    static_cast<void>(transaction_.open(Slot::replica));
    EXPECT_EQ(transaction_.keep_for_primary(listen, "LISTEN a"), "") << "it may move";
}

TEST_F(TransactionOfASnapshot, KnowsWhatItsClientSeesOfTheReadOnlyDefault) {
    EXPECT_EQ(read_only(), "-");
    ran(Slot::replica, "SET default_transaction_read_only = on");
    EXPECT_EQ(read_only(), "on");
    ran(Slot::replica, "SAVEPOINT x");
    ran(Slot::replica, "SET LOCAL default_transaction_read_only = off");
    EXPECT_EQ(read_only(), "off");
    ran(Slot::replica, "SELECT 1", TransactionStatus::failed);
    EXPECT_EQ(read_only(), "on") << "an error undoes it at once";
    ran(Slot::replica, "ROLLBACK TO x");
    ran(Slot::replica, "RESET default_transaction_read_only");
    EXPECT_EQ(read_only(), "?");
    ran(Slot::replica, "SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE");
    EXPECT_EQ(read_only(), "off");
    ran(Slot::replica, "SELECT set_config('default_transaction_read_only', 'on', true)");
    EXPECT_EQ(read_only(), "on");
    ran(Slot::replica, "COMMIT", TransactionStatus::idle);
    EXPECT_EQ(read_only(), "-");
}

}  // namespace
}  // namespace pgsteer::proxy
