"""Statements of every kind, and where each has to run, as the servers themselves have seen it.

Reads come from a session that has never written, so that freshness is not in question. A statement may fail:
where it was tried counts, and a failure on a replica must not be the end of it.
"""

import time

import psycopg
import pytest

from support.cluster import new_marker
from support.session import connect

SETUP = """
    CREATE SCHEMA rt; CREATE SCHEMA rt2;
    CREATE TABLE rt.t (id int PRIMARY KEY, body text, n numeric, tags text[], doc jsonb, made timestamptz DEFAULT now());
    INSERT INTO rt.t SELECT i, 'row ' || i, i, ARRAY['a'], '{"k": 1}' FROM generate_series(1, 20) i;
    CREATE TABLE rt.child (extra int) INHERITS (rt.t);
    CREATE TABLE rt.parted (id int, at date) PARTITION BY RANGE (at);
    CREATE TABLE rt.parted_1 PARTITION OF rt.parted FOR VALUES FROM ('2020-01-01') TO ('2030-01-01');
    CREATE UNLOGGED TABLE rt.fast (id int);
    CREATE SEQUENCE rt.s;
    CREATE TABLE rt."Weird ""Name" ("select" int, "from" text, "ünïcode" int);
    CREATE VIEW rt.v AS SELECT id, body FROM rt.t;
    CREATE VIEW rt.vv AS SELECT count(*) AS n FROM rt.v;
    CREATE MATERIALIZED VIEW rt.mv AS SELECT id FROM rt.t;
    CREATE TYPE rt.pair AS (a int, b int);
    CREATE TYPE rt.mood AS ENUM ('sad', 'happy');
    CREATE DOMAIN rt.positive AS int CHECK (VALUE > 0);
    CREATE FUNCTION rt.f_vol(int DEFAULT 1) RETURNS int LANGUAGE sql VOLATILE AS 'SELECT $1';
    CREATE FUNCTION rt.f_stable(int DEFAULT 1) RETURNS int LANGUAGE sql STABLE AS 'SELECT $1';
    CREATE FUNCTION rt.f_imm(int DEFAULT 1) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1';
    CREATE FUNCTION rt.f_over(int) RETURNS int LANGUAGE sql STABLE AS 'SELECT $1';
    CREATE FUNCTION rt.f_over(text) RETURNS int LANGUAGE sql VOLATILE AS 'SELECT 1';
    CREATE FUNCTION rt.f_set() RETURNS SETOF rt.t LANGUAGE sql STABLE AS 'SELECT * FROM ONLY rt.t';
    CREATE FUNCTION rt.f_row(rt.t) RETURNS int LANGUAGE sql VOLATILE AS 'SELECT 1';
    CREATE FUNCTION rt.f_rowst(rt.t) RETURNS int LANGUAGE sql STABLE AS 'SELECT 1';
    CREATE PROCEDURE rt.p() LANGUAGE sql AS 'SELECT 1';
    CREATE AGGREGATE rt.total (int) (SFUNC = int4pl, STYPE = int, INITCOND = '0');
    CREATE OPERATOR rt.=== (LEFTARG = int, RIGHTARG = int, FUNCTION = int4eq);
    CREATE FUNCTION rt.volatile_eq(int, int) RETURNS bool LANGUAGE sql VOLATILE AS 'SELECT $1 = $2';
    CREATE OPERATOR rt.<==> (LEFTARG = int, RIGHTARG = int, FUNCTION = rt.volatile_eq);
    CREATE VIEW rt.v_next AS SELECT nextval('rt.s') AS n;
    CREATE VIEW rt.v_vol AS SELECT rt.f_vol(id) AS n FROM rt.t;
    CREATE VIEW rt.v_vol2 AS SELECT * FROM rt.v_vol;
    CREATE VIEW rt.v_fast AS SELECT * FROM rt.fast;
    CREATE RULE r AS ON INSERT TO rt.v DO INSTEAD NOTHING;
    CREATE FOREIGN DATA WRAPPER rt_dummy; CREATE SERVER rt_server FOREIGN DATA WRAPPER rt_dummy;
    CREATE FOREIGN TABLE rt.ft (n int) SERVER rt_server;
    GRANT USAGE, CREATE ON SCHEMA rt, rt2 TO app;
    GRANT ALL ON ALL TABLES IN SCHEMA rt TO app; GRANT ALL ON ALL SEQUENCES IN SCHEMA rt TO app;
"""

# Reads: all of them have to reach a replica. The reason is `fresh_replica` but where OTHER_REASONS has one.
REPLICA = r"""
SELECT 1
select 1
SeLeCt 1
SELECT
SELECT 1;
;SELECT 1
;;SELECT 1;;
( SELECT 1 )
((SELECT 1)) UNION ((SELECT 2))
SELECT/**/1
-- INSERT INTO rt.t VALUES (1)¶SELECT 1
/* INSERT */ SELECT 1
/* /* nested */ DELETE */ SELECT 1
SELECT 'INSERT INTO rt.t VALUES (1)'
SELECT 'it''s; DELETE FROM rt.t'
SELECT E'a\'; DELETE FROM rt.t; --'
SELECT $$; DROP TABLE rt.t; $$
SELECT $tag$ $$ DELETE $tag$
SELECT U&'d\0061t\+000061'
SELECT B'101', X'1F', 1e10, .5, 0.5e-3
SELECT N'national'
SELECT "ünïcode" FROM rt."Weird ""Name"
SELECT "select", "from" FROM rt."Weird ""Name"
SELECT U&"\0073elect" FROM rt."Weird ""Name"
SELECT 'a'¶'b'
SELECT 1 AS "insert into"
SELECT id FROM rt.t
SELECT * FROM rt.t WHERE id = 1
SELECT * FROM ONLY rt.t
SELECT t.* FROM rt.t t
SELECT (t).id FROM rt.t t
SELECT t FROM rt.t t
TABLE rt.t
TABLE ONLY rt.t
VALUES (1), (2), (3)
VALUES (1, 'a') ORDER BY 1 LIMIT 1
SELECT * FROM (VALUES (1, 2)) AS v (a, b)
SELECT DISTINCT body FROM rt.t
SELECT DISTINCT ON (id) id, body FROM rt.t ORDER BY id
SELECT ALL id FROM rt.t
SELECT id FROM rt.t ORDER BY body USING <
SELECT id FROM rt.t ORDER BY 1 DESC NULLS LAST
SELECT id FROM rt.t LIMIT 1 OFFSET 1
SELECT id FROM rt.t FETCH FIRST 2 ROWS ONLY
SELECT id FROM rt.t ORDER BY id FETCH FIRST 2 ROWS WITH TIES
SELECT id FROM rt.t LIMIT (SELECT 1)
SELECT body, count(*) FROM rt.t GROUP BY body HAVING count(*) > 0
SELECT body, id, count(*) FROM rt.t GROUP BY ROLLUP (body, id)
SELECT body, id, count(*) FROM rt.t GROUP BY CUBE (body, id)
SELECT body, count(*) FROM rt.t GROUP BY GROUPING SETS ((body), ())
SELECT grouping(body), count(*) FROM rt.t GROUP BY body
SELECT count(*) FILTER (WHERE id > 1) FROM rt.t
SELECT array_agg(id ORDER BY id DESC) FROM rt.t
SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY id) FROM rt.t
SELECT row_number() OVER (PARTITION BY body ORDER BY id) FROM rt.t
SELECT sum(id) OVER w FROM rt.t WINDOW w AS (ORDER BY id ROWS BETWEEN 1 PRECEDING AND CURRENT ROW)
SELECT lag(id) OVER (ORDER BY id) FROM rt.t
SELECT a.id FROM rt.t a JOIN rt.t b ON a.id = b.id
SELECT * FROM rt.t a LEFT JOIN rt.t b USING (id)
SELECT * FROM rt.t a RIGHT JOIN rt.t b ON true LIMIT 1
SELECT * FROM rt.t a FULL JOIN rt.t b ON a.id = b.id
SELECT * FROM rt.t a CROSS JOIN rt.t b LIMIT 1
SELECT * FROM rt.t NATURAL JOIN rt.v
SELECT * FROM rt.t a, LATERAL (SELECT a.id + 1) b
SELECT * FROM rt.t TABLESAMPLE SYSTEM (50)
SELECT * FROM rt.t TABLESAMPLE BERNOULLI (50) REPEATABLE (1)
SELECT * FROM generate_series(1, 3) WITH ORDINALITY
SELECT * FROM ROWS FROM (generate_series(1, 2), generate_series(1, 3)) AS x
SELECT * FROM unnest(ARRAY[1, 2])
SELECT * FROM json_to_recordset('[{"a": 1}]') AS x (a int)
SELECT * FROM xmltable('/r' PASSING '<r>1</r>' COLUMNS a int PATH '.')
WITH w AS (SELECT 1 AS a) SELECT * FROM w
WITH w AS MATERIALIZED (SELECT 1 AS a) SELECT * FROM w
WITH RECURSIVE w (n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM w WHERE n < 5) SELECT * FROM w
WITH a AS (SELECT 1), b AS (SELECT * FROM a) TABLE b
WITH w AS (VALUES (1)) (SELECT * FROM w)
SELECT 1 UNION SELECT 2
SELECT 1 UNION ALL SELECT 2
SELECT 1 INTERSECT SELECT 1
SELECT 1 EXCEPT SELECT 2
SELECT EXISTS (SELECT 1 FROM rt.t)
SELECT id FROM rt.t WHERE id IN (1, 2, 3)
SELECT id FROM rt.t WHERE id IN (SELECT id FROM rt.v)
SELECT id FROM rt.t WHERE id NOT IN (SELECT 1)
SELECT id FROM rt.t WHERE id = ANY (ARRAY[1, 2])
SELECT id FROM rt.t WHERE id > ALL (SELECT 1)
SELECT id FROM rt.t WHERE (id, body) = (1, 'row 1')
SELECT id FROM rt.t WHERE ROW (id, body) = ROW (1, 'x')
SELECT ARRAY (SELECT id FROM rt.t)
SELECT (SELECT max(id) FROM rt.t)
SELECT CASE WHEN id = 1 THEN 'a' ELSE 'b' END FROM rt.t
SELECT CASE id WHEN 1 THEN 2 END FROM rt.t
SELECT coalesce(body, 'x'), nullif(id, 1), greatest(1, 2), least(1, 2) FROM rt.t
SELECT id BETWEEN 1 AND 2, id NOT BETWEEN SYMMETRIC 2 AND 1 FROM rt.t
SELECT body LIKE 'r%', body ILIKE 'R%', body SIMILAR TO 'r', body ~ 'r', body !~* 'r' FROM rt.t
SELECT id IS NULL, id IS NOT NULL, true IS TRUE, id IS DISTINCT FROM 1 FROM rt.t
SELECT 1::text, '1'::int, CAST('1' AS numeric (10, 2)), int '1'
SELECT 'happy'::rt.mood
SELECT 5::rt.positive
SELECT ROW (1, 2)::rt.pair
SELECT (ROW (1, 2)::rt.pair).a
SELECT '{1,2}'::int[], ARRAY[[1, 2], [3, 4]], (ARRAY[1, 2, 3])[1:2]
SELECT doc -> 'k', doc ->> 'k', doc @> '{"k": 1}', doc ? 'k' FROM rt.t
SELECT doc['k'] FROM rt.t
SELECT tags[1], tags || ARRAY['b'], 'a' = ANY (tags) FROM rt.t
SELECT made + interval '1 day', made AT TIME ZONE 'UTC', extract(year FROM made), date_trunc('day', made) FROM rt.t
SELECT now(), current_timestamp, current_date, localtime, transaction_timestamp()
SELECT clock_timestamp(), statement_timestamp(), timeofday()
SELECT random(), gen_random_uuid()
SELECT current_user, session_user, current_catalog, current_schema, user
SELECT version()
SELECT overlay('abc' PLACING 'x' FROM 1), substring('abc' FROM 1 FOR 2), position('a' IN 'abc'), trim(both ' ' FROM ' a ')
SELECT format('%s', 1), concat(1, 2), string_agg(body, ',') FROM rt.t
SELECT normalize('a'), 'a' IS NORMALIZED
SELECT 'a' COLLATE "C" < 'b'
SELECT xmlelement(name a), xmlforest(1 AS b), xmlparse(CONTENT 'x')
SELECT to_tsvector('a b') @@ to_tsquery('a')
SELECT * FROM pg_class LIMIT 1
SELECT * FROM pg_catalog.pg_proc LIMIT 1
SELECT table_name FROM information_schema.tables LIMIT 1
SELECT 'rt.t'::regclass, to_regclass('rt.t')
SELECT pg_typeof(1), pg_column_size(1)
SELECT pg_get_viewdef('rt.v'::regclass)
SELECT has_table_privilege('rt.t', 'SELECT')
SELECT 1 OPERATOR(pg_catalog.+) 2
SELECT pg_catalog.lower('A')
SELECT "lower"('A')
SELECT rt.f_stable(), rt.f_imm(2)
SELECT rt.f_stable(id) FROM rt.t WHERE rt.f_imm(id) > 0 ORDER BY rt.f_stable(id)
SELECT * FROM rt.f_set()
SELECT * FROM rt.f_stable()
SELECT rt.total(id) FROM rt.t
SELECT 1 OPERATOR(rt.===) 1
SELECT rt.f_rowst(t) FROM ONLY rt.t t
SELECT * FROM rt.v
SELECT * FROM rt.vv
SELECT * FROM rt.mv
SELECT * FROM rt.parted
SELECT * FROM rt.parted_1
SELECT * FROM rt.child
EXPLAIN SELECT * FROM rt.t
EXPLAIN (COSTS off, FORMAT json) SELECT * FROM rt.t
EXPLAIN ANALYZE SELECT * FROM rt.t
EXPLAIN (ANALYZE, BUFFERS) SELECT 1
COPY rt.t TO STDOUT
COPY (SELECT * FROM rt.t) TO STDOUT WITH (FORMAT csv)
COPY (VALUES (1)) TO STDOUT
SELECT 1; SELECT 2
SELECT 1; SELECT 2;
/* pgsteer: replica */ SELECT rt.f_vol()
SELECT pg_sleep(0)
SELECT current_setting('search_path')
SELECT pg_size_pretty(1000::bigint)
WITH no_such_table AS (SELECT 1) SELECT * FROM no_such_table
PREPARE rt_p (int) AS SELECT id FROM rt.t WHERE id = $1
EXECUTE rt_p (1)
DEALLOCATE rt_p
BEGIN READ ONLY; SELECT 1; COMMIT
START TRANSACTION READ ONLY; TABLE rt.t; ROLLBACK
BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY; SELECT 1; COMMIT
"""

OTHER_REASONS = {"BEGIN": "read_only_transaction", "START": "read_only_transaction", "PREPARE": "session_control",
                 "DEALLOCATE": "session_control", "/* pgsteer: replica */": "hint_replica"}

# With the reason that pgsteer has to give.
PRIMARY = r"""
write                  INSERT INTO rt.t VALUES (100, 'x')
write                  INSERT INTO rt.t (id) SELECT 101
write                  INSERT INTO rt.t VALUES (1) ON CONFLICT DO NOTHING RETURNING id
write                  INSERT INTO rt.t VALUES (1) ON CONFLICT (id) DO UPDATE SET body = excluded.body
write                  insert into rt.v values (1)
write                  /* SELECT */ INSERT INTO rt.parted VALUES (1, '2025-01-01')
write                  UPDATE rt.t SET body = 'y' WHERE id = 100
write                  UPDATE rt.t SET (body, n) = (SELECT 'z', 1) WHERE id = 100
write                  UPDATE ONLY rt.t SET body = 'y' FROM rt.v WHERE rt.t.id = v.id AND false
write                  DELETE FROM rt.t WHERE id = 101
write                  DELETE FROM rt.t USING rt.v WHERE rt.t.id = v.id AND false RETURNING *
write                  MERGE INTO rt.t USING (SELECT 1 AS id) s ON rt.t.id = s.id WHEN MATCHED THEN UPDATE SET n = 1
write                  TRUNCATE rt.fast
write                  WITH w AS (INSERT INTO rt.t VALUES (102) RETURNING id) SELECT * FROM w
write                  WITH w AS (DELETE FROM rt.t WHERE id = 102 RETURNING id) SELECT count(*) FROM w
write                  WITH w AS (UPDATE rt.t SET n = 2 WHERE false RETURNING id) SELECT 1
write                  WITH a AS (SELECT 1), b AS (WITH c AS (DELETE FROM rt.t WHERE false RETURNING 1) SELECT * FROM c) SELECT * FROM a
write                  SELECT * FROM (WITH w AS (SELECT 1) SELECT * FROM w) x FOR UPDATE
write                  SELECT id FROM rt.t FOR UPDATE
write                  SELECT id FROM rt.t FOR NO KEY UPDATE SKIP LOCKED
write                  SELECT id FROM rt.t FOR SHARE NOWAIT
write                  SELECT id FROM rt.t FOR KEY SHARE
write                  SELECT * FROM (SELECT id FROM rt.t FOR UPDATE) x
write                  SELECT * INTO rt2.copy_1 FROM rt.t
write                  SELECT 1 AS a INTO TEMP copy_2
pinned                 SELECT 1 AS b
session_control        DISCARD TEMP
write                  CREATE TABLE rt2.copy_3 AS SELECT 1 AS a
write                  CREATE TABLE IF NOT EXISTS rt2.copy_3 AS TABLE rt.t
write                  CREATE MATERIALIZED VIEW rt2.mv AS SELECT 1 AS a
write                  REFRESH MATERIALIZED VIEW rt2.mv
write                  EXPLAIN INSERT INTO rt.t VALUES (103)
write                  EXPLAIN ANALYZE UPDATE rt.t SET n = 3 WHERE false
volatile_function      EXPLAIN (ANALYZE) SELECT rt.f_vol()
write                  EXPLAIN CREATE TABLE rt2.explained AS SELECT 1
write                  EXPLAIN ANALYZE WITH w AS (DELETE FROM rt.t WHERE false RETURNING 1) SELECT * FROM w
write                  EXPLAIN EXECUTE nothing
write                  COPY rt.t TO '/nonexistent/file'
write                  COPY rt.t TO PROGRAM 'true'
write                  COPY (DELETE FROM rt.t WHERE false RETURNING 1) TO STDOUT
volatile_function      COPY (SELECT rt.f_vol()) TO STDOUT
write                  COPY rt.fast FROM '/nonexistent/file'
effect_function        SELECT nextval('rt.s')
effect_function        SELECT setval('rt.s', 5)
server_local           SELECT currval('rt.s')
server_local           SELECT lastval()
effect_function        SELECT "nextval"('rt.s')
effect_function        SELECT pg_catalog.nextval('rt.s'::regclass)
effect_function        SELECT U&"next\0076al"('rt.s')
effect_function        SELECT * FROM nextval('rt.s')
effect_function        SELECT id FROM rt.t WHERE nextval('rt.s') < 0
effect_function        SELECT id FROM rt.t ORDER BY nextval('rt.s') LIMIT 1
effect_function        SELECT id FROM rt.t LIMIT nextval('rt.s')
effect_function        SELECT count(nextval('rt.s')) FROM rt.t
effect_function        SELECT CASE WHEN false THEN nextval('rt.s') END
effect_function        SELECT (SELECT nextval('rt.s'))
effect_function        WITH w AS (SELECT nextval('rt.s')) SELECT * FROM w
effect_function        VALUES (nextval('rt.s'))
effect_function        SELECT 1 UNION SELECT nextval('rt.s')
server_local           SELECT last_value FROM rt.s
server_local           SELECT * FROM rt.s
server_local           TABLE rt.s
effect_function        SELECT pg_notify('rt', 'x')
effect_function        SELECT pg_advisory_lock(77), pg_advisory_unlock(77)
effect_function        SELECT pg_try_advisory_xact_lock(78)
effect_function        SELECT txid_current()
effect_function        SELECT pg_current_xact_id()
effect_function        SELECT pg_export_snapshot()
effect_function        SELECT lo_create(0)
effect_function        SELECT lo_import('/nonexistent')
session_control        SELECT set_config('rt.x', 'y', true)
server_local           SELECT pg_relation_size('rt.t')
server_local           SELECT pg_database_size('app')
server_local           SELECT pg_backend_pid()
server_local           SELECT pg_is_in_recovery()
server_local           SELECT inet_server_port()
server_local           SELECT pg_postmaster_start_time()
server_local           SELECT pg_current_wal_lsn()
effect_function        SELECT pg_reload_conf()
effect_function        SELECT pg_cancel_backend(0)
effect_function        SELECT pg_stat_reset()
effect_function        SELECT pg_logical_emit_message(true, 'rt', 'x')
server_local           SELECT current_setting('transaction_read_only')
server_local           SELECT * FROM pg_stat_activity
server_local           SELECT * FROM pg_stat_user_tables
server_local           SELECT * FROM pg_locks
server_local           SELECT * FROM pg_settings LIMIT 1
server_local           SELECT * FROM pg_prepared_statements
server_local           SELECT * FROM pg_cursors
server_local           SELECT * FROM pg_sequences
volatile_function      SELECT rt.f_vol()
volatile_function      SELECT rt."f_vol"(1)
volatile_function      SELECT id FROM rt.t WHERE rt.f_vol(id) = 1
volatile_function      SELECT (SELECT count(rt.f_vol()) FROM rt.t)
volatile_function      SELECT * FROM rt.f_vol()
volatile_function      SELECT * FROM rt.t JOIN LATERAL rt.f_vol(id) x ON true
volatile_function      SELECT rt.f_over(1)
unknown_function       SELECT rt.no_such_function()
unknown_function       SELECT no_such_function_anywhere(1)
unknown_function       SELECT 1::rt.no_such_type
unknown_operator       SELECT 1 OPERATOR(rt.~~~~) 2
unknown_relation       SELECT * FROM rt.no_such
unknown_relation       WITH t AS (SELECT 1) SELECT * FROM no_such, t
temporary_object       SELECT * FROM pg_temp.nothing
foreign_table          SELECT * FROM rt.ft
session_control        SET search_path = rt, public
volatile_function      SELECT (t).f_row FROM rt.t t
volatile_function      SELECT t.f_row FROM rt.t t
volatile_function      SELECT rt.f_row(t) FROM rt.t t
session_control        RESET search_path
volatile_function      SELECT 1 OPERATOR(rt.<==>) 1
effect_function        SELECT * FROM rt.v_next
volatile_function      SELECT * FROM rt.v_vol
volatile_function      SELECT * FROM rt.v_vol2
unlogged_table         SELECT * FROM rt.v_fast
unlogged_table         SELECT * FROM rt.fast
volatile_function      SELECT 1; SELECT rt.f_vol()
write                  SELECT 1; INSERT INTO rt.t VALUES (1) ON CONFLICT DO NOTHING
multi_statement        SELECT 1; SET work_mem = '5MB'
syntax_error           SELECT 1; SELCT 2
syntax_error           SELCT 1
syntax_error           SELECT 'unterminated
syntax_error           SELECT "unterminated
syntax_error           SELECT $$unterminated
syntax_error           /* unterminated SELECT 1
hint_primary           SELECT 1 /* pgsteer: primary */
hint_primary           /*pgsteer:PRIMARY*/SELECT 1
write                  CALL rt.p()
write                  DO $$ BEGIN NULL; END $$
write                  DO LANGUAGE plpgsql 'BEGIN PERFORM 1; END'
server_local           SHOW work_mem
server_local           SHOW ALL
server_local           SHOW TRANSACTION ISOLATION LEVEL
transaction_control    BEGIN; SELECT 1; COMMIT
transaction_control    BEGIN; ROLLBACK
transaction_control    BEGIN READ WRITE; SELECT 1; END
transaction_control    START TRANSACTION ISOLATION LEVEL SERIALIZABLE, READ ONLY; SELECT 1; COMMIT
transaction_control    BEGIN; SAVEPOINT a; RELEASE a; ROLLBACK TO b; ROLLBACK
transaction_control    BEGIN; PREPARE TRANSACTION 'rt'; ROLLBACK PREPARED 'rt'
transaction_control    COMMIT PREPARED 'nothing'
transaction_control    SET CONSTRAINTS ALL DEFERRED
write                  LISTEN rt
write                  NOTIFY rt, 'x'
session_control        UNLISTEN rt
cursor                 DECLARE c CURSOR FOR SELECT 1
cursor                 FETCH 1 FROM nothing
cursor                 MOVE 1 IN nothing
session_control        PREPARE rt_p AS SELECT 1
write                  LOCK TABLE rt.t
write                  CHECKPOINT
write                  LOAD 'nothing'
write                  VACUUM rt.fast
write                  VACUUM (FULL, ANALYZE) rt.fast
write                  ANALYZE rt.fast
write                  CLUSTER rt.t USING t_pkey
write                  REINDEX TABLE rt.fast
write                  CREATE TABLE rt2.a (id int PRIMARY KEY, b int)
write                  CREATE TABLE rt2.b (LIKE rt2.a INCLUDING ALL)
write                  CREATE TABLE rt2.p PARTITION OF rt2.no_such FOR VALUES IN (1)
write                  CREATE TEMP TABLE rt_temp (id int)
write                  CREATE TEMP TABLE rt_temp_2 AS TABLE rt.t
write                  CREATE FOREIGN TABLE rt2.foreign_1 (id int) SERVER nothing
write                  CREATE INDEX ON rt2.a (b)
write                  CREATE UNIQUE INDEX CONCURRENTLY rt2_ix ON rt2.b (id)
write                  CREATE VIEW rt2.view_1 AS SELECT 1 AS a
write                  CREATE OR REPLACE VIEW rt2.view_1 AS SELECT 2 AS a
write                  CREATE RECURSIVE VIEW rt2.view_2 (n) AS VALUES (1) UNION ALL SELECT n + 1 FROM view_2 WHERE n < 3
write                  CREATE SEQUENCE rt2.s
write                  ALTER SEQUENCE rt2.s INCREMENT 2
write                  CREATE TYPE rt2.composite AS (a int)
write                  CREATE TYPE rt2.enumeration AS ENUM ('a')
write                  CREATE TYPE rt2.span AS RANGE (SUBTYPE = int)
write                  ALTER TYPE rt2.enumeration ADD VALUE 'b'
write                  CREATE DOMAIN rt2.d AS int
write                  ALTER DOMAIN rt2.d SET DEFAULT 1
write                  CREATE FUNCTION rt2.f() RETURNS int LANGUAGE sql AS 'SELECT 1'
write                  CREATE FUNCTION rt2.g() RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT 1; END
write                  CREATE PROCEDURE rt2.pr() LANGUAGE sql AS 'SELECT 1'
write                  ALTER FUNCTION rt2.f() STABLE
write                  CREATE AGGREGATE rt2.agg (int) (SFUNC = int4pl, STYPE = int)
write                  CREATE OPERATOR rt2.%%% (LEFTARG = int, RIGHTARG = int, FUNCTION = int4pl)
write                  CREATE OPERATOR CLASS rt2.oc FOR TYPE int USING btree AS OPERATOR 1 <
write                  CREATE OPERATOR FAMILY rt2.ofam USING btree
write                  ALTER OPERATOR FAMILY rt2.ofam USING btree RENAME TO ofam2
write                  CREATE CAST (rt2.composite AS int) WITHOUT FUNCTION
write                  CREATE COLLATION rt2.coll (LOCALE = 'C')
write                  CREATE CONVERSION rt2.conv FOR 'UTF8' TO 'LATIN1' FROM utf8_to_iso8859_1
write                  CREATE TEXT SEARCH CONFIGURATION rt2.cfg (COPY = simple)
write                  ALTER TEXT SEARCH CONFIGURATION rt2.cfg ADD MAPPING FOR word WITH simple
write                  CREATE TEXT SEARCH DICTIONARY rt2.dict (TEMPLATE = simple)
write                  CREATE STATISTICS rt2.stat ON id, b FROM rt2.a
write                  ALTER STATISTICS rt2.stat SET STATISTICS 10
write                  CREATE TRIGGER tr BEFORE UPDATE ON rt2.a FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()
write                  CREATE EVENT TRIGGER et ON ddl_command_start EXECUTE FUNCTION nothing()
write                  CREATE RULE r AS ON DELETE TO rt2.a DO INSTEAD NOTHING
write                  CREATE POLICY pol ON rt2.a USING (true)
write                  ALTER POLICY pol ON rt2.a USING (false)
write                  CREATE SCHEMA rt3
write                  CREATE SCHEMA IF NOT EXISTS rt3 AUTHORIZATION CURRENT_USER
write                  ALTER SCHEMA rt3 RENAME TO rt4
write                  DROP SCHEMA IF EXISTS rt4 CASCADE
write                  CREATE EXTENSION nothing
write                  ALTER EXTENSION nothing UPDATE
write                  CREATE LANGUAGE nothing
write                  CREATE SERVER nothing FOREIGN DATA WRAPPER nothing
write                  CREATE FOREIGN DATA WRAPPER nothing
write                  CREATE USER MAPPING FOR CURRENT_USER SERVER nothing
write                  IMPORT FOREIGN SCHEMA a FROM SERVER nothing INTO rt2
write                  CREATE PUBLICATION rt_pub
write                  CREATE SUBSCRIPTION rt_sub CONNECTION '' PUBLICATION p WITH (connect = false)
write                  CREATE ACCESS METHOD nothing TYPE INDEX HANDLER nothing
write                  CREATE TRANSFORM FOR int LANGUAGE plpgsql (FROM SQL WITH FUNCTION nothing(internal))
write                  CREATE ROLE app_nothing
write                  ALTER ROLE app_nothing LOGIN
write                  ALTER ROLE no_such SET work_mem = '1MB'
write                  DROP ROLE IF EXISTS app_nothing
write                  GRANT SELECT ON rt2.a TO app
write                  GRANT app TO app
write                  REVOKE SELECT ON rt2.a FROM app
write                  ALTER DEFAULT PRIVILEGES IN SCHEMA rt2 GRANT SELECT ON TABLES TO app
write                  REASSIGN OWNED BY no_such TO app
write                  DROP OWNED BY no_such
write                  CREATE DATABASE app
write                  ALTER DATABASE no_such SET work_mem = '1MB'
write                  DROP DATABASE IF EXISTS no_such_database
write                  CREATE TABLESPACE nothing LOCATION '/nonexistent'
write                  DROP TABLESPACE IF EXISTS nothing
write                  ALTER SYSTEM SET work_mem = '4MB'
write                  ALTER TABLE rt2.a ADD COLUMN c int, ALTER COLUMN b SET DEFAULT 1
write                  ALTER TABLE rt2.a ENABLE ROW LEVEL SECURITY
write                  ALTER INDEX rt2.no_such RENAME TO x
write                  ALTER VIEW rt2.view_1 RENAME TO view_3
write                  ALTER LARGE OBJECT 0 OWNER TO app
write                  COMMENT ON TABLE rt2.a IS 'x'
write                  SECURITY LABEL ON TABLE rt2.a IS 'x'
write                  DROP VIEW IF EXISTS rt2.view_3, rt2.view_2
write                  DROP FUNCTION rt2.f(), rt2.g()
write                  CREATE TABLE rt2.c (id int); TRUNCATE rt2.c; DROP TABLE rt2.c
write                  DROP TABLE rt2.b
session_control        DISCARD PLANS
session_control        DISCARD SEQUENCES
"""


def rows(text):
    """One statement a line; a pilcrow stands for a line break."""
    return [line.replace("¶", "\n") for line in text.strip().split("\n")]


def marked(statement, marker):
    """The marker in a place where it is read with the statement, and keeps hints at their end."""
    if "unterminated" in statement:
        return f"{statement} {marker}"
    if "pgsteer:" in statement and statement.rstrip().endswith("*/"):
        return f"/* {marker} */ {statement}"
    return f"{statement} /* {marker} */"


def reads():
    """[(reason, statement)]"""
    return [(next((why for start, why in OTHER_REASONS.items() if statement.startswith(start)), "fresh_replica"),
             statement) for statement in rows(REPLICA)]


def others():
    return [(row.split()[0], row[len(row.split()[0]):].lstrip(" ")) for row in rows(PRIMARY)]


class Runner:
    """Runs statements in a session and keeps what pgsteer says of each of them."""

    def __init__(self, session):
        self._session = session
        self._notices = []
        session.add_notice_handler(lambda diagnostic: self._notices.append(diagnostic.message_primary or ""))
        session.execute("SET pgsteer.explain = on")

    def run(self, expected):
        """[(marker, statement, reason, reason given)]; each has run, or failed."""
        done = []
        for reason, statement in expected:
            marker, given = self._run_one(statement)
            deadline = time.monotonic() + 60
            # The session's own DDL: what follows waits for a look at the catalog.
            while given == "catalog_unknown" and reason != given and time.monotonic() < deadline:
                time.sleep(0.02)
                marker, given = self._run_one(statement)
            done.append((marker, statement, reason, given))
        return done

    def _run_one(self, statement):
        marker = new_marker()
        self._notices.clear()
        session = self._session
        try:
            cursor = session.cursor()
            if statement.startswith("COPY") and "STDOUT" in statement:
                with cursor.copy(marked(statement, marker)) as copy:
                    for _ in copy:
                        pass
            else:
                cursor.execute(marked(statement, marker), prepare=False)
        except psycopg.Error:
            assert not session.closed, statement
            given = self._reason()
            if session.info.transaction_status != psycopg.pq.TransactionStatus.IDLE:
                session.rollback()
            return marker, given
        return marker, self._reason()

    def _reason(self):
        told = [notice.split("reason ")[1] for notice in self._notices
                if notice.startswith("pgsteer: ") and "reason " in notice]
        return told[0].split()[0].rstrip(",;") if told else None


def wrong_ones(cluster, done, servers):
    logs = {server.name: server.log() for server in cluster.servers}
    wrong = []
    for marker, statement, reason, given in done:
        where = {name for name, log in logs.items() if marker in log}
        if not where or not where <= servers or reason != given:
            wrong.append((statement, where, f"reason {given}, not {reason}"))
    return wrong


@pytest.fixture(scope="module", autouse=True)
def objects(cluster):
    cluster.primary.sql(SETUP)
    cluster.wait_until_replayed()
    yield
    cluster.primary.sql("DROP SCHEMA rt, rt2 CASCADE; DROP PUBLICATION IF EXISTS rt_pub; "
                        "DROP FOREIGN DATA WRAPPER rt_dummy CASCADE")


@pytest.fixture(scope="module")
def told(cluster, leases, objects):  # pylint: disable=unused-argument,redefined-outer-name
    """A pgsteer that starts after the objects were made, so that it knows them from the beginning."""
    from support.proxy import Pgsteer  # pylint: disable=import-outside-toplevel
    proxy = Pgsteer(cluster, {}, leases)
    yield proxy
    proxy.stop()


def test_the_table_is_large_enough():
    statements = [statement for _, statement in reads() + others()]
    assert len(statements) >= 250
    assert len(set(statements)) == len(statements)


@pytest.mark.core
def test_every_read_runs_on_a_replica(told, cluster):
    with connect(told) as session:
        done = Runner(session).run(reads())
    wrong = wrong_ones(cluster, done, {"replica1", "replica2"})
    print(f"{len(done)} reads, {len(done) - len(wrong)} on replicas alone, with the right reason")
    assert not wrong


@pytest.mark.core
def test_everything_else_runs_on_the_primary_alone(told, cluster):
    with connect(told) as session:
        done = Runner(session).run(others())
    wrong = wrong_ones(cluster, done, {"primary"})
    print(f"{len(done)} statements, {len(done) - len(wrong)} on the primary alone, with the right reason")
    assert not wrong
