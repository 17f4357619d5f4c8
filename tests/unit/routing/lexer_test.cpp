#include "routing/lexer.hpp"

#include "routing/canonical.hpp"
#include "routing/scanner.hpp"

#include <gtest/gtest.h>
#include <pg_query.h>
#include <pg_query/pg_query.pb-c.h>

#include <string>
#include <string_view>
#include <vector>

namespace pgsteer::routing {
namespace {

constexpr HashSecret kSecret{0x0123456789abcdef, 0xfedcba9876543210};

StatementKey key(std::string_view sql) { return lex(sql, kSecret).key; }

std::vector<std::string> tokens(std::string_view sql) {
    std::vector<std::string> found;
    Scanner scanner{sql};
    for (Token token = scanner.next();; token = scanner.next()) {
        if (token.kind == TokenKind::end) return found;
        if (token.kind == TokenKind::unterminated) return {"unterminated"};
        found.emplace_back(token.text());
    }
}

// What PostgreSQL's own scanner makes of it, comments left out.
std::vector<std::string> postgres_tokens(std::string_view sql) {
    const PgQueryScanResult result = pg_query_scan(std::string{sql}.c_str());
    std::vector<std::string> found;
    if (result.error == nullptr) {
        auto* scan = pg_query__scan_result__unpack(
            nullptr, result.pbuf.len, reinterpret_cast<const std::uint8_t*>(result.pbuf.data));
        for (std::size_t i = 0; i < scan->n_tokens; ++i) {
            const auto& token = *scan->tokens[i];
            if (token.token == PG_QUERY__TOKEN__SQL_COMMENT ||
                token.token == PG_QUERY__TOKEN__C_COMMENT)
                continue;
            found.emplace_back(sql.substr(static_cast<std::size_t>(token.start),
                                          static_cast<std::size_t>(token.end - token.start)));
        }
        pg_query__scan_result__free_unpacked(scan, nullptr);
    } else {
        found = {"unterminated"};
    }
    pg_query_free_scan_result(result);
    return found;
}

TEST(Scanner, CutsTokensAsPostgresqlDoes) {
    constexpr std::string_view kTexts[] = {
        "SELECT a.b, \"C d\".\"e\"\"f\" FROM t WHERE x=1",
        "1+1 1 + 1 1-1 1--1",
        "1.5 .5 1. 1e5 1E+5 1.5e-5 1..10 a[1..2] 1.e5 .5e1",
        "$1 $23+$4 a$1 a$b$c",
        "a<=b a<>b a!=b a>=b a=>b a:=b a::b a:b a..b",
        "a<-1 a*-1 a@-1 a+-1 a=-1 a->>-1 a@@- a+- a-+ +- -+ *+- ~-+",
        "a/*c*/b a+/*c*/b a+--c\nb a*/**/b a<--c\n b",
        "@-/* x */1 @--x\n1 !/**/! |/ ||/ @>- <@+ ?-| ?& #>>",
        "/* a /* b */ c */ d /**/ e /***/ f /*/ */ g */",
        "-- a\rb -- c\n d",
        "'a''b' 'a\\' 'b' E'a\\'b' e'\\\\' E'a''b'",
        "'a'\n'b' 'a'\r\n\t'b' 'a' \n\n 'b'",
        "E'a'\n'b\\'c' B'01'\n'10' X'1F' x'ab'\n 'cd' b''",
        "B'1''0'",
        "U & 'e' U& 'f' u&x",
        "$$a$$ $x$ $$ $y$ $x$ $_1$a$_1$ $é$b$é$",
        "a$$b$$ a$x$b$x$",
        "_a é ñandú äÖ a1 A_B \x80\xff",
        "(a,b);[c]:d.e*f%g^h",
        "a<b>c a<>b ~~* !~~* ~* !~",
        "a ? b a ?| b a # b a & b a | b a ` b",
        "e'x' ee'x' bb'x' xx'y' nn'z' uu&'w' u'v'",
        "E 'x' N 'x' B 'x'",
        "1 .5 a.5 a.b.5",
        "\t\n\r\f ",
        "'unterminated",
        "\"unterminated",
        "/* unterminated",
        "$a$ unterminated $b$",
        "E'unterminated\\'",
        "select 'x' 'y'",
        "a--",
        "a/",
        "/",
        "-",
        "12345678901234567890 2147483647 2147483648 00000000000000000001",
    };
    for (const std::string_view text : kTexts)
        EXPECT_EQ(tokens(text), postgres_tokens(text)) << text;
}

TEST(Lexer, ValuesOfLiteralsAreNotInTheKey) {
    const std::vector<std::vector<std::string_view>> same{
        {"SELECT 1", "SELECT 2", "select  3", "SELECT/**/4", "SELECT 1 -- x", "/* x */ SELECT 1",
         "SELECT\n00"},
        {"SELECT 'a'", "SELECT 'b''c'", "SELECT E'\\'d'", "SELECT $$e$$", "SELECT $x$ f $x$",
         "SELECT U&'g'", "SELECT 'h'\n'i'", "SELECT ''"},
        {"SELECT 1.5", "SELECT .5", "SELECT 1e5", "SELECT 99999999999"},
        {"SELECT B'0'", "SELECT b'11'"},
        {"SELECT X'0'", "SELECT x'ff'"},
        {"SELECT a FROM t WHERE b = $1", "SELECT a FROM t WHERE b = $2",
         "SELECT A FROM T WHERE B=$1"},
        {"SELECT * FROM t WHERE a IN (1)", "SELECT * FROM t WHERE a IN (1, 2)",
         "SELECT * FROM t WHERE a IN (1,-2,+3,4)", "SELECT * FROM t WHERE a IN (1, NULL, 'x')"},
        {"SELECT * FROM t WHERE a IN ($1)", "SELECT * FROM t WHERE a IN ($1, $2, $3)"},
        {"INSERT INTO t VALUES (1, 'a')", "INSERT INTO t VALUES (2, 'b', 3)",
         "INSERT INTO t VALUES (1, 'a'), (2, 'b')",
         "INSERT INTO t VALUES (1, 'a'), (-2, NULL), (3, DEFAULT)"},
        {"SELECT ARRAY[1, 2]", "SELECT ARRAY[1, 2, 3]"},
        {"SELECT f(1, 2)", "SELECT f(1, 2, 3)", "SELECT F( 1,2 )"},
        {"UPDATE t SET a = 'x'", "UPDATE t SET a = 'y'"},
        {"SELECT \"set\" FROM t WHERE a = 1", "SELECT \"set\" FROM t WHERE a = 2"},
    };
    for (const auto& group : same)
        for (const std::string_view sql : group) EXPECT_EQ(key(sql), key(group.front())) << sql;
}

TEST(Lexer, EverythingElseIs) {
    const std::vector<std::string_view> different{
        "",
        ";",
        "SELECT 1",
        "SELECT 1;",
        "SELECT 1.5",
        "SELECT '1'",
        "SELECT $1",
        "SELECT B'1'",
        "SELECT X'1'",
        "SELECT N'1'",
        "SELECT (1)",
        "SELECT (1, 2)",
        "SELECT ((1))",
        "SELECT [1]",
        "SELECT - 1",
        "SELECT -1.5",
        "SELECT a",
        "SELECT \"a\"",
        "SELECT \"A\"",
        "SELECT b",
        "SELECT ab",
        "SELECT a b",
        "SELECT a, b",
        "SELECT b, a",
        "SELECT a.b",
        "SELECT a . b . c",
        "SELECT a::b",
        "SELECT a:b",
        "SELECT abcdefg",
        "SELECT abcdefgh",
        "SELECT abcdefghi",
        "SELECT abcdefg h",
        "SELECT \"abcdefgh\"",
        "SELECT abcdefghijklmnopq",
        "SELECT abcdefghijklmnopr",
        "SELECT f(1)",
        "SELECT f(1, 2)",
        "SELECT f(1.5)",
        "SELECT f('a')",
        "SELECT f(a)",
        "SELECT f(NULL)",
        "SELECT f(TRUE)",
        "SELECT f(1), a",
        "SELECT é",
        "SELECT ë",
        "SELECT a + b",
        "SELECT a - b",
        "SELECT a +- b",
        "SELECT a <= b",
        "SELECT a < = b",
        "SELECT a IN (1)",
        "SELECT a IN (b)",
        "SELECT a NOT IN (1)",
        "/* pgsteer: primary */ SELECT 1",
        "/* pgsteer: replica */ SELECT 1",
        "SELECT 1; SELECT 1",
        "SELECT 1a",
        "SELECT 'a' 'b'",
        "SELECT 'a",
        "SET a = 1",
        "SET a = 2",
        "SET a = '1'",
        "SELECT 1; SET a = 1",
        "SELECT 2; SET a = 1",
        "SELECT 1; SET a = 2",
        "SELECT set_config('a', 'b', true)",
        "SELECT set_config('a', 'c', true)",
        "SELECT set_config('a', 'c', false)",
        "SELECT \"set_config\"('a', 'c', false)",
        "SELECT current_setting('a.b')",
        "SELECT current_setting('a.c')",
        "SELECT U&\"a\" UESCAPE '!'",
        "SELECT U&\"a\" UESCAPE '+'",
    };
    for (std::size_t i = 0; i < different.size(); ++i)
        for (std::size_t j = 0; j < i; ++j)
            EXPECT_FALSE(key(different[i]) == key(different[j]))
                << different[i] << " | " << different[j];
}

TEST(Lexer, DependsOnTheSecretInBothHalves) {
    const StatementKey a = lex("SELECT a FROM t", {1, 2}).key;
    for (const HashSecret other : {HashSecret{1, 3}, HashSecret{2, 2}, HashSecret{2, 1}}) {
        const StatementKey b = lex("SELECT a FROM t", other).key;
        EXPECT_NE(a.high, b.high);
        EXPECT_NE(a.low, b.low);
    }
}

// The end of the text decides how the last token is read: nothing may be read beyond it.
TEST(Lexer, DoesNotDependOnWhatIsBehindTheText) {
    const std::string sql =
        "SELECT abc, 'x', $1, \"Q\", 1.5 FROM table_name WHERE a <= 10 /* c */ -- d";
    for (std::size_t length = 0; length <= sql.size(); ++length) {
        const std::string alone = sql.substr(0, length);
        const std::string longer = alone + "zzzzzzzzzzzzzzzz";
        EXPECT_EQ(key(alone), key(std::string_view{longer}.substr(0, length))) << alone;
    }
}

TEST(Lexer, AZeroByteMakesItInvalid) {
    EXPECT_FALSE(lex(std::string_view{"SELECT 1 -- \0", 13}, kSecret).valid);
    EXPECT_FALSE(lex(std::string_view{"\0", 1}, kSecret).valid);
    EXPECT_TRUE(lex("SELECT 1", kSecret).valid);
    EXPECT_TRUE(lex({}, kSecret).valid);
}

TEST(Canonical, IsWhatTheKeySees) {
    const std::pair<std::string_view, std::string_view> rows[] = {
        {"SELECT  A , 'b'/* c */ , 5 , 1.5 , $7", "select a , 'x' , 1 , 1.5 , $1 "},
        {"SELECT f(1, 2, 3), (4), \"Q\"", "select f (1,1) , (1) , \"Q\" "},
        {"INSERT INTO t VALUES (1, 'a'), (2, 'b')", "insert into t values (1,1) "},
        {"x IN ($1, $2) AND y IN (NULL, 1)", "x in ($1) and y in (null) "},
        {"SET a = 'B' -- c", "set a = 'B' "},
        {"SELECT 'y'; SET a = 1", "select 'y' ; set a = 1 "},
        {"ARRAY[1, 2], a[1], a[1:2]", "array [1,1] , a [1] , a [ 1 : 1 ] "},
    };
    for (const auto& [sql, text] : rows) EXPECT_EQ(canonical(sql).text, text);
}

}  // namespace
}  // namespace pgsteer::routing
