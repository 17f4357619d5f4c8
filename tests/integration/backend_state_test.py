"""State that functions set in their server process: it is where the session looks for it, and nobody else gets it."""

import re

import psycopg
import pytest

from support import raw
from support.session import connect, dsn, on_replicas, ran_on
from support.waiting import until

SETUP = """
    CREATE EXTENSION IF NOT EXISTS pg_trgm;
    CREATE EXTENSION IF NOT EXISTS dblink;
    CREATE EXTENSION IF NOT EXISTS isn;
    CREATE EXTENSION IF NOT EXISTS hll;
    CREATE SCHEMA kept; GRANT USAGE ON SCHEMA kept TO app;
    CREATE FUNCTION kept.set_limit(text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT $1';
    CREATE TABLE kept.docs (tenant text, body text);
    INSERT INTO kept.docs VALUES ('a', 'of a'), ('', 'of nobody'), ('b', 'of b');
    CREATE POLICY own ON kept.docs USING (tenant = current_setting('app.tenant', true)
                                          OR current_setting('app.tenant', true) IS NULL);
    ALTER TABLE kept.docs ENABLE ROW LEVEL SECURITY;
    GRANT SELECT ON kept.docs TO app;
    CREATE FUNCTION kept.set_tenant(text) RETURNS text LANGUAGE plpgsql AS
        $$ BEGIN PERFORM set_config('app.tenant', $1, false); RETURN $1; END $$;
    CREATE FUNCTION kept.set_style(text) RETURNS text LANGUAGE sql STABLE AS
        $$ SELECT set_config('DateStyle', $1, false) $$;
    CREATE FUNCTION kept.local_tenant(text) RETURNS text LANGUAGE sql AS
        $$ SELECT set_config('app.tenant', $1, true) $$;
    CREATE FUNCTION kept.seed() RETURNS void LANGUAGE plpgsql AS $$ BEGIN PERFORM setseed(0.5); END $$;
    CREATE PROCEDURE kept.style(text) LANGUAGE plpgsql AS
        $$ BEGIN EXECUTE format('SET DateStyle = %L', $1); END $$;
    CREATE FUNCTION kept.prepares() RETURNS void LANGUAGE plpgsql AS
        $$ BEGIN EXECUTE 'PREPARE of_a_function AS SELECT 42'; END $$;
    CREATE FUNCTION kept.outer_tenant(text) RETURNS text LANGUAGE plpgsql AS
        $$ BEGIN PERFORM kept.set_tenant($1); RETURN $1; END $$;
    CREATE FUNCTION kept.outermost(text, int) RETURNS text LANGUAGE plpgsql AS $$ BEGIN
        IF $2 > 0 THEN RETURN kept.outermost($1, $2 - 1); END IF; RETURN kept.outer_tenant($1); END $$;
    CREATE FUNCTION kept.outermost(text) RETURNS text LANGUAGE sql AS 'SELECT kept.outermost($1, 3)';
    CREATE SCHEMA kept_too; GRANT USAGE ON SCHEMA kept_too TO app;
    CREATE FUNCTION kept_too."Seed twice"() RETURNS void LANGUAGE sql STABLE AS
        'SELECT kept.seed(); SELECT kept.seed()';
    CREATE FUNCTION kept_too.reseed() RETURNS void LANGUAGE sql AS 'SELECT kept_too."Seed twice"()';
    CREATE PROCEDURE kept_too.seeds() LANGUAGE plpgsql AS $$ BEGIN PERFORM kept_too.reseed(); END $$;
    CREATE FUNCTION kept_too.outer_local(text) RETURNS text LANGUAGE sql AS 'SELECT kept.local_tenant($1)';
    CREATE FUNCTION kept.atomic_tenant(text) RETURNS text LANGUAGE sql
        BEGIN ATOMIC SELECT set_config('app.tenant', $1, false); END;
    CREATE FUNCTION kept.atomic_local(text) RETURNS text LANGUAGE sql RETURN set_config('app.tenant', $1, true);
    CREATE FUNCTION kept.atomic_outer() RETURNS void LANGUAGE sql BEGIN ATOMIC SELECT kept_too.reseed(); END;
    CREATE PROCEDURE kept.atomic_procedure() LANGUAGE sql BEGIN ATOMIC SELECT kept_too.reseed(); END;
    CREATE FUNCTION kept.seeding(float8, text) RETURNS float8 LANGUAGE sql STABLE AS
        'SELECT CASE WHEN setseed(0.5) IS NULL THEN $1 ELSE $1 END';
    CREATE AGGREGATE kept.seed_all(text) (sfunc = kept.seeding, stype = float8, initcond = '0');
    CREATE OPERATOR kept.### (leftarg = float8, rightarg = text, function = kept.seeding);
    CREATE FUNCTION kept.on_change() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN PERFORM set_config('app.tenant', 'b', false); RETURN NULL; END $$;
    CREATE FUNCTION kept.on_seed() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN PERFORM kept_too.reseed(); RETURN NULL; END $$;
    CREATE FUNCTION kept.on_plain() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
    CREATE TABLE kept.changed (id int, note text); CREATE TABLE kept.plain (id int);
    CREATE TABLE kept.emptied (id int); CREATE TABLE kept.seeded (id int);
    CREATE TABLE kept.above (id int PRIMARY KEY); INSERT INTO kept.above SELECT generate_series(1, 9);
    CREATE TABLE kept.below (id int REFERENCES kept.above ON DELETE CASCADE);
    INSERT INTO kept.below SELECT generate_series(1, 9);
    CREATE TABLE kept.parts (id int) PARTITION BY LIST (id);
    CREATE TABLE kept.part_1 PARTITION OF kept.parts FOR VALUES IN (1);
    CREATE TABLE kept.ruled (id int); CREATE TABLE kept.defaulted (id int, tenant text DEFAULT kept.outer_tenant('b'));
    CREATE VIEW kept.changed_view AS SELECT id FROM kept.changed;
    CREATE TRIGGER t AFTER INSERT OR UPDATE OR DELETE ON kept.changed EXECUTE FUNCTION kept.on_change();
    CREATE TRIGGER t AFTER TRUNCATE ON kept.emptied EXECUTE FUNCTION kept.on_change();
    CREATE TRIGGER t AFTER INSERT ON kept.seeded FOR EACH ROW EXECUTE FUNCTION kept.on_seed();
    CREATE TRIGGER t AFTER DELETE ON kept.below FOR EACH ROW EXECUTE FUNCTION kept.on_change();
    CREATE TRIGGER t AFTER INSERT ON kept.part_1 FOR EACH ROW EXECUTE FUNCTION kept.on_change();
    CREATE TRIGGER t AFTER INSERT ON kept.plain FOR EACH ROW EXECUTE FUNCTION kept.on_plain();
    CREATE RULE r AS ON INSERT TO kept.ruled DO ALSO SELECT set_config('app.tenant', 'b', false);
    CREATE FUNCTION kept.change() RETURNS void LANGUAGE sql AS 'INSERT INTO kept.changed VALUES (1)';
    GRANT ALL ON ALL TABLES IN SCHEMA kept TO app; REVOKE ALL ON kept.docs FROM app; GRANT SELECT ON kept.docs TO app;
    SELECT pg_replication_origin_create('kept_origin');
    GRANT EXECUTE ON FUNCTION pg_replication_origin_session_setup(text) TO app;
    GRANT EXECUTE ON FUNCTION pg_replication_origin_session_is_setup() TO app;
    GRANT EXECUTE ON FUNCTION dblink_connect_u(text, text) TO app;
"""
TEARDOWN = """
    SELECT pg_replication_origin_drop('kept_origin');
    REVOKE EXECUTE ON FUNCTION pg_replication_origin_session_setup(text) FROM app;
    REVOKE EXECUTE ON FUNCTION pg_replication_origin_session_is_setup() FROM app;
    DROP SCHEMA kept CASCADE; DROP SCHEMA kept_too CASCADE;
    DROP EXTENSION hll; DROP EXTENSION isn; DROP EXTENSION dblink; DROP EXTENSION pg_trgm;
"""


@pytest.fixture(scope="module", autouse=True)
def objects(cluster):
    cluster.primary.sql(SETUP)
    cluster.wait_until_replayed()
    yield
    cluster.primary.sql(TEARDOWN)


@pytest.fixture(scope="module")
def knowing(cluster, leases, objects):
    """A pgsteer that has seen in the catalog what this file has made."""
    from support.proxy import Pgsteer  # pylint: disable=import-outside-toplevel
    with Pgsteer(cluster, {"workers": 1, "pool": {"size": 2}}, leases=leases) as running:
        yield running


def answer(session, sql):
    try:
        cursor = session.execute(sql)
        return cursor.fetchall() if cursor.description else cursor.statusmessage
    except psycopg.Error as error:
        return error.sqlstate


def answers(server, script, **options):
    with connect(server, **options) as session:
        return [answer(session, sql) for sql in script]


SEEN = "SELECT current_setting('app.tenant', true)"
ROWS = "SELECT body FROM kept.docs ORDER BY body"
SCRIPTS = {
    "set_limit": ["SELECT show_limit()", "SELECT set_limit(0.9)", "SELECT show_limit()",
                  "SELECT 'word' % 'words'", "SELECT 'word' % 'word'", "RESET ALL",
                  "SELECT show_limit()", "SELECT 'word' % 'words'"],
    "set_limit_in_a_transaction": ["BEGIN", "SELECT set_limit(0.9)", "ROLLBACK", "SELECT show_limit()"],
    "set_limit_prepared": ["PREPARE p(real) AS SELECT set_limit($1)", "EXECUTE p(0.8)", "SELECT show_limit()"],
    "set_limit_under_a_write": ["SELECT count(*) FROM (SELECT set_limit(0.7) FOR UPDATE) x",
                                "SELECT show_limit()"],
    "hll_set_defaults": ["SELECT hll_set_defaults(15, 5, -1, 0)", "SELECT hll_empty()::text",
                         "SELECT hll_print(hll_add_agg(hll_hash_integer(1)))", "DISCARD ALL",
                         "SELECT hll_empty()::text"],
    "isn_weak": ["SELECT '978-0-11-000533-4'::isbn13", "SELECT isn_weak(true)",
                 "SELECT '978-0-11-000533-4'::isbn13", "SELECT isn_weak()"],
    "setseed": ["SELECT setseed(0.5)", "SELECT random()", "SELECT random()", "DISCARD ALL", "SELECT random()"],
    "setseed_that_fails": ["SELECT setseed(0.5), 1 / (random() * 0)::int", "SELECT random()", "SELECT random()"],
    "setseed_rolled_back": ["BEGIN", "SELECT setseed(0.5)", "ROLLBACK", "SELECT random()", "SELECT random()"],
    "seed_as_a_setting": ["SET seed = 0.25", "SELECT random()", "SELECT random()", "SET SESSION seed TO 0.25",
                          "SELECT random()", "SELECT set_config('seed', '0.25', false)", "SELECT random()"],
    "setseed_prepared": ["PREPARE p(float8) AS SELECT setseed($1)", "EXECUTE p(0.5)", "SELECT random()",
                         "SELECT random()"],
    "setseed_created_table": ["CREATE TEMP TABLE t AS SELECT setseed(0.5)::text AS s", "SELECT random()"],
    "setseed_in_a_block": ["DO $$ BEGIN PERFORM setseed(0.5); END $$", "SELECT random()", "SELECT random()"],
    "setseed_in_a_function": ["SELECT kept.seed()", "SELECT random()", "SELECT random()"],
    "settings_in_a_block": ["DO LANGUAGE plpgsql $$ BEGIN SET DateStyle = 'German'; END $$",
                            "SELECT date '2020-02-01' || ''", "DISCARD ALL", "SELECT date '2020-02-01' || ''"],
    "settings_in_a_function": ["SELECT kept.set_tenant('b')", "SELECT current_setting('app.tenant', true)",
                               "SELECT body FROM kept.docs ORDER BY body"],
    "settings_in_a_stable_function": ["SELECT kept.set_style('German')", "SELECT date '2020-02-01' || ''"],
    "settings_in_a_function_of_a_block": ["DO 'BEGIN PERFORM kept.set_style(''German''); END'",
                                          "SELECT date '2020-02-01' || ''"],
    "settings_in_a_procedure": ["CALL kept.style('German')", "SELECT date '2020-02-01' || ''", "RESET ALL",
                                "SELECT date '2020-02-01' || ''"],
    "prepared_in_a_function": ["SELECT 1", "SELECT kept.prepares()", "EXECUTE of_a_function", "SELECT 1", "SELECT 2",
                               "DEALLOCATE of_a_function", "EXECUTE of_a_function"],
    "large_object": ["BEGIN", "SELECT lo_create(4242)", "SELECT lo_open(4242, 393216)", "SELECT lowrite(0, 'abc')",
                     "SELECT 1", "SELECT lo_lseek(0, 0, 0)", "SELECT loread(0, 10)", "ROLLBACK",
                     "SELECT loread(0, 10)"],
    **{f"settings_in_{name}": [sql, SEEN, ROWS, "RESET ALL", SEEN] for name, sql in {
        "a_function_of_a_function": "SELECT kept.outer_tenant('b')",
        "a_recursive_function": "SELECT kept.outermost('b')",
        "an_atomic_function": "SELECT kept.atomic_tenant('b')",
        "a_trigger": "INSERT INTO kept.changed VALUES (1)",
        "a_trigger_of_an_update": "UPDATE kept.changed SET note = 'x' WHERE id < 0",
        "a_trigger_of_a_delete": "DELETE FROM kept.changed WHERE id < 0",
        "a_trigger_of_a_merge": "MERGE INTO kept.changed c USING (VALUES (-1)) v(id) ON c.id = v.id"
                                " WHEN NOT MATCHED THEN INSERT VALUES (1)",
        "a_trigger_of_truncate": "TRUNCATE kept.plain, kept.emptied",
        "a_trigger_of_a_write_in_with": "WITH w AS (INSERT INTO kept.changed VALUES (1) RETURNING id) SELECT 1 FROM w",
        "a_trigger_of_a_block": "DO $$ BEGIN INSERT INTO kept.changed VALUES (1); END $$",
        "a_trigger_of_a_function": "SELECT kept.change()",
        "a_trigger_below_a_cascade": "DELETE FROM kept.above WHERE id = (SELECT min(id) FROM kept.above)",
        "a_trigger_of_a_partition": "INSERT INTO kept.parts VALUES (1)",
        "a_trigger_below_a_view": "INSERT INTO kept.changed_view VALUES (1)",
        "a_rule": "INSERT INTO kept.ruled VALUES (1)",
        "a_default": "INSERT INTO kept.defaulted VALUES (1)"}.items()},
    **{f"setseed_in_{name}": [sql, "SELECT random()", "/* pgsteer: primary */ SELECT random()"] for name, sql in {
        "functions_of_functions": "SELECT kept_too.reseed()",
        "functions_of_a_procedure": "CALL kept_too.seeds()",
        "functions_of_an_atomic_function": "SELECT kept.atomic_outer()",
        "an_aggregate": "SELECT kept.seed_all('x')",
        "an_operator": "SELECT 1 OPERATOR(kept.###) 'x'",
        "functions_of_a_trigger": "INSERT INTO kept.seeded VALUES (1)"}.items()},
    "setseed_inserted": ["SELECT random() < 2 FROM (VALUES (setseed(0.5)::text)) v", "SELECT random()"],
}


@pytest.mark.core
@pytest.mark.parametrize("name", SCRIPTS)
def test_what_a_function_has_set_is_seen_by_the_reads_behind_it(cluster, knowing, name):
    """Compared with a direct connection; twice, since a connection may be used again."""
    script = SCRIPTS[name]
    direct = answers(cluster.primary, script)
    for _ in range(2):
        assert answers(knowing, script) == direct


def test_only_members_of_an_extension_count(cluster, knowing):
    with connect(knowing, options="-c search_path=kept,public") as session:
        assert session.execute("SELECT kept.set_limit('x')").fetchone() == ("x",)
        until(lambda: on_replicas(ran_on(cluster, session, "SELECT 1")), "reads run on a replica")
        assert "backend_state" not in session.execute("SHOW pgsteer.last_route").fetchone()[0]


def test_the_pin_is_shown_with_the_function_and_ends_where_it_is_undone(cluster, knowing):
    def pins():
        text = knowing.http("/metrics")  # what has not happened yet is not in it
        counts = re.findall(r'^pgsteer_pinned_sessions_total\{pin="backend_state"\} (\d+)', text, re.MULTILINE)
        return sum(map(int, counts))
    before = pins()
    with connect(knowing) as session:
        until(lambda: on_replicas(ran_on(cluster, session, "SELECT 1")), "reads run on a replica")
        session.execute("SELECT set_limit(0.5)")
        assert not on_replicas(ran_on(cluster, session, "SELECT 1"))
        route = session.execute("SHOW pgsteer.last_route").fetchone()[0]
        assert "reason=pinned" in route and "backend_state=set_limit" in route
        session.execute("RESET ALL")
        until(lambda: on_replicas(ran_on(cluster, session, "SELECT 1")), "reads run on a replica again")
        assert "backend_state" not in session.execute("SHOW pgsteer.last_route").fetchone()[0]
        session.execute("SELECT setseed(0.5)")
        session.execute("DISCARD ALL")  # which does not undo it
        assert not on_replicas(ran_on(cluster, session, "SELECT 1"))
    assert pins() == before + 2


def backend(session):
    return session.execute("/* pgsteer: primary */ SELECT pg_backend_pid()").fetchone()[0]


CLEAN = ["INSERT INTO kept.plain VALUES (1)", "SET DateStyle = German", "SELECT set_limit(0.9)",
         "SELECT pg_advisory_lock(1)",
         "CREATE TEMP TABLE t (id int)", "PREPARE p AS SELECT 1", "SET work_mem = '8MB'",
         "SET pgsteer.consistency = 'strict'", "SELECT count(*) FROM pg_class"]
KEPT = {
    "SELECT setseed(0.5)": None,
    "SELECT setseed(0.5), 1 / 0": None,
    "SELECT pg_replication_origin_session_setup('kept_origin')":
        "SELECT pg_replication_origin_session_is_setup()",
    "SELECT dblink_connect_u('c', 'host={host} port={port} dbname=app user=app password=app')":
        "SELECT dblink_get_connections()",
    "SELECT hll_set_defaults(15, 5, -1, 0)": "SELECT hll_print(hll_empty())",
    "SELECT isn_weak(true)": "SELECT isn_weak()",
    "SET app.user = 'x'": "SELECT current_setting('app.user', true)",
    "BEGIN; SET LOCAL app.user = 'x'; COMMIT": "SELECT current_setting('app.user', true)",
    "SELECT set_config('app.user', 'x', true)": "SELECT current_setting('app.user', true)",
    "SELECT set_config('app.user', 'x', false), 1 / 0": "SELECT current_setting('app.user', true)",
    "SELECT kept.seed()": None,
    "DO $$ BEGIN PERFORM setseed(0.5); END $$": None,
    "SELECT kept.set_tenant('x')": "SELECT current_setting('app.tenant', true)",
    "SELECT kept.local_tenant('x')": "SELECT current_setting('app.tenant', true)",
    "SELECT kept.outermost('x', 5)": "SELECT current_setting('app.tenant', true)",
    "SELECT kept_too.outer_local('x')": "SELECT current_setting('app.tenant', true)",
    "SELECT kept.atomic_local('x')": "SELECT current_setting('app.tenant', true)",
    "SELECT kept.atomic_outer()": None,
    "CALL kept.atomic_procedure()": None,
    "INSERT INTO kept.changed VALUES (1)": "SELECT current_setting('app.tenant', true)",
    "CALL kept_too.seeds()": None,
    "RESET app.user": "SELECT current_setting('app.user', true)",
    "LOAD '$libdir/plugins/nosuch'": None,  # app may load from there alone
}


@pytest.fixture(scope="module")
def small(cluster, leases, objects):
    """Whoever comes next gets the connection that the last one had, if it is kept."""
    from support.proxy import Pgsteer  # pylint: disable=import-outside-toplevel
    with Pgsteer(cluster, {"workers": 1, "pool": {"size": 1}}, leases=leases) as running:
        yield running


def gone(cluster, pid):
    return cluster.primary.value("SELECT count(*) FROM pg_stat_activity WHERE pid = %s", pid) == 0


@pytest.mark.core
@pytest.mark.parametrize("sql", KEPT)
def test_nobody_else_gets_a_connection_with_state_that_discard_all_leaves(cluster, small, sql):
    probe = KEPT[sql]
    sql = sql.format(host=cluster.primary.host, port=cluster.primary.port)
    fresh = answers(cluster.primary, [probe])[0] if probe else None
    with connect(small) as first:
        pid = backend(first)
        answer(first, sql)
    with connect(small) as second:
        if probe:
            assert answer(second, f"/* pgsteer: primary */ {probe}") == fresh
            assert answer(second, probe) == fresh
        assert backend(second) != pid
    until(lambda: gone(cluster, pid), "the connection is closed")


@pytest.mark.parametrize("sql", CLEAN)
def test_other_connections_are_given_to_the_next(small, sql):
    with connect(small) as first:
        pid = backend(first)
        answer(first, sql)
    with connect(small) as second:
        assert backend(second) == pid


def test_a_temporary_slot_ends_with_its_session(cluster, small):
    with connect(small, user="repl", password="repl") as first:
        pid = backend(first)
        first.execute("SELECT pg_create_physical_replication_slot('kept_slot', false, true)")
    until(lambda: gone(cluster, pid), "the connection is closed")
    left = "SELECT count(*) FROM pg_replication_slots WHERE slot_name = 'kept_slot'"
    until(lambda: cluster.primary.value(left) == 0, "the slot is gone")


# --- names of custom settings: NULL where they were never used, '' ever after

BOTH = [SEEN, f"/* pgsteer: primary */ {SEEN}", ROWS, f"/* pgsteer: primary */ {ROWS}"]
CUSTOM = {
    "never": [],
    "set_local": ["BEGIN", "SET LOCAL app.tenant = 'a'", *BOTH, "COMMIT"],
    "set_local_rolled_back": ["BEGIN", "SET LOCAL app.tenant = 'a'", SEEN, "ROLLBACK"],
    "set_local_outside": ["SET LOCAL app.tenant = 'a'"],
    "set_local_read_only": ["BEGIN READ ONLY", "SET LOCAL app.tenant = 'a'", SEEN, ROWS, "COMMIT"],
    "set_local_and_savepoint": ["BEGIN", "SAVEPOINT s", "SET LOCAL app.tenant = 'b'", "ROLLBACK TO s", SEEN, "COMMIT"],
    "set_config_local": ["SELECT set_config('app.tenant', 'a', true)"],
    "set_config_local_of_unknown": ["SELECT set_config(n, 'a', true) FROM (VALUES ('app.tenant')) v(n)"],
    "set": ["SET app.tenant = 'a'"],
    "set_rolled_back": ["BEGIN", "SET app.tenant = 'a'", "ROLLBACK"],
    "set_and_reset": ["SET app.tenant = 'a'", SEEN, "RESET app.tenant"],
    "set_and_local": ["SET app.tenant = 'a'", "BEGIN", "SET LOCAL app.tenant = 'b'", "COMMIT"],
    "reset_alone": ["RESET app.tenant"],
    "set_and_reset_all": ["SET App.Tenant = 'a'", "RESET ALL"],
    "set_and_discard_all": ["SET app.tenant = 'a'", SEEN, "DISCARD ALL"],
    "quoted": ['SET "app"."tenant" = \'b\'', SEEN, "RESET ALL"],
}


@pytest.mark.core
@pytest.mark.parametrize("name", CUSTOM)
def test_a_custom_setting_is_known_wherever_its_session_reads(cluster, knowing, name):
    script = [*BOTH, *CUSTOM[name], *BOTH, *BOTH]
    direct = answers(cluster.primary, script)
    for _ in range(2):
        assert answers(knowing, script) == direct


def test_reads_of_custom_settings_still_run_on_replicas(cluster, knowing):
    with connect(knowing) as session:
        session.execute("BEGIN; SET LOCAL app.tenant = 'a'; COMMIT")
        until(lambda: on_replicas(ran_on(cluster, session, SEEN)), "they do")
        assert session.execute(SEEN).fetchone() == ("",)


def test_rows_that_are_copied_in_fire_triggers(cluster, knowing):
    def script(server):
        with connect(server) as session:
            with session.cursor().copy("COPY kept.changed (id) FROM STDIN") as copy:
                copy.write_row((1,))
            return [answer(session, sql) for sql in (SEEN, ROWS)]
    assert script(knowing) == script(cluster.primary)


@pytest.mark.core
def test_a_function_made_later_is_followed_as_well(cluster, knowing):
    """The catalog is loaded again; by then another function on the way has gone."""
    cluster.primary.sql("""
        CREATE FUNCTION kept.gone() RETURNS text LANGUAGE sql AS $$ SELECT kept.outer_tenant('b') $$;
        CREATE FUNCTION kept.made_later() RETURNS text LANGUAGE sql STABLE AS $$ SELECT kept.outer_tenant('b') $$;
        DROP FUNCTION kept.gone();
        GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA kept TO app""")
    cluster.wait_until_replayed()
    def reason():
        with connect(knowing) as session:
            session.execute("SELECT kept.made_later()")
            return session.execute("SHOW pgsteer.last_route").fetchone()[0]
    until(lambda: "reason=backend_state" in reason(), "the catalog knows it")
    assert answers(knowing, ["SELECT kept.made_later()", SEEN]) == answers(
        cluster.primary, ["SELECT kept.made_later()", SEEN])


# --- functions called by their OID

LARGE_OBJECTS = {"lo_open": 952, "lo_close": 953, "loread": 954, "lowrite": 955, "lo_lseek": 956, "lo_creat": 957,
                 "lo_tell": 958, "lo_unlink": 964, "lo_create": 715, "lo_truncate": 1004, "lo_lseek64": 3170,
                 "lo_tell64": 3171, "lo_truncate64": 3172}


def call(oid, *arguments):
    """A FunctionCall message, everything as text."""
    body = oid.to_bytes(4, "big") + b"\0\0" + len(arguments).to_bytes(2, "big")
    for argument in arguments:
        body += len(argument).to_bytes(4, "big") + argument
    return raw.message(b"F", body + b"\0\0")


def test_large_object_functions_have_the_oids_that_are_known(cluster):
    assert LARGE_OBJECTS == cluster.primary.value(
        "SELECT json_object_agg(proname, oid::int) FROM pg_proc WHERE proname = ANY(%s)", list(LARGE_OBJECTS))


CALLS = {"setseed": (call(1599, b"0.5"), "SELECT random()"),
         "set_config": (call(2078, b"app.tenant", b"b", b"false"), ROWS)}


@pytest.mark.core
@pytest.mark.parametrize("name", CALLS)
def test_what_a_function_call_has_set_is_seen_and_given_to_nobody(cluster, small, name):
    message, read = CALLS[name]

    def script(server):
        with raw.log_in(dsn(server)) as session:
            session.send(message)
            called = raw.kinds(session.read_until_ready())
            seen = []
            for _ in range(2):
                session.send(raw.query(read))
                seen.append(raw.rows(session.read_until_ready()))
            return called, seen
    direct = script(cluster.primary)
    with connect(small) as session:
        pid = backend(session)
    assert script(small) == direct
    with connect(small) as session:
        assert backend(session) != pid


def test_a_connection_with_large_objects_is_given_to_the_next(small):
    with connect(small) as session:
        pid = backend(session)
    with raw.log_in(dsn(small)) as session:
        session.send(call(LARGE_OBJECTS["lo_creat"], b"131072"))
        assert raw.kinds(session.read_until_ready()) == "VZ"
    with connect(small) as session:
        assert backend(session) == pid
