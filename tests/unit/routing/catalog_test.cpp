// What a database's catalog makes of statements: facts in, verdicts out.
#include "routing/catalog.hpp"

#include "routing/classify.hpp"
#include "routing/verdict.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace pgsteer::routing {
namespace {

using testing::HasSubstr;
using Facts = CatalogFacts;

constexpr bool kVolatile = true;
constexpr bool kStable = false;

Facts::Callee own(std::string name, bool is_volatile) {
    return {"app", std::move(name), is_volatile, false};
}
Facts::Callee builtin(std::string name, bool is_volatile) {
    return {"pg_catalog", std::move(name), is_volatile, true};
}

// A database with something of everything.
Facts facts() {
    using Kind = Facts::Relation::Kind;
    Facts facts;
    facts.functions = {
        {"app", "get", kStable, false},      {"app", "put", kVolatile, false},
        {"app", "mixed", kStable, false},    {"app", "mixed", kVolatile, false},
        {"app", "twice", kStable, false},    {"other", "twice", kVolatile, false},
        {"app", "lower", kVolatile, false},  {"app", "upper", kStable, false},
        {"app", "row_put", kVolatile, true}, {"app", "row_get", kStable, true},
        {"app", "total", kStable, false},    {"app", "risky", kStable, false},
        {"app", "\"Odd\"", kStable, false},  {"pg_catalog", "of_an_extension", kStable, false},
    };
    facts.aggregates = {{"app", "total", own("add", kStable)},
                        {"app", "total", builtin("int8", kStable)},
                        {"app", "risky", own("add", kStable)},
                        {"app", "risky", own("put", kVolatile)}};
    facts.operators = {
        {"app", "<<->>", own("near", kStable)},        {"app", "!!!", own("put", kVolatile)},
        {"app", "%%%", builtin("nextval", kVolatile)}, {"app", "^^^", builtin("int4in", kStable)},
        {"app", "&&&", builtin("int4", kStable)},      {"app", "=", own("put", kVolatile)}};
    facts.types = {{"app", "mood"}};
    for (const auto* name : {"t", "u", "secured", "watched", "v_good", "v_put", "v_v", "v_v_v",
                             "v_nextval", "v_ut", "v_op", "v_loop", "v_pool", "v_odd"})
        facts.relations.push_back({"app", name, Kind::ordinary});
    facts.relations.insert(facts.relations.end(), {{"public", "t", Kind::ordinary},
                                                   {"public", "u", Kind::ordinary},
                                                   {"x", "t", Kind::ordinary},
                                                   {"x", "x", Kind::ordinary},
                                                   {"pg_catalog", "pg_class", Kind::ordinary},
                                                   {"app", "audited", Kind::ordinary, true},
                                                   {"app", "seq", Kind::sequence},
                                                   {"app", "ft", Kind::foreign_table},
                                                   {"app", "ut", Kind::unlogged_table},
                                                   {"app", "parent", Kind::unlogged_table},
                                                   {"app", "parent", Kind::foreign_table},
                                                   {"app", "parent", Kind::ordinary}});
    facts.views = {{"app", "v_good", "SELECT upper(t.a) FROM app.t WHERE app.get() = t.a"},
                   {"app", "v_put", "SELECT app.put()"},
                   {"app", "v_v", "SELECT * FROM app.v_put"},
                   {"app", "v_v_v", "SELECT * FROM app.v_good a JOIN app.v_v b ON true"},
                   {"app", "v_nextval", "SELECT nextval('app.seq'::regclass)"},
                   {"app", "v_ut", "SELECT * FROM app.ut"},
                   {"app", "v_op", "SELECT 1 OPERATOR(app.!!!) 2"},
                   {"app", "v_loop", "SELECT * FROM app.v_pool"},
                   {"app", "v_pool", "SELECT * FROM app.v_loop"},
                   {"app", "v_odd", "SELECT FROM WHERE"}};
    facts.policies = {{"app", "secured", "SELECT (owner = CURRENT_USER)"},
                      {"app", "watched", "SELECT (owner = CURRENT_USER)"},
                      {"app", "watched", "SELECT (EXISTS (SELECT 1 FROM app.v_v))"}};
    facts.default_search_path = "\"$user\", public";
    facts.default_isolation = "read committed";
    return facts;
}

std::shared_ptr<const FunctionOverrides> overrides(std::vector<std::string> read_only = {},
                                                   std::vector<std::string> primary = {}) {
    return std::make_shared<const FunctionOverrides>(std::move(read_only), std::move(primary));
}

Verdict judge_in(const Catalog& catalog, std::string_view sql, std::string_view path = "app") {
    return verdict(classify(sql), {&catalog, parse_search_path(path, "joe"), false});
}

struct Row {
    std::string_view sql;
    Reason reason;
    std::string_view detail = {};
};
void PrintTo(const Row& row, std::ostream* out) { *out << row.sql; }

class Verdicts : public testing::TestWithParam<Row> {
protected:
    static const Catalog& catalog() {
        static const auto kCatalog = build_catalog(facts(), overrides());
        return *kCatalog;
    }
};

TEST_P(Verdicts, TellReasonAndWhatItPointsAt) {
    const Row& row = GetParam();
    const Verdict found = judge_in(catalog(), row.sql, "x");
    EXPECT_EQ(name(found.reason), name(row.reason)) << found.detail;
    EXPECT_EQ(found.access == Access::write, row.reason != Reason::fresh_replica);
    EXPECT_EQ(found.detail, row.detail);
}

constexpr Row read(std::string_view sql) { return {sql, Reason::fresh_replica}; }
constexpr Row volatile_(std::string_view sql, std::string_view detail) {
    return {sql, Reason::volatile_function, detail};
}

INSTANTIATE_TEST_SUITE_P(
    Functions,
    Verdicts,
    testing::Values(
        read("SELECT app.get()"),
        read("SELECT * FROM app.get() WHERE app.upper(1) = 'x'"),
        read("SELECT app.total(a) FROM t"),
        read("SELECT app.\"\"\"Odd\"\"\"()"),
        read("SELECT of_an_extension()"),
        read("EXPLAIN SELECT app.get()"),
        read("COPY (SELECT app.get()) TO STDOUT"),
        volatile_("SELECT app.put()", "app.put"),
        volatile_("SELECT app.get(), (SELECT app.put())", "app.put"),
        volatile_("SELECT app.mixed(1)", "app.mixed"),
        volatile_("SELECT other.twice()", "other.twice"),
        volatile_("SELECT app.risky(a) FROM t", "app.risky"),
        volatile_("COPY (SELECT app.put()) TO STDOUT", "app.put"),
        volatile_("SELECT 1; SELECT app.put()", "app.put"),
        Row{"SELECT app.none()", Reason::unknown_function, "app.none"},
        Row{"SELECT nowhere()", Reason::unknown_function, "nowhere"},
        Row{"SELECT get()", Reason::unknown_function, "get"},  // not in the search_path
        Row{"SELECT pg_catalog.get()", Reason::unknown_function, "pg_catalog.get"},
        Row{"SELECT db.app.get()", Reason::unknown_function, "db.app.get"},
        Row{"SELECT pg_temp.get()", Reason::unknown_function, "pg_temp.get"},
        Row{"SELECT app.get(), nextval('s')", Reason::effect_function, "nextval (sequence)"},
        Row{"SELECT app.put(), nextval('s')", Reason::effect_function, "nextval (sequence)"},
        Row{"SELECT app.get() FROM t FOR UPDATE", Reason::write, "row locks"},
        Row{"SELECT * FROM t TABLESAMPLE my_method (1)", Reason::unknown_function, "my_method"}));

INSTANTIATE_TEST_SUITE_P(
    Operators,
    Verdicts,
    testing::Values(read("SELECT 1 OPERATOR(app.<<->>) 2"),
                    read("SELECT 1 OPERATOR(app.&&&) 2"),
                    read("SELECT a = b, a BETWEEN b AND c, a IN (1, 2) FROM t"),
                    volatile_("SELECT 1 OPERATOR(app.!!!) 2", "operator app.!!!"),
                    volatile_("SELECT 1 OPERATOR(app.%%%) 2", "operator app.%%%"),
                    volatile_("SELECT 1 OPERATOR(app.^^^) 2", "operator app.^^^"),
                    volatile_("SELECT 1 OPERATOR(app.=) ANY (ARRAY[1])", "operator app.="),
                    volatile_("SELECT a FROM t ORDER BY a USING OPERATOR(app.!!!)",
                              "operator app.!!!"),
                    Row{"SELECT 1 OPERATOR(app.~?~) 2", Reason::unknown_operator, "app.~?~"},
                    Row{"SELECT 1 <<->> 2", Reason::unknown_operator, "<<->>"}));

INSTANTIATE_TEST_SUITE_P(
    Fields,
    Verdicts,
    testing::Values(read("SELECT t.a, x.b FROM t, x"),
                    read("SELECT t.put FROM t"),        // takes no row
                    read("SELECT t.row_put FROM t")));  // not in the search_path

INSTANTIATE_TEST_SUITE_P(
    Relations,
    Verdicts,
    testing::Values(
        read("SELECT * FROM app.t, x, pg_class, pg_catalog.pg_class"),
        read("SELECT * FROM app.v_good"),
        read("SELECT * FROM app.secured"),
        read("SELECT NULL::app.mood"),
        volatile_("SELECT * FROM app.v_put", "app.v_put: app.put"),
        volatile_("SELECT * FROM app.v_v", "app.v_v: app.v_put: app.put"),
        volatile_("SELECT * FROM app.v_v_v", "app.v_v_v: app.v_v: app.v_put: app.put"),
        volatile_("SELECT * FROM app.v_op", "app.v_op: operator app.!!!"),
        volatile_("SELECT * FROM app.watched", "app.watched: app.v_v: app.v_put: app.put"),
        volatile_("TABLE app.v_put", "app.v_put: app.put"),
        volatile_("COPY app.v_put TO STDOUT", "app.v_put: app.put"),
        Row{"SELECT * FROM app.v_nextval", Reason::effect_function,
            "app.v_nextval: nextval (sequence)"},
        Row{"SELECT * FROM app.v_ut", Reason::unlogged_table, "app.v_ut: app.ut"},
        Row{"SELECT * FROM app.ut", Reason::unlogged_table, "app.ut"},
        Row{"SELECT * FROM app.ft", Reason::foreign_table, "app.ft"},
        Row{"SELECT * FROM app.seq", Reason::server_local, "app.seq: sequence"},
        Row{"WITH seq AS (SELECT 1) SELECT * FROM seq, app.seq", Reason::server_local,
            "app.seq: sequence"},
        Row{"SELECT * FROM app.parent", Reason::foreign_table, "app.parent"},
        Row{"SELECT * FROM app.none", Reason::unknown_relation, "app.none"},
        Row{"SELECT * FROM x, none", Reason::unknown_relation, "none"},
        Row{"SELECT * FROM v_put", Reason::unknown_relation, "v_put"},
        Row{"SELECT (SELECT 1 FROM app.pg_class)", Reason::unknown_relation, "app.pg_class"},
        read("WITH none AS (SELECT 1) SELECT * FROM none"),
        read("WITH RECURSIVE none AS (SELECT 1 UNION ALL SELECT 2 FROM none)"
             " SELECT (SELECT count(*) FROM none)"),
        Row{"WITH none AS (SELECT 1) SELECT * FROM app.none", Reason::unknown_relation, "app.none"},
        Row{"SELECT 1::app.no_type", Reason::unknown_function, "type app.no_type"}));

class VerdictTest : public testing::Test {
protected:
    std::shared_ptr<Catalog> catalog_ = build_catalog(facts(), overrides());
    Reason reason(std::string_view sql, std::string_view path = "app") {
        return judge_in(*catalog_, sql, path).reason;
    }
};

TEST_F(VerdictTest, ASearchPathSaysWhichNamesMayBeMeant) {
    EXPECT_EQ(reason("SELECT get()", "app"), Reason::fresh_replica);
    EXPECT_EQ(reason("SELECT twice()", "app"), Reason::fresh_replica);
    EXPECT_EQ(reason("SELECT twice()", "app, other"), Reason::volatile_function);
    EXPECT_EQ(reason("SELECT twice()", "other"), Reason::volatile_function);
    EXPECT_EQ(reason("SELECT twice()", "\"$user\""), Reason::unknown_function);
    EXPECT_EQ(reason("SELECT * FROM v_put", "app"), Reason::volatile_function);
    EXPECT_EQ(reason("SELECT 'x'::mood", "app"), Reason::fresh_replica);
    EXPECT_EQ(reason("SELECT t.row_put FROM t", "app"), Reason::volatile_function);
    EXPECT_EQ(reason("SELECT (t).row_put FROM t", "app"), Reason::volatile_function);
    EXPECT_EQ(reason("SELECT (t.x).row_get FROM t", "app"), Reason::fresh_replica);
}

TEST_F(VerdictTest, WithoutASearchPathAnySchemaMayBeMeant) {
    EXPECT_EQ(reason("SELECT get()", ",?"), Reason::fresh_replica);
    EXPECT_EQ(reason("SELECT twice()", ",?"), Reason::volatile_function);
    EXPECT_EQ(reason("SELECT lower('A')", ",?"), Reason::volatile_function);
    EXPECT_EQ(reason("SELECT * FROM ut", ",?"), Reason::unlogged_table);
}

TEST_F(VerdictTest, AFunctionMayHideABuiltIn) {
    EXPECT_EQ(reason("SELECT lower('A')", "public"), Reason::fresh_replica);
    EXPECT_EQ(reason("SELECT lower('A')", "app"), Reason::volatile_function);
    EXPECT_EQ(reason("SELECT pg_catalog.lower('A')", "app"), Reason::fresh_replica);
    EXPECT_EQ(reason("SELECT upper('A')", "app"), Reason::fresh_replica);
}

TEST_F(VerdictTest, OperatorsThatTheGrammarImpliesAreJudged) {
    for (const char* sql :
         {"SELECT a = b FROM t", "SELECT a IN (1, 2) FROM t", "SELECT a IN (SELECT 1) FROM t",
          "SELECT CASE a WHEN 1 THEN 2 END FROM t", "SELECT NULLIF(a, b) FROM t",
          "SELECT * FROM t JOIN u USING (a)", "SELECT * FROM t NATURAL JOIN u",
          "SELECT a IS DISTINCT FROM b FROM t", "SELECT a = ANY ('{}') FROM t"}) {
        EXPECT_EQ(reason(sql, "app"), Reason::volatile_function) << sql;
        EXPECT_EQ(reason(sql, "public"), Reason::fresh_replica) << sql;
    }
    Facts other;
    other.operators = {{"app", ">=", own("put", kVolatile)}};
    catalog_ = build_catalog(other, overrides());
    EXPECT_EQ(reason("SELECT a BETWEEN 1 AND 2 FROM t"), Reason::volatile_function);
    EXPECT_EQ(reason("SELECT a NOT BETWEEN 1 AND 2 FROM t"), Reason::volatile_function);
}

TEST_F(VerdictTest, ViewsThatReachThemselvesOrCannotBeReadAreNoReads) {
    EXPECT_EQ(reason("SELECT * FROM app.v_loop"), Reason::too_complex);
    EXPECT_EQ(reason("SELECT * FROM app.v_pool"), Reason::too_complex);
    EXPECT_EQ(reason("SELECT * FROM app.v_odd"), Reason::syntax_error);
}

TEST_F(VerdictTest, ARelationIsKnownOnlyWhereTheSearchPathLooks) {
    EXPECT_EQ(reason("SELECT * FROM x", "x"), Reason::fresh_replica);
    EXPECT_EQ(reason("SELECT * FROM x", "app, public"), Reason::unknown_relation);
    EXPECT_EQ(reason("SELECT * FROM x", ",?"), Reason::fresh_replica);
}

TEST_F(VerdictTest, KnowsWhichRelationsHaveTriggers) {
    ASSERT_EQ(catalog_->relations("audited").size(), 1U);
    EXPECT_TRUE(catalog_->relations("audited").front().has_triggers);
    ASSERT_EQ(catalog_->relations("u").size(), 2U);
    EXPECT_FALSE(catalog_->relations("u").front().has_triggers);
    EXPECT_EQ(catalog_->relations("parent").size(), 1U);
}

TEST_F(VerdictTest, WithoutACatalogNoReadLeavesThePrimary) {
    const auto without = [](std::string_view sql) { return verdict(classify(sql), {}).reason; };
    EXPECT_EQ(without("SELECT 1"), Reason::catalog_unknown);
    EXPECT_EQ(without("SELECT app.get()"), Reason::catalog_unknown);
    EXPECT_EQ(without("BEGIN READ ONLY"), Reason::catalog_unknown);
    EXPECT_EQ(without("INSERT INTO t VALUES (1)"), Reason::write);
    EXPECT_EQ(without("SELECT nextval('s')"), Reason::effect_function);
    EXPECT_EQ(verdict(classify("SET a = 1"), {}).access, Access::session_control);
}

TEST_F(VerdictTest, ReadOnlyTransactionsInOneTextAreJudged) {
    EXPECT_EQ(reason("BEGIN READ ONLY"), Reason::read_only_transaction);
    EXPECT_EQ(reason("BEGIN READ ONLY; SELECT app.get(); COMMIT"), Reason::read_only_transaction);
    EXPECT_EQ(reason("BEGIN READ ONLY; SELECT app.put(); COMMIT"), Reason::volatile_function);
    EXPECT_EQ(reason("BEGIN; SELECT app.get(); COMMIT"), Reason::transaction_control);
}

TEST_F(VerdictTest, ADefaultOfSerializableMeansThePrimary) {
    const CatalogView view{catalog_.get(), parse_search_path("app", "joe"), true};
    EXPECT_EQ(verdict(classify("SELECT 1"), view).reason, Reason::serializable_default);
}

TEST_F(VerdictTest, OverridesOutweighVolatility) {
    catalog_ = build_catalog(facts(), overrides({"app.put", "app.m?xed", "*.r*"}, {"app.g*"}));
    EXPECT_EQ(reason("SELECT app.put()"), Reason::fresh_replica);
    EXPECT_EQ(reason("SELECT app.mixed()"), Reason::fresh_replica);
    EXPECT_EQ(reason("SELECT app.risky(1)"), Reason::fresh_replica);
    EXPECT_EQ(reason("SELECT * FROM app.v_v_v"), Reason::volatile_function) << "by app.get";
    EXPECT_EQ(reason("SELECT * FROM app.v_v"), Reason::fresh_replica);
    EXPECT_EQ(reason("SELECT 1 OPERATOR(app.!!!) 2"), Reason::fresh_replica);
    EXPECT_EQ(reason("SELECT app.get()"), Reason::volatile_function);
    EXPECT_EQ(reason("SELECT other.twice()"), Reason::volatile_function);
    catalog_ = build_catalog({}, overrides({"*.*"}, {"pg_catalog.version"}));
    EXPECT_EQ(reason("SELECT version()"), Reason::volatile_function);
    EXPECT_EQ(reason("SELECT nextval('s')"), Reason::effect_function) << "built-ins are reviewed";
}

TEST_F(VerdictTest, WhatIsCalledWithoutANameIsJudgedForTheDatabase) {
    Facts with_cast = facts();
    with_cast.implicit = {{"cast to app.mood", own("put", kVolatile)}};
    catalog_ = build_catalog(with_cast, overrides());
    ASSERT_TRUE(catalog_->obstacle());
    EXPECT_EQ(catalog_->obstacle()->detail, "cast to app.mood: app.put");
    EXPECT_EQ(reason("SELECT 1"), Reason::volatile_type);
    EXPECT_EQ(reason("INSERT INTO t VALUES (1)"), Reason::write);
    EXPECT_FALSE(build_catalog(with_cast, overrides({"app.put"}))->obstacle());

    with_cast.implicit = {{"cast to app.mood", builtin("int4", kStable)}};
    EXPECT_FALSE(build_catalog(with_cast, overrides())->obstacle());
    with_cast.implicit = {{"cast to app.mood", builtin("nextval", kVolatile)}};
    EXPECT_TRUE(build_catalog(with_cast, overrides())->obstacle());

    Facts with_domain = facts();
    with_domain.domains = {{"app", "positive", "SELECT (VALUE > 0)"},
                           {"app", "known", "SELECT (app.get() = VALUE)"}};
    EXPECT_FALSE(build_catalog(with_domain, overrides())->obstacle());
    with_domain.domains.push_back({"app", "checked", "SELECT (app.put() > VALUE)"});
    catalog_ = build_catalog(with_domain, overrides());
    ASSERT_TRUE(catalog_->obstacle());
    EXPECT_THAT(catalog_->obstacle()->detail, HasSubstr("domain app.checked: app.put"));
}

TEST(Catalog, KnowsWhatSessionsOfARoleStartWith) {
    Facts given;
    given.default_search_path = "server";
    given.default_isolation = "read committed";
    const auto path = [&](std::string_view role) {
        return build_catalog(given, overrides())->defaults_of(role).search_path.value_or("?");
    };
    EXPECT_EQ(path("joe"), "server");
    given.settings.push_back({"", false, "search_path", "all"});
    EXPECT_EQ(path("joe"), "all");
    given.settings.push_back({"", true, "search_path", "database"});
    EXPECT_EQ(path("joe"), "database");
    given.settings.push_back({"joe", false, "search_path", "role"});
    EXPECT_EQ(path("joe"), "role");
    given.settings.push_back({"joe", true, "search_path", "both"});
    EXPECT_EQ(path("joe"), "both");
    EXPECT_EQ(path("ann"), "database");

    EXPECT_FALSE(build_catalog(given, overrides())->defaults_of("joe").changes_role);
    given.settings.push_back({"joe", false, "role", "ann"});
    EXPECT_TRUE(build_catalog(given, overrides())->defaults_of("joe").changes_role);

    const auto serializable = [&](std::string_view role) {
        return build_catalog(given, overrides())->defaults_of(role).may_be_serializable;
    };
    EXPECT_FALSE(serializable("joe"));
    given.settings.push_back({"joe", false, "default_transaction_isolation", "serializable"});
    EXPECT_TRUE(serializable("joe"));
    EXPECT_FALSE(serializable("ann"));
    given.default_isolation.reset();
    EXPECT_TRUE(serializable("ann")) << "not known";
    given.settings.push_back({"joe", true, "default_transaction_isolation", "repeatable read"});
    EXPECT_FALSE(serializable("joe"));
}

TEST(Catalog, KeepsOverloadsOfOneKindOnce) {
    Facts given;
    for (int i = 0; i < 100; ++i) given.functions.push_back({"app", "f", kStable, false});
    given.functions.push_back({"app", "f", kVolatile, false});
    const auto catalog = build_catalog(given, overrides());
    EXPECT_EQ(catalog->functions("f").size(), 2U);
    EXPECT_TRUE(catalog->functions("g").empty());
    EXPECT_LT(catalog->memory_bytes(), 2'000U);
}

TEST(FunctionOverrides, MatchWholeNamesOnly) {
    using Says = FunctionOverrides::Says;
    const FunctionOverrides given{{"app.get", "a?b.x", "s.*"}, {"s.*_w", "**.z"}};
    EXPECT_EQ(given.judge("app", "get"), Says::read_only);
    EXPECT_EQ(given.judge("app", "get2"), Says::nothing);
    EXPECT_EQ(given.judge("xapp", "get"), Says::nothing);
    EXPECT_EQ(given.judge("acb", "x"), Says::read_only);
    EXPECT_EQ(given.judge("ab", "x"), Says::nothing);
    EXPECT_EQ(given.judge("s", "a"), Says::read_only);
    EXPECT_EQ(given.judge("s", "a_w_w"), Says::primary);
    EXPECT_EQ(given.judge("s", "z"), Says::primary);
    EXPECT_EQ(FunctionOverrides{}.judge("s", "a"), Says::nothing);
}

TEST(Classify, TellsWhichStatementsMayChangeTheCatalog) {
    const auto change = [](std::string_view sql) { return classify(sql).catalog_change; };
    for (const char* sql :
         {"CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'", "DROP TABLE t",
          "ALTER FUNCTION f() STABLE", "CREATE OR REPLACE VIEW v AS SELECT 1",
          "CREATE TABLE t (a int)", "ALTER TABLE t ENABLE ROW LEVEL SECURITY",
          "CREATE POLICY p ON t", "CREATE EXTENSION hstore", "ALTER ROLE joe SET search_path = a",
          "IMPORT FOREIGN SCHEMA a FROM SERVER b INTO c", "SELECT 1; DROP TABLE t",
          "CREATE TABLE t AS SELECT 1"})
        EXPECT_EQ(change(sql), CatalogChange::certain) << sql;
    for (const char* sql : {"CALL p()", "DO 'BEGIN END'", "SELECT 1 INTO t2", "SELEC 1",
                            "EXPLAIN ANALYZE CREATE TABLE t AS SELECT 1"})
        EXPECT_EQ(change(sql), CatalogChange::possible) << sql;
    for (const char* sql :
         {"SELECT 1", "INSERT INTO t VALUES (1)", "UPDATE t SET a = 1", "DELETE FROM t",
          "TRUNCATE t", "VACUUM t", "SET a = 1", "BEGIN", "COMMIT", "SELECT * FROM t FOR UPDATE",
          "CREATE INDEX ON t (a)", "CREATE TEMP TABLE t (a int)", "COPY t FROM STDIN",
          "COMMENT ON TABLE t IS 'x'"})
        EXPECT_EQ(change(sql), CatalogChange::none) << sql;
}

TEST(Classify, TellsTheValueOfSearchPath) {
    const auto value = [](std::string_view sql) {
        const Statement statement = classify(sql);
        return statement.effects.empty() ? std::string{"-"} : statement.effects.front().value;
    };
    EXPECT_EQ(value("SET search_path TO app, \"B c\", 'x, y'"), "\"app\", \"B c\", \"x, y\"");
    EXPECT_EQ(value("SET SESSION search_path = '$user'"), "\"$user\"");
    EXPECT_EQ(value("SET SCHEMA 'app'"), "\"app\"");
    EXPECT_EQ(value("SELECT set_config('search_path', 'app, B', false)"), "app, B");
    EXPECT_EQ(value("SELECT set_config('search_path', '', false)"), "\"\"");
    EXPECT_EQ(value("SET search_path TO DEFAULT"), "");
    EXPECT_EQ(value("SET search_path TO 1"), "");
    EXPECT_EQ(value("SET work_mem TO '1MB'"), "");
}

TEST(Classify, KeepsEachNameOnce) {
    const auto uses = [](std::string_view sql) {
        std::vector<std::string> names;
        classify(sql).uses.for_each([&](const Use& use) {
            names.push_back(static_cast<char>(use.kind) + use.spelled());
            return true;
        });
        return names;
    };
    EXPECT_THAT(
        uses("SELECT f(a), f(b), lower(t.x), s.g() FROM t, s.t, t WHERE a = b AND b = 'c'::s.y"),
        testing::UnorderedElementsAre("ff", "flower", "cx", "fs.g", "rt", "rs.t", "o=", "ts.y"));
    EXPECT_THAT(uses("SELECT 1; SELECT 2"), testing::IsEmpty());
    EXPECT_THAT(uses("INSERT INTO t SELECT f(), lower(x) FROM u"), testing::ElementsAre("ff"))
        << "what it may leave behind";
}

TEST(CatalogState, MembersThatSetItRunOnThePrimaryWhateverTheyAreDeclared) {
    Facts facts;
    facts.functions = {{"public", "hll_set_defaults", kStable, false, "hll"},
                       {"app", "hll_set_defaults", kStable, false, ""},
                       {"app", "set_limit", kStable, false, "other"},
                       {"public", "set_limit", kVolatile, false, "pg_trgm"},
                       {"public", "show_limit", kStable, false, "pg_trgm"}};
    const auto overrides = std::make_shared<const FunctionOverrides>();
    const auto catalog = build_catalog(facts, overrides);
    const auto in = [&](const char* schema) {
        return CatalogView{catalog.get(), {true, {schema}}};
    };
    const auto member = classify("SELECT hll_set_defaults(1)");
    EXPECT_EQ(verdict(member, in("public")).reason, Reason::backend_state);
    EXPECT_EQ(find_kept(member, in("public")).what, Kept::What::state);
    EXPECT_EQ(find_kept(member, in("public")).by, "hll_set_defaults");
    EXPECT_EQ(verdict(member, in("app")).access, Access::read_only) << "another of the same name";
    EXPECT_EQ(find_kept(member, in("app")).what, Kept::What::nothing);
    EXPECT_EQ(find_kept(member, {}).what, Kept::What::state) << "no catalog: the name is enough";
    const auto limit = classify("SELECT set_limit(0.5)");
    EXPECT_EQ(find_kept(limit, in("public")).what, Kept::What::resettable);
    EXPECT_EQ(find_kept(limit, in("app")).what, Kept::What::nothing);
    EXPECT_EQ(verdict(classify("SELECT show_limit()"), in("public")).access, Access::read_only);
    const auto write = classify("CREATE TABLE t AS SELECT public.hll_set_defaults(1)");
    EXPECT_EQ(find_kept(write, in("app")).what, Kept::What::state);
    EXPECT_FALSE(write.may_read());
    const auto trusted = build_catalog(
        facts, std::make_shared<const FunctionOverrides>(std::vector<std::string>{"public.hll_*"},
                                                         std::vector<std::string>{}));
    EXPECT_EQ(find_kept(member, {trusted.get(), {true, {"public"}}}).what, Kept::What::nothing);
}

CatalogFacts::Body body(std::string name, std::string_view text, bool is_trigger = false) {
    return {"app", std::move(name), is_trigger, read_body(text)};
}

class CatalogKept : public testing::Test {
protected:
    CatalogKept() {
        Facts facts;
        for (const char* name : {"login", "local", "plain", "outer", "atomic", "total"})
            facts.functions.push_back({"app", name, kStable, std::string_view{name} == "login"});
        facts.bodies = {body("login", "SELECT set_config('app.user', $1, false)"),
                        body("local", "SELECT set_config('app.user', $1, true)"),
                        body("sketch", "SELECT hll_set_defaults(1, 2, 3, 4)"),
                        body("plain", "UPDATE t SET a = 1"),
                        body("outer", "SELECT app.login('x')"),
                        body("on_change", "BEGIN PERFORM outer('x'); END", true)};
        facts.functions.push_back({"public", "hll_set_defaults", kVolatile, false, "hll"});
        facts.sql_bodies = {{"app", "atomic", "BEGIN ATOMIC\n SELECT app.outer('x'); END"},
                            {"app", "steps", "BEGIN ATOMIC\n SELECT app.local('x'); END"}};
        facts.aggregates = {{"app", "total", {"app", "local", kStable}}};
        facts.operators = {{"app", "###", {"app", "outer", kStable}}};
        facts.relations = {{"app", "audited", {}}, {"app", "quiet", {}}, {"other", "audited", {}}};
        facts.written = {{"app", "audited", Kept::What::settings}};
        catalog_ = build_catalog(facts, std::make_shared<const FunctionOverrides>());
    }
    [[nodiscard]] Kept kept(std::string_view sql) const { return find_kept(classify(sql), view()); }
    [[nodiscard]] CatalogView view() const { return {catalog_.get(), {true, {"app"}}}; }
    CatalogPtr catalog_;
};

TEST_F(CatalogKept, WhatAFunctionSetsInsideOfItselfCounts) {
    EXPECT_EQ(kept("SELECT login('x')").what, Kept::What::settings);
    EXPECT_EQ(kept("DO $$ BEGIN PERFORM login('x'); END $$").what, Kept::What::settings);
    EXPECT_EQ(kept("INSERT INTO t SELECT login('x')").what, Kept::What::settings);
    EXPECT_EQ(kept("SELECT local('x')").what, Kept::What::names);
    EXPECT_EQ(kept("CALL sketch()").what, Kept::What::state);
    EXPECT_EQ(kept("SELECT plain()").what, Kept::What::nothing);
    EXPECT_EQ(kept("SELECT quiet.login FROM quiet").what, Kept::What::settings) << "of a row";
    EXPECT_EQ(kept("SELECT quiet.outer FROM quiet").what, Kept::What::nothing) << "a column";
    EXPECT_EQ(verdict(classify("SELECT login('x')"), view()).reason, Reason::backend_state);
    EXPECT_EQ(verdict(classify("SELECT plain()"), view()).access, Access::read_only);
}

TEST_F(CatalogKept, AsDoesWhatThoseSetThatItCalls) {
    EXPECT_EQ(kept("SELECT outer('x')").what, Kept::What::settings);
    EXPECT_EQ(kept("SELECT atomic()").what, Kept::What::settings);
    EXPECT_EQ(kept("CALL steps()").what, Kept::What::names);
    EXPECT_EQ(kept("SELECT total(a) FROM t").what, Kept::What::names);
    EXPECT_EQ(kept("SELECT 1 ### 2").what, Kept::What::settings);
    EXPECT_EQ(verdict(classify("SELECT 1 ### 2"), view()).reason, Reason::backend_state);
    EXPECT_TRUE(catalog_->functions("on_change").empty()) << "nobody calls it";
}

TEST_F(CatalogKept, AsDoesWhatIsCalledBehindAWrite) {
    for (const char* sql :
         {"INSERT INTO audited VALUES (1)", "UPDATE ONLY app.audited SET a = 1",
          "DELETE FROM audited", "TRUNCATE quiet, audited", "COPY audited FROM STDIN",
          "MERGE INTO audited a USING quiet q ON a.id = q.id WHEN MATCHED THEN DELETE",
          "WITH w AS (DELETE FROM audited RETURNING 1) SELECT * FROM w",
          "DO $$ BEGIN DELETE FROM \"audited\"; END $$", "EXPLAIN ANALYZE DELETE FROM audited"}) {
        EXPECT_EQ(kept(sql).what, Kept::What::settings) << sql;
        EXPECT_EQ(kept(sql).by, "audited") << sql;
    }
    for (const char* sql :
         {"INSERT INTO quiet SELECT * FROM audited", "DELETE FROM other.audited",
          "SELECT * FROM audited", "COPY audited TO STDOUT", "INSERT INTO unknown VALUES (1)"})
        EXPECT_EQ(kept(sql).what, Kept::What::nothing) << sql;
    EXPECT_EQ(find_kept(classify("DELETE FROM audited"), {}).what, Kept::What::nothing);
}

}  // namespace
}  // namespace pgsteer::routing
