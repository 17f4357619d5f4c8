"""An open request that has fetched a part of a portal on a replica goes on with it on the primary, or tells that it cannot."""

import socket

import pytest

from support import raw, waiting, wire_client
from support.proxy import Pgsteer

pytestmark = pytest.mark.core

EVENTUAL = "/* pgsteer: consistency=eventual */"
READ = f"SELECT n FROM moved ORDER BY n {EVENTUAL}"
WRITE = (raw.parse("", "UPDATE moved SET n = n"), raw.bind("", ""), raw.execute(""))


@pytest.fixture
def table(cluster):
    cluster.primary.sql("CREATE TABLE moved (n int); INSERT INTO moved VALUES (1), (2), (3), (4);"
                        "CREATE TABLE moved_locked (n int); GRANT ALL ON moved, moved_locked TO app")
    cluster.wait_until_replayed()
    yield
    for replica in cluster.replicas:
        replica.resume_replay()
    cluster.primary.sql("DROP TABLE moved, moved_locked")


@pytest.fixture
def session(cluster, leases, table):
    with Pgsteer(cluster, leases=leases) as proxy:
        with raw.log_in(f"host=127.0.0.1 port={proxy.port} user=app password=app dbname=app", timeout=5.0) as opened:
            yield opened
        proxy.check_health()


def fetched(messages):
    return [value[0] for value in raw.rows(messages)]


def begin(session, sql=READ, portal="c", rows=2):
    session.send(raw.parse("", sql), raw.bind(portal, ""), raw.execute(portal, rows), raw.FLUSH)
    return until(session, "s")


def behind(cluster, sql):
    """The primary has this, and no replica."""
    for replica in cluster.replicas:
        replica.pause_replay()
    cluster.primary.sql(sql)


def until(session, last):
    """The messages up to this one."""
    messages = [session.read()]
    while messages[-1][0] != last:
        assert messages[-1][0] != "E", raw.fields(messages[-1][1])
        messages.append(session.read())
    return messages


def test_what_is_left_of_the_portal_is_the_primarys(cluster, session):
    behind(cluster, "INSERT INTO moved VALUES (5)")
    assert fetched(begin(session)) == [b"1", b"2"]
    session.send(*WRITE, raw.execute("c"), raw.SYNC)
    assert fetched(session.read_until_ready()) == [b"3", b"4", b"5"]


@pytest.mark.parametrize("change", ["INSERT INTO moved VALUES (0)", "DELETE FROM moved WHERE n = 1",
                                    "DELETE FROM moved WHERE n > 1"])
def test_what_was_fetched_has_changed(cluster, session, change):
    behind(cluster, change)
    assert fetched(begin(session)) == [b"1", b"2"]
    session.send(*WRITE, raw.execute("c"), raw.SYNC)
    answer = session.read_until_ready()
    assert raw.sqlstates(answer) == ["40001"] and raw.kinds(answer) == "EZ", answer
    assert answer[-1][1] == b"I"
    session.send(raw.query("SELECT count(*) FROM moved"))
    assert raw.kinds(session.read_until_ready()) == "TDCZ"


def test_nothing_is_written_then(cluster, session):
    behind(cluster, "INSERT INTO moved VALUES (0)")
    begin(session)
    session.send(raw.parse("", "DELETE FROM moved"), raw.bind("", ""), raw.execute(""), raw.FLUSH)
    assert raw.sqlstates(session.read_until("E")) == ["40001"]
    session.send(raw.execute("c"), raw.SYNC)
    assert raw.kinds(session.read_until_ready()) == "Z"
    assert cluster.primary.value("SELECT count(*) FROM moved") == 5


def test_what_is_left_may_be_nothing(cluster, session):
    behind(cluster, "DELETE FROM moved WHERE n > 2")
    assert fetched(begin(session)) == [b"1", b"2"]
    session.send(*WRITE, raw.execute("c"), raw.SYNC)
    answer = session.read_until_ready()
    assert raw.kinds(answer) == "12CCZ" and fetched(answer) == []


def test_what_was_read_to_its_end_may_have_changed(cluster, session):
    behind(cluster, "INSERT INTO moved VALUES (0)")
    session.send(raw.parse("", READ), raw.bind("c", ""), raw.execute("c"), raw.FLUSH)
    assert len(fetched(until(session, "C"))) == 4
    session.send(*WRITE, raw.execute("c"), raw.SYNC)
    answer = session.read_until_ready()
    assert raw.kinds(answer) == "12CCZ" and b"SELECT 0" in answer[-2][1]


@pytest.mark.parametrize("size", [100, 300_000, 1_500_000])
def test_rows_that_come_in_pieces(session, size):
    sql = f"SELECT repeat(n::text, {size}) FROM moved ORDER BY n {EVENTUAL}"
    assert [row[:1] for row in fetched(begin(session, sql))] == [b"1", b"2"]
    session.send(*WRITE, raw.execute("c", 1), raw.SYNC)
    answer = session.read_until_ready()
    assert [row[:1] for row in fetched(answer)] == [b"3"]


def test_several_portals_and_their_order(session):
    session.send(raw.parse("s", f"SELECT n * $1::int FROM moved ORDER BY n {EVENTUAL}"), raw.bind("c", "s", b"1"),
                 raw.bind("d", "s", b"10"), raw.execute("d", 1), raw.execute("c", 3), raw.execute("d", 1), raw.FLUSH)
    messages = [message for _ in range(3) for message in until(session, "s")]
    assert fetched(messages) == [b"10", b"1", b"2", b"3", b"20"]
    session.send(*WRITE, raw.execute("d", 1), raw.execute("c", 1), raw.execute("c"), raw.execute("d"), raw.SYNC)
    assert fetched(session.read_until_ready()) == [b"30", b"4", b"40"]


def test_a_request_that_is_too_long_leaves_them_behind(session):
    begin(session)
    comment = "x" * 60_000
    for _ in range(12):
        session.send(raw.parse("", f"SELECT 1 /* {comment} */ {EVENTUAL}"), raw.bind("", ""), raw.execute(""), raw.FLUSH)
        until(session, "C")
    session.send(*WRITE, raw.execute("c"), raw.SYNC)
    assert raw.sqlstates(session.read_until_ready()) == ["34000"]


def test_what_was_fetched_in_a_run_that_was_lost_does_not_count(cluster, session):
    """The answer of the first replica comes with its last words; another one has the request then."""
    in_line = "FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND usename = 'app'"
    with cluster.primary.connect() as holder:
        holder.autocommit = False
        holder.execute("LOCK TABLE moved_locked IN ACCESS EXCLUSIVE MODE")
        for replica in cluster.replicas:
            waiting.until(lambda server=replica: server.value(
                "SELECT count(*) FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND locktype = 'relation'"),
                "the replica has the lock")
        session.send(raw.parse("", READ), raw.bind("c", ""), raw.execute("c", 2),
                     raw.parse("", f"SELECT count(*) FROM moved_locked {EVENTUAL}"), raw.bind("", ""), raw.execute(""),
                     raw.FLUSH)
        waiting.until(lambda: any(server.value(f"SELECT count(*) {in_line}") for server in cluster.replicas),
                      "a replica has it")
        for replica in cluster.replicas:
            replica.sql(f"SELECT pg_terminate_backend(pid) {in_line}")
        holder.rollback()
    assert fetched(until(session, "C")) == [b"1", b"2", b"0"]
    session.send(raw.execute("c", 1), raw.FLUSH)
    assert fetched(until(session, "s")) == [b"3"]
    session.send(*WRITE, raw.execute("c"), raw.SYNC)
    answer = session.read_until_ready()
    assert fetched(answer) == [b"4"], answer


def test_it_fails_in_a_transaction(cluster, session):
    session.send(raw.query("BEGIN READ ONLY"))
    session.read_until_ready()
    behind(cluster, "INSERT INTO moved VALUES (0)")
    begin(session)
    session.send(*WRITE, raw.execute("c"), raw.SYNC)
    answer = session.read_until_ready()
    assert raw.sqlstates(answer) == ["40001"] and answer[-1][1] == b"E", answer
    session.send(raw.query("SELECT 1"))
    assert raw.sqlstates(session.read_until_ready()) == ["25P02"]
    session.send(raw.query("COMMIT"))
    assert session.read_until_ready() == [("C", b"ROLLBACK\0"), ("Z", b"I")]


def test_what_is_made_again_is_cancelled(cluster, leases, table):
    in_line = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND usename = 'app'"
    with Pgsteer(cluster, leases=leases) as proxy:
        with wire_client.log_in(proxy.host, proxy.port, "app", "app", "app") as session:
            begin(session)
            with cluster.primary.connect() as holder:
                holder.autocommit = False
                holder.execute("LOCK TABLE moved IN ACCESS EXCLUSIVE MODE")
                session.send(*WRITE, raw.execute("c"), raw.SYNC)
                waiting.until(lambda: cluster.primary.value(in_line), "it waits")
                with socket.create_connection((proxy.host, proxy.port), 20) as sender:
                    sender.sendall(raw.cancel_request(*session.key))
                    sender.recv(1)
                session.socket.settimeout(5 * waiting.SLOWDOWN)
                assert raw.sqlstates(session.read_until_ready()) == ["57014"]
                holder.rollback()
            session.send(raw.query("SELECT 1"))
            assert raw.kinds(session.read_until_ready()) == "TDCZ"
