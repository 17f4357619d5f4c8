"""Replication connections, which pass unread: they are cancelled, told apart and closed as on a server."""

import contextlib
import subprocess
import threading

import psycopg
import pytest
from psycopg import pq

from support import raw
from support import session as sessions
from support.cluster import Cluster
from support.proxy import Pgsteer
from support.waiting import SLOWDOWN, until


def dsn(target, user="repl", **options):
    return sessions.dsn(target, user=user, **options)


def replication_dsn(target):
    return dsn(target, replication="database")


def simple_query(session, sql):
    """The error's SQLSTATE or None. Connections for replication know no extended protocol."""
    sqlstate = session.pgconn.exec_(sql.encode()).error_field(pq.DiagnosticField.SQLSTATE)
    return sqlstate and sqlstate.decode()


@pytest.mark.core
@pytest.mark.parametrize("through", ["direct", "pgsteer"])
def test_a_cancel_reaches_it(cluster, proxy, through):
    answers = []
    target = cluster.primary if through == "direct" else proxy
    with psycopg.connect(replication_dsn(target), autocommit=True) as session:
        working = threading.Thread(target=lambda: answers.append(simple_query(session, "SELECT pg_sleep(600)")))
        working.start()
        until(lambda: cluster.primary.value("SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND "
                                            "query LIKE 'SELECT pg_sleep(600)%'") == 1, "it runs")
        session.cancel()
        working.join(60 * SLOWDOWN)
        assert answers == ["57014"]
        assert simple_query(session, "SELECT 7") is None


def test_process_ids_are_unlike_those_of_another_pgsteer(cluster, leases):
    """pg_basebackup names its temporary slot after the process id that it was told."""
    with contextlib.ExitStack() as stack:
        proxies = [stack.enter_context(Pgsteer(cluster, leases=leases)) for _ in range(2)]
        sessions = [stack.enter_context(psycopg.connect(dsn(proxy, "app"))) for _ in range(20) for proxy in proxies]
        ids = [session.info.backend_pid for session in sessions]
        assert len(set(ids)) == len(ids)
        assert all(0 < number < 2**31 for number in ids)
        assert max(ids) > 1_000_000, "not counted from 1"


def test_it_leaves_a_superseded_primary(leases, tmp_path):
    """The former primary is still up and takes writes: only pgsteer can keep them from it."""
    with Cluster(replicas=2, leases=leases) as servers, Pgsteer(servers, leases=leases) as proxy:
        former, successor = servers.primary, servers.replicas[0]
        former.sql("CREATE TABLE kept (id int); ALTER TABLE kept OWNER TO repl")
        servers.wait_until_replayed()
        folder = tmp_path / "wal"
        folder.mkdir()
        with raw.log_in(replication_dsn(proxy)) as session, subprocess.Popen(
                [f"{servers.env['BINDIR']}/pg_receivewal", "-D", str(folder), "-d",
                 f"host={proxy.host} port={proxy.port} user=repl password=repl"], stderr=subprocess.PIPE) as receiver:
            try:
                until(lambda: _receivers(former) == 1, "WAL is received from the primary")
                session.send(raw.query("INSERT INTO kept VALUES (1)"))
                assert raw.sqlstates(session.read_until_ready()) == []
                until(lambda: successor.value("SELECT count(*) FROM kept") == 1, "the successor has it")
                successor.promote()
                until(lambda: proxy.status()["primary"] == successor.name, "the new primary is known", 30)
                until(lambda: _receivers(former) == 0, "WAL is not received from the former one", 30)
                until(lambda: _receivers(successor) == 1, "but from the new one", 30)
                assert raw.sqlstates(session.read_to_end()) == ["57P01"]
                assert former.value("SELECT count(*) FROM kept") == 1
            finally:
                receiver.terminate()
                receiver.communicate(timeout=30 * SLOWDOWN)
        with raw.log_in(replication_dsn(proxy)) as session:
            session.send(raw.query("INSERT INTO kept VALUES (2)"))
            assert raw.sqlstates(session.read_until_ready()) == []
        assert successor.value("SELECT array_agg(id ORDER BY id) FROM kept") == [1, 2]
        proxy.check_health()


def _receivers(server):
    return server.value("SELECT count(*) FROM pg_stat_replication WHERE application_name = 'pg_receivewal'")
