"""While a server is asked for the columns of a statement that its client was told of: what the client cancels, a server that
does not answer, a connection that ends."""

import socket
import time

import pytest

from support import raw, wire_client
from support.proxy import Pgsteer
from support.waiting import SLOWDOWN, until

pytestmark = pytest.mark.core

EVENTUAL = "/* pgsteer: consistency=eventual */"
READ = f"SELECT n FROM looked_at {EVENTUAL}"
IN_LINE = "FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND usename = 'app'"
RUN = (raw.bind("", "s"), raw.execute(""), raw.SYNC)


@pytest.fixture
def table(cluster):
    cluster.primary.sql("CREATE TABLE looked_at (n int); INSERT INTO looked_at VALUES (1); GRANT ALL ON looked_at TO app")
    cluster.wait_until_replayed()
    yield
    cluster.primary.sql("DROP TABLE looked_at")


def log_in(proxy):
    return wire_client.log_in(proxy.host, proxy.port, "app", "app", "app")


def ask(session, *messages):
    session.send(*messages)
    return session.read_until_ready()


def cancel(proxy, session):
    with socket.create_connection((proxy.host, proxy.port), 20) as sender:
        sender.sendall(raw.cancel_request(*session.key))
        sender.recv(1)


def told_on_primary(session):
    """A statement of whose columns the primary has told; a replica lacks it."""
    ask(session, raw.query("BEGIN; UPDATE looked_at SET n = n"))
    ask(session, raw.parse("s", READ), raw.describe("S", "s"), raw.SYNC)
    ask(session, raw.query("COMMIT"))


def waiting(server):
    return server.value(f"SELECT count(*) {IN_LINE}")


class Locked:
    """Nobody reads the table, on any server."""

    def __init__(self, cluster):
        self._cluster = cluster

    def __enter__(self):
        self._holder = self._cluster.primary.connect()
        self._holder.autocommit = False
        self._holder.execute("LOCK TABLE looked_at IN ACCESS EXCLUSIVE MODE")
        self._cluster.primary.sql("SELECT pg_switch_wal()")
        for replica in self._cluster.replicas:
            until(lambda server=replica: server.value(
                "SELECT count(*) FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND locktype = 'relation'") > 0,
                "the replica has the lock")
        return self

    def __exit__(self, *_):
        self._holder.rollback()
        self._holder.close()


def until_one_waits(cluster):
    until(lambda: any(waiting(server) for server in cluster.replicas), "a replica is asked")


@pytest.fixture
def proxy(cluster, leases, table):
    with Pgsteer(cluster, leases=leases) as running:
        yield running
        running.check_health()


def test_what_waits_for_it_is_cancelled(cluster, proxy):
    with log_in(proxy) as session:
        told_on_primary(session)
        with Locked(cluster):
            session.send(*RUN)
            until_one_waits(cluster)
            cancel(proxy, session)
            session.socket.settimeout(5 * SLOWDOWN)
            answer = session.read_until_ready()
            assert raw.sqlstates(answer) == ["57014"]
        assert raw.kinds(ask(session, *RUN)) == "2DCZ"


def test_a_client_that_leaves_leaves_nothing(cluster, proxy):
    with log_in(proxy) as session:
        told_on_primary(session)
        with Locked(cluster):
            session.send(*RUN)
            until_one_waits(cluster)
            session.socket.close()
            until(lambda: not any(waiting(server) for server in cluster.replicas), "nobody waits", 8)


def test_query_timeout_holds(cluster, leases, table):
    servers = [{"name": server.name, "host": server.host, "port": server.port, "query_timeout": "2s"}
               for server in (cluster.primary, *cluster.replicas)]
    with Pgsteer(cluster, {"servers": servers}, leases=leases) as proxy, log_in(proxy) as session:
        told_on_primary(session)
        with Locked(cluster):
            session.send(*RUN)
            until_one_waits(cluster)
            session.socket.settimeout(10 * SLOWDOWN)
            assert raw.sqlstates(session.read_until_ready()) == ["08006"]
        assert raw.kinds(ask(session, *RUN)) == "2DCZ"


def test_the_transaction_is_lost(cluster, proxy):
    with log_in(proxy) as session:
        told_on_primary(session)
        ask(session, raw.query("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"))
        ask(session, raw.query(f"SELECT 1 {EVENTUAL}"))
        with Locked(cluster):
            session.send(*RUN)
            until_one_waits(cluster)
            for server in cluster.replicas:
                server.sql(f"SELECT pg_terminate_backend(pid) {IN_LINE}")
        answer = session.read_until_ready()
        assert raw.sqlstates(answer) == ["08006"] and raw.kinds(answer) == "EZ", answer
        assert answer[-1][1] == b"E"
        assert raw.kinds(ask(session, raw.query("ROLLBACK"))) == "CZ"


@pytest.mark.heavy
def test_a_describe_that_is_skipped_is_forgotten(proxy):
    statement = f"SELECT nosuch FROM looked_at /* {'x' * 20_000} */"
    with log_in(proxy) as session:
        before = None
        for number in range(1000):
            answer = ask(session, raw.parse("", statement), raw.describe("S", ""), raw.SYNC)
            assert raw.sqlstates(answer) == ["42703"]
            if number == 200:
                before = proxy.rss_kib()
        assert proxy.rss_kib() - before < 4096


def test_what_a_commit_waits_for_is_cancelled(cluster, proxy):
    with log_in(proxy) as session:
        ask(session, raw.query("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"))
        ask(session, raw.query(f"SELECT n FROM looked_at {EVENTUAL}"))
        assert raw.kinds(ask(session, raw.query("NOTIFY told"))) == "CZ"
        cluster.primary.hang()
        try:
            session.send(raw.query("COMMIT"))
            time.sleep(0.5)
            cancel(proxy, session)
        finally:
            cluster.primary.resume()
        answer = session.read_until_ready()
        assert raw.kinds(answer) in ("EZ", "CZ"), answer  # it may come too late, or find no connection yet
        ask(session, raw.query("ROLLBACK"))
        assert raw.kinds(ask(session, raw.query("SELECT 1"))) == "TDCZ"
