#include "routing/session_state.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>
#include <string>
#include <utility>
#include <vector>

namespace pgsteer::routing {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using Kind = Effect::Kind;

constexpr Slot kPrimary = Slot::primary;
constexpr Slot kReplica = Slot::replica;
constexpr TransactionStatus kIdle = TransactionStatus::idle;
constexpr TransactionStatus kInBlock = TransactionStatus::in_block;
constexpr TransactionStatus kFailed = TransactionStatus::failed;

Statement statement(Kind kind, std::string name = {}, std::string sql = {}) {
    Statement s;
    s.statement_count = 1;
    s.effects.push_back({kind, 0, std::move(name), std::move(sql)});
    return s;
}
Statement set(const std::string& name, const std::string& value) {
    return statement(Kind::set, name, "SET " + name + " = " + value);
}
Statement unparsed() { return {}; }

class SessionStateTest : public testing::Test {
protected:
    SessionStateTest() {
        state_.connected(kPrimary, primary_);
        state_.connected(kReplica, replica_);
    }
    // A statement of its own, answered with `status`.
    void run(const Statement& s,
             TransactionStatus status = kIdle,
             std::string_view tag = "OK",
             Slot slot = kPrimary) {
        state_.completed(slot, s, 0, tag);
        state_.ready(slot, status);
    }
    // The same without an answer to the whole: in a pipeline, or in the middle of a text.
    void complete(const Statement& s, std::string_view tag = "OK", Slot slot = kPrimary) {
        state_.completed(slot, s, 0, tag);
    }
    void error(TransactionStatus status, Slot slot = kPrimary) {
        state_.failed();
        state_.ready(slot, status);
    }
    void begin(Slot slot = kPrimary) { run(statement(Kind::begin), kInBlock, "BEGIN", slot); }
    void commit(std::string_view tag = "COMMIT") { run(statement(Kind::commit), kIdle, tag); }
    void rollback() { run(statement(Kind::rollback), kIdle, "ROLLBACK"); }
    void savepoint(const std::string& name) {
        run(statement(Kind::savepoint, name), kInBlock, "SAVEPOINT");
    }
    void release(const std::string& name) {
        run(statement(Kind::release, name), kInBlock, "RELEASE");
    }
    void roll_back_to(const std::string& name) {
        run(statement(Kind::rollback_to, name), kInBlock, "ROLLBACK");
    }
    void set_in_transaction(const std::string& name, const std::string& value) {
        run(set(name, value), kInBlock, "SET");
    }

    ConnectionState primary_;
    ConnectionState replica_;
    SessionState state_;
};

// --- transaction ---

TEST_F(SessionStateTest, KnowsWhereATransactionIsOpen) {
    EXPECT_EQ(state_.transaction_on(), std::nullopt);
    begin(kReplica);
    EXPECT_EQ(state_.transaction_on(), kReplica);
    EXPECT_TRUE(state_.irreplaceable(kReplica));
    EXPECT_FALSE(state_.irreplaceable(kPrimary));
    error(kFailed, kReplica);
    EXPECT_EQ(state_.transaction_status(), kFailed);
    EXPECT_EQ(state_.transaction_on(), kReplica);
    run(statement(Kind::rollback), kIdle, "ROLLBACK", kReplica);
    EXPECT_EQ(state_.transaction_on(), std::nullopt);
    EXPECT_FALSE(state_.irreplaceable(kReplica));
}

TEST_F(SessionStateTest, TheOtherConnectionBeingIdleEndsNoTransaction) {
    begin();
    set_in_transaction("a", "1");
    state_.ready(kReplica, kIdle);
    EXPECT_EQ(state_.transaction_on(), kPrimary);
    rollback();
    EXPECT_FALSE(state_.settings_pending(kReplica));
}

TEST_F(SessionStateTest, ALostConnectionEndsItsTransaction) {
    begin();
    set_in_transaction("a", "1");
    state_.disconnected(kReplica);
    EXPECT_EQ(state_.transaction_on(), kPrimary);
    state_.disconnected(kPrimary);
    EXPECT_EQ(state_.transaction_status(), kIdle);
    EXPECT_FALSE(state_.settings_pending(kReplica));
    state_.ready(kPrimary, kIdle);
    EXPECT_FALSE(state_.settings_pending(kReplica));
}

TEST_F(SessionStateTest, ALostConnectionDropsWhatItHadNotConfirmed) {
    complete(set("a", "1"));
    state_.disconnected(kPrimary);
    state_.ready(kReplica, kIdle);
    EXPECT_FALSE(state_.settings_pending(kReplica));
}

// --- settings and transactions ---

TEST_F(SessionStateTest, SettingsFollowOnceTheyAreCommitted) {
    complete(set("a", "1"));
    EXPECT_FALSE(state_.settings_pending(kReplica));
    state_.ready(kPrimary, kIdle);
    EXPECT_TRUE(state_.settings_pending(kReplica));
    EXPECT_FALSE(state_.settings_pending(kPrimary));
    EXPECT_THAT(state_.pending_settings(kReplica), ElementsAre("SET a = 1"));
    state_.settings_applied(kReplica);
    EXPECT_FALSE(state_.settings_pending(kReplica));
    state_.disconnected(kReplica);
    state_.connected(kReplica, replica_);
    EXPECT_THAT(state_.pending_settings(kReplica), ElementsAre("SET a = 1"));
}

TEST_F(SessionStateTest, RolledBackSettingsNeverWere) {
    begin();
    set_in_transaction("a", "1");
    rollback();
    EXPECT_FALSE(state_.settings_pending(kReplica));
}

TEST_F(SessionStateTest, CommitOfAFailedTransactionIsARollback) {
    begin();
    set_in_transaction("a", "1");
    error(kFailed);
    commit("ROLLBACK");
    EXPECT_FALSE(state_.settings_pending(kReplica));
}

TEST_F(SessionStateTest, ACommitThatFailsIsARollback) {
    begin();
    set_in_transaction("a", "1");
    error(kIdle);  // a deferred constraint, say
    EXPECT_FALSE(state_.settings_pending(kReplica));
}

TEST_F(SessionStateTest, CommitAndChainCommitsAndGoesOn) {
    begin();
    set_in_transaction("a", "1");
    run(statement(Kind::commit), kInBlock, "COMMIT");
    EXPECT_EQ(state_.transaction_on(), kPrimary);
    set_in_transaction("b", "1");
    rollback();
    EXPECT_THAT(state_.pending_settings(kReplica), ElementsAre("SET a = 1"));
}

TEST_F(SessionStateTest, RollbackAndChainRollsBackAndGoesOn) {
    begin();
    set_in_transaction("a", "1");
    run(statement(Kind::rollback), kInBlock, "ROLLBACK");
    set_in_transaction("b", "1");
    commit();
    EXPECT_THAT(state_.pending_settings(kReplica), ElementsAre("SET b = 1"));
}

TEST_F(SessionStateTest, LocalSettingsAndThoseOfThePrimaryStayThere) {
    run(statement(Kind::set_local, "a"));
    run(statement(Kind::set_on_primary, "default_transaction_read_only"));
    EXPECT_FALSE(state_.settings_pending(kReplica));
    EXPECT_EQ(state_.pin(), std::nullopt);
}

TEST_F(SessionStateTest, WhatMayHaveMadeTheReplicasConnectionWritableEndsItsUse) {
    run(statement(Kind::set_on_primary, "default_transaction_read_only"), kIdle, "SET", kReplica);
    EXPECT_EQ(state_.pin(), Pin::opaque_settings);
}

TEST_F(SessionStateTest, ResetAllReachesWhatIsNotRepeated) {
    run(statement(Kind::set_on_primary, "default_transaction_isolation"));
    run(statement(Kind::reset_all), kIdle, "RESET", kReplica);
    EXPECT_THAT(state_.pending_settings(kPrimary), ElementsAre("RESET ALL"));
    EXPECT_FALSE(state_.settings_pending(kReplica));
}

TEST_F(SessionStateTest, DiscardAllReachesWhatAReplicaWasNotToBeTold) {
    run(statement(Kind::opaque_settings), kIdle, "SELECT 1", kReplica);
    run(statement(Kind::discard_all), kIdle, "DISCARD ALL");
    EXPECT_EQ(state_.pin(), std::nullopt);
    EXPECT_THAT(state_.pending_settings(kReplica),
                ElementsAre("SET SESSION AUTHORIZATION DEFAULT", "RESET ALL"));
    EXPECT_FALSE(state_.settings_pending(kPrimary));
}

// --- texts of several statements, pipelines ---

TEST_F(SessionStateTest, OnlyTheStatementThatCompletedCounts) {
    Statement text;
    text.statement_count = 2;
    text.effects.push_back({Kind::set, 0, "a", "SET a = 1"});
    text.effects.push_back({Kind::set, 1, "b", "SET b = 1"});
    state_.completed(kPrimary, text, 1, "SET");
    state_.ready(kPrimary, kIdle);
    EXPECT_THAT(state_.pending_settings(kReplica), ElementsAre("SET b = 1"));
}

TEST_F(SessionStateTest, AnErrorUndoesTheImplicitTransaction) {
    complete(set("a", "1"));
    complete(set("b", "1"));
    error(kIdle);
    EXPECT_FALSE(state_.settings_pending(kReplica));
    run(set("c", "1"));  // the error is forgotten
    EXPECT_THAT(state_.pending_settings(kReplica), ElementsAre("SET c = 1"));
}

TEST_F(SessionStateTest, AnErrorUndoesOnlyWhatFollowedTheLastCommit) {
    complete(set("a", "1"));
    complete(statement(Kind::commit), "COMMIT");
    complete(set("b", "1"));
    error(kIdle);
    EXPECT_THAT(state_.pending_settings(kReplica), ElementsAre("SET a = 1"));
}

TEST_F(SessionStateTest, ATransactionInsideATextCommitsThere) {
    complete(statement(Kind::begin), "BEGIN");
    complete(set("a", "1"));
    complete(statement(Kind::commit), "COMMIT");
    complete(statement(Kind::begin), "BEGIN");
    complete(set("b", "1"));
    complete(statement(Kind::rollback), "ROLLBACK");
    complete(set("c", "1"));
    state_.ready(kPrimary, kIdle);
    EXPECT_THAT(state_.pending_settings(kReplica), ElementsAre("SET a = 1", "SET c = 1"));
}

TEST_F(SessionStateTest, BeginTakesInWhatTheTextDidBefore) {
    complete(set("a", "1"));
    complete(statement(Kind::begin), "BEGIN");
    complete(set("b", "1"));
    state_.ready(kPrimary, kInBlock);
    EXPECT_FALSE(state_.settings_pending(kReplica));
    rollback();
    EXPECT_FALSE(state_.settings_pending(kReplica));
}

TEST_F(SessionStateTest, AnErrorInAnOpenTransactionLeavesTheRestToRollbackTo) {
    begin();
    set_in_transaction("a", "1");
    savepoint("s");
    set_in_transaction("b", "1");
    error(kFailed);
    roll_back_to("s");
    set_in_transaction("c", "1");
    commit();
    EXPECT_THAT(state_.pending_settings(kReplica), ElementsAre("SET a = 1", "SET c = 1"));
}

// --- savepoints ---

TEST_F(SessionStateTest, RollbackToKeepsItsSavepoint) {
    begin();
    savepoint("s");
    set_in_transaction("a", "1");
    roll_back_to("s");
    set_in_transaction("b", "1");
    roll_back_to("s");
    set_in_transaction("c", "1");
    commit();
    EXPECT_THAT(state_.pending_settings(kReplica), ElementsAre("SET c = 1"));
}

TEST_F(SessionStateTest, RollbackToRemovesLaterSavepoints) {
    begin();
    savepoint("x");
    set_in_transaction("a", "1");
    savepoint("s");
    savepoint("x");
    set_in_transaction("b", "1");
    roll_back_to("s");  // the inner x is gone
    roll_back_to("x");
    set_in_transaction("c", "1");
    commit();
    EXPECT_THAT(state_.pending_settings(kReplica), ElementsAre("SET c = 1"));
    EXPECT_EQ(state_.pin(), std::nullopt);
}

TEST_F(SessionStateTest, ReleaseMergesIntoWhatIsAround) {
    begin();
    savepoint("outer");
    set_in_transaction("a", "1");
    savepoint("inner");
    set_in_transaction("b", "1");
    release("inner");
    set_in_transaction("c", "1");
    roll_back_to("outer");
    commit();
    EXPECT_FALSE(state_.settings_pending(kReplica));
}

TEST_F(SessionStateTest, ANameUsedTwiceMeansTheLaterUntilItIsReleased) {
    begin();
    savepoint("s");
    set_in_transaction("a", "1");
    savepoint("s");
    set_in_transaction("b", "1");
    roll_back_to("s");
    release("s");
    set_in_transaction("c", "1");
    roll_back_to("s");
    commit();
    EXPECT_FALSE(state_.settings_pending(kReplica));
}

TEST_F(SessionStateTest, SavepointsThatRepeatTakeNoMemory) {
    begin();
    set_in_transaction("a", "1");
    savepoint("s");
    const auto once = state_.memory_bytes();
    for (int i = 0; i < 100'000; ++i) savepoint("s");
    EXPECT_EQ(state_.memory_bytes(), once);
    for (int i = 0; i < 100'000; ++i) release("s");
    set_in_transaction("b", "1");
    roll_back_to("s");
    commit();
    EXPECT_THAT(state_.pending_settings(kReplica), ElementsAre("SET a = 1"));
    EXPECT_EQ(state_.pin(), std::nullopt);
}

TEST_F(SessionStateTest, AnUnknownSavepointMayHaveUndoneAnything) {
    begin();
    set_in_transaction("a", "1");
    roll_back_to("nobody_told");
    commit();
    EXPECT_EQ(state_.pin(), Pin::opaque_settings);
}

TEST_F(SessionStateTest, TooManySavepointsCostOffloadNotMemory) {
    begin();
    for (int i = 0; i < 100'000; ++i) savepoint("s" + std::to_string(i));
    EXPECT_LT(state_.memory_bytes(), 4 * SessionState::kMaxStagedBytes);
    set_in_transaction("a", "1");
    roll_back_to("s5");
    commit();
    EXPECT_EQ(state_.pin(), Pin::opaque_settings);
}

// --- pins ---

TEST_F(SessionStateTest, TemporaryTablesPinUntilTheyAreDiscarded) {
    run(statement(Kind::create_temporary));
    EXPECT_EQ(state_.pin(), Pin::temporary_table);
    EXPECT_TRUE(state_.irreplaceable(kPrimary));
    run(statement(Kind::discard_temporary));
    EXPECT_EQ(state_.pin(), std::nullopt);
    EXPECT_FALSE(state_.irreplaceable(kPrimary));
    run(statement(Kind::create_temporary));
    run(statement(Kind::discard_all));
    EXPECT_EQ(state_.pin(), std::nullopt);
    run(statement(Kind::create_temporary));
    state_.disconnected(kReplica);
    EXPECT_EQ(state_.pin(), Pin::temporary_table);
    state_.disconnected(kPrimary);
    EXPECT_EQ(state_.pin(), std::nullopt);
}

TEST_F(SessionStateTest, ARolledBackTemporaryTableDoesNotPin) {
    begin();
    run(statement(Kind::create_temporary), kInBlock);
    rollback();
    EXPECT_EQ(state_.pin(), std::nullopt);
    run(statement(Kind::create_temporary));
    begin();
    run(statement(Kind::discard_temporary), kInBlock);
    rollback();
    EXPECT_EQ(state_.pin(), Pin::temporary_table);
}

TEST_F(SessionStateTest, SettingsOfUnknownValuePinUntilAllIsDiscarded) {
    run(statement(Kind::opaque_settings));
    EXPECT_EQ(state_.pin(), Pin::opaque_settings);
    EXPECT_TRUE(state_.irreplaceable(kPrimary));
    run(statement(Kind::reset_all));
    EXPECT_EQ(state_.pin(), Pin::opaque_settings);  // it may have been the role
    run(statement(Kind::discard_all));
    EXPECT_EQ(state_.pin(), std::nullopt);
    begin();
    run(statement(Kind::opaque_settings), kInBlock);
    rollback();
    EXPECT_EQ(state_.pin(), std::nullopt);
}

TEST_F(SessionStateTest, SettingsOfUnknownValueThatHaveANamePinUntilTheyAreReset) {
    run(statement(Kind::opaque_settings, "a"));
    EXPECT_EQ(state_.pin(), Pin::opaque_settings);
    run(statement(Kind::reset_all));
    EXPECT_EQ(state_.pin(), std::nullopt);
    run(statement(Kind::opaque_settings, "role"));
    run(statement(Kind::reset_all));
    EXPECT_EQ(state_.pin(), Pin::opaque_settings) << "RESET ALL leaves the role";
}

TEST_F(SessionStateTest, StateOfTheServerProcessPinsUntilItIsUndone) {
    state_.kept(kPrimary, {Kept::What::resettable, "set_limit"});
    EXPECT_EQ(state_.pin(), Pin::backend_state);
    EXPECT_EQ(state_.pinned_by(), "set_limit");
    EXPECT_TRUE(state_.irreplaceable(kPrimary));
    run(statement(Kind::reset_all));
    EXPECT_EQ(state_.pin(), std::nullopt);
    state_.kept(kPrimary, {Kept::What::state, "setseed"});
    run(statement(Kind::reset_all));
    run(statement(Kind::discard_all));
    EXPECT_EQ(state_.pin(), Pin::backend_state);
    EXPECT_EQ(state_.pinned_by(), "setseed");
    state_.disconnected(kPrimary);
    EXPECT_EQ(state_.pin(), std::nullopt);
    state_.kept(kPrimary, {Kept::What::settings, "f"});
    EXPECT_EQ(state_.pin(), Pin::opaque_settings);
    run(statement(Kind::discard_all));
    EXPECT_EQ(state_.pin(), std::nullopt);
}

TEST_F(SessionStateTest, ACustomSettingIsKnownWhateverBecomesOfItsValue) {
    begin();
    run(statement(Kind::set_local, "a.b"), kInBlock);
    rollback();
    EXPECT_THAT(state_.pending_settings(kReplica), ElementsAre("RESET \"a\".\"b\""));
    EXPECT_TRUE(state_.has_custom_settings());
    EXPECT_EQ(state_.pin(), std::nullopt);
    run(statement(Kind::set_local, ""));
    EXPECT_EQ(state_.pin(), Pin::opaque_settings) << "one of a name that nobody knows";
    EXPECT_FALSE(state_.irreplaceable(kPrimary));
}

TEST_F(SessionStateTest, SettingsThatTheReplicaRefusesPin) {
    run(set("a", "1"));
    state_.settings_not_applicable();
    EXPECT_EQ(state_.pin(), Pin::settings_failed);
    EXPECT_FALSE(state_.irreplaceable(kPrimary));
    run(statement(Kind::discard_all));
    EXPECT_EQ(state_.pin(), std::nullopt);
}

TEST_F(SessionStateTest, TooManySettingsPinAndStopGrowing) {
    for (int i = 0; i < 10'000; ++i) run(set("a.s" + std::to_string(i), std::string(100, 'x')));
    EXPECT_EQ(state_.pin(), Pin::opaque_settings);
    EXPECT_LE(state_.memory_bytes(), SessionSettings::kMaxBytes);
}

TEST_F(SessionStateTest, TooManySettingsInATransactionPinAndStopGrowing) {
    begin();
    for (int i = 0; i < 10'000; ++i) set_in_transaction("a", std::string(100, 'x'));
    EXPECT_LE(state_.memory_bytes(), SessionState::kMaxStagedBytes);
    rollback();
    EXPECT_EQ(state_.pin(), Pin::opaque_settings);
    EXPECT_EQ(state_.memory_bytes(), 0U);
}

TEST_F(SessionStateTest, TooManyEffectsAtOnceForgetNoPin) {
    begin();
    for (int i = 0; i < 10'000; ++i) set_in_transaction("a", std::string(100, 'x'));
    run(statement(Kind::create_temporary), kInBlock);
    commit();
    run(statement(Kind::discard_temporary));
    EXPECT_EQ(state_.pin(), Pin::opaque_settings);
    begin();
    for (int i = 0; i < 10'000; ++i) set_in_transaction("a", std::string(100, 'x'));
    run(statement(Kind::create_temporary), kInBlock);
    run(statement(Kind::listen, "c"), kInBlock);
    commit();
    EXPECT_EQ(state_.pin(), Pin::temporary_table);
}

// --- LISTEN ---

TEST_F(SessionStateTest, ListeningMakesAConnectionIrreplaceable) {
    run(statement(Kind::listen, "a"));
    run(statement(Kind::listen, "b"));
    run(statement(Kind::listen, "a"));
    EXPECT_TRUE(state_.irreplaceable(kPrimary));
    EXPECT_EQ(state_.pin(), std::nullopt);
    run(statement(Kind::unlisten, "a"));
    EXPECT_TRUE(state_.irreplaceable(kPrimary));
    run(statement(Kind::unlisten, "b"));
    EXPECT_FALSE(state_.irreplaceable(kPrimary));
    run(statement(Kind::listen, "a"));
    run(statement(Kind::unlisten_all));
    EXPECT_FALSE(state_.irreplaceable(kPrimary));
    begin();
    run(statement(Kind::listen, "a"), kInBlock);
    rollback();
    EXPECT_FALSE(state_.irreplaceable(kPrimary));
}

TEST_F(SessionStateTest, ManyChannelsTakeBoundedMemory) {
    for (int i = 0; i < 10'000; ++i) run(statement(Kind::listen, "channel" + std::to_string(i)));
    EXPECT_LT(state_.memory_bytes(), 32 * 1024U);
    for (int i = 0; i < 10'000; ++i) run(statement(Kind::unlisten, "channel" + std::to_string(i)));
    EXPECT_TRUE(state_.irreplaceable(kPrimary));  // some were not counted
    run(statement(Kind::unlisten_all));
    EXPECT_FALSE(state_.irreplaceable(kPrimary));
}

// --- holdable cursors ---

TEST_F(SessionStateTest, AHoldableCursorKeepsCursorStatementsOnItsConnection) {
    run(statement(Kind::declare_hold, "c"), kIdle, "DECLARE CURSOR", kReplica);
    EXPECT_EQ(state_.cursor_on(), kReplica);
    EXPECT_TRUE(state_.irreplaceable(kReplica));
    EXPECT_EQ(state_.pin(), std::nullopt);
    run(statement(Kind::declare_hold, "c"));
    EXPECT_EQ(state_.cursor_on(), kPrimary);
    run(statement(Kind::close, "c"));
    EXPECT_EQ(state_.cursor_on(), kReplica);
    run(statement(Kind::close, "other"), kIdle, "CLOSE CURSOR", kReplica);
    EXPECT_EQ(state_.cursor_on(), kReplica);
    run(statement(Kind::close_all), kIdle, "CLOSE CURSOR ALL", kReplica);
    EXPECT_EQ(state_.cursor_on(), std::nullopt);
    EXPECT_FALSE(state_.irreplaceable(kReplica));
}

TEST_F(SessionStateTest, ACursorOfARolledBackTransactionIsGone) {
    begin();
    run(statement(Kind::declare_hold, "c"), kInBlock);
    rollback();
    EXPECT_EQ(state_.cursor_on(), std::nullopt);
}

TEST_F(SessionStateTest, ClosingACursorIsNeverRolledBack) {
    run(statement(Kind::declare_hold, "c"));
    begin();
    run(statement(Kind::close, "c"), kInBlock);
    rollback();
    EXPECT_EQ(state_.cursor_on(), std::nullopt);

    begin();
    run(statement(Kind::declare_hold, "d"), kInBlock);
    savepoint("s");
    run(statement(Kind::close, "d"), kInBlock);
    roll_back_to("s");
    commit();
    EXPECT_EQ(state_.cursor_on(), std::nullopt);
}

TEST_F(SessionStateTest, DiscardAllLeavesNothingOnTheOtherConnection) {
    run(statement(Kind::declare_hold, "c"), kIdle, "DECLARE CURSOR", kReplica);
    run(statement(Kind::declare_hold, "d"));
    run(statement(Kind::listen, "x"));
    run(set("a", "1"));
    state_.settings_applied(kReplica);
    run(statement(Kind::discard_all), kIdle, "DISCARD ALL");
    EXPECT_EQ(state_.cursor_on(), std::nullopt);
    EXPECT_FALSE(state_.irreplaceable(kPrimary));
    EXPECT_FALSE(state_.irreplaceable(kReplica));
    EXPECT_THAT(state_.pending_settings(kReplica),
                ElementsAre("SET SESSION AUTHORIZATION DEFAULT", "RESET ALL", "CLOSE ALL"));
    EXPECT_FALSE(state_.settings_pending(kPrimary));
    state_.settings_applied(kReplica);
    EXPECT_FALSE(state_.settings_pending(kReplica));
}

TEST_F(SessionStateTest, AnErrorBehindDiscardAllDoesNotUndoIt) {
    run(set("a", "1"));
    state_.settings_applied(kReplica);
    complete(statement(Kind::discard_all), "DISCARD ALL");
    complete(set("b", "1"));
    error(kIdle);
    EXPECT_THAT(state_.pending_settings(kReplica),
                ElementsAre("SET SESSION AUTHORIZATION DEFAULT", "RESET ALL"));
    EXPECT_FALSE(state_.settings_pending(kPrimary));
}

TEST_F(SessionStateTest, ALostConnectionTakesItsCursorsAndChannels) {
    run(statement(Kind::declare_hold, "c"), kIdle, "DECLARE CURSOR", kReplica);
    run(statement(Kind::listen, "x"));
    state_.disconnected(kReplica);
    EXPECT_EQ(state_.cursor_on(), std::nullopt);
    EXPECT_TRUE(state_.irreplaceable(kPrimary));
    state_.disconnected(kPrimary);
    EXPECT_FALSE(state_.irreplaceable(kPrimary));
}

// --- texts that were not parsed ---

TEST_F(SessionStateTest, JudgesUnparsedTextsByTheirTags) {
    const auto pin_after = [](std::string_view tag) {
        ConnectionState primary;
        SessionState state;
        state.connected(kPrimary, primary);
        state.completed(kPrimary, unparsed(), 0, tag);
        state.ready(kPrimary, kIdle);
        return state.pin();
    };
    EXPECT_EQ(pin_after("SET"), Pin::opaque_settings);
    EXPECT_EQ(pin_after("RESET"), Pin::opaque_settings);
    EXPECT_EQ(pin_after("CREATE TABLE"), Pin::temporary_table);
    EXPECT_EQ(pin_after("CREATE VIEW"), Pin::temporary_table);
    for (const char* tag :
         {"SELECT 1", "INSERT 0 1", "COPY 5", "BEGIN", "COMMIT", "ROLLBACK", "", "DROP TABLE"})
        EXPECT_EQ(pin_after(tag), std::nullopt) << tag;
}

TEST_F(SessionStateTest, AnUnparsedQueryMayHaveCalledSetConfig) {
    Statement query;
    query.effects.push_back({Kind::opaque_settings, 0, {}, {}});
    run(query, kIdle, "PREPARE");
    EXPECT_EQ(state_.pin(), std::nullopt);
    run(query, kIdle, "SELECT 1");
    EXPECT_EQ(state_.pin(), Pin::opaque_settings);
}

TEST_F(SessionStateTest, AnUnparsedQueryMayHaveDoneWhatItNames) {
    Statement query;
    query.effects.push_back({Kind::lock, 0, {}, {}});
    run(query, kIdle, "SELECT 1");
    EXPECT_TRUE(state_.irreplaceable(kPrimary));
    query.effects.push_back({Kind::create_temporary, 0, {}, {}});
    run(query, kIdle, "SELECT 1");
    EXPECT_EQ(state_.pin(), Pin::temporary_table);
}

TEST_F(SessionStateTest, UnparsedTextsEndTransactions) {
    begin();
    set_in_transaction("a", "1");
    run(unparsed(), kIdle, "COMMIT");
    EXPECT_THAT(state_.pending_settings(kReplica), ElementsAre("SET a = 1"));
    EXPECT_EQ(state_.pin(), std::nullopt);
    begin();
    set_in_transaction("b", "1");
    run(unparsed(), kIdle, "ROLLBACK");  // or ROLLBACK TO: the tag does not say
    EXPECT_THAT(state_.pending_settings(kReplica), ElementsAre("SET a = 1"));
    EXPECT_EQ(state_.pin(), Pin::opaque_settings);
    run(unparsed(), kIdle, "DISCARD ALL");
    EXPECT_EQ(state_.pin(), std::nullopt);
}

TEST_F(SessionStateTest, AnUnparsedSavepointMakesLaterRollbacksUncertain) {
    begin();
    savepoint("s");
    set_in_transaction("a", "1");
    run(unparsed(), kInBlock, "SAVEPOINT");  // another s, perhaps
    roll_back_to("s");
    commit();
    EXPECT_EQ(state_.pin(), Pin::opaque_settings);
    run(statement(Kind::discard_all));
    begin();  // another transaction starts from certainty
    savepoint("s");
    set_in_transaction("b", "1");
    roll_back_to("s");
    commit();
    EXPECT_EQ(state_.pin(), std::nullopt);
}

TEST_F(SessionStateTest, SavepointsStayUsableAfterAnUnparsedRollback) {
    begin();
    set_in_transaction("a", "1");
    set_in_transaction("b", "1");
    savepoint("s");
    run(unparsed(), kInBlock, "ROLLBACK");
    set_in_transaction("c", "1");
    roll_back_to("s");
    commit();
    EXPECT_FALSE(state_.settings_pending(kReplica));
    EXPECT_EQ(state_.pin(), Pin::opaque_settings);
}

TEST_F(SessionStateTest, ReleasingAnUnknownSavepointReleasesTheKnownOnesInside) {
    begin();
    run(unparsed(), kInBlock, "SAVEPOINT");  // s
    set_in_transaction("a", "1");
    savepoint("t");
    savepoint("s");
    release("t");
    release("unknown");
    roll_back_to("s");
    commit();
    EXPECT_EQ(state_.pin(), Pin::opaque_settings);
    EXPECT_FALSE(state_.settings_pending(kReplica));
}

// --- against a model that copies everything ---

// A setting as a server keeps it: every savepoint is a copy of all.
class Model {
public:
    void begin() { levels_.push_back({"", value_}); }
    void set(int value) { value_ = value; }
    void savepoint(const std::string& name) { levels_.push_back({name, value_}); }
    void release(const std::string& name) { levels_.resize(find(name)); }
    void roll_back_to(const std::string& name) {
        levels_.resize(find(name) + 1);
        value_ = levels_.back().second;
    }
    void commit() { levels_.clear(); }
    void rollback() {
        value_ = levels_.front().second;
        levels_.clear();
    }
    bool has(const std::string& name) const { return find(name) < levels_.size(); }
    int value() const { return value_; }

private:
    std::size_t find(const std::string& name) const {
        for (std::size_t i = levels_.size(); i > 1; --i)
            if (levels_[i - 1].first == name) return i - 1;
        return levels_.size();
    }
    std::vector<std::pair<std::string, int>> levels_;
    int value_ = 0;
};

class SessionStateRandomly : public SessionStateTest, public testing::WithParamInterface<int> {};

TEST_P(SessionStateRandomly, SavepointsCutAsTheServerCuts) {
    std::mt19937 random{static_cast<std::mt19937::result_type>(GetParam())};
    const auto any = [&](unsigned n) { return static_cast<unsigned>(random() % n); };
    for (int transaction = 0; transaction < 50; ++transaction) {
        Model model;
        state_ = {};
        begin();
        model.begin();
        const auto steps = any(40);
        for (unsigned step = 0; step < steps; ++step) {
            const std::string name(1, static_cast<char>('a' + any(3)));
            switch (any(5)) {
                case 0:
                    savepoint(name), model.savepoint(name);
                    break;
                case 1:
                    if (model.has(name)) release(name), model.release(name);
                    break;
                case 2:
                    if (!model.has(name)) break;
                    if (any(2)) error(kFailed);
                    roll_back_to(name), model.roll_back_to(name);
                    break;
                default: {
                    const int value = static_cast<int>(any(1000)) + 1;
                    set_in_transaction("v", std::to_string(value)), model.set(value);
                }
            }
        }
        if (any(4) == 0)
            rollback(), model.rollback();
        else
            commit(), model.commit();
        const auto pending = state_.pending_settings(kReplica);
        SCOPED_TRACE("transaction " + std::to_string(transaction));
        if (model.value() == 0) {
            ASSERT_THAT(pending, IsEmpty());
        } else {
            ASSERT_THAT(pending, ElementsAre("SET v = " + std::to_string(model.value())));
        }
        ASSERT_EQ(state_.pin(), std::nullopt);
    }
}

INSTANTIATE_TEST_SUITE_P(Seeds, SessionStateRandomly, testing::Range(1, 41));

// --- search_path ---

TEST_F(SessionStateTest, RemembersTheSearchPathThatWasSet) {
    using PathKind = SessionState::SearchPathSetting::Kind;
    const auto set_path = [](const std::string& value) {
        auto s = statement(Kind::set, "search_path", "SET search_path = x");
        s.effects.front().value = value;
        return s;
    };
    EXPECT_EQ(state_.search_path().kind, PathKind::session_default);
    run(set_path("app"));
    EXPECT_EQ(state_.search_path().kind, PathKind::value);
    EXPECT_EQ(state_.search_path().value, "app");
    begin();
    complete(set_path("other"));
    rollback();
    EXPECT_EQ(state_.search_path().value, "app");
    run(set_path(""));
    EXPECT_EQ(state_.search_path().kind, PathKind::unknown);
    run(statement(Kind::reset, "work_mem", "RESET work_mem"));
    EXPECT_EQ(state_.search_path().kind, PathKind::unknown);
    run(statement(Kind::reset, "search_path", "RESET search_path"));
    EXPECT_EQ(state_.search_path().kind, PathKind::session_default);
    EXPECT_FALSE(state_.search_path().role_changed);
    run(set("role", "joe"));
    EXPECT_TRUE(state_.search_path().role_changed);
    run(set_path("app"));
    run(statement(Kind::discard_all));
    EXPECT_EQ(state_.search_path(), SessionState::SearchPathSetting{});
}

TEST_F(SessionStateTest, AnOpaqueRollbackLeavesTheSearchPathUnknown) {
    begin();
    auto s = statement(Kind::set, "search_path", "SET search_path = x");
    s.effects.front().value = "app";
    complete(s);
    roll_back_to("never_set");
    commit();
    EXPECT_EQ(state_.search_path().kind, SessionState::SearchPathSetting::Kind::unknown);
}

TEST_F(SessionStateTest, AnAdvisoryLockIsLostWithItsConnection) {
    begin();
    run(statement(Kind::lock), kInBlock, "SELECT 1");
    rollback();
    EXPECT_TRUE(state_.irreplaceable(kPrimary)) << "it outlives its transaction";
    EXPECT_EQ(state_.pin(), std::nullopt);
    run(statement(Kind::unlock_all), kIdle, "SELECT 1", kReplica);
    EXPECT_TRUE(state_.irreplaceable(kPrimary)) << "other locks";
    run(statement(Kind::unlock_all), kIdle, "SELECT 1");
    EXPECT_FALSE(state_.irreplaceable(kPrimary));
    run(statement(Kind::lock), kIdle, "SELECT 1");
    run(statement(Kind::discard_all), kIdle, "DISCARD ALL");
    EXPECT_FALSE(state_.irreplaceable(kPrimary));
    run(statement(Kind::lock), kIdle, "SELECT 1");
    state_.disconnected(kPrimary);
    EXPECT_FALSE(state_.irreplaceable(kPrimary));
}

TEST_F(SessionStateTest, ATransactionThatWaitsKeepsWhatWasStaged) {
    state_.transaction_waits();
    EXPECT_EQ(state_.transaction_status(), kInBlock);
    EXPECT_EQ(state_.transaction_on(), std::nullopt);
    state_.transaction_opened(kReplica);
    EXPECT_EQ(state_.transaction_on(), kReplica);
    run(set("a", "1"), kInBlock, "SET", kReplica);
    state_.transaction_waits();
    state_.disconnected(kReplica);
    state_.transaction_opened(kPrimary);
    EXPECT_EQ(state_.transaction_on(), kPrimary);
    commit();
    EXPECT_FALSE(state_.settings_pending(kPrimary)) << "it was repeated there";
    EXPECT_TRUE(state_.settings_pending(kReplica));
}

TEST_F(SessionStateTest, ATransactionThatIsDroppedLeavesNothing) {
    state_.transaction_waits();
    state_.transaction_opened(kReplica);
    run(set("a", "1"), kInBlock, "SET", kReplica);
    state_.transaction_waits();
    state_.transaction_dropped();
    EXPECT_EQ(state_.transaction_status(), kIdle);
    EXPECT_FALSE(state_.settings_pending(kReplica));
    EXPECT_FALSE(state_.settings_pending(kPrimary));
}

TEST_F(SessionStateTest, KnowsTheModesOfTransactionsToCome) {
    const auto modes = [](std::string name, TransactionModes said) {
        auto s = statement(Kind::set_on_primary, std::move(name));
        s.effects.front().modes = said;
        if (s.effects.front().name.empty()) s.effects.front().form = Effect::Form::modes;
        return s;
    };
    const TransactionModes read_only{{}, true};
    state_.start_with(TransactionModes{Isolation::read_committed, {}});
    run(modes("", read_only));
    EXPECT_EQ(state_.default_modes(), (TransactionModes{Isolation::read_committed, true}));
    run(modes("default_transaction_isolation", {Isolation::repeatable_read, {}}));
    EXPECT_EQ(state_.default_modes().isolation, Isolation::repeatable_read);
    run(modes("default_transaction_isolation", {}));
    EXPECT_EQ(state_.default_modes().isolation, Isolation::read_committed);
    begin();
    run(modes("default_transaction_read_only", {{}, false}), kInBlock, "SET");
    rollback();
    EXPECT_EQ(state_.default_modes().read_only, true);
    run(statement(Kind::reset_all), kIdle, "RESET");
    EXPECT_EQ(state_.default_modes(), (TransactionModes{Isolation::read_committed, {}}));
}

}  // namespace
}  // namespace pgsteer::routing
