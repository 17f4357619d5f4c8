// No text at all may overflow the stack of the thread that classifies it.
#include "routing/canonical.hpp"
#include "routing/classify.hpp"
#include "routing/parse_tree.hpp"

#include <gtest/gtest.h>

#include <functional>
#include <pthread.h>
#include <random>
#include <string>
#include <vector>

namespace pgsteer::routing {
namespace {

std::string times(std::string_view unit, std::size_t count) {
    std::string text;
    for (std::size_t i = 0; i < count; ++i) text += unit;
    return text;
}

// Runs `work` on a stack as small as a worker's may be.
void on_small_stack(const std::function<void()>& work) {
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    ASSERT_EQ(pthread_attr_setstacksize(&attributes, kParserStackBytes), 0);
    pthread_t thread;
    const auto run = [](void* argument) -> void* {
        (*static_cast<const std::function<void()>*>(argument))();
        return nullptr;
    };
    ASSERT_EQ(pthread_create(&thread, &attributes, run, const_cast<std::function<void()>*>(&work)),
              0);
    pthread_join(thread, nullptr);
    pthread_attr_destroy(&attributes);
}

// begin, then `open` n times, middle, `close` n times, end
struct Chain {
    const char* begin;
    const char* open;
    const char* middle;
    const char* close = "";
    const char* end = "";
};

std::string text_of(const Chain& chain, std::size_t count) {
    return chain.begin + times(chain.open, count) + chain.middle + times(chain.close, count) +
           chain.end;
}

// Each of them crashes libpg_query, or exhausts its memory, at some length.
const Chain kChains[] = {
    {"SELECT ", "(", "a", ")"},
    {"SELECT ", "(1+", "a", ")"},
    {"SELECT a", "+b", ""},
    {"SELECT a", " AND b", ""},
    {"SELECT a", " OR b", ""},
    {"SELECT ", "a AND (b OR ", "c", ")"},
    {"SELECT ", "NOT ", "a"},
    {"SELECT ", "- ", "a"},
    {"SELECT ", "@ ", "a"},
    {"SELECT ", "CASE WHEN a THEN ", "b", " END"},
    {"SELECT ", "CASE ", "b", " WHEN 1 THEN 1 END"},
    {"SELECT ", "CASE WHEN a THEN b ELSE ", "b", " END"},
    {"SELECT a", "[1]", ""},
    {"SELECT ", "a[", "b", "]"},
    {"SELECT ", "a[b:", "c", "]"},
    {"SELECT a", ".b", ""},
    {"SELECT (a)", ".b", ""},
    {"SELECT 1", " UNION SELECT 1", ""},
    {"SELECT 1", " UNION ALL SELECT 1, 2", ""},
    {"SELECT 1", " INTERSECT SELECT 1", ""},
    {"SELECT 1", " EXCEPT VALUES (1)", ""},
    {"", "(SELECT 1 UNION ", "SELECT 1", ")"},
    {"", "(", "SELECT 1", ")"},
    {"SELECT a", "::int", ""},
    {"SELECT ", "CAST(", "a", " AS int)"},
    {"SELECT a", " IS NULL", ""},
    {"SELECT a", " IS NOT NULL", ""},
    {"SELECT a", " IS TRUE", ""},
    {"SELECT a", " ISNULL", ""},
    {"SELECT a", " NOTNULL", ""},
    {"SELECT a", " IS DOCUMENT", ""},
    {"SELECT a", " IS NORMALIZED", ""},
    {"SELECT ", "ARRAY[", "a", "]"},
    {"SELECT ARRAY", "[", "a", "]"},
    {"SELECT 1 FROM a", " CROSS JOIN b", ""},
    {"SELECT 1 FROM a", " NATURAL JOIN b", ""},
    {"SELECT 1 FROM a", " JOIN b ON c", ""},
    {"SELECT 1 FROM a", " JOIN b USING (c)", ""},
    {"SELECT 1 FROM a", " JOIN b", "", " ON true"},
    {"SELECT 1 FROM ", "(", "a", " CROSS JOIN b)"},
    {"", "SELECT 1 FROM (", "SELECT 1", ") x"},
    {"SELECT ", "(SELECT ", "a", ")"},
    {"SELECT ", "EXISTS(SELECT ", "a", ")"},
    {"SELECT ", "ARRAY(SELECT ", "a", ")"},
    {"SELECT ", "f(", "a", ")"},
    {"SELECT ", "f(a => ", "a", ")"},
    {"SELECT ", "f(ORDER BY ", "a", ")"},
    {"SELECT ", "f(a ORDER BY ", "a", ")"},
    {"SELECT ", "f() FILTER (WHERE ", "a", ")"},
    {"SELECT ", "f() OVER (ORDER BY ", "a", ")"},
    {"SELECT ", "f() OVER (PARTITION BY ", "a", ")"},
    {"SELECT ", "COALESCE(", "a", ")"},
    {"SELECT ", "GREATEST(", "a", ")"},
    {"SELECT ", "NULLIF(a, ", "a", ")"},
    {"SELECT ", "XMLELEMENT(NAME a, ", "a", ")"},
    {"SELECT ", "EXTRACT(year FROM ", "a", ")"},
    {"SELECT ", "TRIM(", "a", ")"},
    {"", "WITH a AS (", "SELECT 1", ") SELECT 1"},
    {"SELECT a", " COLLATE \"C\"", ""},
    {"SELECT a", " AT TIME ZONE b", ""},
    {"SELECT ", "a IN (", "b", ")"},
    {"SELECT ", "a NOT IN (b, ", "b", ")"},
    {"SELECT a", " LIKE b", ""},
    {"SELECT ", "a LIKE ", "b"},
    {"SELECT ", "a LIKE (", "b", ")"},
    {"SELECT a", " = ANY(ARRAY[1", "", "])"},
    {"SELECT ", "a = ANY(", "b", ")"},
    {"SELECT ", "ROW(", "a", ")"},
    {"SELECT ", "(a, ", "a", ")"},
    {"SELECT a", "->'b'", ""},
    {"SELECT a", " OPERATOR(pg_catalog.+) b", ""},
    {"SELECT a", "::int[]", ""},
    {"SELECT a::int", "[]", ""},
    {"SELECT ", "int '1' + ", "1"},
    {"SELECT 1::numeric(", "1::numeric(", "1", ")", ")"},
    {"SELECT 1 GROUP BY ", "GROUPING SETS(", "a", ")"},
    {"SELECT 1 GROUP BY ", "ROLLUP(", "a", ")"},
    {"SELECT 1 FROM ", "LATERAL (SELECT 1 FROM ", "a", ") x"},
    {"SELECT 1 LIMIT ", "(SELECT 1 LIMIT ", "1", ")"},
    {"", "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC ", "SELECT 1;", " END;"},
    {"CREATE SCHEMA s", " CREATE TABLE t()", ""},
    {"", "EXPLAIN ", "SELECT 1"},
    {"", "SELECT a;", ""},
    {"SELECT a", ",a", ""},
    {"VALUES (a)", ",(a)", ""},
    {"CREATE TABLE t (a int", " DEFAULT 1", "", "", ")"},
    {"SELECT ", "\"a\"(", "a", ")"},
};

TEST(ClassifyLimits, NoChainOfAnyLengthOverflowsTheStack) {
    on_small_stack([] {
        for (const Chain& chain : kChains)
            for (std::size_t count : {180U, 370U, 745U, 3'000U, 30'000U})
                classify(text_of(chain, count));
    });
}

TEST(ClassifyLimits, WhatExceedsThemIsTooComplex) {
    EXPECT_EQ(classify("SELECT a" + times("+b", 2'000)).reason, Reason::too_complex);
    EXPECT_EQ(classify(text_of({"SELECT ", "(", "a", ")"}, kMaxNesting + 1)).reason,
              Reason::too_complex);
    EXPECT_EQ(classify("SELECT " + times("a, ", kMaxParsedBytes / 3) + "b").reason,
              Reason::too_complex);
    EXPECT_EQ(classify("SELECT '" + times("x", kMaxClassifiedBytes) + "'").reason,
              Reason::too_complex);
}

TEST(ClassifyLimits, WhatApplicationsSendIsWithinThem) {
    EXPECT_EQ(classify(text_of({"SELECT ", "(", "a", ")"}, kMaxNesting)).access, Access::read_only);
    EXPECT_EQ(classify("SELECT * FROM t WHERE a = 1" + times(" OR a = 1", 350)).access,
              Access::read_only);
    EXPECT_EQ(
        classify("SELECT 1" + times(", \"table\".\"column\" AS \"column_alias\"", 600)).access,
        Access::read_only);
    EXPECT_EQ(classify("SELECT * FROM t WHERE id IN (1" + times(", 22", 20'000) + ")").access,
              Access::read_only);
    EXPECT_EQ(classify("INSERT INTO t VALUES (1, 'a')" + times(", (2, 'b')", 5'000)).reason,
              Reason::write);
    EXPECT_EQ(
        classify("SELECT * FROM t WHERE (a, b) IN ((1, 'a')" + times(", (2, 'b')", 5'000) + ")")
            .access,
        Access::read_only);
}

std::size_t depth_of(const ParseTree& tree) {
    std::size_t deepest = 0;
    std::vector<std::pair<const Message*, std::size_t>> pending{{&tree.root->base, 1}};
    std::vector<const Message*> children;
    while (!pending.empty()) {
        const auto [message, depth] = pending.back();
        pending.pop_back();
        deepest = std::max(deepest, depth);
        children.clear();
        push_children(message, children);
        for (const Message* child : children) pending.emplace_back(child, depth + 1);
    }
    return deepest;
}

// What Canonical::depth promises. A level takes under 1.2 KB of stack, measured by letting each of
// the chains above crash: 8 MiB hold nearly 7,000.
constexpr std::size_t levels_for(std::uint32_t depth) { return 5U * depth + 40U; }
static_assert(levels_for(kMaxDepth) * 1'200 < kParserStackBytes / 5 * 3);

TEST(ClassifyLimits, TheEstimateOfDepthBoundsTheTree) {
    for (const Chain& chain : kChains) {
        const std::string sql = text_of(chain, 60);
        const ParseTree tree = parse(sql);
        if (tree.root) {
            EXPECT_LE(depth_of(tree), levels_for(canonical(sql).depth)) << sql;
        }
    }
}

// Chains that nobody thought of: random tokens, repeated.
TEST(ClassifyLimits, TheEstimateOfDepthBoundsTheTreeOfRandomChains) {
    const std::string_view tokens[] = {
        "a",      "b",       "1",       "'x'",    "$1",       "(",        ")",        "[",
        "]",      ",",       ".",       ";",      "::",       "int",      "+",        "-",
        "=",      "->",      "*",       "AND",    "OR",       "NOT",      "IS",       "NULL",
        "IN",     "LIKE",    "BETWEEN", "CASE",   "WHEN",     "THEN",     "ELSE",     "END",
        "SELECT", "FROM",    "WHERE",   "UNION",  "ALL",      "JOIN",     "CROSS",    "ON",
        "TRUE",   "USING",   "NATURAL", "WITH",   "AS",       "VALUES",   "ROW",      "ARRAY",
        "ANY",    "EXISTS",  "AT",      "TIME",   "ZONE",     "COLLATE",  "OVER",     "ORDER",
        "BY",     "GROUP",   "LIMIT",   "FILTER", "LATERAL",  "INTERVAL", "DISTINCT", "ISNULL",
        "CAST",   "DEFAULT", "SIMILAR", "TO",     "OVERLAPS", "ESCAPE"};
    const std::string_view begins[] = {"SELECT ", "SELECT a ", "SELECT 1 FROM a ",
                                       "SELECT 1 WHERE ", "VALUES "};
    std::mt19937 random{20240611};
    const auto pick = [&](const auto& from) { return from[random() % std::size(from)]; };
    int parsed = 0;
    for (int round = 0; round < 40'000; ++round) {
        std::string unit;
        for (std::size_t length = 1 + random() % 4; length > 0; --length)
            unit.append(pick(tokens)).append(" ");
        const std::string sql =
            std::string{pick(begins)} + times(unit, 40) + (random() % 2 ? "a" : "") +
            times(random() % 2 ? ")" : "", unit.find('(') != std::string::npos ? 40 : 0);
        const ParseTree tree = parse(sql);
        if (!tree.root) continue;
        ++parsed;
        ASSERT_LE(depth_of(tree), levels_for(canonical(sql).depth)) << sql;
    }
    EXPECT_GT(parsed, 200);
}

}  // namespace
}  // namespace pgsteer::routing
