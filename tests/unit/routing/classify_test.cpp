// The routing table: what each statement is taken for, and why. Every statement kind of PostgreSQL
// 15's grammar is here at least once; classify_kinds_test.cpp has those that can only be writes.
#include "routing/classify.hpp"

#include <gtest/gtest.h>

#include <string>
#include <string_view>

namespace pgsteer::routing {
namespace {

struct Row {
    std::string_view sql;
    Access access;
    Reason reason;
};

void PrintTo(const Row& row, std::ostream* out) { *out << row.sql; }

class Classify : public testing::TestWithParam<Row> {};

TEST_P(Classify, TellsAccessAndReason) {
    const Row& row = GetParam();
    const Statement statement = classify(row.sql);
    EXPECT_EQ(statement.access, row.access) << row.sql << "\n"
                                            << name(statement.reason) << ": " << statement.detail;
    EXPECT_EQ(name(statement.reason), name(row.reason)) << row.sql << "\n" << statement.detail;
    if (statement.access == Access::read_only) {
        EXPECT_TRUE(statement.effects.empty());
    }
}

constexpr Row read(std::string_view sql) { return {sql, Access::read_only, Reason::fresh_replica}; }
constexpr Row write(std::string_view sql, Reason reason = Reason::write) {
    return {sql, Access::write, reason};
}
constexpr Row control(std::string_view sql) {
    return {sql, Access::session_control, Reason::session_control};
}
constexpr Row opens(std::string_view sql) {
    return {sql, Access::begin, Reason::transaction_control};
}
constexpr Row read_only_block(std::string_view sql) {
    return {sql, Access::begin_read_only, Reason::read_only_transaction};
}

const Row kReads[] = {
    read("SELECT 1"),
    read("select"),
    read("SELECT 1;"),
    read("SELECT 1; SELECT 2"),
    read(";;SELECT 1;;"),
    read("SELECT * FROM t"),
    read("TABLE t"),
    read("VALUES (1, 'a'), (2, 'b')"),
    read("(SELECT 1)"),
    read("SELECT ALL a FROM t"),
    read("SELECT DISTINCT a FROM t"),
    read("SELECT DISTINCT ON (a) a, b FROM t ORDER BY a, b DESC NULLS LAST"),
    read("SELECT * FROM public.t AS x (a, b) WHERE x.a = $1 AND b <> 'y' LIMIT 10 OFFSET 5"),
    read("SELECT * FROM ONLY t, t2 * WHERE t.a = t2.a ORDER BY 1 FETCH FIRST 5 ROWS WITH TIES"),
    read("SELECT a FROM t FETCH NEXT ROW ONLY"),
    read("SELECT a, count(*) FROM t GROUP BY a HAVING count(*) > 1"),
    read("SELECT a, b, grouping(a, b) FROM t GROUP BY GROUPING SETS ((a), (b), ()), CUBE (a, b), "
         "ROLLUP (a)"),
    read("SELECT a FROM t GROUP BY DISTINCT a"),
    read("SELECT 1 UNION SELECT 2 INTERSECT ALL SELECT 3 EXCEPT SELECT 4"),
    read("SELECT * FROM a JOIN b ON a.x = b.x LEFT JOIN c USING (x) AS j NATURAL FULL JOIN d CROSS "
         "JOIN e"),
    read("SELECT * FROM a, LATERAL (SELECT * FROM b WHERE b.x = a.x) s"),
    read("SELECT * FROM (VALUES (1, 2)) v (a, b)"),
    read("SELECT * FROM generate_series(1, 10) WITH ORDINALITY AS g (i, n)"),
    read("SELECT * FROM ROWS FROM (generate_series(1, 2), unnest(ARRAY[1, 2])) AS r (a, b)"),
    read("SELECT * FROM json_to_record('{}') AS x (a int, b text)"),
    read("SELECT * FROM xmltable('/a' PASSING x COLUMNS id int PATH 'b' DEFAULT 1 NOT NULL, n FOR "
         "ORDINALITY)"),
    read("SELECT * FROM xmltable(XMLNAMESPACES('u' AS n), '/n:a' PASSING x COLUMNS id int)"),
    read("SELECT * FROM t TABLESAMPLE system (10) REPEATABLE (1)"),
    read("SELECT * FROM t TABLESAMPLE bernoulli (1.5)"),
    read("WITH a AS (SELECT 1), b AS MATERIALIZED (SELECT * FROM a), c AS NOT MATERIALIZED (TABLE "
         "b) SELECT * FROM c"),
    read("WITH RECURSIVE t (n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM t WHERE n < 100) SELECT "
         "sum(n) FROM t"),
    read("WITH RECURSIVE t AS (SELECT 1 AS n UNION ALL SELECT n FROM t) SEARCH DEPTH FIRST BY n "
         "SET o "
         "CYCLE n SET c TO true DEFAULT false USING p SELECT * FROM t"),
    read("SELECT CASE WHEN a THEN 1 ELSE 2 END, CASE a WHEN 1 THEN 'x' END FROM t"),
    read("SELECT COALESCE(a, b), NULLIF(a, b), GREATEST(1, 2), LEAST(1, 2) FROM t"),
    read("SELECT EXISTS (SELECT 1), 1 IN (SELECT 2), 1 = ANY (SELECT 2), 1 < ALL (ARRAY[1, 2]), "
         "ARRAY(SELECT 1)"),
    read("SELECT a BETWEEN 1 AND 2, a NOT BETWEEN SYMMETRIC b AND c FROM t"),
    read("SELECT a LIKE 'x%' ESCAPE '!', a NOT ILIKE 'y', a SIMILAR TO 'z', a ~ 'r', a !~* 'r' "
         "FROM t"),
    read(
        "SELECT a IS NULL, b IS NOT NULL, c IS TRUE, d IS NOT UNKNOWN, e ISNULL, f NOTNULL FROM t"),
    read("SELECT a IS DISTINCT FROM b, a IS NOT DISTINCT FROM b FROM t"),
    read("SELECT a IS NORMALIZED, a IS NOT NFC NORMALIZED, NORMALIZE(a, NFD) FROM t"),
    read("SELECT a IS DOCUMENT FROM t"),
    read("SELECT ROW(1, 2), (1, 2) = (3, 4), (a).b, (a).b[1].c, (t.*).x FROM t"),
    read("SELECT a[1], a[1:2], a[:], a[b + 1] FROM t"),
    read("SELECT ARRAY[1, 2, 3], ARRAY[[1, 2], [3, 4]], '{1}'::int[], ARRAY[]::text[]"),
    read("SELECT a::int, CAST(b AS numeric(10, 2)), '2020-01-01'::date, int4 '1', float(24) '1.5' "
         "FROM t"),
    read("SELECT a::varchar(10), b::pg_catalog.text, c::double precision, d::timestamp with time "
         "zone FROM t"),
    read("SELECT 'pg_class'::regclass, 16384::regclass::text"),
    read("SELECT 1::information_schema.cardinal_number"),
    read("SELECT INTERVAL '1' DAY, INTERVAL(3) '1 s', DATE '2020-01-01', TIME '00:00', '1 "
         "day'::interval"),
    read("SELECT BIT '01', B'01', X'1F', N'n', E'a\\'b', U&'\\0061', $$a'b$$, $x$ $$ $x$"),
    read("SELECT 1.5e10, .5, 1., 1e-3"),
    read("SELECT CURRENT_DATE, CURRENT_TIME(3), CURRENT_TIMESTAMP, LOCALTIME, LOCALTIMESTAMP(2)"),
    read("SELECT CURRENT_USER, SESSION_USER, USER, CURRENT_ROLE, CURRENT_CATALOG, CURRENT_SCHEMA"),
    read("SELECT EXTRACT(year FROM now()), a AT TIME ZONE 'UTC' FROM t"),
    read("SELECT SUBSTRING('abc' FROM 1 FOR 2), SUBSTRING(a SIMILAR 'x' ESCAPE '#'), POSITION('a' "
         "IN 'b') FROM t"),
    read("SELECT OVERLAY('a' PLACING 'b' FROM 1), TRIM(BOTH 'x' FROM a), TRIM(a), TRIM(LEADING "
         "FROM a) FROM t"),
    read("SELECT (DATE '2020-01-01', DATE '2020-02-01') OVERLAPS (a, b) FROM t"),
    read("SELECT (1, 2) OVERLAPS (3, 4)"),
    read("SELECT XMLELEMENT(NAME a, XMLATTRIBUTES(b AS c), d), XMLFOREST(a, b AS c), XMLCONCAT(a, "
         "b) FROM t"),
    read("SELECT XMLPARSE(DOCUMENT a), XMLSERIALIZE(CONTENT a AS text), XMLPI(NAME a, 'b'), "
         "XMLEXISTS('/a' PASSING a), "
         "XMLROOT(a, VERSION '1.0') FROM t"),
    read("SELECT a COLLATE \"C\" FROM t ORDER BY a COLLATE \"de_DE\""),
    read("SELECT a FROM t ORDER BY a USING <, b USING OPERATOR(pg_catalog.>)"),
    read("SELECT a OPERATOR(pg_catalog.+) b, @ a, |/ a, a || b, a -> 'b' ->> 'c', a @> b, a ?| b, "
         "a #>> b FROM t"),
    read("SELECT count(*) FILTER (WHERE a), sum(DISTINCT b), string_agg(a, ',' ORDER BY b) FROM t"),
    read("SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY a), mode() WITHIN GROUP (ORDER BY b) "
         "FROM t"),
    read("SELECT row_number() OVER (), rank() OVER w, last_value(a) OVER (ORDER BY b ROWS BETWEEN "
         "1 PRECEDING AND "
         "UNBOUNDED FOLLOWING EXCLUDE TIES) FROM t WINDOW w AS (PARTITION BY a ORDER BY b RANGE "
         "CURRENT ROW)"),
    read("SELECT concat_ws(VARIADIC ARRAY['a', 'b']), make_interval(days => 3), "
         "make_interval(hours := 1)"),
    read("SELECT now(), clock_timestamp(), random(), gen_random_uuid(), pg_sleep(0), version(), "
         "timeofday()"),
    read("SELECT pg_catalog.lower('A'), pg_catalog.count(*) FROM t"),
    read("SELECT to_jsonb(t), row_to_json(t), json_build_object('a', 1), jsonb_agg(a) FROM t"),
    read("SELECT to_tsvector('english', a) @@ plainto_tsquery($1), ts_rank(b, c), ts_headline(a, "
         "b) FROM t"),
    read("SELECT pg_size_pretty(1::bigint), t.system_user FROM t"),
    read("SELECT has_table_privilege('t', 'select'), pg_get_viewdef('v'), format_type(23, -1), "
         "obj_description(1, 'x')"),
    read("SELECT current_setting('app.tenant'), current_setting('TimeZone', true)"),
    read("SELECT * FROM t WHERE tenant = current_setting('app.tenant')::uuid"),
    read("SELECT int4(a), text(b), date(c), \"varchar\"(d) FROM t"),
    read("SELECT * FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind "
         "IN ('r', 'p')"),
    read("SELECT * FROM pg_catalog.pg_stats"),
    read("SELECT * FROM pg_statistic_ext"),
    read("SELECT * FROM information_schema.tables"),
    read("EXPLAIN SELECT 1"),
    read("EXPLAIN (ANALYZE, BUFFERS, FORMAT json) SELECT 1"),
    read("EXPLAIN ANALYZE VERBOSE TABLE t"),
    read("EXPLAIN (ANALYZE false) VALUES (1)"),
    read("COPY t TO STDOUT"),
    read("COPY t (a, b) TO STDOUT WITH (FORMAT csv, HEADER)"),
    read("COPY (SELECT * FROM t) TO STDOUT"),
    read("COPY (VALUES (1)) TO STDOUT (FORMAT binary)"),
    // comments, blanks, case
    read("/* a */ SELECT /* /* nested */ ; DELETE FROM t */ 1 -- ; DELETE FROM t"),
    read("-- DELETE\nSELECT 1"),
    read("sElEcT\t1\r\n"),
    read("SELECT 'DELETE FROM t; nextval(''s'')'"),
    read("SELECT $q$ SELECT nextval('s') $q$"),
    read("SELECT \"nextval\" FROM t"),
    read("SELECT \"delete\" FROM \"insert\" WHERE \"update\" = 1"),
    read("SELECT a AS nextval, b AS \"FOR UPDATE\" FROM t"),
    read("SELECT 1--1"),
    read("SELECT 1/**/+/**/1"),
    read("SELECT 'a'\n'b'"),
    read("SELECT U&\"low\\0065r\"('A')"),
    read("SELECT U&\"low!0065r\" UESCAPE '!' ('A')"),
};
INSTANTIATE_TEST_SUITE_P(Read, Classify, testing::ValuesIn(kReads));

const Row kHiddenWrites[] = {
    write("SELECT * FROM t FOR UPDATE"),
    write("SELECT * FROM t FOR NO KEY UPDATE"),
    write("SELECT * FROM t FOR SHARE OF t NOWAIT"),
    write("SELECT * FROM t FOR KEY SHARE SKIP LOCKED"),
    write("SELECT * FROM (SELECT * FROM t FOR UPDATE) s"),
    write("SELECT 1 WHERE EXISTS (SELECT 1 FROM t FOR UPDATE)"),
    write("SELECT 1 UNION (SELECT 2 FROM t FOR UPDATE)"),
    write("WITH a AS (SELECT * FROM t FOR UPDATE) SELECT * FROM a"),
    write("SELECT 1 FOR/**/UPDATE"),
    write("SELECT * INTO t2 FROM t"),
    write("SELECT 1 INTO UNLOGGED t2"),
    write("SELECT 1 INTO TEMP t2"),
    write("WITH a AS (INSERT INTO t VALUES (1) RETURNING *) SELECT * FROM a"),
    write("WITH a AS (UPDATE t SET x = 1 RETURNING *) SELECT 1"),
    write("WITH a AS (DELETE FROM t RETURNING *) SELECT 1"),
    write("WITH a AS (WITH b AS (DELETE FROM t RETURNING *) TABLE b) SELECT 1"),
    write("SELECT (WITH a AS (SELECT 1) SELECT * FROM a FOR UPDATE)"),
    write("EXPLAIN DELETE FROM t"),
    write("EXPLAIN ANALYZE INSERT INTO t VALUES (1)"),
    write("EXPLAIN ANALYZE WITH a AS (DELETE FROM t RETURNING 1) SELECT 1"),
    write("EXPLAIN CREATE TABLE t AS SELECT 1"),
    write("EXPLAIN EXECUTE p"),
    write("EXPLAIN DECLARE c CURSOR FOR SELECT 1"),
    write("EXPLAIN REFRESH MATERIALIZED VIEW v"),
    write("COPY t FROM STDIN"),
    write("COPY t FROM '/tmp/f'"),
    write("COPY t FROM PROGRAM 'cat'"),
    write("COPY t TO '/tmp/f'"),
    write("COPY t TO ''"),
    write("COPY t TO PROGRAM 'cat'"),
    write("COPY (SELECT 1) TO '/tmp/f'"),
    write("COPY (SELECT 1) TO PROGRAM 'cat > /tmp/f'"),
    write("COPY (DELETE FROM t RETURNING *) TO STDOUT"),
    write("COPY (SELECT * FROM t FOR UPDATE) TO STDOUT"),
    write("SELECT 1; DELETE FROM t"),
    write("DELETE FROM t; SELECT 1"),
    write("SELECT 1; SELECT 2 FOR UPDATE; SELECT 3"),
    write("SELECT/**/1;DELETE/**/FROM/**/t"),
    write("SELECT 'a\\'; DELETE FROM t; --'"),
    write("SELECT 1 /* /* */ */; DELETE FROM t"),
    write("SELECT $a$ $b$ $a$; DELETE FROM t; SELECT $b$ $b$"),
    write("SELECT a$$b$$ FROM t; DELETE FROM t --$$"),
};
INSTANTIATE_TEST_SUITE_P(HiddenWrite, Classify, testing::ValuesIn(kHiddenWrites));

const Row kFunctions[] = {
    write("SELECT nextval('s')", Reason::effect_function),
    write("SELECT NEXTVAL('s')", Reason::effect_function),
    write("SELECT NextVal ( 's' )", Reason::effect_function),
    write("SELECT/**/nextval/**/('s')", Reason::effect_function),
    write("SELECT \"nextval\"('s')", Reason::effect_function),
    write("SELECT pg_catalog.nextval('s')", Reason::effect_function),
    write("SELECT \"pg_catalog\".\"nextval\"('s')", Reason::effect_function),
    write("SELECT U&\"nextv\\0061l\"('s')", Reason::effect_function),
    write("SELECT u&\"\\006eextval\"('s')", Reason::effect_function),
    write("SELECT U&\"nextv!0061l\" UESCAPE '!' ('s')", Reason::effect_function),
    write("SELECT \"NEXTVAL\"('s')", Reason::unknown_function),
    write("SELECT 1 FROM t WHERE nextval('s') > 0", Reason::effect_function),
    write("SELECT 1 ORDER BY nextval('s')", Reason::effect_function),
    write("SELECT 1 LIMIT nextval('s')", Reason::effect_function),
    write("SELECT 1 GROUP BY nextval('s')", Reason::effect_function),
    write("SELECT count(*) FILTER (WHERE nextval('s') > 0) FROM t", Reason::effect_function),
    write("SELECT sum(1) OVER (ORDER BY nextval('s'))", Reason::effect_function),
    write("SELECT sum(1) OVER w FROM t WINDOW w AS (PARTITION BY nextval('s'))",
          Reason::effect_function),
    write("SELECT * FROM nextval('s')", Reason::effect_function),
    write("SELECT * FROM ROWS FROM (generate_series(1, 2), nextval('s')) r",
          Reason::effect_function),
    write("SELECT * FROM a JOIN b ON nextval('s') = a.x", Reason::effect_function),
    write("SELECT ARRAY[nextval('s')]", Reason::effect_function),
    write("SELECT a[nextval('s')] FROM t", Reason::effect_function),
    write("SELECT CASE WHEN true THEN nextval('s') END", Reason::effect_function),
    write("SELECT abs(x => nextval('s'))", Reason::effect_function),
    write("SELECT (SELECT nextval('s'))", Reason::effect_function),
    write("SELECT string_agg(a, b ORDER BY nextval('s')) FROM t", Reason::effect_function),
    write("SELECT DISTINCT ON (nextval('s')) 1", Reason::effect_function),
    write("SELECT XMLFOREST(nextval('s') AS a)", Reason::effect_function),
    write("SELECT * FROM xmltable('/a' PASSING x COLUMNS i int DEFAULT nextval('s'))",
          Reason::effect_function),
    write("SELECT * FROM t TABLESAMPLE system (nextval('s'))", Reason::effect_function),
    write("SELECT EXTRACT(year FROM to_timestamp(nextval('s')))", Reason::effect_function),
    write("SELECT nextval('s') IS NULL", Reason::effect_function),
    write("SELECT nextval('s')::text COLLATE \"C\"", Reason::effect_function),
    write("SELECT 1 HAVING nextval('s') > 1", Reason::effect_function),
    write("VALUES (nextval('s'))", Reason::effect_function),
    write("COPY (SELECT nextval('s')) TO STDOUT", Reason::effect_function),
    write("EXPLAIN SELECT nextval('s')", Reason::effect_function),
    write("SELECT 1; SELECT nextval('s')", Reason::effect_function),
    write("SELECT setval('s', 1)", Reason::effect_function),
    write("SELECT setseed(0.5)", Reason::backend_state),
    write("SELECT pg_notify('c', 'p')", Reason::effect_function),
    write("SELECT pg_advisory_lock(1)", Reason::effect_function),
    write("SELECT pg_try_advisory_xact_lock_shared(1, 2)", Reason::effect_function),
    write("SELECT pg_advisory_unlock_all()", Reason::effect_function),
    write("SELECT lo_create(0), lo_open(1, 2)", Reason::effect_function),
    write("SELECT lo_get(1)", Reason::effect_function),
    write("SELECT txid_current()", Reason::effect_function),
    write("SELECT pg_current_xact_id()", Reason::effect_function),
    write("SELECT pg_export_snapshot()", Reason::effect_function),
    write("SELECT query_to_xml('DELETE FROM t', true, true, '')", Reason::effect_function),
    write("SELECT table_to_xml('v', true, true, '')", Reason::effect_function),
    write("SELECT cursor_to_xml('c', 1, true, true, '')", Reason::effect_function),
    write("SELECT * FROM ts_stat('SELECT nextval(1)')", Reason::effect_function),
    write("SELECT ts_rewrite('a'::tsquery, 'SELECT f()')", Reason::effect_function),
    write("SELECT pg_terminate_backend(1)", Reason::effect_function),
    write("SELECT pg_reload_conf()", Reason::effect_function),
    write("SELECT pg_switch_wal()", Reason::effect_function),
    write("SELECT pg_create_logical_replication_slot('a', 'b')", Reason::effect_function),
    write("SELECT pg_logical_emit_message(true, 'a', 'b')", Reason::effect_function),
    write("SELECT pg_stat_reset()", Reason::effect_function),
    write("SELECT brin_summarize_new_values('i')", Reason::effect_function),
    write("SELECT set_config('a', b, false) FROM t", Reason::effect_function),
    write("SELECT set_config($1, $2, false)", Reason::effect_function),
    write("SELECT set_config('a', 'b', false), 1 FROM t", Reason::effect_function),
    write("SELECT f()", Reason::unknown_function),
    write("SELECT public.lower('A')", Reason::unknown_function),
    write("SELECT db.pg_catalog.lower('A')", Reason::unknown_function),
    write("SELECT \"Lower\"('A')", Reason::unknown_function),
    write("SELECT pg_temp.f()", Reason::unknown_function),
    write("SELECT \"abs \"(1)", Reason::unknown_function),
    write("SELECT * FROM my_table_function(1)", Reason::unknown_function),
    write("SELECT my_agg(a) FROM t", Reason::unknown_function),
    write("SELECT a::my_type FROM t", Reason::unknown_function),
    write("SELECT CAST(a AS public.my_type[]) FROM t", Reason::unknown_function),
    write("SELECT my_type '1'", Reason::unknown_function),
    write("SELECT * FROM json_to_record('{}') AS x (a my_type)", Reason::unknown_function),
    write("SELECT * FROM t TABLESAMPLE my_method (1)", Reason::unknown_function),
    write("SELECT dblink('c', 'DELETE FROM t')", Reason::unknown_function),
    write("SELECT int4in('1')", Reason::unknown_function),
    write("SELECT a <<->> b FROM t", Reason::unknown_operator),
    write("SELECT a OPERATOR(public.+) b FROM t", Reason::unknown_operator),
    write("SELECT a OPERATOR(public.=) ANY (ARRAY[1])", Reason::unknown_operator),
    write("SELECT 1 OPERATOR(public.=) ANY (SELECT 1)", Reason::unknown_operator),
    write("SELECT a FROM t ORDER BY a USING <<<", Reason::unknown_operator),
    write("SELECT !!! a FROM t", Reason::unknown_operator),
};
INSTANTIATE_TEST_SUITE_P(Function, Classify, testing::ValuesIn(kFunctions));

const Row kServerLocal[] = {
    write("SELECT currval('s')", Reason::server_local),
    write("SELECT lastval()", Reason::server_local),
    write("SELECT pg_sequence_last_value(1)", Reason::server_local),
    write("SELECT last_value FROM s", Reason::server_local),
    write("SELECT s.log_cnt FROM s", Reason::server_local),
    write("SELECT \"is_called\" FROM s", Reason::server_local),
    write("SELECT * FROM pg_sequences", Reason::server_local),
    write("SELECT SYSTEM_USER", Reason::server_local),
    write("SELECT 1 FROM t WHERE owner = system_user", Reason::server_local),
    write("SELECT * FROM pg_aios", Reason::server_local),
    write("SELECT * FROM pg_catalog.pg_shmem_allocations_numa", Reason::server_local),
    write("SELECT pg_relation_size('t'), pg_total_relation_size('t'::regclass)",
          Reason::server_local),
    write("SELECT pg_size_pretty(pg_database_size(current_database()))", Reason::server_local),
    write("SELECT * FROM pg_stat_activity", Reason::server_local),
    write("SELECT * FROM \"pg_stat_activity\"", Reason::server_local),
    write("SELECT * FROM pg_catalog.pg_stat_replication", Reason::server_local),
    write("SELECT * FROM pg_statio_user_tables", Reason::server_local),
    write("SELECT * FROM pg_stat_statements", Reason::server_local),
    write("SELECT * FROM pg_locks", Reason::server_local),
    write("SELECT * FROM pg_cursors", Reason::server_local),
    write("SELECT * FROM pg_prepared_statements", Reason::server_local),
    write("SELECT * FROM pg_prepared_xacts", Reason::server_local),
    write("SELECT * FROM pg_settings", Reason::server_local),
    write("SELECT * FROM pg_file_settings", Reason::server_local),
    write("SELECT * FROM pg_replication_slots", Reason::server_local),
    write("TABLE pg_settings", Reason::server_local),
    write("COPY pg_locks TO STDOUT", Reason::server_local),
    write("SELECT pg_is_in_recovery()", Reason::server_local),
    write("SELECT pg_last_wal_replay_lsn()", Reason::server_local),
    write("SELECT pg_current_wal_lsn()", Reason::server_local),
    write("SELECT pg_backend_pid()", Reason::server_local),
    write("SELECT inet_server_addr(), inet_server_port()", Reason::server_local),
    write("SELECT pg_postmaster_start_time()", Reason::server_local),
    write("SELECT pg_conf_load_time()", Reason::server_local),
    write("SELECT pg_current_snapshot()", Reason::server_local),
    write("SELECT txid_current_if_assigned()", Reason::server_local),
    write("SELECT pg_stat_get_numscans(1)", Reason::server_local),
    write("SELECT pg_read_file('f')", Reason::server_local),
    write("SELECT * FROM pg_ls_waldir()", Reason::server_local),
    write("SELECT current_setting('transaction_read_only')", Reason::server_local),
    write("SELECT current_setting('in_hot_standby')", Reason::server_local),
    write("SELECT current_setting($1)", Reason::server_local),
    write("SELECT current_setting(a) FROM t", Reason::server_local),
    write("SELECT pg_my_temp_schema()", Reason::server_local),
    write("SELECT pg_listening_channels()", Reason::server_local),
    write("SHOW ALL", Reason::server_local),
    write("SHOW transaction_read_only", Reason::server_local),
    write("SHOW TIME ZONE", Reason::server_local),
    write("SELECT * FROM pg_temp.t", Reason::temporary_object),
    write("SELECT * FROM pg_temp_3.t", Reason::temporary_object),
    write("SELECT * FROM \"pg_temp\".t", Reason::temporary_object),
    write("COPY pg_temp.t TO STDOUT", Reason::temporary_object),
};
INSTANTIATE_TEST_SUITE_P(ServerLocal, Classify, testing::ValuesIn(kServerLocal));

const Row kTransactions[] = {
    read_only_block("BEGIN READ ONLY"),
    read_only_block("begin transaction read only"),
    read_only_block("START TRANSACTION READ ONLY"),
    read_only_block("START TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"),
    read_only_block("BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY DEFERRABLE"),
    read_only_block("BEGIN READ WRITE, READ ONLY"),
    read_only_block("BEGIN READ ONLY; SELECT 1; COMMIT"),
    read_only_block("BEGIN READ ONLY; SELECT 1; ROLLBACK; SELECT 2"),
    read_only_block("BEGIN READ ONLY; SAVEPOINT a; SELECT 1; ROLLBACK TO a; RELEASE a"),
    opens("BEGIN"),
    opens("BEGIN WORK"),
    opens("START TRANSACTION"),
    opens("BEGIN READ WRITE"),
    opens("BEGIN READ ONLY, READ WRITE"),
    opens("BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY"),
    opens("BEGIN ISOLATION LEVEL SERIALIZABLE, READ ONLY, DEFERRABLE"),
    write("BEGIN; SELECT 1; COMMIT", Reason::transaction_control),
    write("SELECT 1; BEGIN READ ONLY", Reason::transaction_control),
    write("COMMIT; BEGIN READ ONLY", Reason::transaction_control),
    write("BEGIN READ ONLY; COMMIT; BEGIN", Reason::transaction_control),
    write("BEGIN READ ONLY; SELECT nextval('s')", Reason::transaction_control),
    write("BEGIN READ ONLY; DELETE FROM t", Reason::transaction_control),
    write("COMMIT", Reason::transaction_control),
    write("END", Reason::transaction_control),
    write("COMMIT AND CHAIN", Reason::transaction_control),
    write("ROLLBACK", Reason::transaction_control),
    write("ABORT", Reason::transaction_control),
    write("SAVEPOINT a", Reason::transaction_control),
    write("RELEASE SAVEPOINT a", Reason::transaction_control),
    write("ROLLBACK TO SAVEPOINT a", Reason::transaction_control),
    write("PREPARE TRANSACTION 'x'", Reason::transaction_control),
    write("COMMIT PREPARED 'x'", Reason::transaction_control),
    write("ROLLBACK PREPARED 'x'", Reason::transaction_control),
    write("SET CONSTRAINTS ALL DEFERRED", Reason::transaction_control),
};
INSTANTIATE_TEST_SUITE_P(Transaction, Classify, testing::ValuesIn(kTransactions));

const Row kSession[] = {
    control(""),
    control(" \n"),
    control(";;"),
    control("-- nothing"),
    control("/* nothing */"),
    control("SET search_path TO a, b"),
    control("SET work_mem = '64MB'"),
    control("SET SESSION statement_timeout = 0"),
    control("SET TIME ZONE 'UTC'"),
    control("SET TIME ZONE LOCAL"),
    control("SET NAMES 'utf8'"),
    control("SET ROLE r"),
    control("SET SESSION AUTHORIZATION u"),
    control("SET app.tenant = 'x'"),
    control("SET a TO DEFAULT"),
    control("SET a = 1; SET b = 2"),
    control("RESET a"),
    control("RESET ALL"),
    control("RESET ROLE"),
    control("SELECT set_config('a.b', 'c', false)"),
    control("SELECT set_config('a', 'b', false), 1"),
    control("SELECT pg_catalog.set_config('search_path', '', false)"),
    control("DEALLOCATE p"),
    control("DEALLOCATE PREPARE ALL"),
    control("CLOSE c"),
    control("CLOSE ALL"),
    write("SET LOCAL a = 1", Reason::session_control),
    write("SET TRANSACTION READ ONLY", Reason::session_control),
    write("SET TRANSACTION SNAPSHOT 'x'", Reason::session_control),
    write("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY", Reason::session_control),
    write("SET default_transaction_read_only = on", Reason::session_control),
    write("SET DEFAULT_TRANSACTION_ISOLATION = 'serializable'", Reason::session_control),
    write("SET \"Default_Transaction_Read_Only\" = off", Reason::session_control),
    write("SET transaction_read_only = off", Reason::session_control),
    write("RESET default_transaction_read_only", Reason::session_control),
    write("SELECT set_config('a', 'b', true)", Reason::session_control),
    write("SELECT set_config('default_transaction_read_only', 'off', false)",
          Reason::session_control),
    write("DISCARD ALL", Reason::session_control),
    write("DISCARD TEMP", Reason::session_control),
    write("DISCARD PLANS", Reason::session_control),
    write("DISCARD SEQUENCES", Reason::session_control),
    write("UNLISTEN c", Reason::session_control),
    write("UNLISTEN *", Reason::session_control),
    write("SET a = 1; SELECT 1", Reason::multi_statement),
    write("SELECT 1; SET a = 1", Reason::multi_statement),
    write("SET a = 1; DELETE FROM t"),
    write("DECLARE c CURSOR FOR SELECT 1", Reason::cursor),
    write("DECLARE c SCROLL CURSOR WITH HOLD FOR SELECT 1", Reason::cursor),
    write("FETCH c", Reason::cursor),
    write("FETCH BACKWARD 5 FROM c", Reason::cursor),
    write("MOVE ALL IN c", Reason::cursor),
    {"PREPARE p AS SELECT 1", Access::session_control, Reason::sql_prepare},
    {"PREPARE p (int) AS INSERT INTO t VALUES ($1)", Access::session_control, Reason::sql_prepare},
    write("PREPARE p AS SELECT 1; PREPARE q AS SELECT 2", Reason::sql_prepare),
    write("EXECUTE p", Reason::sql_prepare),
    write("EXECUTE p (1, 'a')", Reason::sql_prepare),
};
INSTANTIATE_TEST_SUITE_P(Session, Classify, testing::ValuesIn(kSession));

const Row kNotParsed[] = {
    write("SELEC 1", Reason::syntax_error),
    write("SELECT 1 1 1", Reason::syntax_error),
    write("SELECT 'a", Reason::syntax_error),
    write("SELECT \"a", Reason::syntax_error),
    write("SELECT $a$ b $A$", Reason::syntax_error),
    write("SELECT /* 1", Reason::syntax_error),
    write("SELECT /* /* */ 1", Reason::syntax_error),
    write("/* SELECT 1", Reason::syntax_error),
    write(" /**/ /* /**/", Reason::syntax_error),
    write("SELECT E'a\\'", Reason::syntax_error),
    write("SELECT 123abc", Reason::syntax_error),
    write("SELECT 1 WHERE a = $1b", Reason::syntax_error),
    write("SELECT (1", Reason::syntax_error),
    write("SELECT 1)", Reason::syntax_error),
    write("SELECT 'a' 'b'", Reason::syntax_error),
    write("SELECT \\ 1", Reason::syntax_error),
    write(std::string_view{"SELECT 1\0; DELETE FROM t", 25}, Reason::syntax_error),
    write("SELECT 1; DELET FROM t", Reason::syntax_error),
    write("\xff\xfe", Reason::syntax_error),
};
INSTANTIATE_TEST_SUITE_P(NotParsed, Classify, testing::ValuesIn(kNotParsed));

}  // namespace
}  // namespace pgsteer::routing
