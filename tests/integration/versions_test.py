"""What differs from one major version of PostgreSQL to the next. Which one runs here, the server is asked.

pgsteer parses with the grammar of 15: what is newer is a syntax error to it, and runs on the primary."""

import psycopg
import pytest

from support.cluster import new_marker
from support.proxy import Pgsteer
from support.session import connect

# Statement, the first version that knows it.
NEWER = [
    ("SELECT 0x1F", 16),
    ("SELECT 1_000 + 0b11 + 0o17", 16),
    ("SELECT JSON_OBJECT('a': n) FROM news", 16),
    ("SELECT '{}' IS JSON OBJECT", 16),
    ("SELECT s.n FROM (SELECT n FROM news)", 16),
    ("SELECT j.n FROM JSON_TABLE('[1, 2]', '$[*]' COLUMNS (n int PATH '$')) AS j", 17),
    ("SELECT JSON_VALUE('{\"a\": 1}', '$.a' RETURNING int)", 17),
    ("SELECT JSON_EXISTS('{\"a\": 1}', '$.a ? (@ > $x)' PASSING 0 AS x)", 17),
    ("SELECT timestamptz '2026-01-01 00:00+00' AT LOCAL", 17),
    ("MERGE INTO news USING (VALUES (1)) v (n) ON news.n = v.n WHEN MATCHED THEN UPDATE SET n = 1 RETURNING v.n", 17),
    ("UPDATE news SET n = n RETURNING WITH (OLD AS o, NEW AS w) o.n, w.n", 18),
]
# These parse as something else under the grammar of 15.
OTHERWISE = [
    ("SELECT JSON_SCALAR(1)", 17),
    ("SELECT JSON_SERIALIZE('{}')", 17),
    ("SELECT JSON_EXISTS(jsonb '{\"a\": 1}', '$.a')", 17),
    ("SELECT JSON_ARRAY(1, 2)", 16),
    ("SELECT any_value(n) FROM news", 16),
    ("SELECT array_length(array_sample(array[1, 2, 3], 2), 1)", 16),
    ("SELECT uuid_extract_version(uuidv7())", 18),
    ("UPDATE news SET n = n RETURNING old.n, new.n", 18),
    ("EXPLAIN (COSTS off, SERIALIZE, ANALYZE, TIMING off, SUMMARY off, BUFFERS off) SELECT 1", 17),
]


@pytest.fixture(scope="module")
def version(cluster):
    return int(cluster.primary.value("SHOW server_version_num")) // 10000


@pytest.fixture
def news(cluster, proxy):
    cluster.primary.sql("CREATE TABLE news (n int); INSERT INTO news VALUES (1); ALTER TABLE news OWNER TO app")
    cluster.wait_until_replayed()
    with connect(proxy) as session:
        yield session
    cluster.primary.sql("DROP TABLE news")


def outcome(session, sql):
    """Rows, or the SQLSTATE."""
    try:
        cursor = session.execute(sql)
        return cursor.fetchall() if cursor.description else cursor.statusmessage
    except psycopg.Error as error:
        return error.sqlstate


def both(cluster, session, sql):
    """What comes through pgsteer, which is what comes without it; and where it ran."""
    marker = new_marker()
    through = outcome(session, f"{sql} /* {marker} */")
    where = set(cluster.where_ran(marker))
    with connect(cluster.primary) as direct:
        assert through == outcome(direct, sql), sql
    return through, where


@pytest.mark.versions
def test_newer_grammar_runs_on_the_primary(news, cluster, version):
    for sql, since in NEWER:
        result, where = both(cluster, news, sql)
        assert where <= {"primary"}, f"{sql} ran on {where}"
        assert version < since or where == {"primary"}, f"{sql}: {result}"
        assert version < since or "syntax_error" in news.execute("SHOW pgsteer.last_route").fetchone()[0], sql
        assert version < since or result != "42601", f"{sql} on {version}"


@pytest.mark.versions
def test_what_15_would_read_otherwise_answers_as_the_server_does(news, cluster, version):
    for sql, since in OTHERWISE:
        result, where = both(cluster, news, sql)
        assert version < since or not isinstance(result, str) or not len(result) == 5, f"{sql}: {result}"
        assert "UPDATE" not in sql or where <= {"primary"}, f"{sql} ran on {where}"


@pytest.mark.versions
def test_all_that_a_login_reports_is_reported(cluster, proxy, version):
    """Their names and values are the server's, whichever it knows: 11 on 13, 15 on 18."""
    def reported(server):
        with connect(server) as session:
            names = ["application_name", "client_encoding", "DateStyle", "default_transaction_read_only",
                     "in_hot_standby", "integer_datetimes", "IntervalStyle", "is_superuser", "scram_iterations",
                     "search_path", "server_encoding", "server_version", "session_authorization",
                     "standard_conforming_strings", "TimeZone"]
            return {name: session.info.parameter_status(name) for name in names}
    through = reported(proxy)
    assert through == reported(cluster.primary)
    assert (through["search_path"] is not None) == (version >= 18)
    assert (through["scram_iterations"] is not None) == (version >= 16)


@pytest.mark.versions
def test_a_search_path_that_the_server_reports_is_told_to_the_client(news, version):
    """18 reports it; and a read behind it goes by it, on whichever connection."""
    news.execute("CREATE SCHEMA newer CREATE TABLE news (n int)")
    try:
        news.execute("SET search_path = newer, public")
        assert news.execute("SELECT n FROM news").fetchall() == []
        assert version < 18 or news.info.parameter_status("search_path") == "newer, public"
        news.execute("RESET search_path")
        assert news.execute("SELECT n FROM news").fetchall() == [(1,)]
        assert version < 18 or news.info.parameter_status("search_path") == '"$user", public'
    finally:
        news.execute("DROP SCHEMA newer CASCADE")


KEPT = """
    CREATE SCHEMA kept; GRANT USAGE ON SCHEMA kept TO app;
    CREATE TABLE kept.changed (id int); GRANT ALL ON kept.changed TO app;
    CREATE FUNCTION kept.style() RETURNS text LANGUAGE sql STABLE AS
        $$ SELECT set_config('DateStyle', 'German', false) $$;
    CREATE FUNCTION kept.outer_style() RETURNS text LANGUAGE sql STABLE AS $$ SELECT kept.style() $$;
    CREATE FUNCTION kept.on_change() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN PERFORM kept.outer_style(); RETURN NULL; END $$;
    CREATE TRIGGER t AFTER INSERT ON kept.changed EXECUTE FUNCTION kept.on_change();
"""
ATOMIC = "CREATE FUNCTION kept.atomic() RETURNS text LANGUAGE sql BEGIN ATOMIC SELECT kept.outer_style(); END"


@pytest.mark.versions
def test_what_functions_keep_is_found_inside_of_others(cluster, leases, version):
    cluster.primary.sql(KEPT)
    if version > 13:
        cluster.primary.sql(ATOMIC)
    cluster.wait_until_replayed()
    try:
        with Pgsteer(cluster, {"workers": 1}, leases=leases) as knowing:
            for sql in ["SELECT kept.outer_style()", "INSERT INTO kept.changed VALUES (1)",
                        *["SELECT kept.atomic()"] * (version > 13)]:
                seen = []
                for server in cluster.primary, knowing:
                    with connect(server) as session:
                        seen.append([outcome(session, sql), outcome(session, "SELECT date '2020-02-01' || ''")])
                assert seen[0] == seen[1], sql
    finally:
        cluster.primary.sql("DROP SCHEMA kept CASCADE")
