#include "routing/deferred_transaction.hpp"

#include "routing/classify.hpp"

#include <gtest/gtest.h>

namespace pgsteer::routing {
namespace {

const DefaultModes kUsual{{Isolation::read_committed, false}, false};

Effect effect_of(const std::string& sql) {
    auto statement = classify(sql);
    EXPECT_EQ(statement.effects.size(), 1U) << sql;
    return statement.effects.empty() ? Effect{} : statement.effects.front();
}

DeferredTransaction begun(const std::string& sql, const DefaultModes& defaults = kUsual) {
    DeferredTransaction transaction;
    transaction.begin(effect_of(sql), defaults, {});
    return transaction;
}

DeferredTransaction opened(const std::string& begin,
                           std::initializer_list<std::string> statements) {
    auto transaction = begun(begin);
    transaction.opened();
    for (const auto& sql : statements) transaction.completed(effect_of(sql));
    return transaction;
}

TEST(DeferredTransaction, BeginWaitsUntilItIsOpened) {
    DeferredTransaction transaction;
    EXPECT_EQ(transaction.stage(), DeferredTransaction::Stage::none);
    transaction.begin(effect_of("BEGIN"), kUsual, {});
    EXPECT_TRUE(transaction.is_waiting());
    EXPECT_TRUE(transaction.is_fresh());
    EXPECT_EQ(transaction.opening(false), "begin");
    transaction.opened();
    EXPECT_TRUE(transaction.is_open());
    EXPECT_FALSE(transaction.is_fresh());
    transaction.clear();
    EXPECT_EQ(transaction, DeferredTransaction{});
}

TEST(DeferredTransaction, ModesAreThoseOfBeginThenOfSetTransactionElseOfTheSession) {
    EXPECT_FALSE(begun("BEGIN").is_read_only());
    EXPECT_TRUE(begun("BEGIN READ ONLY").is_read_only());
    EXPECT_TRUE(begun("BEGIN", {{Isolation::read_committed, true}, false}).is_read_only());
    EXPECT_TRUE(begun("BEGIN READ WRITE").says_read_write());
    EXPECT_FALSE(begun("BEGIN").says_read_write());
    EXPECT_EQ(begun("BEGIN").isolation(), Isolation::read_committed);
    EXPECT_EQ(begun("BEGIN ISOLATION LEVEL REPEATABLE READ").isolation(),
              Isolation::repeatable_read);
    EXPECT_EQ(begun("BEGIN", {}).isolation(), Isolation::serializable) << "not known";
    auto transaction = begun("BEGIN");
    transaction.set_modes(effect_of("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"));
    EXPECT_TRUE(transaction.is_read_only());
    EXPECT_EQ(transaction.isolation(), Isolation::repeatable_read);
    transaction.set_modes(effect_of("SET TRANSACTION READ WRITE"));
    EXPECT_TRUE(transaction.says_read_write());
    transaction.set_modes(effect_of("SET TRANSACTION READ ONLY"));
    EXPECT_TRUE(transaction.says_read_write()) << "a standby would refuse its opening";
}

TEST(DeferredTransaction, AReplicaIsToldOfTheSessionsIsolationLevel) {
    const DefaultModes session{{Isolation::repeatable_read, true}, true};
    EXPECT_EQ(begun("BEGIN", session).opening(false), "begin");
    EXPECT_EQ(begun("BEGIN", session).opening(true),
              "begin; SET TRANSACTION ISOLATION LEVEL REPEATABLE READ");
    EXPECT_EQ(begun("BEGIN ISOLATION LEVEL READ COMMITTED", session).opening(true),
              "begin isolation level read committed");
}

TEST(DeferredTransaction, SavepointsAndSettingsAreRepeatedInOrder) {
    EXPECT_EQ(opened("BEGIN", {"SET LOCAL a.a = 1", "SAVEPOINT s", "SET a.b = 2"}).opening(false),
              "begin; set local a . a = 1; savepoint s; set a . b = 2");
    EXPECT_EQ(opened("BEGIN", {"SAVEPOINT s", "SET a.b = 2", "RELEASE s"}).opening(false),
              "begin; set a . b = 2");
    EXPECT_EQ(opened("BEGIN", {"SAVEPOINT s", "SET a.b = 2", "SAVEPOINT t", "ROLLBACK TO s"})
                  .opening(false),
              "begin; savepoint s");
    EXPECT_EQ(opened("BEGIN", {"SAVEPOINT s", "SAVEPOINT s", "RELEASE s"}).opening(false),
              "begin; savepoint s");
    EXPECT_EQ(opened("BEGIN", {"SAVEPOINT s", "SAVEPOINT t", "RELEASE s"}).opening(false), "begin");
}

TEST(DeferredTransaction, ASavepointThatIsNotKnownChangesNothing) {
    EXPECT_EQ(opened("BEGIN", {"SET a.b = 2", "ROLLBACK TO s"}).opening(false),
              "begin; set a . b = 2");
    EXPECT_EQ(opened("BEGIN", {"SET a.b = 2", "RELEASE s"}).opening(false), "begin; set a . b = 2");
}

TEST(DeferredTransaction, AndChainBeginsAnotherLikeIt) {
    auto transaction = opened("BEGIN READ ONLY", {"SET LOCAL a.b = 2", "COMMIT AND CHAIN"});
    EXPECT_TRUE(transaction.is_open());
    EXPECT_EQ(transaction.opening(false), "begin read only");
}

TEST(DeferredTransaction, KnowsThatABeginBehindItsEndIsAnother) {
    auto transaction = opened("BEGIN READ ONLY", {"SET LOCAL a.b = 2", "ROLLBACK AND CHAIN"});
    EXPECT_FALSE(transaction.has_ended());
    transaction.completed(effect_of("COMMIT"));
    EXPECT_TRUE(transaction.has_ended());
    transaction.begun_on_replica(effect_of("BEGIN"), kUsual);
    EXPECT_FALSE(transaction.has_ended());
    EXPECT_EQ(transaction.opening(false), "begin");
}

TEST(DeferredTransaction, StaysWhereSomethingWasDoneThatIsNotRepeated) {
    for (const auto* sql : {"SET LOCAL default_transaction_isolation = 'repeatable read'",
                            "SET default_transaction_read_only = on", "SET TRANSACTION READ ONLY",
                            "SELECT set_config('a.b', lower('X'), true)", "LISTEN c"})
        EXPECT_FALSE(opened("BEGIN", {sql}).may_move()) << sql;
    EXPECT_TRUE(opened("BEGIN", {"SET a.b = 1", "BEGIN"}).may_move());
    EXPECT_TRUE(opened("BEGIN", {"PREPARE p AS UPDATE t SET n = 1"}).may_move());
}

TEST(DeferredTransaction, MovesUntilItsSnapshotOrItsTimeWasSeen) {
    auto transaction = opened("BEGIN", {});
    transaction.queried();
    EXPECT_TRUE(transaction.may_move());
    EXPECT_EQ(transaction.opening(false), "begin; SELECT") << "SET TRANSACTION comes too late";
    transaction.tie();
    EXPECT_FALSE(transaction.may_move());

    auto snapshot = begun("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY");
    EXPECT_FALSE(snapshot.may_move()) << "nobody has it";
    snapshot.opened();
    EXPECT_TRUE(snapshot.may_move());
    snapshot.queried();
    EXPECT_FALSE(snapshot.may_move());
}

TEST(DeferredTransaction, ATieWithoutAReplicaIsNone) {
    auto transaction = begun("BEGIN");
    transaction.tie();
    transaction.opened();
    EXPECT_TRUE(transaction.may_move());
}

TEST(DeferredTransaction, KnowsWhenItHoldsTooMuch) {
    auto transaction = opened("BEGIN", {});
    const auto empty = transaction.memory_bytes();
    for (int i = 0; i < 1000 && !transaction.is_full(); ++i)
        transaction.completed({Effect::Kind::savepoint, 0, "s", std::string(100, 'x')});
    EXPECT_TRUE(transaction.is_full());
    EXPECT_LT(transaction.memory_bytes(), DeferredTransaction::kMaxBytes + 1024);
    transaction.completed(effect_of("ROLLBACK AND CHAIN"));
    EXPECT_EQ(transaction.memory_bytes(), empty);
}

TEST(TransactionModes, ValuesAsPostgresqlReadsThem) {
    EXPECT_EQ(parse_isolation("Repeatable READ"), Isolation::repeatable_read);
    EXPECT_EQ(parse_isolation("read uncommitted"), Isolation::read_committed);
    EXPECT_EQ(parse_isolation("serializable"), Isolation::serializable);
    EXPECT_EQ(parse_isolation("default"), std::nullopt);
    for (const auto* yes : {"on", "ON", "t", "tru", "true", "y", "yes", "1"})
        EXPECT_EQ(parse_bool(yes), true) << yes;
    for (const auto* no : {"off", "of", "f", "false", "n", "no", "0"})
        EXPECT_EQ(parse_bool(no), false) << no;
    for (const auto* neither : {"", "o", "2", "onn", "truest"})
        EXPECT_EQ(parse_bool(neither), std::nullopt) << neither;
}

}  // namespace
}  // namespace pgsteer::routing
