"""Settings as drivers and tools make them: known on both connections, and no reason to leave the replicas."""

import asyncio

import asyncpg
import pytest

from support import raw
from support.cluster import new_marker
from support.session import connect
from support.waiting import SLOWDOWN, until

STYLE = "SELECT date '2020-02-01' || ''"


def read_on_a_replica(target, session, sql):
    """Its answer where it ran on a replica."""
    shown = []

    def read(marker):
        shown.append(session.execute(f"{sql} /* {marker} */").fetchall())
    target.read_until_on_replica(read)
    return shown[-1]


# What it sets DateStyle to, as far as a driver's reads tell.
KNOWN = {
    # asyncpg, before it asks for a type
    "SELECT current_setting('jit') AS cur, set_config('jit', 'off', false) AS new": "2020-02-01",
    # pgAdmin
    "SELECT set_config('bytea_output', 'hex', false) FROM pg_show_all_settings() WHERE name = 'nosuch'": None,
    "SELECT set_config('bytea_output','hex',false) FROM pg_settings WHERE name = 'bytea_output'": None,
    "SELECT set_config('DateStyle', 'German', false), set_config('bytea_output', 'escape', false)": "01.02.2020",
    "SELECT set_config('DateStyle', 'German'::text, false), 1, 'x'": "01.02.2020",
    "SELECT pg_catalog.set_config('DateStyle', 'German', false), current_setting('server_version')": "01.02.2020",
    "SELECT set_config('DateStyle', 'German'::char(6), false)": "01.02.2020",
    # pg_dump, where an older server may not have the setting
    "SELECT set_config(name, 'German', false) FROM pg_settings WHERE name = 'DateStyle'": "01.02.2020",
    "SELECT set_config(name, 'view', false) FROM pg_settings WHERE name = 'restrict_nonsystem_relation_kind'":
        "2020-02-01",
    "SELECT set_config(name, 'view', false) FROM pg_settings WHERE name = 'nosuch_setting'": "2020-02-01",
    # osm2pgsql
    "UPDATE pg_settings SET setting = 'German' WHERE name = 'DateStyle'": "01.02.2020",
    "UPDATE pg_settings SET setting = 'off' WHERE name = 'jit' AND setting != 'off'": None,
    "UPDATE pg_catalog.pg_settings SET setting = 'off' WHERE name = 'jit'": "2020-02-01",
    # django-pghistory
    "SELECT set_config('pghistory.context_id', 'x', true), set_config('pghistory.context_metadata', '{}', true)":
        "2020-02-01",
}


@pytest.mark.core
@pytest.mark.parametrize("sql", KNOWN)
def test_what_a_driver_sets_is_known_on_both_connections(target, cluster, sql):
    with connect(cluster.primary) as direct:
        expected = direct.execute(sql)
        rows = expected.fetchall() if expected.description else []
        style = direct.execute(STYLE).fetchall()
    with connect(target) as session:
        cursor = session.execute(sql)
        assert (cursor.fetchall() if cursor.description else []) == rows
        assert session.execute(STYLE).fetchall() == style
        if KNOWN[sql]:
            assert style == [(KNOWN[sql],)]
            assert read_on_a_replica(target, session, STYLE) == style
        session.execute("RESET ALL")
        assert session.execute(STYLE).fetchall() == [("2020-02-01",)]


def test_two_values_of_which_the_text_says_nothing_are_in_the_answer(target):
    with connect(target) as session:
        row = session.execute("SELECT set_config('DateStyle', %s, false), 1, set_config('bytea_output', %s, false)",
                              ("German", "escape")).fetchone()
        assert row == ("German, DMY", 1, "escape")
        assert read_on_a_replica(target, session, f"{STYLE}, '\\x00ff'::bytea::text") == [
            ("01.02.2020", "\\000\\377")]


def test_reset_all_ends_what_was_set_to_what_nobody_knows(target):
    with connect(target) as session:
        session.execute("SELECT set_config('DateStyle', x, false) FROM (VALUES ('German')) v(x)")
        assert session.execute(STYLE).fetchone() == ("01.02.2020",)
        session.execute("DISCARD ALL")
        assert read_on_a_replica(target, session, STYLE) == [("2020-02-01",)]


def test_a_setting_in_a_transaction_that_is_rolled_back_is_rolled_back(target):
    with connect(target) as session:
        session.execute("BEGIN")
        session.execute("SELECT current_setting('jit'), set_config('DateStyle', 'German', false)")
        assert session.execute(STYLE).fetchone() == ("01.02.2020",)
        session.execute("ROLLBACK")
        assert session.execute(STYLE).fetchone() == ("2020-02-01",)
        assert read_on_a_replica(target, session, STYLE) == [("2020-02-01",)]


@pytest.mark.core
def test_asyncpg_reads_from_replicas_after_it_has_asked_for_a_type(target, cluster):
    name = f"t_{new_marker()}"
    cluster.primary.sql(f"CREATE TYPE {name} AS (a int, b text); CREATE DOMAIN {name}_d AS int")
    cluster.wait_until_replayed()

    async def body():
        connection = await asyncpg.connect(host=target.host, port=target.port, user="app", password="app",
                                           database="app", timeout=20 * SLOWDOWN)
        try:
            row = await connection.fetchval(f"SELECT ROW(1, 'x')::{name}")
            assert tuple(row) == (1, "x")
            assert await connection.fetchval("SHOW jit") == "on"
            for _ in range(200):
                marker = new_marker()
                await connection.fetchval(f"SELECT 1 /* {marker} */")
                if target.direct or "primary" not in target.cluster.where_ran(marker):
                    return
                await asyncio.sleep(0.02)
            raise AssertionError("reads stay on the primary")
        finally:
            await connection.close(timeout=10)
    try:
        asyncio.run(asyncio.wait_for(body(), 60 * SLOWDOWN))
    finally:
        cluster.primary.sql(f"DROP TYPE {name}; DROP DOMAIN {name}_d")


def test_unicode_is_utf8(target, cluster):
    """The one alias that the server reports as it was spelled; psycopg does not know it, so byte by byte."""
    if target.direct:
        pytest.skip("needs pgsteer")
    with raw.log_in(target.dsn()) as session:
        session.send(raw.query("SET client_encoding TO 'UNICODE'"))
        assert ("S", b"client_encoding\0UNICODE\0") in session.read_until("Z")

        def reads_on_a_replica():
            marker = new_marker()
            session.send(raw.query(f"SELECT 'ü€' /* {marker} */"))
            assert raw.rows(session.read_until_ready()) == [["ü€".encode()]]
            return "primary" not in cluster.where_ran(marker)
        until(reads_on_a_replica, "reads run on a replica")


@pytest.mark.core
@pytest.mark.parametrize("options", [
    r"-c default-transaction-isolation=repeatable\ read",
    r"--default-transaction-isolation=repeatable\ read",
    r"-cDefault_Transaction-Isolation=repeatable\ read",
    r"-ec default_transaction_isolation=repeatable\ read",
])
def test_startup_options_are_read_as_the_server_reads_them(make_proxy, cluster, options):
    """A transaction that is REPEATABLE READ must not go on with another snapshot, on another server."""
    proxy = make_proxy({"routing": {"transactions": "lazy"}})
    cluster.primary.sql("CREATE TABLE snapshots AS SELECT 1 AS n; GRANT ALL ON snapshots TO app")
    cluster.wait_until_replayed()
    try:
        with connect(proxy, options=options) as session:
            def is_known():
                session.execute("SELECT 1 FROM snapshots LIMIT 0")
                return "unknown_relation" not in session.execute("SHOW pgsteer.last_route").fetchone()[0]
            until(is_known, "the table is known")
            session.execute("BEGIN")
            first = session.execute("SELECT n FROM snapshots").fetchone()
            cluster.primary.sql("UPDATE snapshots SET n = n + 1")
            session.execute("CREATE TEMP TABLE t (id int)")
            assert session.execute("SELECT n FROM snapshots").fetchone() == first
            session.execute("COMMIT")
    finally:
        cluster.primary.sql("DROP TABLE snapshots")
