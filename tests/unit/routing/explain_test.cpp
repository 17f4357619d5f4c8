#include "routing/explain.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

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

TEST(Explain, SaysTheSameForTheSameText) {
    EXPECT_EQ(explain_text("SELECT 1"), explain_text("SELECT 2"));
    EXPECT_NE(explain_text("SELECT 1"), explain_text("SELECT a"));
}

}  // namespace
}  // namespace pgsteer::routing
