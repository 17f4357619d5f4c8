"""The catalog beside DDL of others: read in spite of it, and cheaply without; dropped databases are forgotten."""

import threading

import psycopg
import pytest

from support.cluster import new_marker
from support.session import connect, ran_on
from support.waiting import until


def catalogs(proxy) -> dict:
    return {catalog["database"]: catalog for catalog in proxy.status()["catalogs"]}


def looks(proxy, database, result) -> float:
    return proxy.metric("pgsteer_catalog_loads_total", database=database, result=result)


@pytest.fixture
def database(cluster):
    """The name of one that may be dropped."""
    name = f"db_{new_marker()}"
    cluster.primary.sql(f"CREATE DATABASE {name} OWNER app")
    cluster.wait_until_replayed()
    yield name
    cluster.primary.sql(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


@pytest.fixture
def any_database(make_proxy):
    return make_proxy({"databases": [{"name": "*"}], "routing": {"catalog_interval": "1s"}})


@pytest.mark.core
def test_a_view_that_is_locked_or_dropped_meanwhile_does_not_hold_the_catalog_up(any_database, database, cluster):
    """The server opens what a definition names as it is now: a look that needed all of them failed for as long as one
    of them was locked."""
    proxy = any_database
    cluster.primary.sql("""
        CREATE TABLE base (n int); CREATE TABLE other_base (n int);
        CREATE VIEW locked AS SELECT * FROM base; CREATE VIEW free AS SELECT * FROM other_base;
        GRANT SELECT ON ALL TABLES IN SCHEMA public TO app""", dbname=database)
    cluster.wait_until_replayed()
    with cluster.primary.connect(database) as migration:
        migration.execute("BEGIN; DROP TABLE base CASCADE")
        with connect(proxy, dbname=database) as session:
            until(lambda: catalogs(proxy).get(database, {}).get("loaded"), "the catalog is read beside the open DDL")
            assert catalogs(proxy)[database]["last_error"] == ""

            def is_on_replica():
                session.execute("SELECT * FROM free")
                return "replica" in session.execute("SHOW pgsteer.last_route").fetchone()[0]
            until(is_on_replica, "the view that nobody has locked is read on a replica")
        migration.execute("COMMIT")
    with connect(proxy, dbname=database) as session:
        with pytest.raises(psycopg.errors.UndefinedTable):
            session.execute("SELECT * FROM locked")


def test_frequent_ddl_does_not_keep_an_old_catalog(any_database, database, cluster):
    proxy = any_database
    done = threading.Event()

    def migrate(number):
        with cluster.primary.connect(database) as direct:
            while not done.is_set():
                direct.execute(f"CREATE TABLE t{number} (n int); CREATE VIEW v{number} AS SELECT * FROM t{number}")
                direct.execute(f"DROP TABLE t{number} CASCADE")

    cluster.primary.sql("CREATE TABLE base (n int)", dbname=database)
    for i in range(150):
        cluster.primary.sql(f"CREATE VIEW view{i} AS SELECT n + {i} AS n FROM base", dbname=database)
    threads = [threading.Thread(target=migrate, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    try:
        with connect(proxy, dbname=database):
            until(lambda: catalogs(proxy).get(database, {}).get("loaded"), "the catalog is read")
            until(lambda: looks(proxy, database, "loaded") > 3, "it is read again", 30)
            assert looks(proxy, database, "failed") == 0
    finally:
        done.set()
        for thread in threads:
            thread.join()
    assert "cannot be read" not in proxy.log()


@pytest.mark.core
def test_a_dropped_database_is_forgotten(any_database, database, cluster):
    proxy = any_database
    with connect(proxy, dbname=database) as session:
        session.execute("SELECT 1")
        until(lambda: catalogs(proxy).get(database, {}).get("loaded"), "the catalog is read")
        cluster.primary.sql(f"DROP DATABASE {database} WITH (FORCE)")
        until(lambda: database not in catalogs(proxy), "it is forgotten, although a client is still there")
    assert "cannot be read" not in proxy.log()
    assert f'pgsteer_catalog_bytes{{database="{database}"}}' not in proxy.http("/metrics")


@pytest.mark.core
def test_a_database_that_is_made_again_has_a_new_catalog(any_database, database, cluster):
    proxy = any_database
    cluster.primary.sql("CREATE FUNCTION f() RETURNS int LANGUAGE sql STABLE AS 'SELECT 1'", dbname=database)
    with connect(proxy, dbname=database) as before:
        until(lambda: catalogs(proxy).get(database, {}).get("loaded"), "the catalog is read")
        cluster.primary.sql(f"DROP DATABASE {database} WITH (FORCE)")
        until(lambda: database not in catalogs(proxy), "it is forgotten")
        cluster.primary.sql(f"CREATE DATABASE {database} OWNER app")
        cluster.primary.sql("CREATE FUNCTION f() RETURNS int LANGUAGE plpgsql VOLATILE AS "
                            "'BEGIN CREATE TEMP TABLE w (n int); RETURN 1; END'", dbname=database)
        cluster.wait_until_replayed()
        with connect(proxy, dbname=database) as after:
            until(lambda: catalogs(proxy).get(database, {}).get("loaded"), "the new catalog is read")
            for session in (after, before):
                try:
                    servers = ran_on(cluster, session, "SELECT f()")
                except psycopg.OperationalError:
                    continue  # what the old session had on the server has gone with the database
                assert servers == {"primary"}


def test_what_has_not_changed_is_not_read_again(any_database, database, cluster):
    """One question for all databases, on a connection that stays: nobody logs in for it."""
    proxy = any_database
    cluster.primary.sql("CREATE TABLE base (n int); GRANT SELECT ON base TO app", dbname=database)
    with connect(proxy, dbname=database) as session:
        until(lambda: catalogs(proxy).get(database, {}).get("loaded"), "the catalog is read")
        backend = "SELECT backend_start FROM pg_stat_activity WHERE datname = %s AND application_name = 'pgsteer-catalog'"
        sessions = f"SELECT sessions FROM pg_stat_database WHERE datname = '{database}'"
        until(lambda: looks(proxy, database, "unchanged") > 1, "it was looked at again")

        def nobody_logs_in():  # servers count a session some time after it has begun
            before, count = cluster.primary.value(sessions), looks(proxy, database, "unchanged")
            until(lambda: looks(proxy, database, "unchanged") > count + 3, "it is looked at", 20)
            return cluster.primary.value(sessions) == before
        until(nobody_logs_in, "nobody logs in for it")
        assert cluster.primary.sql(backend, database) == []

        # Any transaction of anybody may have been DDL.
        loaded = looks(proxy, database, "loaded")
        cluster.primary.sql("CREATE SEQUENCE made_later", dbname=database)
        until(lambda: looks(proxy, database, "loaded") > loaded, "the change is seen")
