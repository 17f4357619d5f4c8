"""Memory stays flat, whatever passes and whoever refuses to read."""

import threading
import time

import psycopg
import pytest

from support import raw
from support.proxy import Pgsteer
from support.session import connect
from support.waiting import SLOWDOWN

MIB = 1 << 20
# What pgsteer's resident memory may vary by while a stream passes: a few buffers, not the stream.
LIMIT_KIB = 24 * 1024


class RssWatch:
    """Samples pgsteer's resident memory while a block runs."""

    def __init__(self, proxy):
        self._proxy = proxy
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sample)
        self.growth_kib = 0

    def _sample(self):
        while not self._stop.wait(0.05):
            self.growth_kib = max(self.growth_kib, self._proxy.rss_kib() - self._start)

    def __enter__(self):
        self._start = self._proxy.rss_kib()
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join()


@pytest.fixture
def megabytes(full):
    return 1024 if full else 100


@pytest.fixture
def connection(target):
    with connect(target, user="load") as opened:
        opened.execute("SELECT 1")
        opened.execute("SELECT pg_advisory_unlock_all()")
        yield opened


@pytest.fixture
def table(cluster):
    cluster.primary.sql("CREATE UNLOGGED TABLE swallowed (line text)")
    cluster.primary.sql("ALTER TABLE swallowed OWNER TO load")
    yield "swallowed"
    cluster.primary.sql("DROP TABLE swallowed")


@pytest.mark.heavy
def test_a_gigabyte_of_copy_in(proxy, connection, table, megabytes):
    line = b"x" * 1023 + b"\n"
    block = line * 1024
    with RssWatch(proxy) as watch, connection.cursor() as cursor:
        with cursor.copy(f"COPY {table} FROM STDIN") as copy:
            for _ in range(megabytes):
                copy.write(block)
    print(f"{megabytes} MiB in, memory grew by {watch.growth_kib} KiB")
    count = connection.execute(f"SELECT count(*) FROM {table} /* pgsteer: primary */").fetchone()
    assert count == (megabytes * 1024,)
    assert watch.growth_kib < LIMIT_KIB


@pytest.mark.heavy
def test_a_gigabyte_of_copy_out(proxy, connection, megabytes):
    size = 0
    with RssWatch(proxy) as watch, connection.cursor() as cursor:
        with cursor.copy("COPY (SELECT repeat('x', 1023) FROM "
                         f"generate_series(1, {megabytes * 1024})) TO STDOUT") as copy:
            for data in copy:
                size += len(data)
    print(f"{size / MIB:.0f} MiB out, memory grew by {watch.growth_kib} KiB")
    assert size == megabytes * MIB
    assert watch.growth_kib < LIMIT_KIB


def test_a_hundred_thousand_rows_to_a_slow_reader(proxy, target):
    with raw.log_in(target.dsn(), timeout=60) as session, RssWatch(proxy) as watch:
        session.send(raw.query("SELECT repeat('x', 1000) FROM generate_series(1, 100000)"))
        time.sleep(1.5)  # the answer waits at the server, not in pgsteer
        count = 0
        while (kind := session.read()[0]) != "Z":
            count += kind == "D"
    assert count == 100_000
    assert watch.growth_kib < LIMIT_KIB


def test_one_row_of_200_mb(proxy, target):
    size = 200 * 1000 * 1000
    with raw.log_in(target.dsn(), timeout=60) as session, RssWatch(proxy) as watch:
        session.send(raw.query(f"SELECT repeat('x', {size})"))
        session.read_until("T")
        head = session.read_exactly(5)
        left = int.from_bytes(head[1:], "big") - 4
        assert head[:1] == b"D" and left == size + 6
        while left:
            left -= len(session.read_exactly(min(left, 1 << 16)))
        session.read_until_ready()
    assert watch.growth_kib < LIMIT_KIB


def test_one_parameter_of_100_mb(proxy, target):
    value = b"x" * (100 * 1000 * 1000)
    with raw.log_in(target.dsn(user="load", password="load"), timeout=60) as session:
        with RssWatch(proxy) as watch:
            session.send(raw.parse("", "SELECT length($1::text)"),
                         raw.bind("", "", value), raw.execute(""), raw.SYNC)
            assert raw.rows(session.read_until_ready()) == [[b"100000000"]]
    assert watch.growth_kib < LIMIT_KIB


def test_one_query_text_of_20_mb(proxy, target):
    """Too long to be parsed, so it goes to the primary; and it need not be held to get there."""
    with raw.log_in(target.dsn(user="load", password="load"), timeout=60) as session:
        session.send(raw.query(f"SELECT length('{'x' * 20_000_000}')"))
        assert raw.rows(session.read_until_ready()) == [[b"20000000"]]


def test_a_hundred_thousand_pipelined_queries_that_nobody_reads_yet(proxy, target, full):
    count = 100_000 if full else 30_000
    one = raw.bind("", "echo", b"y" * 100) + raw.execute("") + raw.SYNC
    with raw.log_in(target.dsn(user="load", password="load"), timeout=60) as session:
        session.send(raw.parse("echo", "SELECT $1::text, repeat('z', 300)"), raw.SYNC)
        session.read_until_ready()
        with RssWatch(proxy) as watch:
            def send():
                for _ in range(count // 1000):
                    session.send(one * 1000)
            sender = threading.Thread(target=send, daemon=True)
            sender.start()
            time.sleep(2)  # neither side's answers fit anywhere; pgsteer must stop taking more
            for _ in range(count):
                session.read_until_ready()
            sender.join(30 * SLOWDOWN)
        assert not sender.is_alive()
    print(f"memory grew by {watch.growth_kib} KiB")
    assert watch.growth_kib < LIMIT_KIB


def test_many_sessions_that_stop_reading(proxy, target):
    """Forty clients ask for 40 MB each and read nothing: a bounded buffer each, no more."""
    sessions = [raw.log_in(target.dsn(user="load", password="load")) for _ in range(40)]
    try:
        with RssWatch(proxy) as watch:
            for session in sessions:
                session.send(raw.query("SELECT repeat('x', 1000) FROM generate_series(1, 40000)"))
            time.sleep(2)  # all that pgsteer takes in of the answers it has taken in
            with psycopg.connect(target.dsn()) as other:
                assert other.execute("SELECT 1").fetchone() == (1,)
        assert watch.growth_kib < 40 * 512 + LIMIT_KIB
    finally:
        for session in sessions:
            session.socket.close()


def test_statements_that_are_prepared_and_closed_leave_nothing(proxy, target):
    with raw.log_in(target.dsn(user="load", password="load"), timeout=60) as session:
        def cycle(count):
            for start in range(0, count, 500):
                batch = []
                for n in range(start, start + 500):
                    batch += [raw.parse(f"s{n}", f"SELECT {n} AS column_{n % 7}"),
                              raw.close("S", f"s{n}")]
                session.send(*batch, raw.SYNC)
                session.read_until_ready()
        cycle(5000)
        with RssWatch(proxy) as watch:
            cycle(20000)
    assert watch.growth_kib < LIMIT_KIB


@pytest.mark.heavy
def test_an_idle_session_with_both_its_connections(cluster, leases):
    """Less than 10 KiB each: what is needed for a request under way is gone when that is over."""
    def use(session):
        for sql in ("SELECT 1", "SELECT pg_current_xact_id()"):
            session.send(raw.query(sql))
            session.read_until_ready()
        session.send(raw.parse("s1", "SELECT 1"), raw.bind("", "s1"), raw.execute(""), raw.SYNC)
        session.read_until_ready()

    with Pgsteer(cluster, {"pool": {"size": 100}}, leases=leases) as proxy:
        dsn = f"host=127.0.0.1 port={proxy.port} user=app password=app dbname=app"
        sessions = []
        try:
            for count in (10, 50):
                before = proxy.rss_kib()
                for _ in range(count):
                    sessions.append(raw.log_in(dsn, timeout=30))
                    use(sessions[-1])
            each = (proxy.rss_kib() - before) / count
        finally:
            for session in sessions:
                session.socket.close()
    print(f"{each:.1f} KiB each")
    assert each < 13
