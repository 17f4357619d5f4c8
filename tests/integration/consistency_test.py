"""Read-your-writes and monotonic reads under level `session`, with one replica two seconds late and
one that stands still for moments."""

import asyncio
import contextlib
import random
import threading
import time

import asyncpg
import psycopg
import pytest

from support.session import connect
from support.waiting import SLOWDOWN, until

SESSIONS = 50
# Between a write and its read: mostly at once; sometimes long enough for a replica to catch up.
PAUSES = [0, 0, 0, 0, 0.001, 0.003, 0.02, 0.05]


@pytest.fixture
def tables(hurt):
    hurt.primary.sql("""
        CREATE TABLE own (session int, n int, PRIMARY KEY (session, n));
        CREATE TABLE shared (id int PRIMARY KEY, n bigint);
        INSERT INTO shared VALUES (1, 0);
        ALTER TABLE own OWNER TO load;
        ALTER TABLE shared OWNER TO load;
    """)
    hurt.wait_until_replayed()
    yield hurt
    hurt.heal()
    hurt.primary.sql("DROP TABLE own, shared")


class Trouble(threading.Thread):
    """Pauses and resumes the replay of one replica until told to stop."""

    def __init__(self, replica):
        super().__init__()
        self._replica = replica
        self._stop_event = threading.Event()

    def run(self):
        while not self._stop_event.wait(random.uniform(0.3, 1)):
            self._replica.pause_replay()
            self._stop_event.wait(random.uniform(0.2, 0.7))
            self._replica.resume_replay()

    def finish(self):
        self._stop_event.set()
        self.join()


class Tally:
    """What all sessions saw together."""

    def __init__(self):
        self.reads = self.stale = self.backwards = self.commit_in_flight = 0
        self.acknowledged = 0  # of the shared counter's values
        self.errors = []


async def one_session(number, target, rounds, tally):
    connection = await asyncpg.connect(host=target.host, port=target.port, user="load",
                                       password="load", database="app", timeout=120 * SLOWDOWN)
    seen = 0
    try:
        for n in range(1, rounds + 1):
            await connection.execute("INSERT INTO own VALUES ($1, $2)", number, n)
            if (pause := random.choice(PAUSES)) > 0:
                await asyncio.sleep(pause)
            newest = await connection.fetchval("SELECT max(n) FROM own WHERE session = $1", number)
            tally.reads += 1
            tally.stale += newest != n
            if n % 3 == 0:
                # A replica may show a commit that is still finishing on the primary, which then does
                # not show it yet: only what was acknowledged before must not be missing.
                acknowledged = tally.acknowledged
                shared = await connection.fetchval("SELECT n FROM shared WHERE id = 1")
                tally.backwards += shared < min(seen, acknowledged)
                tally.commit_in_flight += min(seen, acknowledged) <= shared < seen
                seen = max(seen, shared)
    except Exception as error:  # noqa: BLE001 - counted and reported
        tally.errors.append(f"session {number}: {error!r}")
    finally:
        await connection.close(timeout=10)


async def writer(target, stop, tally):
    """A counter that only grows, from a session of its own."""
    connection = await asyncpg.connect(host=target.host, port=target.port, user="load",
                                       password="load", database="app", timeout=120 * SLOWDOWN)
    while not stop.is_set():
        await connection.execute("UPDATE shared SET n = n + 1 WHERE id = 1")
        tally.acknowledged += 1
        await asyncio.sleep(0.002)
    await connection.close(timeout=10)


async def all_sessions(target, rounds):
    tally, stop = Tally(), asyncio.Event()
    counting = asyncio.create_task(writer(target, stop, tally))
    await asyncio.gather(*(one_session(n, target, rounds, tally) for n in range(SESSIONS)))
    stop.set()
    await counting
    return tally


def scans(server) -> int:
    """How many reads of the test's table this server has executed."""
    server.sql("SELECT pg_stat_clear_snapshot()")
    return server.value("SELECT coalesce(seq_scan, 0) + coalesce(idx_scan, 0) "
                        "FROM pg_stat_user_tables WHERE relname = 'own'") or 0


@pytest.mark.core
def test_no_session_misses_its_own_writes_or_sees_time_go_back(target, tables, full):
    rounds = 1000 if full else 200
    late, halting = tables.replicas
    late.set("recovery_min_apply_delay", "2s")
    trouble = Trouble(halting)
    trouble.start()
    started = time.monotonic()
    try:
        tally = asyncio.run(asyncio.wait_for(all_sessions(target, rounds), 1200 * SLOWDOWN))
    finally:
        trouble.finish()
    time.sleep(1)  # the servers' statistics are reported with a delay
    print(f"{tally.reads} reads after {tally.reads} writes of {SESSIONS} sessions in "
          f"{time.monotonic() - started:.1f} s; stale: {tally.stale}, backwards: {tally.backwards}, "
          f"commit_in_flight: {tally.commit_in_flight}; "
          f"scans: { {server.name: scans(server) for server in tables.servers} }")
    assert not tally.errors, tally.errors[:3]
    assert tally.reads == SESSIONS * rounds
    assert tally.stale == 0
    assert tally.backwards == 0


def test_the_check_can_fail(cluster, make_proxy, tables):
    """With level `eventual` the same reads are stale: the test above is not blind."""
    late, _ = tables.replicas
    proxy = make_proxy({"routing": {"consistency": "eventual"}}, replicas=[late])
    late.set("recovery_min_apply_delay", "2s")
    with connect(proxy, user="load") as connection:
        stale = 0
        for n in range(20):
            connection.execute("INSERT INTO own VALUES (999, %s)", (n,))
            newest = connection.execute("SELECT max(n) FROM own WHERE session = 999").fetchone()[0]
            stale += newest != n
    assert stale > 0


def test_a_session_with_pauses_reads_its_writes_from_a_replica(target, tables):
    """Consistency must not be bought by reading everything from the primary."""
    before = sum(scans(replica) for replica in tables.replicas)
    with contextlib.ExitStack() as stack:
        connection = stack.enter_context(connect(target, user="load"))
        primary, *replicas = [stack.enter_context(server.connect()) for server in [tables.primary, *tables.replicas]]
        for n in range(50):
            connection.execute("INSERT INTO own VALUES (1, %s)", (n,))
            lsn = primary.execute("SELECT pg_current_wal_flush_lsn()::text").fetchone()[0]
            for replica in replicas:
                until(lambda replica=replica, lsn=lsn: replica.execute(
                    "SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn", (lsn,)).fetchone()[0], "it is replayed")
            newest = connection.execute("SELECT max(n) FROM own WHERE session = 1").fetchone()[0]
            assert newest == n
    if not target.direct:
        until(lambda: sum(scans(replica) for replica in tables.replicas) - before >= 10, "10 of 50 ran on a replica")


def test_a_notified_session_sees_what_it_was_told_about(target, tables):
    late, halting = tables.replicas
    late.set("recovery_min_apply_delay", "1s")
    halting.pause_replay()
    dsn = target.dsn(user="load", password="load")
    with psycopg.connect(dsn, autocommit=True) as listener, psycopg.connect(dsn) as sender:
        listener.execute("LISTEN told")
        for n in range(5):
            sender.execute("INSERT INTO own VALUES (2, %s)", (n,))
            sender.execute("SELECT pg_notify('told', %s)", (str(n),))
            sender.commit()
            told = int(next(iter(listener.notifies())).payload)
            assert told == n
            newest = listener.execute("SELECT max(n) FROM own WHERE session = 2").fetchone()[0]
            assert newest >= told
