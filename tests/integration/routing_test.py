"""Where single statements run, as the servers saw it. (The full table is a unit test of classify.)"""

import psycopg
import pytest

from support.cluster import new_marker


@pytest.fixture(scope="module", autouse=True)
def objects(cluster):
    cluster.primary.sql("""
        CREATE TABLE routed (n int PRIMARY KEY, body text);
        INSERT INTO routed VALUES (1, 'one');
        CREATE SEQUENCE routed_s;
        CREATE FUNCTION routed_f() RETURNS int LANGUAGE sql AS 'SELECT 1';
        CREATE PROCEDURE routed_p() LANGUAGE sql AS 'SELECT 1';
        ALTER TABLE routed OWNER TO app;
        ALTER SEQUENCE routed_s OWNER TO app;
    """)
    cluster.wait_until_replayed()
    yield
    cluster.primary.sql("DROP TABLE routed; DROP SEQUENCE routed_s; DROP FUNCTION routed_f;"
                        "DROP PROCEDURE routed_p")


def where_it_runs(target, statement, dsn=None):
    marker = new_marker()
    with psycopg.connect(dsn or target.dsn(), autocommit=True) as session:
        session.execute(f"{statement} /* {marker} */")
        if not target.direct:
            print(session.execute("SHOW pgsteer.last_route").fetchone()[0])  # why, if it is the wrong place
    return set(target.cluster.where_ran(marker))


@pytest.mark.core
@pytest.mark.parametrize("statement", [
    "SELECT last_value FROM routed_s", "SELECT nextval('routed_s')", "SELECT pg_current_wal_lsn()",
    "SELECT * FROM routed FOR UPDATE", "SELECT * FROM routed FOR KEY SHARE",
    "SELECT * FROM pg_stat_activity", "SELECT pg_backend_pid()", "SELECT pg_is_in_recovery()",
    "WITH w AS (INSERT INTO routed VALUES (5) ON CONFLICT DO NOTHING RETURNING n) SELECT * FROM w",
    "SHOW work_mem", "EXPLAIN ANALYZE UPDATE routed SET body = 'two'",
    "SELECT pg_advisory_xact_lock(1)", "SELECT txid_current()",
    "SELECT * INTO TEMP routed_copy FROM routed", "CREATE TEMP TABLE routed_t AS TABLE routed",
    "CALL routed_p()", "DO $$ BEGIN NULL; END $$", "SELECT routed_f()",
    "SELECT 1; SELECT routed_f()", "SELECT n FROM routed WHERE routed_f() = 1",
    "SELECT (SELECT count(routed_f()) FROM routed)", "VACUUM routed", "ANALYZE routed",
    "DISCARD PLANS", "SELECT pg_notify('c', 'x')", "TRUNCATE routed_none", "PREPARE p AS SELECT 1",
    "COPY routed TO PROGRAM 'true'"])
def test_what_a_replica_could_not_do_runs_on_the_primary_alone(target, statement):
    if statement == "TRUNCATE routed_none":
        statement = "CREATE TABLE routed_none (n int); TRUNCATE routed_none; DROP TABLE routed_none"
    if "PROGRAM" in statement:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            where_it_runs(target, statement)
        return
    assert where_it_runs(target, statement) == {"primary"}


@pytest.mark.core
@pytest.mark.parametrize("statement", [
    "SELECT 1", "SELECT body FROM routed WHERE n = 1", "TABLE routed", "VALUES (1), (2)",
    "WITH w AS (SELECT * FROM routed) SELECT count(*) FROM w", "EXPLAIN SELECT * FROM routed",
    "EXPLAIN ANALYZE SELECT * FROM routed", "SELECT now(), current_user, version()",
    "SELECT lower(body) || 'x', n + 1 FROM routed ORDER BY 1", "(SELECT 1) UNION ALL (SELECT 2)",
    "SELECT count(*), max(n), string_agg(body, ',') FROM routed GROUP BY n % 2 HAVING count(*) > 0",
    "SELECT * FROM routed r JOIN LATERAL generate_series(1, r.n) g ON true",
    "SELECT row_number() OVER (PARTITION BY n ORDER BY body) FROM routed",
    "SELECT relname FROM pg_class WHERE relname = 'routed'", "SELECT 'x'::text, 1::int8, '{}'::jsonb",
    "SELECT 1; SELECT 2", "SELECT extract(year FROM now()), substring('abc' from 2)",
    "SELECT random(), gen_random_uuid(), clock_timestamp()"])
def test_plain_reads_run_on_a_replica(target, statement):
    if "routed" in statement:
        target.wait_until_known("routed")
    where = where_it_runs(target, statement)
    if not target.direct:
        assert where and "primary" not in where


@pytest.mark.core
@pytest.mark.parametrize("place", ["/* pgsteer: {hint} */ {sql}", "{sql} /* pgsteer: {hint} */"])
@pytest.mark.parametrize("hint", ["primary", "replica"])
def test_hints_at_either_end(target, place, hint):
    marker = new_marker()
    text = place.format(hint=hint, sql=f"SELECT '{marker}'")
    with psycopg.connect(target.dsn(), autocommit=True) as session:
        assert session.execute(text).fetchone() == (marker,)
    where = set(target.cluster.where_ran(marker))
    if hint == "primary":
        assert where == {"primary"}
    elif not target.direct:
        assert where and "primary" not in where


def test_a_replica_hint_on_a_write_still_writes_on_the_primary(target):
    with psycopg.connect(target.dsn(), autocommit=True) as session:
        session.execute("/* pgsteer: replica */ INSERT INTO routed VALUES (50, 'hinted')")
        assert session.execute("SELECT body FROM routed WHERE n = 50").fetchone() == ("hinted",)
        session.execute("DELETE FROM routed WHERE n = 50")


@pytest.mark.parametrize("begin", [
    "BEGIN READ ONLY", "START TRANSACTION READ ONLY", "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY",
    "BEGIN TRANSACTION READ ONLY"])
def test_read_only_transactions_run_on_a_replica(target, begin):
    target.wait_until_known("routed")
    marker = new_marker()
    with psycopg.connect(target.dsn(), autocommit=True) as session:
        session.execute(begin)
        session.execute(f"SELECT body FROM routed /* {marker} */")
        session.execute("COMMIT")
    target.expect_replica(marker)


@pytest.mark.core
@pytest.mark.parametrize("begin", ["BEGIN", "BEGIN READ WRITE", "BEGIN ISOLATION LEVEL SERIALIZABLE",
                                   "BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY DEFERRABLE"])
def test_other_transactions_run_on_the_primary(target, begin):
    target.wait_until_known("routed")
    marker = new_marker()
    with psycopg.connect(target.dsn(), autocommit=True) as session:
        session.execute(begin)
        session.execute(f"SELECT body FROM routed /* {marker} */")
        session.execute("COMMIT")
    target.expect_primary(marker)


@pytest.mark.core
def test_what_fails_on_a_replica_only_is_run_on_the_primary(target, cluster):
    """An unlogged table cannot be read on a standby: the client never learns of it."""
    cluster.primary.sql("CREATE UNLOGGED TABLE unlogged AS SELECT 1 AS n; GRANT SELECT ON unlogged TO app")
    cluster.wait_until_replayed()
    marker = new_marker()
    try:
        with psycopg.connect(target.dsn(), autocommit=True) as session:
            for _ in range(3):
                assert session.execute(f"SELECT n FROM unlogged /* {marker} */").fetchone() == (1,)
        assert cluster.where_ran(marker)["primary"] == 3
    finally:
        cluster.primary.sql("DROP TABLE unlogged")


def test_a_table_that_has_not_arrived_yet_is_found_on_the_primary(target, hurt):
    for replica in hurt.replicas:
        replica.pause_replay()
    hurt.primary.sql("CREATE TABLE not_there_yet AS SELECT 1 AS n; GRANT SELECT ON not_there_yet TO app")
    try:
        with psycopg.connect(target.dsn(), autocommit=True) as session:
            assert session.execute("SELECT n FROM not_there_yet").fetchone() == (1,)
    finally:
        hurt.primary.sql("DROP TABLE not_there_yet")


def test_a_faulty_read_reports_its_error_once(target):
    with psycopg.connect(target.dsn(), autocommit=True) as session:
        for _ in range(5):
            with pytest.raises(psycopg.errors.UndefinedTable) as info:
                session.execute("SELECT * FROM no_such_table")
            assert info.value.diag.statement_position == "15"
        with pytest.raises(psycopg.errors.DivisionByZero):
            session.execute("SELECT 1 / 0")
        assert session.execute("SELECT 1").fetchone() == (1,)
