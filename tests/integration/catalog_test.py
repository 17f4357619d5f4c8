"""What a database's own functions, operators, views and tables do to routing, as the servers saw it."""

import subprocess
import time

import psycopg
import pytest

from support.cluster import Cluster, new_marker
from support.proxy import Pgsteer, find_binary
from support.session import connect, on_replicas, ran_on
from support.waiting import SLOWDOWN, until

_SCHEMA = """
    CREATE SCHEMA cat; CREATE SCHEMA cat2; GRANT USAGE ON SCHEMA cat, cat2 TO app, other;
    CREATE TABLE cat.t (id int PRIMARY KEY, body text, owner text);
    INSERT INTO cat.t VALUES (1, 'one', 'app');
    CREATE TABLE cat.written (n int);

    CREATE FUNCTION cat.f_volatile() RETURNS int LANGUAGE plpgsql VOLATILE AS 'BEGIN RETURN 1; END';
    CREATE FUNCTION cat.f_stable() RETURNS int LANGUAGE plpgsql STABLE AS 'BEGIN RETURN 1; END';
    CREATE FUNCTION cat.f_immutable(int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN 1; END';
    CREATE FUNCTION cat.f_mixed(int) RETURNS int LANGUAGE plpgsql STABLE AS 'BEGIN RETURN 1; END';
    CREATE FUNCTION cat.f_mixed(text) RETURNS int LANGUAGE plpgsql VOLATILE AS 'BEGIN RETURN 1; END';
    CREATE FUNCTION cat.get_volatile() RETURNS int LANGUAGE plpgsql VOLATILE AS 'BEGIN RETURN 1; END';
    CREATE FUNCTION cat.f_rows() RETURNS SETOF int LANGUAGE sql STABLE AS 'SELECT 1';
    CREATE FUNCTION cat.lower(int) RETURNS text LANGUAGE plpgsql VOLATILE AS $$BEGIN RETURN 'x'; END$$;
    CREATE FUNCTION cat.upper(int) RETURNS text LANGUAGE plpgsql STABLE AS $$BEGIN RETURN 'x'; END$$;
    CREATE FUNCTION cat.twice() RETURNS int LANGUAGE plpgsql STABLE AS 'BEGIN RETURN 1; END';
    CREATE FUNCTION cat2.twice() RETURNS int LANGUAGE plpgsql VOLATILE AS 'BEGIN RETURN 1; END';

    CREATE FUNCTION cat.add_v(int, int) RETURNS int LANGUAGE plpgsql VOLATILE AS 'BEGIN RETURN $1; END';
    CREATE FUNCTION cat.add_i(int, int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN $1; END';
    CREATE OPERATOR cat.&+& (FUNCTION = cat.add_v, LEFTARG = int, RIGHTARG = int);
    CREATE OPERATOR cat.&-& (FUNCTION = cat.add_i, LEFTARG = int, RIGHTARG = int);
    CREATE AGGREGATE cat.agg_v(int) (SFUNC = cat.add_v, STYPE = int, INITCOND = '0');
    CREATE AGGREGATE cat.agg_i(int) (SFUNC = cat.add_i, STYPE = int, INITCOND = '0');

    CREATE FUNCTION cat.full_v(cat.t) RETURNS text LANGUAGE plpgsql VOLATILE AS 'BEGIN RETURN $1.body; END';
    CREATE FUNCTION cat.full_s(cat.t) RETURNS text LANGUAGE plpgsql STABLE AS 'BEGIN RETURN $1.body; END';

    CREATE TYPE cat.mood AS ENUM ('sad', 'happy');
    CREATE DOMAIN cat.positive AS int CHECK (VALUE > 0);

    CREATE SEQUENCE cat.s;
    CREATE VIEW cat.v_plain AS SELECT id, upper(body) AS body FROM cat.t WHERE id < 100;
    CREATE VIEW cat.v_volatile AS SELECT id, cat.f_volatile() AS v FROM cat.t;
    CREATE VIEW cat.v_on_v AS SELECT * FROM cat.v_volatile;
    CREATE VIEW cat.v_on_v_on_v AS SELECT count(*) FROM cat.v_on_v x JOIN cat.v_plain y USING (id);
    CREATE VIEW cat.v_stable AS SELECT cat.f_stable() AS v, cat.f_immutable(1) AS i, 1 OPERATOR(cat.&-&) 2 AS o;
    CREATE VIEW cat.v_nextval AS SELECT nextval('cat.s') AS n;
    CREATE VIEW cat.v_sequence AS SELECT * FROM cat.s;
    CREATE VIEW cat.v_operator AS SELECT 1 OPERATOR(cat.&+&) 2 AS o;
    CREATE VIEW cat.v_local AS SELECT pg_backend_pid() AS pid;
    CREATE MATERIALIZED VIEW cat.m_volatile AS SELECT cat.f_volatile() AS v;

    CREATE UNLOGGED TABLE cat.u (n int);
    CREATE VIEW cat.v_unlogged AS SELECT * FROM cat.u;
    CREATE TABLE cat.p (n int) PARTITION BY RANGE (n);
    CREATE TABLE cat.p1 PARTITION OF cat.p FOR VALUES FROM (1) TO (10);
    CREATE TABLE cat.q (n int) PARTITION BY RANGE (n);
    CREATE UNLOGGED TABLE cat.q1 PARTITION OF cat.q FOR VALUES FROM (1) TO (10);
    CREATE FOREIGN DATA WRAPPER cat_dummy;
    CREATE SERVER cat_server FOREIGN DATA WRAPPER cat_dummy;
    CREATE FOREIGN TABLE cat.ft (n int) SERVER cat_server;

    CREATE TABLE cat.rls_v (n int, owner text); ALTER TABLE cat.rls_v ENABLE ROW LEVEL SECURITY;
    CREATE POLICY p ON cat.rls_v FOR SELECT USING (cat.f_volatile() = 1);
    CREATE TABLE cat.rls_s (n int, owner text); ALTER TABLE cat.rls_s ENABLE ROW LEVEL SECURITY;
    CREATE POLICY p ON cat.rls_s USING (owner = current_user AND cat.f_stable() = 1);
    CREATE TABLE cat.rls_write (n int); ALTER TABLE cat.rls_write ENABLE ROW LEVEL SECURITY;
    CREATE POLICY p ON cat.rls_write FOR UPDATE USING (cat.f_volatile() = 1);
    CREATE POLICY r ON cat.rls_write FOR SELECT USING (true);
    CREATE TABLE cat.rls_view (n int); ALTER TABLE cat.rls_view ENABLE ROW LEVEL SECURITY;
    CREATE POLICY p ON cat.rls_view USING (EXISTS (SELECT 1 FROM cat.v_volatile WHERE id = n));

    GRANT SELECT ON ALL TABLES IN SCHEMA cat TO app, other;
    GRANT ALL ON SEQUENCE cat.s TO app;
    CREATE SCHEMA mine AUTHORIZATION app;
"""


@pytest.fixture(scope="module", autouse=True)
def objects(cluster):
    cluster.primary.sql(_SCHEMA)
    cluster.wait_until_replayed()
    yield
    for statement in ("DROP SCHEMA IF EXISTS cat, cat2, mine CASCADE", "DROP SERVER IF EXISTS cat_server",
                      "DROP FOREIGN DATA WRAPPER IF EXISTS cat_dummy"):
        cluster.primary.sql(statement)
    cluster.wait_until_replayed()


@pytest.fixture(scope="module")
def catalog_proxy(cluster, leases, objects):
    """Started after the objects were made: it knows them all."""
    with Pgsteer(cluster, leases=leases) as running:
        until(lambda: catalog_of(running)["loaded"], "the catalog is loaded")
        yield running


def catalog_of(proxy, database="app"):
    return next((c for c in proxy.status()["catalogs"] if c["database"] == database), {"loaded": False})


def reaches_a_replica(cluster, session, statement):
    """A read behind an answer of the primary waits there until a replica has caught up."""
    until(lambda: on_replicas(ran_on(cluster, session, statement)), f"on a replica: {statement}", 5)


_READS = [
    "SELECT * FROM cat.t", "SELECT cat.f_stable()", "SELECT cat.f_immutable(1)",
    "SELECT * FROM cat.f_rows()", "SELECT body FROM cat.t WHERE cat.f_stable() = id",
    "SELECT cat.upper(1)", "SELECT 1 OPERATOR(cat.&-&) 2", "SELECT cat.agg_i(id) FROM cat.t",
    "SELECT cat.full_s(t) FROM cat.t", "SELECT t.body FROM cat.t", "SELECT 'happy'::cat.mood", "SELECT 1::cat.positive",
    "SELECT NULL::cat.t", "SELECT * FROM cat.v_plain", "SELECT * FROM cat.v_stable",
    "SELECT * FROM cat.m_volatile", "SELECT * FROM cat.p", "SELECT * FROM cat.p1",
    "SELECT * FROM cat.rls_s", "SELECT * FROM cat.rls_write", "SELECT cat.twice()",
    "EXPLAIN SELECT cat.f_stable()", "COPY (SELECT cat.f_stable()) TO STDOUT",
    "SELECT table_name FROM information_schema.tables LIMIT 1",
]
_PRIMARY = [
    "SELECT cat.f_volatile()", "SELECT cat.f_mixed(1)", "SELECT cat.f_mixed('x'::text)",
    "SELECT cat.get_volatile()", "SELECT 1 FROM cat.t WHERE cat.f_volatile() = 1",
    "SELECT cat.lower(1)", "SELECT 1 OPERATOR(cat.&+&) 2", "SELECT cat.agg_v(id) FROM cat.t",
    "SELECT cat.full_v(t) FROM cat.t", "SELECT * FROM cat.v_volatile", "SELECT * FROM cat.v_on_v",
    "SELECT * FROM cat.v_on_v_on_v", "SELECT * FROM cat.v_nextval", "SELECT * FROM cat.v_sequence",
    "SELECT * FROM cat.v_operator", "SELECT * FROM cat.v_local", "SELECT * FROM cat.s",
    "TABLE cat.s", "SELECT * FROM cat.u", "SELECT * FROM cat.v_unlogged", "SELECT * FROM cat.q",
    "SELECT * FROM cat.rls_v", "SELECT * FROM cat.rls_view", "SELECT cat2.twice()",
    "WITH t AS (SELECT 1) SELECT * FROM t, cat.u", "COPY cat.v_volatile TO STDOUT",
    "SELECT (SELECT cat.f_volatile())", "SELECT cat.f_stable(), cat.f_volatile()",
]


@pytest.mark.core
@pytest.mark.parametrize("statement", _READS)
def test_what_is_harmless_runs_on_a_replica(catalog_proxy, cluster, statement):
    with connect(catalog_proxy) as session:
        if statement.startswith("COPY"):
            marker = new_marker()
            with session.cursor().copy(f"{statement} /* {marker} */") as copy:
                list(copy)
            assert on_replicas(cluster.where_ran(marker))
        else:
            assert on_replicas(ran_on(cluster, session, statement))


@pytest.mark.core
@pytest.mark.parametrize("statement", _PRIMARY)
def test_what_may_write_or_is_not_on_replicas_runs_on_the_primary(catalog_proxy, cluster, statement):
    if statement.startswith("COPY"):
        statement = "SELECT * FROM cat.v_volatile"
    with connect(catalog_proxy) as session:
        assert ran_on(cluster, session, statement) == {"primary"}


def test_a_foreign_table_is_read_from_the_primary(catalog_proxy, cluster):
    with connect(catalog_proxy) as session:
        marker = new_marker()
        with pytest.raises(psycopg.Error):
            session.execute(f"SELECT * FROM cat.ft /* {marker} */")
    assert set(cluster.where_ran(marker)) == {"primary"}


@pytest.mark.core
@pytest.mark.parametrize("field", ["t.full_", "(t).full_", "(t.*).full_", "cat.t.full_"])
def test_a_field_may_be_a_function_of_the_row(catalog_proxy, cluster, field):
    with connect(catalog_proxy) as session:
        session.execute("SET search_path TO cat")
        assert on_replicas(ran_on(cluster, session, f"SELECT {field}s FROM cat.t"))
        assert ran_on(cluster, session, f"SELECT {field}v FROM cat.t") == {"primary"}


@pytest.mark.core
def test_prepared_statements_are_judged_too(catalog_proxy, cluster):
    with connect(catalog_proxy) as session:
        marker = new_marker()
        for _ in range(3):
            session.execute(f"SELECT cat.f_immutable(%s) /* {marker} */", (1,), prepare=True)
        assert on_replicas(cluster.where_ran(marker))
        marker = new_marker()
        for _ in range(3):
            session.execute(f"SELECT cat.f_volatile() + %s /* {marker} */", (1,), prepare=True)
        assert set(cluster.where_ran(marker)) == {"primary"}


@pytest.mark.core
def test_search_path_says_which_function_is_meant(catalog_proxy, cluster):
    with connect(catalog_proxy) as session:
        session.execute("SET search_path TO cat")
        assert on_replicas(ran_on(cluster, session, "SELECT twice()"))
        assert on_replicas(ran_on(cluster, session, "SELECT upper('x')"))
        assert ran_on(cluster, session, "SELECT f_volatile()") == {"primary"}
        assert ran_on(cluster, session, "SELECT lower('X')") == {"primary"}  # cat.lower(int) is VOLATILE
        assert ran_on(cluster, session, "SELECT * FROM v_on_v") == {"primary"}
        session.execute("SET search_path TO cat2, cat")
        assert ran_on(cluster, session, "SELECT twice()") == {"primary"}
        session.execute("SET search_path TO public")
        reaches_a_replica(cluster, session, "SELECT lower('X')")
        session.execute("SELECT set_config('search_path', 'cat', false)")
        reaches_a_replica(cluster, session, "SELECT upper('X')")
        assert ran_on(cluster, session, "SELECT lower('X')") == {"primary"}
        session.execute("RESET search_path")
        reaches_a_replica(cluster, session, "SELECT lower('X')")
        session.execute("SET search_path TO DEFAULT")  # not known: any schema
        reaches_a_replica(cluster, session, "SELECT upper('X')")
        assert ran_on(cluster, session, "SELECT lower('X')") == {"primary"}


def test_a_rolled_back_search_path_counts_for_nothing(catalog_proxy, cluster):
    with connect(catalog_proxy) as session:
        session.execute("BEGIN")
        session.execute("SET search_path TO cat")
        session.execute("ROLLBACK")
        reaches_a_replica(cluster, session, "SELECT lower('X')")
        session.execute("BEGIN")
        session.execute("SET search_path TO cat")
        session.execute("COMMIT")
        reaches_a_replica(cluster, session, "SELECT upper('X')")
        assert ran_on(cluster, session, "SELECT lower('X')") == {"primary"}


@pytest.mark.parametrize("options", [{"options": "-c search_path=cat"}, {"options": "--search-path=cat"}])
def test_search_path_of_the_startup_packet(catalog_proxy, cluster, options):
    with connect(catalog_proxy, **options) as session:
        assert on_replicas(ran_on(cluster, session, "SELECT twice()"))
        assert ran_on(cluster, session, "SELECT lower('X')") == {"primary"}


def test_search_path_of_the_role(make_proxy, cluster):
    cluster.primary.sql("ALTER ROLE other IN DATABASE app SET search_path = cat2; "
                        "GRANT USAGE ON SCHEMA cat2 TO other")
    try:
        proxy = make_proxy()
        until(lambda: catalog_of(proxy)["loaded"], "the catalog is loaded")
        with connect(proxy, user="other") as session:
            assert on_replicas(ran_on(cluster, session, "SELECT lower('X')"))
            assert ran_on(cluster, session, "SELECT twice()") == {"primary"}
    finally:
        cluster.primary.sql("ALTER ROLE other IN DATABASE app RESET search_path")


def test_a_default_of_serializable_means_the_primary(make_proxy, cluster):
    cluster.primary.sql("ALTER ROLE other SET default_transaction_isolation = 'serializable'")
    cluster.wait_until_replayed()
    try:
        proxy = make_proxy()
        until(lambda: catalog_of(proxy)["loaded"], "the catalog is loaded")
        with connect(proxy, user="other") as session:
            assert ran_on(cluster, session, "SELECT 1") == {"primary"}
        with connect(proxy) as session:
            assert on_replicas(ran_on(cluster, session, "SELECT 1"))
    finally:
        cluster.primary.sql("ALTER ROLE other RESET default_transaction_isolation")


def test_overrides_of_the_configuration(make_proxy, cluster):
    proxy = make_proxy({"routing": {"read_only_functions": ["cat.get_*", "cat.f_mixed"],
                                    "primary_functions": ["cat.f_stable", "pg_catalog.version"]}})
    until(lambda: catalog_of(proxy)["loaded"], "the catalog is loaded")
    with connect(proxy) as session:
        assert on_replicas(ran_on(cluster, session, "SELECT cat.get_volatile()"))
        assert on_replicas(ran_on(cluster, session, "SELECT cat.f_mixed(1)"))
        assert ran_on(cluster, session, "SELECT cat.f_stable()") == {"primary"}
        assert ran_on(cluster, session, "SELECT * FROM cat.v_stable") == {"primary"}
        assert ran_on(cluster, session, "SELECT version()") == {"primary"}
        assert ran_on(cluster, session, "SELECT cat.f_volatile()") == {"primary"}


@pytest.mark.core
def test_ddl_is_known_at_once_to_its_session_and_soon_to_others(catalog_proxy, cluster):
    def replaced(session, volatility):
        session.execute("CREATE OR REPLACE FUNCTION mine.changing() RETURNS int LANGUAGE plpgsql "
                        f"{volatility} AS 'BEGIN RETURN 1; END'")

    def soon(session, expected):
        until(lambda: on_replicas(ran_on(cluster, session, "SELECT mine.changing()")) == expected,
              "the other session knows", 5)

    with connect(catalog_proxy) as session, \
            connect(catalog_proxy) as other:
        replaced(session, "STABLE")
        soon(session, True)
        soon(other, True)
        replaced(session, "VOLATILE")
        assert ran_on(cluster, session, "SELECT mine.changing()") == {"primary"}
        soon(other, False)
        with session.transaction():
            replaced(session, "STABLE")
        soon(other, True)
        session.execute("DROP FUNCTION mine.changing()")
        epoch = catalog_of(catalog_proxy)["epoch"]
        # What changes nothing that is known is no new catalog.
        session.execute("CREATE TABLE mine.x (n int)")
        session.execute("CREATE INDEX ON mine.x (n)")
        session.execute("COMMENT ON TABLE mine.x IS 'x'")
        session.execute("DROP TABLE mine.x")
        time.sleep(0.3)  # for looks that should not be
        assert catalog_of(catalog_proxy)["epoch"] <= epoch + 3


def test_ddl_in_a_pipeline_is_not_overtaken(catalog_proxy, cluster):
    marker = new_marker()
    with connect(catalog_proxy) as session:
        session.execute("CREATE FUNCTION mine.raced() RETURNS int LANGUAGE plpgsql STABLE AS 'BEGIN RETURN 1; END'")
        until(lambda: on_replicas(ran_on(cluster, session, "SELECT mine.raced()")), "a replica has it", 5)
        with session.pipeline() as pipeline:
            session.execute("CREATE OR REPLACE FUNCTION mine.raced() RETURNS int LANGUAGE plpgsql VOLATILE "
                            "AS 'BEGIN INSERT INTO mine.log VALUES (1); RETURN 1; END'; ")
            pipeline.sync()
            cursor = session.execute(f"SELECT 1 FROM pg_proc WHERE false AND mine.raced() = 1 /* {marker} */")
            cursor.fetchall()
        assert set(cluster.where_ran(marker)) == {"primary"}
        session.execute("DROP FUNCTION mine.raced()")


def test_changes_past_pgsteer_are_found_by_time(make_proxy, cluster):
    proxy = make_proxy({"routing": {"catalog_interval": "1s"}})
    until(lambda: catalog_of(proxy)["loaded"], "the catalog is loaded")
    create = "CREATE OR REPLACE FUNCTION cat.behind() RETURNS int LANGUAGE plpgsql {} AS 'BEGIN RETURN 1; END'"
    with connect(proxy) as session:
        cluster.primary.sql(create.format("STABLE"))
        assert ran_on(cluster, session, "SELECT cat.behind()") == {"primary"}  # not known yet
        until(lambda: on_replicas(ran_on(cluster, session, "SELECT cat.behind()")), "it is known", 10)
        cluster.primary.sql(create.format("VOLATILE"))
        until(lambda: ran_on(cluster, session, "SELECT cat.behind()") == {"primary"}, "it is known", 10)
    cluster.primary.sql("DROP FUNCTION cat.behind()")


@pytest.mark.parametrize("create, on_replicas_at_last", [
    ("TABLE cat.{} (last int)", True),
    ("VIEW cat.{} AS SELECT 1", True),
    ("SEQUENCE cat.{}", False),
    ("UNLOGGED TABLE cat.{} (n int)", False)])
def test_a_relation_made_past_pgsteer_is_read_on_the_primary_until_it_is_known(
        catalog_proxy, cluster, create, on_replicas_at_last):
    """The interval is a minute: it is the read that makes pgsteer look. (A look that is under way may have seen it.)"""
    with connect(catalog_proxy) as session:
        def young_relation():
            name = f"young_{new_marker()}"
            cluster.primary.sql(f"CREATE {create.format(name)}; GRANT SELECT ON cat.{name} TO app")
            cluster.wait_until_replayed()
            place = ran_on(cluster, session, f"SELECT * FROM cat.{name}")
            if last_route(session)["reason"] != "unknown_relation":
                return None
            assert place == {"primary"}
            return name
        read = f"SELECT * FROM cat.{until(young_relation, 'one is not known at first', 20)}"

        def is_known():
            session.execute(read)
            return last_route(session)["reason"] != "unknown_relation"
        until(is_known, "it is known", 5)
        if on_replicas_at_last:  # once one of them is known to show what the session saw on the primary
            until(lambda: on_replicas(ran_on(cluster, session, read)), "a replica has it", 5)
        else:
            assert ran_on(cluster, session, read) == {"primary"}


def test_a_with_query_is_no_unknown_relation(catalog_proxy, cluster):
    with connect(catalog_proxy) as session:
        assert on_replicas(ran_on(cluster, session, "WITH unheard AS (SELECT 1) SELECT * FROM unheard"))


def last_route(session):
    route = session.execute("SHOW pgsteer.last_route").fetchone()[0]
    return dict(part.split("=", 1) for part in route.split() if "=" in part)


def test_the_safety_net_makes_it_look_again(catalog_proxy, cluster):
    cluster.primary.sql("CREATE FUNCTION cat.liar() RETURNS int LANGUAGE plpgsql STABLE AS 'BEGIN RETURN 1; END'")
    cluster.wait_until_replayed()
    with connect(catalog_proxy) as session:
        session.execute("CREATE TABLE mine.y (n int)")  # makes it look
        session.execute("DROP TABLE mine.y")
        until(lambda: on_replicas(ran_on(cluster, session, "SELECT cat.liar()")), "it is known", 5)
        cluster.primary.sql("CREATE OR REPLACE FUNCTION cat.liar() RETURNS int LANGUAGE plpgsql VOLATILE AS "
                            "'BEGIN INSERT INTO cat.written VALUES (1); RETURN 1; END'; "
                            "GRANT INSERT ON cat.written TO app")
        cluster.wait_until_replayed()
        assert session.execute("SELECT cat.liar()").fetchone() == (1,)  # run again, unnoticed
        until(lambda: ran_on(cluster, session, "SELECT cat.liar()") == {"primary"}, "it is known", 5)
    cluster.primary.sql("DROP FUNCTION cat.liar()")


_EVERYWHERE = {
    "cast": ("CREATE TYPE cat.c AS (n int); "
             "CREATE FUNCTION cat.to_c(int) RETURNS cat.c LANGUAGE plpgsql VOLATILE AS 'BEGIN RETURN NULL; END'; "
             "CREATE CAST (int AS cat.c) WITH FUNCTION cat.to_c(int) AS ASSIGNMENT",
             "DROP TYPE cat.c CASCADE"),
    "domain": ("CREATE DOMAIN cat.checked AS int CHECK (cat.f_volatile() = 1)", "DROP DOMAIN cat.checked"),
}


@pytest.mark.parametrize("kind", sorted(_EVERYWHERE))
def test_what_is_called_without_a_name_sends_all_reads_to_the_primary(make_proxy, cluster, kind):
    create, drop = _EVERYWHERE[kind]
    proxy = make_proxy({"routing": {"catalog_interval": "1s"}})
    until(lambda: catalog_of(proxy)["loaded"], "the catalog is loaded")
    with connect(proxy) as session:
        assert on_replicas(ran_on(cluster, session, "SELECT body FROM cat.t"))
        cluster.primary.sql(create)
        try:
            until(lambda: ran_on(cluster, session, "SELECT body FROM cat.t") == {"primary"}, "known", 10)
            assert kind in catalog_of(proxy)["all_reads_on_primary_because_of"]
        finally:
            cluster.primary.sql(drop)
        until(lambda: on_replicas(ran_on(cluster, session, "SELECT body FROM cat.t")), "known again", 10)


def test_without_a_catalog_reads_run_on_the_primary(make_proxy, cluster):
    """The health user may not connect to the database: its catalog is never loaded."""
    cluster.primary.sql("CREATE DATABASE closed", dbname="postgres")
    cluster.primary.sql("REVOKE ALL ON DATABASE closed FROM PUBLIC; GRANT CONNECT ON DATABASE closed TO app",
                        dbname="postgres")
    cluster.wait_until_replayed()
    try:
        proxy = make_proxy({"databases": [{"name": "*"}]})
        # The login does not wait for what never comes.
        with connect(proxy, dbname="closed") as session:
            assert ran_on(cluster, session, "SELECT 1") == {"primary"}
            assert "permission denied" in catalog_of(proxy, "closed")["last_error"]
            assert 'reason="catalog_unknown"' in proxy.http("/metrics")
            cluster.primary.sql("GRANT CONNECT ON DATABASE closed TO pgsteer", dbname="postgres")
            until(lambda: on_replicas(ran_on(cluster, session, "SELECT 1")), "the catalog is loaded", 15)
    finally:
        cluster.primary.sql("DROP DATABASE closed WITH (FORCE)", dbname="postgres")


def test_the_first_session_of_a_database_waits_for_its_catalog(make_proxy, cluster):
    """For a second: a slow machine needs several tries."""
    def first_read_is_on_a_replica():
        proxy = make_proxy({"databases": [{"name": "*"}]})
        with connect(proxy) as session:
            return on_replicas(ran_on(cluster, session, "SELECT cat.f_stable()"))
    assert any(first_read_is_on_a_replica() for _ in range(5))


def test_explain_by_the_catalog_of_a_database(catalog_proxy):
    def explain(sql, *options):
        command = [find_binary(), "explain", "--config", catalog_proxy.config_file, *options, sql]
        return subprocess.run(command, capture_output=True, text=True, timeout=60 * SLOWDOWN, check=False)

    told = explain("SELECT * FROM cat.v_on_v", "--database", "app").stdout
    assert "reason:     volatile_function" in told and "cat.v_volatile: cat.f_volatile" in told
    assert "fresh_replica" in explain("SELECT cat.f_stable()", "--database", "app").stdout
    assert "unknown_function" in explain("SELECT f_stable()", "--database", "app", "--user", "app").stdout
    assert "unknown_function" in explain("SELECT cat.f_stable()").stdout
    failed = explain("SELECT 1", "--database", "no_such_database")
    assert failed.returncode == 1 and "no_such_database" in failed.stderr


def test_temporary_tables_hide_real_ones(catalog_proxy, cluster):
    with connect(catalog_proxy) as session:
        session.execute("CREATE TEMP TABLE t (n int)")
        assert ran_on(cluster, session, "SELECT * FROM t") == {"primary"}


def test_another_primary_has_its_catalog_read_anew(leases):
    with Cluster(replicas=1, leases=leases) as servers:
        servers.primary.sql("CREATE FUNCTION f() RETURNS int LANGUAGE plpgsql STABLE AS 'BEGIN RETURN 1; END'")
        servers.wait_until_replayed()
        with Pgsteer(servers, leases=leases) as proxy:
            until(lambda: catalog_of(proxy)["loaded"], "the catalog is loaded")
            epoch = catalog_of(proxy)["epoch"]
            servers.primary.stop("immediate")
            servers.replicas[0].promote()
            until(lambda: proxy.status()["primary"] == "replica1", "the new primary is found", 20)
            until(lambda: catalog_of(proxy)["epoch"] > epoch, "its catalog is read", 10)
            assert catalog_of(proxy)["last_error"] == ""


def test_a_look_that_fails_leaves_what_was_known(make_proxy, cluster):
    """The health user may no longer connect: statements are judged as before."""
    cluster.primary.sql("CREATE DATABASE closing", dbname="postgres")
    cluster.wait_until_replayed()
    try:
        proxy = make_proxy({"databases": [{"name": "*"}], "routing": {"catalog_interval": "1s"}})
        with connect(proxy, dbname="closing") as session:
            until(lambda: catalog_of(proxy, "closing")["loaded"], "the catalog is loaded")
            cluster.primary.sql("REVOKE ALL ON DATABASE closing FROM PUBLIC; "
                                "GRANT CONNECT ON DATABASE closing TO app", dbname="postgres")
            until(lambda: "permission denied" in catalog_of(proxy, "closing")["last_error"], "it fails", 10)
            assert on_replicas(ran_on(cluster, session, "SELECT 1"))
            assert proxy.metric("pgsteer_catalog_loads_total", database="closing", result="failed") > 0
    finally:
        cluster.primary.sql("DROP DATABASE closing WITH (FORCE)", dbname="postgres")
