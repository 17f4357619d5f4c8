#include "routing/explain.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace pgsteer::routing {
namespace {

using testing::HasSubstr;
using testing::Not;

TEST(Explain, TellsWhyAStatementIsAWrite) {
    const std::string text = explain_text("SELECT nextval('s')");
    EXPECT_THAT(text, HasSubstr("access:     write\n"));
    EXPECT_THAT(text, HasSubstr("reason:     effect_function\n"));
    EXPECT_THAT(text, HasSubstr("because of: nextval (sequence)\n"));
    EXPECT_THAT(text, HasSubstr("runs on:    the primary\n"));
}

TEST(Explain, ListsEffectsAndHint) {
    const std::string text = explain_text("/* pgsteer: primary */ SELECT 1; SET a = 'b'");
    EXPECT_THAT(text, HasSubstr("reason:     multi_statement\n"));
    EXPECT_THAT(text, HasSubstr("hint:       primary\n"));
    EXPECT_THAT(text, HasSubstr("runs on:    the primary (by its hint)\n"));
    EXPECT_THAT(text, HasSubstr("statements: 2\n"));
    EXPECT_THAT(text,
                HasSubstr("effect:     set a (repeated elsewhere: set a = 'b') in statement 2\n"));
}

TEST(Explain, JudgesByACatalog) {
    const char* const sql = "SELECT f()";
    EXPECT_THAT(explain_text(sql), HasSubstr("reason:     unknown_function\n"));
    EXPECT_THAT(explain_text(sql), HasSubstr("the database's catalog may say otherwise"));
    for (const bool is_volatile : {false, true}) {
        CatalogFacts facts;
        facts.functions = {{"app", "f", is_volatile, false}};
        const auto catalog = build_catalog(facts, std::make_shared<const FunctionOverrides>());
        const CatalogView view{catalog.get(), {}, false};
        const std::string text = explain_text(sql, &view);
        EXPECT_THAT(text,
                    HasSubstr(is_volatile ? "reason:     volatile_function\nbecause of: app.f\n"
                                          : "reason:     fresh_replica\n"));
        EXPECT_THAT(text, Not(HasSubstr("may say otherwise")));
    }
}

struct Place {
    const char* sql;
    const char* runs_on;
};
class ExplainPlace : public testing::TestWithParam<Place> {};

TEST_P(ExplainPlace, IsWhereItIsDecidedToRun) {
    EXPECT_THAT(explain_text(GetParam().sql),
                HasSubstr(std::string{"runs on:    "} + GetParam().runs_on + '\n'));
}

INSTANTIATE_TEST_SUITE_P(
    Statements,
    ExplainPlace,
    testing::Values(Place{"SELECT 1", "a replica that is fresh enough, else the primary"},
                    Place{"/* pgsteer: replica */ SELECT 1",
                          "a replica that is fresh enough, else the primary"},
                    Place{"/* pgsteer: replica */ SELECT f()",
                          "a replica (by its hint), read-only; the primary if that fails"},
                    Place{"/* pgsteer: replica */ DELETE FROM t", "the primary"},
                    Place{"/* pgsteer: primary */ SELECT 1", "the primary (by its hint)"},
                    Place{"DELETE FROM t", "the primary"},
                    Place{"SELECT 1 FROM t FOR UPDATE", "the primary"},
                    Place{"SELEC 1", "the primary"},
                    Place{"SET work_mem = '1MB'", "the server that the session used last"},
                    Place{"BEGIN",
                          "the primary; with transactions: lazy where its first statement shows"},
                    Place{"BEGIN READ ONLY", "a replica, until the transaction ends"}));

TEST(Explain, SaysTheSameForTheSameText) {
    EXPECT_EQ(explain_text("SELECT 1"), explain_text("SELECT 2"));
    EXPECT_NE(explain_text("SELECT 1"), explain_text("SELECT a"));
}

}  // namespace
}  // namespace pgsteer::routing
