#include "routing/statement_cache.hpp"

#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <vector>

namespace pgsteer::routing {
namespace {

using namespace std::string_view_literals;
constexpr HashSecret kSecret{1, 2};

std::string query(int number) { return "SELECT column_" + std::to_string(number) + " FROM t"; }

TEST(StatementCache, ClassifiesOnceWhatDiffersInLiteralsOnly) {
    StatementCache cache{1 << 20, kSecret};
    const StatementPtr first = cache.find_or_classify("SELECT a FROM t WHERE b = 1");
    EXPECT_EQ(cache.find_or_classify("select a from t where b = 2"), first);
    EXPECT_NE(cache.find_or_classify("DELETE FROM t WHERE b = 2"), first);
    EXPECT_EQ(cache.counters().hits, 1U);
    EXPECT_EQ(cache.counters().misses, 2U);
    EXPECT_EQ(cache.counters().entries, 2U);
    EXPECT_EQ(first->statement.access, Access::read_only);
}

TEST(StatementCache, StaysWithinItsBytes) {
    StatementCache cache{20'000, kSecret};
    for (int i = 0; i < 1'000; ++i) {
        cache.find_or_classify(query(i));
        ASSERT_LE(cache.counters().bytes, 20'000U);
    }
    EXPECT_GT(cache.counters().entries, 10U);
    EXPECT_EQ(cache.counters().evictions + cache.counters().entries, 1'000U);
}

TEST(StatementCache, KeepsWhatIsUsed) {
    StatementCache cache{20'000, kSecret};
    const StatementPtr hot = cache.find_or_classify("SELECT hot");
    for (int i = 0; i < 500; ++i) {
        cache.find_or_classify(query(i));
        ASSERT_EQ(cache.find_or_classify("SELECT hot"), hot);
    }
    EXPECT_GT(cache.counters().evictions, 0U);
}

TEST(StatementCache, AnEvictedStatementLivesAsLongAsItIsHeld) {
    StatementCache cache{4'000, kSecret};
    const StatementPtr held = cache.find_or_classify("SET held = 'value'");
    for (int i = 0; i < 100; ++i) cache.find_or_classify(query(i));
    EXPECT_NE(cache.find_or_classify("SET held = 'value'"), held);
    ASSERT_EQ(held->statement.effects.size(), 1U);
    EXPECT_EQ(held->statement.effects[0].sql, "set held = 'value'");
}

// What has come twice is found by its text alone.
TEST(StatementCache, FindsATextThatComesAgainAndAgain) {
    StatementCache cache{1 << 20, kSecret};
    for (std::size_t size : {0U, 1U, 7U, 8U, 9U, 1'000U, 2'000U}) {
        const auto text = "SELECT '" + std::string(size, 'x') + "' FROM t";
        const StatementPtr first = cache.find_or_classify(text);
        const auto hits = cache.counters().hits;
        for (int i = 0; i < 5; ++i) EXPECT_EQ(cache.find_or_classify(text), first) << size;
        EXPECT_EQ(cache.counters().hits, hits + 5);
    }
    EXPECT_EQ(cache.counters().misses, 1U);
}

TEST(StatementCache, TellsTextsApartThatDifferInOneByte) {
    StatementCache cache{1 << 20, kSecret};
    for (const std::size_t at : {0U, 1U, 8U, 15U, 31U}) {
        std::string one = "SELECT aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa FROM t";
        const StatementPtr first = cache.find_or_classify(one);
        for (int i = 0; i < 3; ++i) EXPECT_EQ(cache.find_or_classify(one), first);
        one["SELECT "sv.size() + at] = 'b';
        EXPECT_NE(cache.find_or_classify(one), first) << at;
    }
}

TEST(StatementCache, ManyTextsTakeTurns) {
    StatementCache cache{1 << 22, kSecret};
    std::vector<StatementPtr> known;
    for (int i = 0; i < 1'000; ++i) known.push_back(cache.find_or_classify(query(i)));
    for (int turn = 0; turn < 4; ++turn)
        for (int i = 0; i < 1'000; ++i)
            ASSERT_EQ(cache.find_or_classify(query(i)), known[static_cast<std::size_t>(i)]);
    EXPECT_EQ(cache.counters().misses, 1'000U);
}

// Also what is found by its text alone counts as used.
TEST(StatementCache, KeepsATextThatComesAgainAndAgain) {
    StatementCache cache{20'000, kSecret};
    const StatementPtr hot = cache.find_or_classify("SELECT hot");
    for (int i = 0; i < 3; ++i) cache.find_or_classify("SELECT hot");
    for (int i = 0; i < 500; ++i) {
        cache.find_or_classify(query(i));
        cache.find_or_classify("SELECT hot");
    }
    EXPECT_EQ(cache.find_or_classify("select HOT"), hot) << "by its key";
}

TEST(StatementCache, WorksWithoutRoomForAnything) {
    StatementCache cache{0, kSecret};
    EXPECT_EQ(cache.find_or_classify("SELECT 1")->statement.access, Access::read_only);
    EXPECT_EQ(cache.find_or_classify("SELECT 1")->statement.access, Access::read_only);
    EXPECT_EQ(cache.counters().hits, 0U);
    EXPECT_EQ(cache.counters().entries, 0U);
}

TEST(StatementCache, DoesNotKeepWhatIsTooLongToLex) {
    StatementCache cache{1 << 20, kSecret};
    const std::string sql = "SELECT '" + std::string(kMaxClassifiedBytes, 'x') + "'";
    EXPECT_EQ(cache.find_or_classify(sql)->statement.reason, Reason::too_complex);
    EXPECT_EQ(cache.counters().entries, 0U);
}

TEST(StatementCache, RemembersARepeatedErrorBesideTheStatement) {
    StatementCache cache{1 << 20, kSecret};
    EXPECT_EQ(cache.find_or_classify("SELECT 1")->repeats_error_until, kNever);
    const TimePoint until{std::chrono::seconds{5}};
    cache.find_or_classify("SELECT 1")->repeats_error_until = until;
    EXPECT_EQ(cache.find_or_classify("SELECT 2")->repeats_error_until, until);
}

class JudgedTest : public testing::Test {
protected:
    StatementPtr judged(const StatementPtr& statement, std::uint64_t context, bool is_volatile) {
        CatalogFacts facts;
        facts.functions = {{"app", "f", is_volatile, false}};
        const auto catalog = build_catalog(facts, std::make_shared<const FunctionOverrides>());
        return judge(statement, context, {catalog.get(), {true, {"app"}}, false}, shared_);
    }
    StatementCache cache_{1 << 20, kSecret};
    JudgedStatements shared_;
};

TEST_F(JudgedTest, AVerdictIsKeptForItsContext) {
    const StatementPtr statement = cache_.find_or_classify("SELECT f()");
    const StatementPtr read = judged(statement, 1, false);
    EXPECT_EQ(read->statement.access, Access::read_only);
    EXPECT_EQ(judged(statement, 2, true)->statement.reason, Reason::volatile_function);
    EXPECT_EQ(judged(statement, 1, true), read) << "not asked again";
    EXPECT_EQ(judged(statement, 2, false)->statement.reason, Reason::volatile_function);
}

TEST_F(JudgedTest, OnlyTheLatestVerdictsAreKept) {
    const StatementPtr statement = cache_.find_or_classify("SELECT f()");
    for (std::uint64_t context = 1; context <= 10; ++context) judged(statement, context, true);
    EXPECT_EQ(judged(statement, 10, false)->statement.access, Access::write);
    EXPECT_EQ(judged(statement, 1, false)->statement.access, Access::read_only) << "forgotten";
}

TEST_F(JudgedTest, APlainReadStaysItself) {
    const StatementPtr statement = cache_.find_or_classify("SELECT 1");
    EXPECT_EQ(judged(statement, 1, true), statement);
    EXPECT_EQ(judged(statement, 1, true), statement);
    const StatementPtr write = cache_.find_or_classify("DELETE FROM t");
    EXPECT_EQ(judged(write, 1, true), write);
    EXPECT_EQ(write->judged[0].context, 0U);
}

TEST_F(JudgedTest, AHintSurvivesTheVerdict) {
    const StatementPtr hinted = cache_.find_or_classify("/* pgsteer: replica */ SELECT f()");
    const StatementPtr refused = judged(hinted, 1, true);
    EXPECT_EQ(refused->statement.hint, Hint::replica);
    EXPECT_EQ(refused->statement.reason, Reason::volatile_function);
    EXPECT_EQ(judged(hinted, 2, false)->statement.hint, Hint::replica);
    EXPECT_NE(judged(cache_.find_or_classify("SELECT f(), 1, a"), 1, true), refused);
}

TEST(Statement, CountsItsHeapInItsSize) {
    const Statement small;
    Statement big;
    big.detail = std::string(1'000, 'x');
    big.effects.push_back({Effect::Kind::set, 0, std::string(500, 'y'), std::string(700, 'z')});
    EXPECT_GE(small.memory_bytes(), sizeof(Statement));
    EXPECT_GE(big.memory_bytes(), small.memory_bytes() + 2'200 + sizeof(Effect));
}

}  // namespace
}  // namespace pgsteer::routing
