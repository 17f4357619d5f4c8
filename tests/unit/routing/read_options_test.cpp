#include "routing/read_options.hpp"

#include "routing/hints.hpp"
#include "routing/statement_cache.hpp"

#include <gtest/gtest.h>

namespace pgsteer::routing {
namespace {

using namespace std::chrono_literals;
using Outcome = ReadOptions::Outcome;

TEST(ParseMilliseconds, TakesWhatATimeSettingTakes) {
    EXPECT_EQ(parse_milliseconds("250"), 250ms);
    EXPECT_EQ(parse_milliseconds("200ms"), 200ms);
    EXPECT_EQ(parse_milliseconds("1.5s"), 1500ms);
    EXPECT_EQ(parse_milliseconds("2 min"), 2min);
    EXPECT_EQ(parse_milliseconds("1h"), 1h);
    EXPECT_EQ(parse_milliseconds("1d"), 24h);
    EXPECT_EQ(parse_milliseconds("0"), 0ms);
    for (const auto* bad : {"", "ms", "-1ms", "1 fortnight", "2d", "1e3", "nan", "inf", "1.2.3"})
        EXPECT_EQ(parse_milliseconds(bad), std::nullopt) << bad;
}

TEST(ParseWalPosition, IsTimelineAndLsn) {
    const auto position = parse_wal_position("3/16/B374D848");
    ASSERT_TRUE(position);
    EXPECT_EQ(position->timeline, 3U);
    EXPECT_EQ(position->lsn, Lsn{0x16'B374'D848});
    EXPECT_EQ(to_string(*position), "3/16/B374D848");
    for (const auto* bad : {"", "/", "16/B374D848", "0/16/B374D848", "3/16", "3//1", "-1/0/0",
                            "3/16/B/1", "99999999999/0/0", " 3/0/1"})
        EXPECT_EQ(parse_wal_position(bad), std::nullopt) << bad;
}

TEST(ReadOptions, AreSetByNameAndClearedByAnEmptyValue) {
    ReadOptions options;
    EXPECT_EQ(options.set("consistency", "Global"), Outcome::done);
    EXPECT_EQ(options.consistency, Consistency::global);
    EXPECT_EQ(options.set("consistency", ""), Outcome::done);
    EXPECT_EQ(options.consistency, std::nullopt);
    EXPECT_EQ(options.set("freshness_wait", "5ms"), Outcome::done);
    EXPECT_EQ(options.freshness_wait, 5ms);
    EXPECT_EQ(options.set("explain", "on"), Outcome::done);
    EXPECT_EQ(options.explain, true);
    EXPECT_EQ(options.set("max_staleness", "soon"), Outcome::bad_value);
    EXPECT_EQ(options.max_staleness, std::nullopt);
    EXPECT_EQ(options.set("min_lsn", "1/0/10"), Outcome::done);
    EXPECT_EQ(options.set("lsn", "1/0/10"), Outcome::read_only);
    EXPECT_EQ(options.set("last_route", "x"), Outcome::read_only);
    EXPECT_EQ(options.set("colour", "red"), Outcome::unknown_name);
}

TEST(ReadOptions, OfAStatementGoBeforeThoseOfTheSessionAndNoTokenIsLost) {
    ReadOptions session;
    session.set("consistency", "session");
    session.set("min_lsn", "2/0/20");
    ReadOptions statement;
    statement.set("consistency", "strict");
    statement.set("min_lsn", "2/0/10");
    auto both = session.overlaid_by(statement);
    EXPECT_EQ(both.consistency, Consistency::strict);
    EXPECT_EQ(both.min_lsn, parse_wal_position("2/0/20"));
    statement.set("min_lsn", "3/0/1");
    both = session.overlaid_by(statement);
    EXPECT_EQ(both.min_lsn, parse_wal_position("3/0/1"));
    EXPECT_EQ(session.overlaid_by({}), session);
}

TEST(OptionsInComments, AreListed) {
    const auto options = options_in("/* pgsteer: max_staleness=200ms, Consistency = eventual */");
    EXPECT_EQ(options.max_staleness, 200ms);
    EXPECT_EQ(options.consistency, Consistency::eventual);
    const auto mixed = hint_in("/*pgsteer:replica,freshness_wait='5ms'*/");
    EXPECT_EQ(mixed.place, Hint::replica);
    EXPECT_TRUE(mixed.has_options);
    EXPECT_EQ(hint_in("/* pgsteer: replica, primary */").place, Hint::primary);
    EXPECT_EQ(options_in("/* pgsteer: max_staleness=soon, x=1, =, */"), ReadOptions{});
    EXPECT_EQ(options_in("/* max_staleness=200ms */"), ReadOptions{});
    EXPECT_FALSE(hint_in("/* pgsteer: */").has_options);
}

TEST(OptionsInComments, CountAtBothEndsAndArePartOfTheKey) {
    const HashSecret secret{1, 2};
    const auto key = [&](std::string_view sql) { return lex(sql, secret).key; };
    const auto plain = key("SELECT 1");
    const auto in_front = key("/* pgsteer: max_staleness=1s */ SELECT 1");
    const auto behind = key("SELECT 1 /* pgsteer: max_staleness=1s */");
    EXPECT_NE(plain, in_front);
    EXPECT_NE(plain, behind);
    EXPECT_NE(key("SELECT 1 /* pgsteer: max_staleness=2s */"), behind);
    EXPECT_EQ(key("SELECT 1 /* something else=1 */"), plain);
    EXPECT_EQ(classify("/* pgsteer: max_staleness=1s */ SELECT 1;").options.max_staleness, 1s);
    EXPECT_EQ(classify("SELECT 1 /* pgsteer: max_staleness=1s */ ;").options.max_staleness, 1s);
    EXPECT_EQ(classify("SELECT /* pgsteer: max_staleness=1s */ 1").options.max_staleness,
              std::nullopt);
}

TEST(SetOfAnOption, KeepsItsValue) {
    const auto value = [](std::string_view sql) {
        const auto statement = classify(sql);
        return statement.effects.empty() ? std::string{"no effect"}
                                         : statement.effects.front().value;
    };
    EXPECT_EQ(value("SET pgsteer.consistency = 'global'"), "global");
    EXPECT_EQ(value("SET pgsteer.consistency TO global"), "global");
    EXPECT_EQ(value("SET pgsteer.freshness_wait = 5"), "5");
    EXPECT_EQ(value("SET pgsteer.consistency TO DEFAULT"), "");
    EXPECT_EQ(value("SELECT set_config('pgsteer.min_lsn', '1/0/1', false)"), "1/0/1");
    EXPECT_EQ(value("SET work_mem = '1MB'"), "");
}

}  // namespace
}  // namespace pgsteer::routing
