"""One session's misfortune is nobody else's: for every way in which a connection can end, twenty others work on as if
nothing had happened. No server dies here."""

import asyncio
import itertools
import socket
import struct
import threading
import time
from collections import Counter

import psycopg
import pytest

from support import raw, wire_client
from support.cluster import new_marker
from support.waiting import SLOWDOWN, until

ROUNDS = 4
TABLES = """
    CREATE TABLE bystander (id int PRIMARY KEY, n int NOT NULL DEFAULT 0);
    INSERT INTO bystander SELECT generate_series(0, 19);
    GRANT ALL ON bystander TO other;
"""


class Bystanders:
    """Twenty sessions at work, in a thread of their own. Each request is one `work` function below, again and again."""

    def __init__(self, proxy):
        self._dsn = f"host={proxy.host} port={proxy.port} user=app password=app dbname=app connect_timeout=20"
        self._stop = threading.Event()
        self.done, self.failed, self.longest = Counter(), [], 0.0
        self._thread = threading.Thread(target=lambda: asyncio.run(self._all()))

    def __enter__(self):
        self._thread.start()
        self.go_on()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join(30 * SLOWDOWN)
        assert not self._thread.is_alive(), "a bystander hangs"

    def go_on(self) -> None:
        """Until each has done two more requests: none of them waits for ever."""
        before = self.done.copy()
        until(lambda: self.failed or all(self.done[number] >= before[number] + 2 for number in range(20)),
              "every bystander goes on", 30)

    async def _all(self):
        works = itertools.cycle([read, write, show, listen, transaction, read_only_transaction, prepared_read])
        await asyncio.gather(*(self._one(number, next(works)) for number in range(20)))

    async def _one(self, number, work):
        session = None
        while not self._stop.is_set():
            started = time.monotonic()
            try:
                session = session or await psycopg.AsyncConnection.connect(self._dsn, autocommit=True)
                await work(session, number)
            except (psycopg.Error, OSError, AssertionError) as error:
                self.failed.append(f"{work.__name__}: {getattr(error, 'sqlstate', '')} {error!r}")
                session = None
            self.longest = max(self.longest, time.monotonic() - started)
            self.done[number] += 1
            await asyncio.sleep(0.01)
        if session:
            await session.close()


async def read(session, _):
    assert (await (await session.execute("SELECT count(*) FROM bystander")).fetchone())[0] == 20


async def prepared_read(session, number):
    cursor = await session.execute("SELECT id FROM bystander WHERE id = %s", (number,), prepare=True)
    assert await cursor.fetchone() == (number,)


async def write(session, number):
    cursor = await session.execute("UPDATE bystander SET n = n + 1 WHERE id = %s RETURNING n", (number,))
    written = await cursor.fetchone()
    seen = await (await session.execute("SELECT n FROM bystander WHERE id = %s", (number,))).fetchone()
    assert seen == written


async def show(session, _):
    assert await (await session.execute("SHOW work_mem")).fetchone()


async def listen(session, number):
    await session.execute(f"LISTEN bystander_{number}")
    await session.execute(f"NOTIFY bystander_{number}")


async def transaction(session, number):
    async with session.transaction():
        await session.execute("SELECT n FROM bystander WHERE id = %s", (number,))
        await session.execute("UPDATE bystander SET n = n + 1 WHERE id = %s", (number,))


async def read_only_transaction(session, _):
    await session.execute("BEGIN READ ONLY")
    first = await (await session.execute("SELECT count(*) FROM bystander")).fetchone()
    assert first == await (await session.execute("SELECT count(*) FROM bystander")).fetchone()
    await session.execute("COMMIT")


class Victim:
    """The session to which something happens."""

    opened = []  # what a failed test leaves open would be in the way of the next

    def __init__(self, proxy, cluster, **parameters):
        self._cluster = cluster
        self._name = new_marker()
        self.session = wire_client.log_in(proxy.host, proxy.port, "other", "other", parameters.pop("database", "app"),
                                          application_name=self._name, **parameters)
        Victim.opened.append(self)

    def query(self, text: str) -> list:
        self.session.send(raw.query(text))
        return self.session.read_until_ready()

    def on_both(self):
        """With a connection to the primary, and one to a replica."""
        self.query("SHOW work_mem")
        self.query("SELECT 1")
        return self

    def run(self, text: str, where: str):
        """Begins `text`, and waits until a server of that kind runs it."""
        self.session.send(raw.query(text))
        until(lambda: self.backends(where, "state = 'active'"), f"{text} runs on a {where}")
        return self

    def backends(self, where: str, condition="true") -> list:
        servers = [self._cluster.primary] if where == "primary" else self._cluster.replicas
        rows = [(server, pid) for server in servers for (pid,) in server.sql(
            f"SELECT pid FROM pg_stat_activity WHERE application_name = %s AND {condition}", self._name)]
        return rows

    def terminate_backends(self, where: str) -> None:
        found = until(lambda: self.backends(where), f"a connection to a {where}")
        for server, pid in found:
            server.sql("SELECT pg_terminate_backend(%s)", pid)
        until(lambda: not self.backends(where, f"pid = {found[0][1]}"), "it has ended")

    def reset(self) -> None:
        self.session.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.session.socket.close()

    def close(self) -> None:
        self.session.socket.close()


def client_closes(proxy, cluster):
    Victim(proxy, cluster).on_both().close()


def client_resets(proxy, cluster):
    Victim(proxy, cluster).on_both().reset()


def client_says_terminate(proxy, cluster):
    victim = Victim(proxy, cluster).on_both()
    victim.session.send(raw.message(b"X"))
    assert not victim.session.read_to_end()
    victim.close()


def client_dies_in_a_message(proxy, cluster):
    victim = Victim(proxy, cluster).on_both()
    victim.session.send(raw.query("SELECT 1")[:7])
    victim.reset()


def client_dies_during_a_read(proxy, cluster):
    Victim(proxy, cluster).run("SELECT count(*) FROM generate_series(1, 100000000)", "replica").reset()


def client_dies_during_a_write(proxy, cluster):
    Victim(proxy, cluster).run("WITH w AS (UPDATE bystander SET n = n WHERE id = 1000) SELECT pg_sleep(5)", "primary").reset()


def client_dies_in_a_transaction(proxy, cluster):
    victim = Victim(proxy, cluster)
    victim.query("BEGIN")
    victim.query("INSERT INTO bystander VALUES (100)")
    victim.reset()


def client_dies_in_a_copy(proxy, cluster):
    victim = Victim(proxy, cluster)
    victim.session.send(raw.query("COPY bystander FROM STDIN"))
    victim.session.read_until("G")
    victim.session.send(raw.message(b"d", b"200\t1\n201"))
    victim.reset()


def client_dies_in_a_large_answer(proxy, cluster):
    victim = Victim(proxy, cluster)
    victim.session.send(raw.query("SELECT repeat('x', 1000) FROM generate_series(1, 200000)"))
    victim.session.read_until("D")
    victim.reset()


def client_cancels(proxy, cluster):
    victim = Victim(proxy, cluster).run("SELECT pg_sleep(20) IS NULL", "primary")
    with raw.connect(proxy.host, proxy.port) as second:
        second.send(raw.cancel_request(*victim.session.key))
    assert raw.sqlstates(victim.session.read_until_ready()) == ["57014"]
    victim.close()


def client_cancels_on_a_replica(proxy, cluster):
    victim = Victim(proxy, cluster).run("SELECT count(*) FROM generate_series(1, 1000000000)", "replica")
    with raw.connect(proxy.host, proxy.port) as second:
        second.send(raw.cancel_request(*victim.session.key))
    assert raw.sqlstates(victim.session.read_until_ready()) == ["57014"]
    victim.close()


def client_violates_the_protocol(proxy, cluster):
    victim = Victim(proxy, cluster).on_both()
    victim.session.send(raw.message(b"z"))
    assert raw.sqlstates(victim.session.read_to_end()) == ["08P01"]
    victim.close()


def client_sends_what_is_no_message(proxy, cluster):
    victim = Victim(proxy, cluster).on_both()
    victim.session.send(b"Q\0\0\0\0", b"P\0\0\0\1")
    assert victim.session.read_to_end()
    victim.close()


def login_is_refused(proxy, cluster):
    del cluster
    for user, password, database in (("other", "wrong", "app"), ("nobody", "x", "app"), ("other", "other", "nowhere")):
        with pytest.raises((wire_client.LoginRefused, EOFError)):
            wire_client.log_in(proxy.host, proxy.port, user, password, database)


def login_is_left(proxy, cluster):
    del cluster
    for sent in (b"", b"\0\0\0", raw.startup({"user": "other", "database": "app"}), b"GET / HTTP/1.0\r\n\r\n"):
        with raw.connect(proxy.host, proxy.port) as opened:
            opened.send(sent)


def primary_connection_is_terminated(proxy, cluster):
    victim = Victim(proxy, cluster).on_both()
    victim.terminate_backends("primary")
    victim.close()


def replica_connection_is_terminated(proxy, cluster):
    victim = Victim(proxy, cluster).on_both()
    victim.terminate_backends("replica")
    victim.close()


def both_connections_are_terminated_in_transactions(proxy, cluster):
    victim = Victim(proxy, cluster).on_both()
    victim.query("BEGIN READ ONLY")
    victim.query("SELECT count(*) FROM bystander")
    victim.terminate_backends("replica")
    victim.query("ROLLBACK")
    victim.query("BEGIN")
    victim.query("UPDATE bystander SET n = n WHERE id = 1000")
    victim.terminate_backends("primary")
    victim.close()


def running_write_is_terminated(proxy, cluster):
    victim = Victim(proxy, cluster).run("SELECT pg_sleep(20) IS NULL", "primary")
    victim.terminate_backends("primary")
    assert raw.sqlstates(victim.session.read_to_end("Z"))
    victim.close()


def running_read_is_terminated(proxy, cluster):
    # It runs again on another server: the client does not notice, and leaves it alone. It is ended where it is found: what
    # the others write cancels it too, by recovery conflicts, and once it has come to the primary so, it stays there.
    victim = Victim(proxy, cluster)
    victim.session.send(raw.query("SELECT count(*) FROM generate_series(1, 1000000000)"))
    until(lambda: any(server.value("SELECT pg_terminate_backend(%s)", pid)
                      for server, pid in victim.backends("replica", "state = 'active'")), "it runs on a replica, and is ended")
    victim.reset()


def idle_session_times_out(proxy, cluster):
    victim = Victim(proxy, cluster).on_both()
    victim.session.send(raw.query("SET idle_session_timeout = '20ms'"), raw.query("SELECT 1"))
    until(lambda: not victim.backends("primary"), "the server has ended it")
    victim.close()


def idle_transaction_times_out(proxy, cluster):
    victim = Victim(proxy, cluster)
    victim.session.send(raw.query("SET idle_in_transaction_session_timeout = '20ms'"), raw.query("BEGIN"),
                        raw.query("UPDATE bystander SET n = n WHERE id = 1000"))
    assert "25P03" in raw.sqlstates(victim.session.read_to_end())
    victim.close()


def idle_read_only_transaction_times_out(proxy, cluster):
    victim = Victim(proxy, cluster)
    victim.session.send(raw.query("SET idle_in_transaction_session_timeout = '20ms'"), raw.query("BEGIN READ ONLY"),
                        raw.query("SELECT count(*) FROM bystander"))
    assert "25P03" in raw.sqlstates(victim.session.read_to_end())  # behind all answers, or some on a busy machine
    until(lambda: not victim.backends("replica", "state = 'idle in transaction'"), "the server has ended it")
    victim.close()


def statement_times_out(proxy, cluster):
    victim = Victim(proxy, cluster)
    victim.query("SET statement_timeout = '20ms'")
    assert raw.sqlstates(victim.query("SELECT pg_sleep(20) IS NULL")) == ["57014"]
    assert raw.sqlstates(victim.query("SELECT count(*) FROM generate_series(1, 1000000000)")) == ["57014"]
    victim.close()


def table_is_dropped_under_a_prepared_read(proxy, cluster):
    name = f"dropped_{new_marker()}"
    owner, victim = Victim(proxy, cluster), Victim(proxy, cluster)
    owner.query(f"CREATE TABLE {name} AS SELECT 1 AS a")
    victim.session.send(raw.parse("s1", f"SELECT a FROM {name}"), raw.bind("", "s1"), raw.execute(""), raw.SYNC)
    victim.session.read_until_ready()
    owner.query(f"DROP TABLE {name}")
    for _ in range(3):
        victim.session.send(raw.bind("", "s1"), raw.execute(""), raw.SYNC)
        assert raw.sqlstates(victim.session.read_to_end("Z"))
    owner.close()
    victim.close()


def database_is_dropped(proxy, cluster):
    name = f"doomed_{new_marker()}"
    cluster.primary.sql(f"CREATE DATABASE {name}", dbname="postgres")
    cluster.wait_until_replayed()
    victim = Victim(proxy, cluster, database=name).on_both()
    cluster.primary.sql(f"DROP DATABASE {name} WITH (FORCE)", dbname="postgres")
    until(lambda: not victim.backends("replica"), "the replica has ended it too")
    victim.close()


def read_conflicts_with_recovery(proxy, cluster):
    victim = Victim(proxy, cluster)
    victim.query("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
    victim.query("SELECT count(*) FROM bystander")
    ((replica, pid),) = until(lambda: victim.backends("replica", "state = 'idle in transaction'"), "it is open")
    # What the others have made dead since is removed; the replica waits for max_standby_streaming_delay.
    def is_ended():
        cluster.primary.sql("VACUUM bystander")
        return not replica.value("SELECT count(*) FROM pg_stat_activity WHERE pid = %s AND state = 'idle in transaction'", pid)
    until(is_ended, "it was in the way", 60, 0.2)
    victim.close()


ONCE = (database_is_dropped, read_conflicts_with_recovery)  # they take seconds
FAULTS = (client_closes, client_resets, client_says_terminate, client_dies_in_a_message, client_dies_during_a_read,
          client_dies_during_a_write, client_dies_in_a_transaction, client_dies_in_a_copy, client_dies_in_a_large_answer,
          client_cancels, client_cancels_on_a_replica, client_violates_the_protocol, client_sends_what_is_no_message, login_is_refused,
          login_is_left, primary_connection_is_terminated, replica_connection_is_terminated,
          both_connections_are_terminated_in_transactions, running_write_is_terminated, running_read_is_terminated,
          idle_session_times_out, idle_transaction_times_out, idle_read_only_transaction_times_out, statement_times_out,
          table_is_dropped_under_a_prepared_read, *ONCE)


@pytest.fixture(scope="module")
def crowd(cluster, leases):
    # pylint: disable=import-outside-toplevel
    from support.proxy import Pgsteer
    cluster.primary.sql(TABLES)
    cluster.primary.sql("ALTER TABLE bystander OWNER TO app")
    cluster.wait_until_replayed()
    try:
        with Pgsteer(cluster, {"databases": [{"name": "*"}]}, leases=leases) as proxy, Bystanders(proxy) as bystanders:
            yield proxy, bystanders
    finally:
        cluster.primary.sql("DROP TABLE bystander")


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_nobody_else_notices(crowd, cluster, full, fault, record_property):
    proxy, bystanders = crowd
    bystanders.failed, bystanders.longest = [], 0.0
    before = bystanders.done.total()
    try:
        for _ in range(1 if fault in ONCE else ROUNDS * 5 if full else ROUNDS):
            fault(proxy, cluster)
            bystanders.go_on()
    finally:
        while Victim.opened:
            Victim.opened.pop().close()
    requests = bystanders.done.total() - before
    record_property("longest wait", f"{bystanders.longest:.3f} s")
    print(f"{fault.__name__}: {requests} requests of bystanders, longest {bystanders.longest:.3f} s")
    assert not bystanders.failed, f"{len(bystanders.failed)} of {requests} failed: {bystanders.failed[:5]}"
    assert cluster.primary.value("SELECT count(*) FROM bystander") == 20
