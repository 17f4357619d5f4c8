"""A cancel holds for whatever pgsteer makes of the request that it was meant for, and hits nothing else."""

import socket
import time

import pytest

from support import raw, wire_client
from support.cluster import new_marker
from support.waiting import until

pytestmark = pytest.mark.core

LONG = 120  # seconds: nothing here waits for it to end


def log_in(proxy, **options):
    return wire_client.log_in(proxy.host, proxy.port, "app", "app", "app", **options)


def cancel(proxy, session):
    """As libpq does: until the other side has closed."""
    with socket.create_connection((proxy.host, proxy.port), 20) as sender:
        sender.sendall(raw.cancel_request(*session.key))
        sender.recv(1)


def running(server, marker):
    return server.value("SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE %s "
                        "AND pid <> pg_backend_pid()", f"%{marker}%") > 0


def query(session, sql):
    session.send(raw.query(sql))
    return session.read_until_ready()


@pytest.fixture
def behind(make_proxy, hurt):
    """A session whose next read finds both replicas behind its last write, and asks one of them before it believes that."""
    proxy = make_proxy()
    hurt.primary.sql("CREATE TABLE cancelled (n int); ALTER TABLE cancelled OWNER TO app")
    hurt.wait_until_replayed()
    with log_in(proxy) as session:
        query(session, "SELECT 1")
        for replica in hurt.replicas:
            replica.pause_replay()
        yield proxy, session
    for replica in hurt.replicas:
        replica.resume_replay()
    hurt.primary.sql("DROP TABLE cancelled")


def is_asked_in_vain(proxy, session, read):
    """Writes, then sends `read`: True if a replica was asked, and was found behind."""
    def behind_so_far():
        return proxy.metric("pgsteer_verifications_total", result="behind")
    before = behind_so_far()
    query(session, "INSERT INTO cancelled VALUES (1)")
    session.send(read)
    end = time.monotonic() + 0.5
    while time.monotonic() < end:
        if behind_so_far() > before:
            return True
        time.sleep(0.01)
    return False


@pytest.mark.parametrize("protocol", ["simple", "extended"])
def test_a_read_whose_replica_was_asked_in_vain(behind, hurt, protocol):
    """What the replica began in vain is ended by pgsteer: the read runs on the primary, where the client's cancel ends it."""
    proxy, session = behind
    asked = False
    for _ in range(20):
        marker = new_marker()
        sql = f"SELECT pg_sleep({LONG}) /* {marker} */"
        parts = raw.query(sql) if protocol == "simple" else b"".join(
            [raw.parse("", sql), raw.bind("", ""), raw.execute(""), raw.SYNC])
        asked = is_asked_in_vain(proxy, session, parts)
        until(lambda: running(hurt.primary, marker), "it runs on the primary", 30)
        assert not any(running(replica, marker) for replica in hurt.replicas)
        cancel(proxy, session)
        messages = session.read_until_ready()
        assert raw.sqlstates(messages) == ["57014"]
        assert not running(hurt.primary, marker)
        if asked:
            break
    assert asked
    assert raw.rows(query(session, "SELECT 7")) == [[b"7"]]


def test_a_cancel_while_it_runs_in_vain(behind, hurt):
    """Sent before pgsteer knows: whichever run it meets, the answer is that of a cancelled statement, and comes at once."""
    proxy, session = behind
    for delay in [0, 0.001, 0.003, 0.006, 0.02]:
        query(session, "INSERT INTO cancelled VALUES (1)")
        marker = new_marker()
        session.send(raw.query(f"SELECT pg_sleep({LONG}) /* {marker} */"))
        time.sleep(delay)
        until(lambda: any(running(server, marker) for server in [hurt.primary, *hurt.replicas]), "it runs somewhere", 30)
        cancel(proxy, session)
        assert raw.sqlstates(session.read_until_ready()) == ["57014"]
        until(lambda: not any(running(server, marker) for server in [hurt.primary, *hurt.replicas]), "it runs nowhere")
        assert raw.rows(query(session, "SELECT 7")) == [[b"7"]]


def test_while_the_read_waits_for_a_fresh_replica(behind):
    proxy, session = behind
    query(session, "SET pgsteer.freshness_wait = '60s'")
    query(session, "INSERT INTO cancelled VALUES (1)")
    session.send(raw.query("SELECT 5 /* waits */"))
    time.sleep(0.3)  # it waits by now
    cancel(proxy, session)
    assert raw.sqlstates(session.read_until_ready()) == ["57014"]
    query(session, "SET pgsteer.freshness_wait = '0s'")
    assert raw.rows(query(session, "SELECT 7")) == [[b"7"]]


def test_it_hits_nothing_that_comes_later(make_proxy, hurt):
    """A cancel on its way is waited for before the connection is used again."""
    proxy = make_proxy()
    with log_in(proxy) as session:
        for number in range(30):
            session.send(raw.query("SELECT pg_sleep(0.002)"))
            cancel(proxy, session)
            first = session.read_until_ready()
            assert raw.sqlstates(first) in ([], ["57014"])
            for _ in range(3):
                messages = query(session, f"SELECT {number}, pg_sleep(0.001)")
                assert raw.sqlstates(messages) == [], messages


def test_it_does_not_meet_what_pgsteer_sends_in_front(make_proxy, hurt):
    """BEGIN, settings, prepared statements: all are there when the statement that was cancelled is over."""
    proxy = make_proxy()
    hurt.primary.sql("CREATE TABLE in_front (n int); ALTER TABLE in_front OWNER TO app")
    hurt.wait_until_replayed()
    try:
        for _ in range(8):
            with log_in(proxy) as session:
                query(session, "SET work_mem = '7MB'")
                query(session, "SELECT 1")
                query(session, "BEGIN")
                session.send(raw.query("INSERT INTO in_front SELECT 1 FROM pg_sleep(0.02)"))
                cancel(proxy, session)
                messages = session.read_until_ready()
                cancelled = raw.sqlstates(messages) == ["57014"]
                assert messages[-1] == ("Z", b"E" if cancelled else b"T"), messages
                assert raw.rows(query(session, "ROLLBACK")) == []
                assert raw.rows(query(session, "SHOW work_mem")) == [[b"7MB"]]
                assert raw.rows(query(session, "SELECT count(*) FROM in_front")) == [[b"0"]]
    finally:
        hurt.primary.sql("DROP TABLE in_front")
