"""Servers that refuse logins: a replica by its pg_hba.conf, all of them by limits of connections. Idle connections
of other clients are never what keeps a client out."""

import contextlib
import os
import threading
import time

import psycopg
import pytest

from support.cluster import new_marker
from support.session import connect, ran_on
from support.waiting import SLOWDOWN, until
from support.wire_client import LoginRefused, log_in

USERS = {"users": [{"name": name, "password": name} for name in
                   ("app", "load", "other", "limited")]}


@pytest.fixture(scope="module", autouse=True)
def _roles(cluster):
    cluster.primary.sql("CREATE ROLE limited LOGIN PASSWORD 'limited'; GRANT ALL ON DATABASE app TO limited; "
                        "GRANT ALL ON SCHEMA public TO limited")
    cluster.wait_until_replayed()
    yield
    cluster.primary.sql("DROP OWNED BY limited; DROP ROLE limited")


@contextlib.contextmanager
def refused_by(server, user):
    """The server's pg_hba.conf rejects the user."""
    path = os.path.join(server.data, "pg_hba.conf")
    with open(path, encoding="utf-8") as file:
        usual = file.read()

    def write(text):
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        server.sql("SELECT pg_reload_conf()")
    write(f"host all {user} 127.0.0.1/32 reject\n{usual}")
    try:
        yield
    finally:
        write(usual)


def refusals(server, user) -> int:
    return server.log().count(f'rejects connection for host "127.0.0.1", user "{user}"')


def rejects(server, user) -> bool:
    """The reload is in force."""
    try:
        log_in(server.host, server.port, user, user, "app").socket.close()
        return False
    except LoginRefused as refused:
        return refused.sqlstate == "28000"


def refused_logins(proxy) -> dict:
    return {server["name"]: server["refused_logins"] for server in proxy.status()["servers"]}


@pytest.mark.core
def test_a_login_that_a_replica_refuses_is_tried_now_and_then(make_proxy, cluster):
    """And not by every read; other users read there, and it takes part again when it lets the user in."""
    proxy = make_proxy({"auth": USERS})
    refusing, other = cluster.replicas
    with refused_by(refusing, "other"):
        until(lambda: rejects(refusing, "other"), "the replica rejects the user")
        cluster.forget_logs()
        started = time.monotonic()

        def is_tried():
            with connect(proxy, user="other") as session:
                for _ in range(30):
                    assert session.execute("SELECT 1").fetchone() == (1,)
            return refusals(refusing, "other") >= 1
        for _ in range(10):
            is_tried()
        until(is_tried, "it was tried")  # not at once while it answers probes less than half as fast as the other
        # Delays double from 200 ms on: no more than this in so many seconds.
        most = 2 + (time.monotonic() - started) / 0.2
        assert refusals(refusing, "other") <= min(most, 15), "tries of 300 reads"

        marker = new_marker()
        with connect(proxy, user="other") as session:
            for _ in range(20):
                session.execute(f"SELECT 1 /* {marker} */")
        assert set(cluster.where_ran(marker)) == {other.name}, "what is left is used"

        status = refused_logins(proxy)
        assert status[other.name] == [] and status["primary"] == []
        [entry] = status[refusing.name]
        assert (entry["database"], entry["user"], entry["sqlstate"]) == ("app", "other", "28000")
        assert 'user "other"' in entry["error"] and entry["since_seconds"] > 0
        assert proxy.metric("pgsteer_server_refused_logins", server=refusing.name) == 1
        assert proxy.metric("pgsteer_server_refused_logins", server=other.name) == 0
        assert proxy.log().count("cannot open a server connection") == 1, "one line for one change of state"

        marker = new_marker()

        def others_read_everywhere():
            with connect(proxy, user="app") as session:
                session.execute(f"SELECT 1 /* {marker} */")
            return set(cluster.where_ran(marker)) == {server.name for server in cluster.replicas}
        until(others_read_everywhere, "other users")

    def reads_there():
        with connect(proxy, user="other") as session:
            return refusing.name in ran_on(cluster, session, "SELECT 1")
    until(reads_there, "the replica has the user's reads again", 30)
    assert refused_logins(proxy)[refusing.name] == []
    until(lambda: proxy.log().count("server connections can be opened again") == 1, "one line", 20)


def test_reads_that_every_replica_refuses_run_on_the_primary(make_proxy, cluster):
    """The sessions that are there already, too: an idle connection is used, nobody waits for a login in vain."""
    proxy = make_proxy({"auth": USERS})
    with contextlib.ExitStack() as stack:
        for replica in cluster.replicas:
            stack.enter_context(refused_by(replica, "other"))
            until(lambda replica=replica: rejects(replica, "other"), f"{replica.name} rejects the user")
        cluster.forget_logs()
        marker = new_marker()
        for _ in range(5):
            with connect(proxy, user="other") as session:
                for _ in range(20):
                    session.execute(f"SELECT 1 /* {marker} */")
        assert cluster.where_ran(marker) == {"primary": 100}
        tries = [refusals(replica, "other") for replica in cluster.replicas]
        assert all(1 <= count <= 15 for count in tries), tries


@pytest.mark.core
def test_what_the_primary_refuses_is_passed_on_each_time(make_proxy, cluster):
    """As direct: the same error while it is refused, a session as soon as it is not."""
    proxy = make_proxy({"auth": USERS})
    def answer(where):
        try:
            log_in(where.host, where.port, "limited", "limited", "app").socket.close()
            return "in"
        except LoginRefused as refused:
            return {name: refused.fields[name] for name in "SVCMR"}
    for statement, sqlstate in (("ALTER ROLE limited NOLOGIN", "28000"), ("ALTER ROLE limited LOGIN", None),
                                ("ALTER ROLE limited CONNECTION LIMIT 0", "53300"),
                                ("ALTER ROLE limited CONNECTION LIMIT -1", None)):
        cluster.primary.sql(statement)
        for _ in range(3):
            told = answer(proxy)
            assert told == answer(cluster.primary)
            assert told == "in" if sqlstate is None else told["C"] == sqlstate
        if sqlstate is None:  # idle connections and what was remembered are out of the way of the next step
            proxy.stop()
            proxy = make_proxy({"auth": USERS})
        else:
            assert proxy.log().count("cannot open a server connection") == 1


# --- limits of connections, and idle ones

DATABASES = [f"visited{number}" for number in range(6)]


@pytest.fixture(scope="module")
def six_databases(cluster):
    for name in DATABASES:
        cluster.primary.sql(f"CREATE DATABASE {name}")
    cluster.wait_until_replayed()
    yield DATABASES
    for name in DATABASES:
        cluster.primary.sql(f"DROP DATABASE {name} WITH (FORCE)")


def visit(where, user, dbname) -> None:
    """One short session that reads and writes, as `psql -c` makes it."""
    with connect(where, user=user, dbname=dbname) as session:
        assert session.execute("SELECT current_database()").fetchone() == (dbname,)
        session.execute("CREATE TEMP TABLE t (i int)")


@pytest.mark.core
@pytest.mark.parametrize("limit", [1, 4])
def test_a_roles_limit_is_not_used_up_by_idle_connections(make_proxy, cluster, six_databases, limit):
    proxy = make_proxy({"auth": USERS, "databases": [{"name": "*"}]})
    cluster.primary.sql(f"ALTER ROLE limited CONNECTION LIMIT {limit}")
    cluster.wait_until_replayed()
    try:
        for dbname in [*six_databases, *six_databases]:
            visit(proxy, "limited", dbname)
        assert proxy.metric("pgsteer_server_connections_made_room_total", server="primary") > 0
    finally:
        cluster.primary.sql("ALTER ROLE limited CONNECTION LIMIT -1")


@pytest.mark.core
def test_at_a_roles_limit_the_longest_idle_connection_of_that_role_gives_way(make_proxy, cluster, six_databases):
    """Not a newer one, nor another role's, and nothing where all are in use: then the error is the server's."""
    proxy = make_proxy({"auth": USERS, "databases": [{"name": "*"}]})
    first, second, third = six_databases[:3]

    def pooled(user):
        return {row[0] for row in cluster.primary.sql(
            "SELECT datname FROM pg_stat_activity WHERE usename = %s AND datname LIKE 'visited%%'", user)}
    visit(proxy, "other", first)
    for dbname in (first, second):
        visit(proxy, "limited", dbname)
        until(lambda: dbname in pooled("limited"), "it is there")
    cluster.primary.sql("ALTER ROLE limited CONNECTION LIMIT 2")
    try:
        visit(proxy, "limited", third)
        assert pooled("limited") == {second, third}
        assert pooled("other") == {first}
        with contextlib.ExitStack() as stack:
            for dbname in (first, second):
                session = stack.enter_context(connect(proxy, user="limited", dbname=dbname))
                session.execute("CREATE TEMP TABLE t (i int)")
            with pytest.raises(LoginRefused) as proxied:
                log_in(proxy.host, proxy.port, "limited", "limited", six_databases[3])
            with pytest.raises(LoginRefused) as direct:
                log_in(cluster.primary.host, cluster.primary.port, "limited", "limited", six_databases[3])
            assert proxied.value.fields == direct.value.fields
            assert proxied.value.sqlstate == "53300"
    finally:
        cluster.primary.sql("ALTER ROLE limited CONNECTION LIMIT -1")


def test_a_databases_limit_is_not_used_up_by_idle_connections(make_proxy, cluster, six_databases):
    proxy = make_proxy({"auth": USERS, "databases": [{"name": "*"}]})
    dbname = six_databases[0]
    visit(proxy, "app", six_databases[1])
    cluster.primary.sql(f"ALTER DATABASE {dbname} CONNECTION LIMIT 2")
    try:
        for user in ("app", "other", "limited", "load") * 2:
            visit(proxy, user, dbname)
        pooled = cluster.primary.value(
            f"SELECT count(*) FROM pg_stat_activity WHERE usename = 'app' AND datname = '{six_databases[1]}'")
        assert pooled == 1, "of another database"
    finally:
        cluster.primary.sql(f"ALTER DATABASE {dbname} CONNECTION LIMIT -1")


def test_many_clients_at_a_limit_get_in_in_turn(make_proxy, cluster, six_databases):
    """On both workers at once: what one of them has idle makes room for the other."""
    proxy = make_proxy({"auth": USERS, "databases": [{"name": "*"}]})
    cluster.primary.sql("ALTER ROLE limited CONNECTION LIMIT 4")
    cluster.wait_until_replayed()
    failures = []

    def visits(number):
        for dbname in six_databases[number:] + six_databases[:number]:
            try:
                visit(proxy, "limited", dbname)
            except psycopg.Error as error:
                failures.append(str(error))
    try:  # as many at a time as the limit allows, less the one that may be on its way out
        threads = [threading.Thread(target=visits, args=(number,)) for number in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60 * SLOWDOWN)
        assert failures == []
    finally:
        cluster.primary.sql("ALTER ROLE limited CONNECTION LIMIT -1")


@pytest.mark.heavy
def test_max_connections_are_not_used_up_by_idle_connections(make_proxy, hurt, six_databases):
    """An exporter that visits every database; the replica and pgsteer's own connections are not harmed."""
    hurt.primary.set("max_connections", "14", reload=False)
    hurt.primary.restart()
    try:
        proxy = make_proxy({"auth": USERS, "databases": [{"name": "*"}]})
        for dbname in [*six_databases, "app"]:
            for user in ("app", "other", "load", "limited"):
                visit(proxy, user, dbname)
        assert set(proxy.states().values()) == {"HEALTHY"}
    finally:
        hurt.primary.sql("ALTER SYSTEM RESET max_connections")
        hurt.primary.restart()
