// What a text does to its session: the effects in order, what is repeated on another connection,
// what raises the floor.
#include "routing/classify.hpp"
#include "routing/statement_cache.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <ostream>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

namespace pgsteer::routing {

static bool operator==(const Effect& a, const Effect& b) {
    const auto all = [](const Effect& e) {
        return std::tie(e.kind, e.statement_index, e.name, e.sql, e.value, e.modes, e.column,
                        e.needs_row, e.form);
    };
    return all(a) == all(b);
}

static void PrintTo(const TransactionModes& modes, std::ostream* out) {
    if (modes.isolation) *out << " isolation " << static_cast<int>(*modes.isolation);
    if (modes.read_only) *out << (*modes.read_only ? " read only" : " read write");
}

static void PrintTo(const Effect& effect, std::ostream* out) {
    *out << "kind " << static_cast<int>(effect.kind) << " of statement " << effect.statement_index
         << " '" << effect.name << "' '" << effect.sql << "' = '" << effect.value << "' column "
         << effect.column << (effect.needs_row ? ", needs a row" : "") << ", form "
         << static_cast<int>(effect.form);
    PrintTo(effect.modes, out);
}

namespace {

using Form = Effect::Form;
using Kind = Effect::Kind;

constexpr TransactionModes kReadOnly{{}, true};
constexpr TransactionModes kReadWrite{{}, false};

struct Row {
    std::string_view sql;
    std::vector<Effect> effects;
};
void PrintTo(const Row& row, std::ostream* out) { *out << row.sql; }

Effect of_form(Effect::Form form, Effect effect) {
    effect.form = form;
    return effect;
}
Effect with_modes(TransactionModes modes, Effect effect) {
    effect.modes = modes;
    return effect;
}
Effect with_value(std::string value, Effect effect) {
    effect.value = std::move(value);
    return effect;
}
Effect in_column(std::uint16_t column, Effect effect) {
    effect.column = column;
    return effect;
}
Effect if_it_has_a_row(Effect effect) {
    effect.needs_row = true;
    return effect;
}

class ClassifyEffectsOf : public testing::TestWithParam<Row> {};

TEST_P(ClassifyEffectsOf, ATextAreInItsOrder) {
    EXPECT_EQ(classify(GetParam().sql).effects, GetParam().effects);
}

const Row kRows[] = {
    {"SELECT 1", {}},
    {"DELETE FROM t", {}},
    {"BEGIN", {{Kind::begin, 0, "", "begin"}}},
    {"START TRANSACTION READ ONLY",
     {with_modes(kReadOnly,
                 of_form(Form::start, {Kind::begin, 0, "", "start transaction read only"}))}},
    {"BEGIN READ ONLY; SELECT 1; COMMIT",
     {with_modes(kReadOnly, {Kind::begin, 0, "", "begin read only"}), {Kind::commit, 2, "", ""}}},
    {"ABORT", {{Kind::rollback, 0, "", ""}}},
    {"PREPARE TRANSACTION 'x'", {of_form(Form::prepare, {Kind::commit, 0, "", ""})}},
    {"COMMIT AND CHAIN", {of_form(Form::chain, {Kind::commit, 0, "", ""})}},
    {"ROLLBACK AND CHAIN", {of_form(Form::chain, {Kind::rollback, 0, "", ""})}},
    {"COMMIT AND NO CHAIN", {{Kind::commit, 0, "", ""}}},
    {"COMMIT PREPARED 'x'", {}},
    {"SAVEPOINT \"A b\"", {{Kind::savepoint, 0, "A b", "savepoint \"A b\""}}},
    {"RELEASE Foo", {{Kind::release, 0, "foo", ""}}},
    {"ROLLBACK TO foo", {{Kind::rollback_to, 0, "foo", ""}}},
    {"SET Search_Path TO a, \"B\"",
     {with_value("\"a\", \"B\"", {Kind::set, 0, "search_path", "set search_path to a , \"B\""})}},
    {"SET x = 'it''s' ; ", {{Kind::set, 0, "x", "set x = 'it''s'"}}},
    {"SET TIME ZONE 'UTC'", {{Kind::set, 0, "timezone", "set time zone 'UTC'"}}},
    {"SET ROLE r", {{Kind::set, 0, "role", "set role r"}}},
    {"SET SESSION AUTHORIZATION u",
     {{Kind::set, 0, "session_authorization", "set session authorization u"}}},
    {"SET \"App.X\" TO DEFAULT", {{Kind::set, 0, "app.x", "set \"App.X\" to default"}}},
    {"/* c */ SET a = 1 /* d */; SET b = 2",
     {{Kind::set, 0, "a", "set a = 1"}, {Kind::set, 1, "b", "set b = 2"}}},
    {"SET search_path = pg_temp, a",
     {with_value("\"pg_temp\", \"a\"",
                 {Kind::set, 0, "search_path", "set search_path = pg_temp , a"}),
      {Kind::create_temporary, 0, "", ""}}},
    {"SET LOCAL a = 1", {{Kind::set_local, 0, "a", "set local a = 1"}}},
    {"SET TRANSACTION READ ONLY",
     {with_modes(kReadOnly,
                 of_form(Form::modes,
                         {Kind::set_transaction, 0, "transaction", "set transaction read only"}))}},
    {"SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
     {with_modes(kReadOnly,
                 of_form(Form::modes, {Kind::set_on_primary, 0, "session characteristics", ""}))}},
    {"SET default_transaction_isolation = 'serializable'",
     {with_modes({Isolation::serializable, {}},
                 {Kind::set_on_primary, 0, "default_transaction_isolation", ""})}},
    {"RESET default_transaction_read_only",
     {{Kind::set_on_primary, 0, "default_transaction_read_only", ""}}},
    {"RESET a", {{Kind::reset, 0, "a", "reset a"}}},
    {"RESET ALL", {{Kind::reset_all, 0, "", "reset all"}}},
    {"SELECT set_config('a.b', 'c', false)",
     {{Kind::set, 0, "a.b", "select set_config ( 'a.b' , 'c' , false )"}}},
    {"SELECT set_config('a.b', 'c', true)",
     {{Kind::set_local, 0, "a.b", "select set_config ( 'a.b' , 'c' , true )"}}},
    {"SELECT set_config('a', $1, true), 1", {{Kind::set_local, 0, "a", ""}}},
    {"SELECT set_config('default_transaction_read_only', 'on', false)",
     {with_modes(kReadOnly, {Kind::set_on_primary, 0, "default_transaction_read_only", ""})}},
    {"SELECT set_config($1, 'c', false)", {{Kind::opaque_settings, 0, "", ""}}},
    {"SELECT set_config('a', 'b', $1)", {{Kind::opaque_settings, 0, "", ""}}},
    {"SELECT set_config('App.Tenant', $1, false)", {{Kind::opaque_settings, 0, "app.tenant", ""}}},
    {"SELECT set_config('search_path', $1, false)", {{Kind::opaque_settings, 0, "", ""}}},
    {"SELECT set_config('a', 'b', false) FROM t", {{Kind::opaque_settings, 0, "", ""}}},
    {"SELECT set_config('a', 'b', false), set_config('c', 'd', false)",
     {{Kind::set, 0, "a", "SELECT pg_catalog.set_config('a', 'b', false)"},
      {Kind::set, 0, "c", "SELECT pg_catalog.set_config('c', 'd', false)"}}},
    {"SELECT current_setting('jit') AS cur, set_config('jit', 'off', false) AS new",
     {{Kind::set, 0, "jit", "SELECT pg_catalog.set_config('jit', 'off', false)"}}},
    {"SELECT 1, set_config('a', 'it''s', false), set_config('b', E'x\\\\y', true)",
     {{Kind::set, 0, "a", "SELECT pg_catalog.set_config('a', 'it''s', false)"},
      {Kind::set_local, 0, "b", "SELECT pg_catalog.set_config('b', E'x\\\\y', true)"}}},
    {"SELECT set_config('a', NULL, false), 1",
     {{Kind::set, 0, "a", "SELECT pg_catalog.set_config('a', NULL, false)"}}},
    {"SELECT set_config('a', $1, false), 'x', set_config('b', $2, false)",
     {{Kind::opaque_settings, 0, "a", ""}, in_column(2, {Kind::opaque_settings, 0, "b", ""})}},
    {"SELECT set_config('a', 'b'::char(1), false)", {{Kind::opaque_settings, 0, "a", ""}}},
    {"SELECT set_config('a', 'b', false), f()", {{Kind::opaque_settings, 0, "", ""}}},
    {"SELECT set_config('a', 'b', false) WHERE false", {{Kind::opaque_settings, 0, "", ""}}},
    {"SELECT set_config(name, 'x', false) FROM pg_settings WHERE name = 'Y'",
     {if_it_has_a_row({Kind::opaque_settings, 0, "y", ""})}},
    {"SELECT set_config(name, 'x', false) FROM pg_settings WHERE name <> 'y'",
     {{Kind::opaque_settings, 0, "", ""}}},
    {"SELECT set_config(name, 'x', false) FROM app.pg_settings WHERE name = 'y'",
     {{Kind::opaque_settings, 0, "", ""}}},
    {"INSERT INTO t SELECT set_config(a, b, false) FROM u", {{Kind::opaque_settings, 0, "", ""}}},
    {"SELECT \"set_config\"('a', x, false) FROM t", {{Kind::opaque_settings, 0, "", ""}}},
    {"UPDATE pg_settings SET setting = 'x' WHERE name = 'y'",
     {{Kind::set, 0, "y", "SELECT pg_catalog.set_config('y', 'x', false)"}}},
    {"UPDATE pg_settings SET setting = 'x' WHERE name = 'a.b'",
     {{Kind::opaque_settings, 0, "", ""}}},
    {"UPDATE pg_settings SET setting = 'x'", {{Kind::opaque_settings, 0, "", ""}}},
    {"UPDATE pg_settings SET setting = boot_val WHERE name = 'y'",
     {{Kind::opaque_settings, 0, "", ""}}},
    {"LOAD 'x'", {{Kind::backend_state, 0, "LOAD", ""}}},
    {"SET seed = 0.5", {{Kind::backend_state, 0, "seed", ""}}},
    {"SELECT set_config('seed', '0.5', false)", {{Kind::backend_state, 0, "seed", ""}}},
    {"SELECT setseed(0.5)", {{Kind::backend_state, 0, "setseed", ""}}},
    {"INSERT INTO t SELECT 1 FROM (SELECT pg_catalog.setseed(0.5)) x",
     {{Kind::backend_state, 0, "setseed", ""}}},
    {"SELECT app.setseed(0.5)", {}},
    {"DO $$ BEGIN PERFORM setseed(0.5); END $$", {{Kind::backend_state, 0, "DO", ""}}},
    {"DO LANGUAGE plpgsql $$ BEGIN SET a = 1; END $$", {{Kind::opaque_settings, 0, "", ""}}},
    {"SELECT 1; DO 'BEGIN PERFORM set_config(''a.b'', ''c'', true); END'",
     {{Kind::set_local, 1, "", ""}}},
    {"DO $$ BEGIN DELETE FROM t; END $$", {}},
    {"SELECT pg_replication_origin_session_setup('x')",
     {{Kind::backend_state, 0, "pg_replication_origin_session_setup", ""}}},
    {"SELECT pg_create_physical_replication_slot('x')", {}},
    {"SELECT pg_create_physical_replication_slot('x', false, true)",
     {{Kind::backend_state, 0, "pg_create_physical_replication_slot", ""}}},
    {"SELECT pg_create_logical_replication_slot('x', 'y', $1)",
     {{Kind::backend_state, 0, "pg_create_logical_replication_slot", ""}}},
    {"SELECT pg_copy_logical_replication_slot('x', 'y', temporary => true)",
     {{Kind::backend_state, 0, "pg_copy_logical_replication_slot", ""}}},
    {"SELECT pg_try_advisory_lock(1)", {{Kind::lock, 0, "", ""}}},
    {"SELECT pg_advisory_xact_lock(1), pg_advisory_unlock(1)", {}},
    {"SELECT pg_advisory_unlock_all()", {{Kind::unlock_all, 0, "", ""}}},
    {"PREPARE P AS SELECT 1", {{Kind::prepare, 0, "p", "prepare p as select 1"}}},
    {"DEALLOCATE p", {{Kind::deallocate, 0, "p", ""}}},
    {"DEALLOCATE ALL", {{Kind::deallocate_all, 0, "", ""}}},
    {"DISCARD ALL", {{Kind::discard_all, 0, "", ""}}},
    {"DISCARD TEMP", {{Kind::discard_temporary, 0, "", ""}}},
    {"DISCARD PLANS", {}},
    {"CREATE TEMP TABLE t ()", {{Kind::create_temporary, 0, "", ""}}},
    {"CREATE TEMPORARY TABLE t AS SELECT 1", {{Kind::create_temporary, 0, "", ""}}},
    {"CREATE LOCAL TEMP SEQUENCE s", {{Kind::create_temporary, 0, "", ""}}},
    {"CREATE TEMP VIEW v AS SELECT 1", {{Kind::create_temporary, 0, "", ""}}},
    {"CREATE TABLE pg_temp.t ()", {{Kind::create_temporary, 0, "", ""}}},
    {"CREATE TYPE pg_temp.t AS ENUM ('a')", {{Kind::create_temporary, 0, "", ""}}},
    {"CREATE FUNCTION pg_temp.f() RETURNS int LANGUAGE sql AS ''",
     {{Kind::create_temporary, 0, "", ""}}},
    {"SELECT 1 INTO TEMP t", {{Kind::create_temporary, 0, "", ""}}},
    {"SELECT 1; SELECT * INTO TEMPORARY TABLE t FROM u", {{Kind::create_temporary, 1, "", ""}}},
    {"DECLARE c CURSOR FOR SELECT 1", {}},
    {"DECLARE c CURSOR WITH HOLD FOR SELECT 1", {{Kind::declare_hold, 0, "c", ""}}},
    {"CLOSE C", {{Kind::close, 0, "c", ""}}},
    {"CLOSE ALL", {{Kind::close_all, 0, "", ""}}},
    {"LISTEN \"Ch\"", {{Kind::listen, 0, "Ch", ""}}},
    {"NOTIFY \"Ch\", 'x'", {{Kind::notify, 0, "Ch", ""}}},
    {"UNLISTEN ch", {{Kind::unlisten, 0, "ch", ""}}},
    {"UNLISTEN *", {{Kind::unlisten_all, 0, "", ""}}},
    // Newer syntax than ours may well run on the server.
    {"SELECT FOO BAR BAZ", {}},
    {"SET x NEW SYNTAX y", {{Kind::opaque_settings, 0, "", ""}}},
    {"CREATE TEMP SOMETHING NEW", {{Kind::create_temporary, 0, "", ""}}},
    {"SELECT NEW SYNTAX HERE set_config($1, 'b', false)", {{Kind::opaque_settings, 0, "", ""}}},
    {"SELECT NEW SYNTAX HERE pg_advisory_lock(1)", {{Kind::lock, 0, "", ""}}},
    {"SELECT NEW SYNTAX HERE hll_set_defaults(1)", {{Kind::backend_state, 0, "not parsed", ""}}},
    {"SET pgsteer.consistency = 'strict'",
     {with_value("strict",
                 {Kind::set, 0, "pgsteer.consistency", "set pgsteer . consistency = 'strict'"})}},
    {"SET pgsteer.max_staleness TO DEFAULT",
     {{Kind::set, 0, "pgsteer.max_staleness", "set pgsteer . max_staleness to default"}}},
};
INSTANTIATE_TEST_SUITE_P(Texts, ClassifyEffectsOf, testing::ValuesIn(kRows));

struct ModesRow {
    std::string_view sql;
    TransactionModes modes;
};
void PrintTo(const ModesRow& row, std::ostream* out) { *out << row.sql; }

class ClassifyModesOf : public testing::TestWithParam<ModesRow> {};

TEST_P(ClassifyModesOf, ATextAreRead) {
    const auto statement = classify(GetParam().sql);
    ASSERT_EQ(statement.effects.size(), 1U);
    EXPECT_EQ(statement.effects.front().modes, GetParam().modes);
}

const ModesRow kModes[] = {
    {"BEGIN", {}},
    {"BEGIN READ ONLY", kReadOnly},
    {"BEGIN READ WRITE", kReadWrite},
    {"BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY", {Isolation::repeatable_read, true}},
    {"START TRANSACTION ISOLATION LEVEL READ UNCOMMITTED", {Isolation::read_committed, {}}},
    {"SET TRANSACTION ISOLATION LEVEL SERIALIZABLE", {Isolation::serializable, {}}},
    {"SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY", kReadOnly},
    {"SET default_transaction_isolation = 'repeatable read'", {Isolation::repeatable_read, {}}},
    {"SET default_transaction_isolation TO DEFAULT", {}},
    {"SET default_transaction_read_only TO on", kReadOnly},
    {"SET default_transaction_read_only = 0", kReadWrite},
    {"SET default_transaction_read_only = true", kReadOnly},
    {"SELECT set_config('default_transaction_read_only', 'yes', false)", kReadOnly},
    {"RESET default_transaction_read_only", {}},
    {"SET LOCAL default_transaction_read_only = on", kReadOnly},
    {"SELECT set_config('default_transaction_read_only', 'on', true)", kReadOnly},
};
INSTANTIATE_TEST_SUITE_P(Texts, ClassifyModesOf, testing::ValuesIn(kModes));

TEST(ClassifyEffects, PrepareKnowsItsStatementAndExecuteItsName) {
    const auto read = classify("PREPARE p (int) AS SELECT 'a' FROM t WHERE id = $1");
    ASSERT_TRUE(read.prepares);
    EXPECT_EQ(read.prepares->statement.access, Access::read_only);
    EXPECT_EQ(read.effects.front().sql, "prepare p ( int ) as select 'a' from t where id = $1");
    const auto write = classify("PREPARE p AS DELETE FROM t");
    ASSERT_TRUE(write.prepares);
    EXPECT_EQ(write.prepares->statement.access, Access::write);
    EXPECT_FALSE(classify("PREPARE p AS SELECT 1; SELECT 2").prepares);

    EXPECT_EQ(classify("EXECUTE \"P q\"").executes, "P q");
    EXPECT_EQ(classify("EXECUTE p(1, -2, 'x'::text, $1, NULL, true)").executes, "p");
    EXPECT_EQ(classify("EXECUTE p(f())").executes, "");
    EXPECT_EQ(classify("EXECUTE p(1 + 1)").executes, "");
    EXPECT_EQ(classify("EXECUTE p(@@ 1)").executes, "") << "anybody's operator";
    EXPECT_EQ(classify("EXECUTE p(OPERATOR(s.-) 1)").executes, "");
    EXPECT_EQ(classify("EXECUTE p; EXECUTE p").executes, "");
}

TEST(ClassifyEffects, WhatMayFollowInATransactionOnAReplica) {
    using In = InTransaction;
    const std::pair<std::string_view, In> rows[] = {
        {"SELECT 1", In::stays},
        {"SELECT 1; SELECT 2", In::stays},
        {"SELECT 1; SELECT now()", In::ties},
        {"SELECT now()", In::ties},
        {"SELECT pg_catalog.now()", In::ties},
        {"SELECT transaction_timestamp()", In::ties},
        {"SELECT current_timestamp", In::ties},
        {"SELECT CURRENT_DATE", In::ties},
        {"SELECT LOCALTIMESTAMP(2)", In::ties},
        {"SELECT age(x) FROM t", In::ties},
        {"SELECT age(x, y) FROM t", In::stays},
        {"SELECT clock_timestamp()", In::stays},
        {"SELECT CURRENT_USER", In::stays},
        {"COPY t TO STDOUT", In::stays},
        {"EXPLAIN SELECT 1", In::stays},
        {"COMMIT", In::stays},
        {"ROLLBACK TO a", In::stays},
        {"SAVEPOINT a", In::stays},
        {"SET a.b = 1", In::stays},
        {"SET LOCAL a.b = 1", In::stays},
        {"RESET ALL", In::stays},
        {"SELECT set_config('a.b', '1', true)", In::stays},
        {"SHOW pgsteer.last_route", In::stays},
        {"DECLARE c CURSOR FOR SELECT 1", In::ties},
        {"FETCH c", In::ties},
        {"CLOSE c", In::ties},
        {"DECLARE c CURSOR FOR SELECT f()", In::leaves},
        {"DECLARE c CURSOR WITH HOLD FOR SELECT 1", In::leaves},
        {"SELECT set_config('a.b', $1, true)", In::leaves},
        {"SET LOCAL transaction_read_only = off", In::leaves},
        {"SET search_path TO pg_temp", In::leaves},
        {"SET TRANSACTION READ ONLY", In::leaves},
        {"SAVEPOINT a; SELECT 1", In::leaves},
        {"INSERT INTO t VALUES (1)", In::leaves},
        {"SELECT 1 FOR UPDATE", In::leaves},
        {"BEGIN", In::leaves},
        {"PREPARE TRANSACTION 'x'", In::leaves},
        {"SHOW work_mem", In::leaves},
        {"LISTEN c", In::leaves},
        {"DISCARD ALL", In::leaves},
        {"SET CONSTRAINTS ALL DEFERRED", In::leaves},
        {"not SQL", In::leaves},
    };
    for (const auto& [sql, in] : rows) EXPECT_EQ(classify(sql).may_follow(), in) << sql;
}

TEST(ClassifyEffects, WhatChangesOnlyTheSessionDoesNotRaiseTheFloor) {
    for (const std::string_view sql :
         {"SET a = 1", "RESET a", "SET LOCAL a = 1", "DEALLOCATE p", "CLOSE c", "UNLISTEN *",
          "DISCARD ALL", "ROLLBACK", "SHOW a", "SELECT set_config('a', 'b', false)", ""})
        EXPECT_FALSE(classify(sql).raises_floor) << sql;
    for (const std::string_view sql :
         {"COMMIT", "SELECT 1", "SET a = 1; SELECT 1", "FETCH c", "LISTEN a", "SELEC 1",
          "SELECT set_config(a, b, false) FROM t", "ROLLBACK; SELECT 1"})
        EXPECT_TRUE(classify(sql).raises_floor) << sql;
}

TEST(ClassifyEffects, CursorsAreUsedByFetchMoveAndClose) {
    for (const std::string_view sql :
         {"FETCH c", "MOVE c", "CLOSE c", "CLOSE ALL", "SELECT 1; FETCH c"})
        EXPECT_TRUE(classify(sql).uses_cursor) << sql;
    for (const std::string_view sql : {"DECLARE c CURSOR FOR SELECT 1", "SELECT 1"})
        EXPECT_FALSE(classify(sql).uses_cursor) << sql;
}

TEST(ClassifyEffects, StatementsAreCounted) {
    EXPECT_EQ(classify("").statement_count, 0);
    EXPECT_EQ(classify(";;").statement_count, 0);
    EXPECT_EQ(classify("SELECT 1;").statement_count, 1);
    EXPECT_EQ(classify("SELECT 1;; SELECT 2; ").statement_count, 2);
    EXPECT_EQ(classify("SELEC").statement_count, 0);
}

TEST(ClassifyHint, CountsAtEitherEnd) {
    const std::pair<std::string_view, Hint> rows[] = {
        {"SELECT 1", Hint::none},
        {"/* pgsteer: primary */ SELECT 1", Hint::primary},
        {"/* pgsteer: replica */ SELECT 1", Hint::replica},
        {"/*pgsteer:replica*/SELECT 1", Hint::replica},
        {"/* PGSteer :  Replica\n*/ SELECT 1", Hint::replica},
        {" -- x\n /* y */ /* pgsteer: replica */ -- z\n SELECT 1", Hint::replica},
        {"SELECT 1 /* pgsteer: primary */", Hint::primary},
        {"SELECT 1 /* pgsteer: primary */;", Hint::primary},
        {"SELECT 1; /* pgsteer: primary */ ", Hint::primary},
        {"SELECT 1 /* pgsteer: replica */ /* traceparent='x' */", Hint::replica},
        {"/* pgsteer: replica */ SELECT 1 /* pgsteer: primary */", Hint::primary},
        {"SELECT /* pgsteer: primary */ 1", Hint::none},
        {"SELECT 1 /* pgsteer: primary */; SELECT 2", Hint::none},
        {"SELECT '/* pgsteer: primary */'", Hint::none},
        {"/* pgsteer: primary */", Hint::primary},
        {"/* pgsteer: somewhere */ SELECT 1", Hint::none},
        {"/* pgsteer primary */ SELECT 1", Hint::none},
        {"/* /* pgsteer: primary */ */ SELECT 1", Hint::none},
        {"-- pgsteer: primary\nSELECT 1", Hint::none},
        {"SELECT f((1), /* pgsteer: primary */ (2))", Hint::none},
        {"SELECT (1) /* pgsteer: primary */", Hint::primary},
        {"/* pgsteer: primary */ SET a = 1", Hint::primary},
        {"/* pgsteer: replica */ SELEC", Hint::replica},
    };
    for (const auto& [sql, hint] : rows) EXPECT_EQ(classify(sql).hint, hint) << sql;
}

TEST(ClassifyEffects, SaysWhatDiscardAllDoesNotUndo) {
    for (const std::string_view sql :
         {"SELECT setseed(0.5)", "LOAD 'x'", "SET a.b = 1", "SET LOCAL a.b = 1", "RESET a.b",
          "SELECT set_config('a.b', 'c', true)", "SELECT set_config($1, 'c', true)",
          "SELECT set_config($1, 'c', false)", "SELECT set_config('a.b', $1, false)",
          "BEGIN; SET LOCAL a.b = 1"})
        EXPECT_TRUE(classify(sql).outlives_discard_all) << sql;
    for (const std::string_view sql :
         {"SELECT 1", "SET a = 1", "SET pgsteer.consistency = 'strict'", "SET LOCAL a = 1",
          "SELECT set_config('a', 'b', false)", "SELECT set_config('a', $1, false)",
          "SELECT pg_advisory_lock(1)", "CREATE TEMP TABLE t ()", "LISTEN c"})
        EXPECT_FALSE(classify(sql).outlives_discard_all) << sql;
}

TEST(ClassifyEffects, AListOfSettingsIsAsGoodAsSet) {
    EXPECT_EQ(
        classify("SELECT set_config('a', 'b', false), 1, current_setting('search_path')").access,
        Access::session_control);
    const auto mixed = classify("SELECT current_setting('jit'), set_config('jit', 'off', false)");
    EXPECT_EQ(mixed.access, Access::write) << "another server may show another value";
    EXPECT_EQ(mixed.reason, Reason::session_control);
    EXPECT_FALSE(mixed.raises_floor);
    EXPECT_TRUE(classify("SELECT set_config('a', $1, false)").row_tells_settings);
    EXPECT_FALSE(classify("SELECT set_config('a', $1, false); SELECT 1").row_tells_settings);
}

TEST(ClassifyEffects, KnowWhichOfOurSettingsAreShown) {
    EXPECT_EQ(classify("SHOW pgsteer.lsn").shows, Shows::lsn);
    EXPECT_EQ(classify("show \"pgsteer.last_route\"").shows, Shows::last_route);
    EXPECT_EQ(classify("SELECT 1; SHOW pgsteer.last_route").shows, Shows::last_route);
    EXPECT_EQ(classify("SHOW pgsteer.consistency").shows, Shows::option);
    EXPECT_EQ(classify("SHOW work_mem").shows, Shows::nothing);
    EXPECT_EQ(classify("SHOW ALL").shows, Shows::nothing);
}

}  // namespace
}  // namespace pgsteer::routing
