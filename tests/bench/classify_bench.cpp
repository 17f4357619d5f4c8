// What the classifier costs, in nanoseconds a statement: lexing alone, a hit in the cache (the case
// of nearly every statement), a miss (lex, parse, walk).
#include "routing/classify.hpp"
#include "routing/lexer.hpp"
#include "routing/statement_cache.hpp"

#include <benchmark/benchmark.h>

#include <string>

namespace pgsteer::routing {
namespace {

constexpr HashSecret kSecret{0x243f6a8885a308d3, 0x13198a2e03707344};

std::string in_list(int count) {
    std::string sql = "SELECT * FROM t WHERE id IN (";
    for (int i = 0; i < count; ++i) sql += std::to_string(i) + ", ";
    return sql + "0)";
}

const std::string kStatements[] = {
    "SELECT abalance FROM pgbench_accounts WHERE aid = 1234567;  ",  // 60 bytes
    "SELECT a.id, a.name, b.total FROM accounts a JOIN balances b ON b.account_id = a.id "
    "WHERE a.region = $1 AND b.total > $2 AND a.state IN ('open', 'held') ORDER BY b.total DESC "
    "LIMIT 20",
    "INSERT INTO pgbench_history (tid, bid, aid, delta, mtime) VALUES (1, 2, 3, 4, "
    "CURRENT_TIMESTAMP)",
    in_list(1000),
    "SET search_path TO app, public",
};

void set_counters(benchmark::State& state, const std::string& sql) {
    state.SetLabel(std::to_string(sql.size()) + " bytes: " + sql.substr(0, 40));
}

void lexing(benchmark::State& state) {
    const std::string& sql = kStatements[state.range(0)];
    for (auto _ : state) benchmark::DoNotOptimize(lex(sql, kSecret));
    set_counters(state, sql);
}
BENCHMARK(lexing)->DenseRange(0, 4);

void cache_hit(benchmark::State& state) {
    const std::string& sql = kStatements[state.range(0)];
    StatementCache cache{1 << 20, kSecret};
    for (int i = 0; i < 500; ++i)
        cache.find_or_classify("SELECT " + std::string(static_cast<std::size_t>(i + 1), 'x'));
    for (auto _ : state) benchmark::DoNotOptimize(cache.find_or_classify(sql));
    set_counters(state, sql);
}
BENCHMARK(cache_hit)->DenseRange(0, 4);

void cache_miss(benchmark::State& state) {
    const std::string& sql = kStatements[state.range(0)];
    for (auto _ : state) benchmark::DoNotOptimize(classify(sql));
    set_counters(state, sql);
}
BENCHMARK(cache_miss)->DenseRange(0, 4);

}  // namespace
}  // namespace pgsteer::routing
