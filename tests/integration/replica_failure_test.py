"""A replica that is killed, hangs or restarts under load is not noticed by clients in autocommit
whose answers fit into retry_buffer. READ ONLY transactions and larger answers that are cut fail
with 08006 and are counted apart."""

import asyncio
import random
import time

import asyncpg
import pytest

from support import raw
from support.session import connect, dsn
from support.waiting import SLOWDOWN, until

READERS, WRITERS = 12, 4
HEALTH = {"interval": "200ms", "timeout": "1s", "fall": 3, "rise": 2}


@pytest.fixture
def tables(hurt):
    hurt.primary.sql("""
        CREATE TABLE items (id int PRIMARY KEY, body text);
        INSERT INTO items SELECT n, 'body ' || n FROM generate_series(1, 1000) n;
        CREATE TABLE written (client int, n int);
        ALTER TABLE items OWNER TO load;
        ALTER TABLE written OWNER TO load;
    """)
    hurt.wait_until_replayed()
    yield hurt
    hurt.heal()
    hurt.primary.sql("DROP TABLE items, written")


class Load:
    """16 clients in autocommit while `trouble` happens; failures and the longest waits."""

    def __init__(self, proxy):
        self._proxy = proxy
        self._stop = asyncio.Event()
        self.reads = self.writes = 0
        self.reads_of = [0] * READERS
        self.failed_reads, self.failed_writes, self.cut = [], [], []
        self.slowest_read = self.slowest_write = 0.0

    def run(self, trouble, extra=()):
        """`trouble` runs in a thread of its own, then the clients finish."""
        async def everything():
            clients = [self._reader(n) for n in range(READERS)]
            clients += [self._writer(n) for n in range(WRITERS)]
            tasks = [asyncio.create_task(client) for client in [*clients, *(e(self) for e in extra)]]
            try:
                await asyncio.to_thread(self._wait_until_all_work)
                await asyncio.to_thread(trouble)
                await asyncio.to_thread(self._wait_until_all_work)
            finally:
                self._stop.set()
                await asyncio.gather(*tasks)
        asyncio.run(asyncio.wait_for(everything(), 120 * SLOWDOWN))
        return self

    def _wait_until_all_work(self):
        reads, writes = self.reads, self.writes
        until(lambda: self.reads > reads + 100 and self.writes > writes + 20, "the load works")

    def wait_until_all_read_again(self):
        """Until every reader has had an answer to a request that it sent from now on."""
        before = list(self.reads_of)
        # The first of the two may have been under way.
        until(lambda: all(now >= count + 2 for now, count in zip(self.reads_of, before)), "every reader reads again")

    def is_over(self) -> bool:
        return self._stop.is_set()

    async def connect(self):
        return await asyncpg.connect(host=self._proxy.host, port=self._proxy.port, user="load",
                                     password="load", database="app", timeout=20 * SLOWDOWN)

    async def _reader(self, number):
        connection = await self.connect()
        while not self._stop.is_set():
            wanted, started = random.randint(1, 1000), time.monotonic()
            try:
                body = await connection.fetchval("SELECT body FROM items WHERE id = $1", wanted)
                assert body == f"body {wanted}"
                self.reads += 1
                self.reads_of[number] += 1
            except Exception as error:  # noqa: BLE001 - counted
                self.failed_reads.append(repr(error))
                if connection.is_closed():
                    connection = await self.connect()
            self.slowest_read = max(self.slowest_read, time.monotonic() - started)
            await asyncio.sleep(0.002)
        await connection.close(timeout=10)

    async def _writer(self, number):
        connection, n = await self.connect(), 0
        while not self._stop.is_set():
            started = time.monotonic()
            try:
                n += 1
                await connection.execute("INSERT INTO written VALUES ($1, $2)", number, n)
                self.writes += 1
                newest = await connection.fetchval("SELECT max(n) FROM written WHERE client = $1",
                                                   number)
                assert newest == n, "a stale read"
                self.reads += 1
            except Exception as error:  # noqa: BLE001 - counted
                self.failed_writes.append(repr(error))
                if connection.is_closed():
                    connection = await self.connect()
            self.slowest_write = max(self.slowest_write, time.monotonic() - started)
            await asyncio.sleep(0.005)
        await connection.close(timeout=10)

    def report(self, cluster):
        print(f"{self.reads} reads, {self.writes} writes; failed: {len(self.failed_reads)} reads, "
              f"{len(self.failed_writes)} writes; cut with 08006: {len(self.cut)}; slowest read "
              f"{self.slowest_read:.2f} s, write {self.slowest_write:.2f} s")
        assert not self.failed_reads, self.failed_reads[:3]
        assert not self.failed_writes, self.failed_writes[:3]
        assert self.reads > 100 and self.writes > 20
        # Nothing acknowledged is lost, nothing ran twice.
        total, distinct = cluster.primary.sql(
            "SELECT count(*), count(DISTINCT (client, n)) FROM written")[0]
        assert total == distinct == self.writes


@pytest.fixture
def guarded(make_proxy, tables):
    return make_proxy({"health": HEALTH})


@pytest.mark.core
def test_kill_nine_of_a_replica(guarded, tables):
    victim = tables.replicas[0]

    def trouble():
        victim.kill()
        guarded.wait_for_state("replica1", "UNHEALTHY")
        load.wait_until_all_read_again()
        victim.start()
        guarded.wait_for_state("replica1", "HEALTHY", 40)
    load = Load(guarded)
    load.run(trouble).report(tables)


@pytest.mark.core
def test_a_hanging_replica_is_left_in_time(guarded, tables):
    """Promised is health.timeout + fall x interval (tests/bench/times tells the time): here, that it takes no more
    bad probes than `fall`, and that all that was in flight there is answered while it still hangs."""
    victim, load, failures = tables.replicas[1], Load(guarded), []

    def is_left():
        server = next(server for server in guarded.status()["servers"] if server["name"] == "replica2")
        failures.append(server["consecutive_failures"])
        return server["status"] == "UNHEALTHY"

    def trouble():
        victim.hang()
        until(is_left, "replica2 is left")
        load.wait_until_all_read_again()
        victim.resume()
        guarded.wait_for_state("replica2", "HEALTHY", 40)
    load.run(trouble).report(tables)
    print(f"bad probes as seen: {failures}")
    assert max(failures[:-1], default=0) < HEALTH["fall"], "it was still used"


@pytest.mark.parametrize("mode", ["fast", "immediate"])
def test_a_restarting_replica(guarded, tables, mode):
    def trouble():
        for victim in tables.replicas:
            victim.restart(mode)
            guarded.wait_for_state(victim.name, "HEALTHY", 40)
    Load(guarded).run(trouble).report(tables)


def test_both_replicas_lost_and_found(guarded, tables):
    def trouble():
        for victim in tables.replicas:
            victim.kill()
        load.wait_until_all_read_again()
        for victim in tables.replicas:
            victim.start()
        for victim in tables.replicas:
            guarded.wait_for_state(victim.name, "HEALTHY", 40)
    load = Load(guarded)
    load.run(trouble).report(tables)


def test_a_terminated_backend_is_not_noticed(guarded, tables):
    """57P01 to single connections of a replica that lives on."""
    def trouble():
        for _ in range(10):
            for victim in tables.replicas:
                victim.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                           "WHERE usename = 'load'")
            load.wait_until_all_read_again()
    load = Load(guarded)
    load.run(trouble).report(tables)


async def read_only_transactions(load):
    connection = await load.connect()
    while not load.is_over():
        try:
            async with connection.transaction(readonly=True):
                for _ in range(5):
                    await connection.fetchval("SELECT count(*) FROM items")
                    await asyncio.sleep(0.01)
        except Exception as error:  # noqa: BLE001 - sorted apart
            await sort(load, error)
            # A transaction that failed to end leaves asyncpg's connection unusable: it fails at once, forever.
            connection.terminate()
            connection = await load.connect()
        await asyncio.sleep(0.001)
    await connection.close(timeout=10)


async def large_answers(load):
    connection = await load.connect()
    while not load.is_over():
        try:
            rows = await connection.fetch("SELECT repeat('x', 1000) FROM generate_series(1, 20000)")
            assert len(rows) == 20000
        except Exception as error:  # noqa: BLE001 - sorted apart
            await sort(load, error)
            if connection.is_closed():
                connection = await load.connect()
        await asyncio.sleep(0.001)
    await connection.close(timeout=10)


async def sort(load, error):
    """08006, or what asyncpg makes of that when the session ends with it; else it is a failure."""
    gone = (asyncpg.ConnectionDoesNotExistError, asyncpg.InterfaceError)
    if getattr(error, "sqlstate", None) == "08006" or isinstance(error, gone):
        load.cut.append(repr(error))
    else:
        load.failed_reads.append(repr(error))


def test_what_was_cut_says_08006_and_nothing_else_fails(guarded, tables):
    def trouble():
        for _ in range(2):
            for victim in tables.replicas:
                victim.kill()
                load.wait_until_all_read_again()
                victim.start()
                guarded.wait_for_state(victim.name, "HEALTHY", 40)
    load = Load(guarded)
    load.run(trouble, extra=[read_only_transactions, large_answers])
    load.report(tables)
    assert load.cut, "nothing was in flight on the killed replicas: the test shows nothing"


@pytest.mark.core
def test_a_snapshot_that_was_lost_ends_like_any_failed_transaction(guarded, tables):
    def begin(session):
        session.send(raw.query("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"))
        session.read_until_ready()
        session.send(raw.query("SELECT count(*) FROM items"))
        session.read_until_ready()

    def ask(session, sql):
        session.send(raw.query(sql))
        return session.read_until_ready()
    with raw.log_in(dsn(guarded, user="load")) as told, raw.log_in(dsn(guarded, user="load")) as untold:
        begin(told)
        begin(untold)
        for victim in tables.replicas:
            victim.kill()
        assert raw.sqlstates(ask(told, "SELECT 1")) == ["08006"]
        failed = ask(told, "SELECT 1")
        assert raw.sqlstates(failed) == ["25P02"] and failed[-1] == ("Z", b"E")
        assert ask(told, "COMMIT") == [("C", b"ROLLBACK\0"), ("Z", b"I")]
        # All that it has read was right.
        assert ask(untold, "COMMIT") == [("C", b"COMMIT\0"), ("Z", b"I")]
        for session in (told, untold):
            assert raw.kinds(ask(session, "SELECT 1")) == "TDCZ"


@pytest.mark.core
@pytest.mark.parametrize("begin", ["BEGIN READ ONLY", "BEGIN READ ONLY; SELECT 1"])
def test_a_read_only_transaction_goes_on_elsewhere(guarded, tables, begin):
    with raw.log_in(dsn(guarded, user="load")) as session:
        def ask(sql):
            session.send(raw.query(sql))
            return session.read_until_ready()
        ask(begin)
        ask("SAVEPOINT a")
        before = raw.rows(ask("SELECT count(*) FROM items"))
        for victim in tables.replicas:
            victim.kill()
        assert raw.rows(ask("SELECT count(*) FROM items")) == before
        assert raw.sqlstates(ask("UPDATE items SET id = id")) == ["25006"]
        assert ask("ROLLBACK TO a")[-1] == ("Z", b"T")
        assert ask("COMMIT") == [("C", b"COMMIT\0"), ("Z", b"I")]


@pytest.fixture
def pausing(tables):
    """pausing(n): n, but for 3 only after ten minutes, behind a notice: with that the server sends all it has, to the end
    of that message."""
    tables.primary.sql("CREATE FUNCTION pausing(n int) RETURNS int LANGUAGE plpgsql STABLE AS $$ BEGIN IF n = 3 THEN "
                       "RAISE NOTICE 'pausing'; PERFORM pg_sleep(600); END IF; RETURN n; END $$")
    tables.wait_until_replayed()
    yield
    tables.heal()
    tables.primary.sql("DROP FUNCTION pausing")


def kill_replicas(cluster):
    for victim in cluster.replicas:
        victim.kill()


@pytest.mark.core
def test_an_answer_that_is_cut_between_two_rows_fails_with_08006(pausing, guarded, tables):
    with raw.log_in(dsn(guarded, user="load")) as session:
        session.send(raw.query("SELECT pausing(n) FROM generate_series(1, 4) n"))
        assert raw.kinds(session.read_until("N")) == "TDDN"  # it is held back no longer
        kill_replicas(tables)
        messages = session.read_until_ready()
        assert raw.kinds(messages) == "EZ" and raw.sqlstates(messages) == ["08006"]
        session.send(raw.query("SELECT 1"))
        assert raw.kinds(session.read_until_ready()) == "TDCZ"


@pytest.mark.core
def test_an_answer_that_is_cut_in_the_middle_of_a_row_ends_the_connection(guarded, tables):
    """There is no place for an error, and nothing must look complete."""
    with raw.log_in(dsn(guarded, user="load")) as session:
        # The server sends what fills its buffer of 8 KiB; the end of this row waits there for the next one.
        session.send(raw.query("SELECT CASE WHEN n = 3 THEN pg_sleep(600)::text END, repeat('x', 1000000) "
                               "FROM generate_series(2, 4) n"))
        assert session.read()[0] == "T"
        begun = session.read_exactly(900_000)
        assert begun[:1] == b"D"
        until(lambda: any(server.value("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'")
                          for server in tables.replicas), "it pauses")
        kill_replicas(tables)
        rest = b""
        with pytest.raises(EOFError):
            while True:
                rest += session.read_exactly(1)
    assert set(rest) <= {ord("x")}, "the row goes on, and nothing else comes"


@pytest.mark.core
@pytest.mark.parametrize("when", ["after the description", "before the description", "between uses"])
@pytest.mark.parametrize("how", ["terminated", "killed"])
def test_a_prepared_read_survives_its_replica(guarded, tables, when, how):
    """Parse + Describe + Flush, then Bind + Execute + Sync, as asyncpg sends them."""
    def trouble():
        for victim in tables.replicas:
            if how == "killed":
                victim.kill()
            else:
                victim.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                           "WHERE usename = 'load'")
    with raw.log_in(dsn(guarded, user="load")) as session:
        session.send(raw.query("SELECT 1"))
        session.read_until_ready()
        if when == "before the description":
            trouble()
        session.send(raw.parse("s", "SELECT body FROM items WHERE id = $1::int"),
                     raw.describe("S", "s"), raw.FLUSH)
        assert raw.kinds(session.read_until("T")) == "1tT"
        if when == "after the description":
            trouble()
        for n in range(1, 6):
            session.send(raw.bind("", "s", str(n).encode()), raw.execute(""), raw.SYNC)
            messages = session.read_until_ready()
            assert raw.kinds(messages) == "2DCZ", raw.sqlstates(messages)
            assert raw.rows(messages) == [[f"body {n}".encode()]]
            if when == "between uses":
                trouble()
        # The name is taken, wherever the statement lives by now.
        session.send(raw.parse("s", "SELECT 2"), raw.SYNC)
        assert raw.sqlstates(session.read_until_ready()) == ["42P05"]
        session.send(raw.query("INSERT INTO written VALUES (1, 1)"))
        session.read_until_ready()
        session.send(raw.bind("", "s", b"7"), raw.execute(""), raw.SYNC)
        assert raw.rows(session.read_until_ready()) == [[b"body 7"]]


@pytest.mark.parametrize("how, sqlstate", [("killed", "08006"), ("terminated", "57P01")])
def test_a_write_in_flight_on_a_lost_primary_is_not_repeated(make_proxy, tables, how, sqlstate):
    """The client learns that its connection was lost; what became of its write, it cannot know: this one is committed."""
    proxy = make_proxy({"health": HEALTH})
    asleep = "FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND query LIKE '%(77, 1)%'"
    with raw.log_in(dsn(proxy, user="load")) as session:
        session.send(raw.query("BEGIN; INSERT INTO written VALUES (77, 1); COMMIT; SELECT pg_sleep(600)"))
        until(lambda: tables.primary.value(f"SELECT count(*) {asleep}") == 1, "it has written")
        if how == "killed":
            tables.primary.kill()
        else:
            tables.primary.sql(f"SELECT pg_terminate_backend(pid) {asleep}")
        messages = session.read_to_end(or_until="E")
    assert raw.sqlstates(messages) == [sqlstate]
    tables.heal()
    proxy.wait_for_state("primary", "HEALTHY", 60)
    assert tables.primary.value("SELECT count(*) FROM written WHERE client = 77") == 1


def test_without_any_replica_all_runs_on_the_primary(make_proxy, cluster):
    proxy = make_proxy(replicas=[])
    with connect(proxy) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
    assert proxy.http_status("/readyz") == 200
