"""Hostile and broken clients: each gets an error with a SQLSTATE or is closed in time, pgsteer
goes on, and other sessions notice nothing."""

import os
import random
import socket
import struct
import threading
import time
from types import SimpleNamespace

import psycopg
import pytest

from support import raw
from support.proxy import Pgsteer
from support.session import connect, dsn
from support.waiting import SLOWDOWN, until


@pytest.fixture(scope="module")
def strict(cluster, leases):
    """Short time limits, so that the tests need not wait long."""
    if os.environ.get("PGSTEER_DIRECT"):
        # PostgreSQL itself has to pass, or the tests ask for too much.
        cluster.primary.set("authentication_timeout", "1s")
        yield SimpleNamespace(host=cluster.primary.host, port=cluster.primary.port,
                              check_health=lambda: None, rss_kib=lambda: 0)
        cluster.primary.set("authentication_timeout", "1min")
        return
    with Pgsteer(cluster, {"listen": {"login_timeout": f"{SLOWDOWN:.0f}s"}}, leases=leases) as running:
        yield running


def log_in(proxy):
    """None if the machine was too slow for the short time limit."""
    try:
        return connect(proxy)
    except psycopg.OperationalError as error:
        if "login_timeout" not in str(error):
            raise
        return None


@pytest.fixture
def bystander(strict, cluster):
    """A session that works all the time; fails the test if it was ever disturbed or kept waiting."""
    stop = threading.Event()
    worst, control, problems = [0.0], [0.0], []

    def work():
        try:
            with until(lambda: log_in(strict), "it has logged in") as connection, cluster.primary.connect() as direct:
                connection.execute("CREATE TEMP TABLE mine (n int)")
                while not stop.is_set():
                    started = time.monotonic()
                    connection.execute("INSERT INTO mine VALUES (1)")
                    connection.execute("SELECT count(*) FROM pg_class")
                    worst[0] = max(worst[0], time.monotonic() - started)
                    started = time.monotonic()
                    direct.execute("SELECT count(*) FROM pg_class")
                    time.sleep(0.01)
                    control[0] = max(control[0], time.monotonic() - started)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is a disturbance
            problems.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    yield
    stop.set()
    thread.join(60 * SLOWDOWN)
    assert not problems, problems
    # What the machine keeps everybody waiting for, is seen without pgsteer too.
    assert worst[0] < 2 * SLOWDOWN + 5 * control[0], f"kept waiting for {worst[0]:.2f} s, without: {control[0]:.2f} s"
    strict.check_health()


def answers_to(strict, data, half_close=False):
    """All messages until pgsteer closes; fails if it does not close in time."""
    with raw.connect(strict.host, strict.port, timeout=30) as opened:
        try:
            opened.send(data)
            if half_close:
                opened.socket.shutdown(socket.SHUT_WR)
        except (ConnectionResetError, BrokenPipeError):
            pass
        return opened.read_to_end()


BAD_STARTUPS = {
    "length 0": struct.pack("!I", 0),
    "length 3": struct.pack("!I", 3) + b"abc",
    "length 4": struct.pack("!I", 4),
    "length 7": struct.pack("!I", 7) + b"abc",
    "negative length": struct.pack("!i", -1) + b"x" * 100,
    "length of 2 GB": struct.pack("!I", 0x7FFFFFFF) + b"x" * 100,
    "length 10001": struct.pack("!I", 10001) + b"x" * 9997,
    "oversized": raw.startup({"user": "app", "database": "app", "x": "y" * 20_000}),
    "http": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "tls client hello": bytes.fromhex("16030100c8010000c40303") + b"\x00" * 200,
    "protocol 2": raw.startup({"user": "app"}, 2 << 16),
    "protocol 4": raw.startup({"user": "app"}, 4 << 16),
    "protocol 0": raw.startup({"user": "app"}, 0),
    "no terminator": struct.pack("!II", 17, 3 << 16) + b"user\0app\0",
    "odd parameters": struct.pack("!II", 14, 3 << 16) + b"user\0\0",
    "no NUL at all": struct.pack("!II", 16, 3 << 16) + b"userapp!",
    "nothing but a version": struct.pack("!II", 8, 3 << 16),
    "short cancel request": struct.pack("!II", 8, (1234 << 16) + 5678),
    "long cancel request": struct.pack("!II", 100, (1234 << 16) + 5678) + b"x" * 92,
    "ssl request twice too often": raw.SSL_REQUEST * 50,
    "query first": raw.query("SELECT 1"),
}
# What PostgreSQL, too, closes without a word.
SILENT = {"length 0", "length 3", "length 4", "length 7", "negative length", "length of 2 GB",
          "length 10001", "oversized", "http", "tls client hello", "short cancel request",
          "long cancel request", "ssl request twice too often", "query first", "protocol 2"}


@pytest.mark.core
@pytest.mark.parametrize("case", BAD_STARTUPS)
def test_bad_startup_packets(strict, bystander, case):
    data = BAD_STARTUPS[case]
    with raw.connect(strict.host, strict.port, timeout=30) as opened:
        try:
            opened.send(data)
            opened.read_exactly(0)
            if data[:8] == raw.SSL_REQUEST:
                assert opened.read_exactly(1) == b"N"
                while True:
                    opened.read_exactly(1)
            messages = opened.read_to_end()
        except (EOFError, ConnectionResetError, BrokenPipeError):
            messages = []
    states = raw.sqlstates(messages)
    assert len(states) == 1 or case in SILENT, f"closed without an error: {messages}"
    assert all(len(state) == 5 for state in states)
    assert all(kind == "E" for kind, _ in messages)


@pytest.mark.parametrize("data", [b"", b"\0", b"\0\0\0\x20", raw.startup({"user": "app"})[:-3],
                                  raw.startup({"user": "app", "database": "app"})])
@pytest.mark.core
def test_slow_loris_is_closed_at_login_timeout(strict, bystander, data):
    started = time.monotonic()
    with raw.connect(strict.host, strict.port, timeout=60) as opened:
        opened.send(data)
        opened.read_to_end()
    assert time.monotonic() - started > 0.5


def test_one_byte_at_a_time_does_not_stretch_login_timeout(strict, bystander):
    packet = raw.startup({"user": "app", "database": "app", "x": "y" * 1000})
    with raw.connect(strict.host, strict.port, timeout=60) as opened:
        with pytest.raises((EOFError, OSError)):  # before all of it was sent, which takes 50 s
            for place in range(len(packet)):
                opened.send(packet[place:place + 1])
                time.sleep(0.05)


@pytest.mark.skipif("PGSTEER_DIRECT" in os.environ, reason="more than max_connections")
def test_five_hundred_silent_connections_do_not_keep_others_out(strict, bystander):
    held = []
    try:
        for _ in range(500):
            held.append(socket.create_connection((strict.host, strict.port), 5))
        with psycopg.connect(dsn(strict)) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
    finally:
        for opened in held:
            opened.close()


SASL_FIRST = b"SCRAM-SHA-256\0"
BAD_SASL = {
    "unknown mechanism": raw.message(b"p", b"PLAIN\0\0\0\0\x04abcd"),
    "no mechanism": raw.message(b"p", b""),
    "length beyond the end": raw.message(b"p", SASL_FIRST + struct.pack("!I", 500) + b"n,,n=,r=x"),
    "negative length": raw.message(b"p", SASL_FIRST + struct.pack("!i", -2) + b"n,,n=,r=x"),
    "not SCRAM": raw.message(b"p", SASL_FIRST + struct.pack("!I", 4) + b"\xff\xfe\xfd\xfc"),
    "no nonce": raw.message(b"p", SASL_FIRST + struct.pack("!I", 5) + b"n,,n="),
    "channel binding": raw.message(b"p", SASL_FIRST + struct.pack("!I", 27) + b"p=tls-unique,,n=,r=abcdefgh"),
    "huge": raw.message(b"p", SASL_FIRST + struct.pack("!I", 100_000) + b"n" * 100_000),
    "two gigabytes announced": b"p" + struct.pack("!I", 0x7FFFFFFF),
    "length of 1": b"p" + struct.pack("!I", 1),
    "a query instead": raw.query("SELECT 1"),
    "an unknown type": raw.message(b"\x01", b"abc"),
}


@pytest.mark.core
@pytest.mark.parametrize("case", BAD_SASL)
def test_bad_authentication_messages(strict, bystander, case):
    with raw.connect(strict.host, strict.port, timeout=5) as opened:
        opened.send(raw.startup({"user": "app", "database": "app"}))
        assert opened.read()[0] == "R"
        try:
            opened.send(BAD_SASL[case])
        except (ConnectionResetError, BrokenPipeError):
            pass
        messages = opened.read_to_end()
    assert all(kind == "E" for kind, _ in messages), messages
    assert set(raw.sqlstates(messages)) <= {"08P01", "28P01", "28000", "0A000"}
    assert messages, "closed without an error"


BAD_MESSAGES = {
    "unknown type": raw.message(b"\x01"),
    "unknown letter": raw.message(b"y", b"abc"),
    "a server's message": raw.message(b"Z", b"I"),
    "length 0": b"Q" + struct.pack("!I", 0),
    "length 3": b"Q" + struct.pack("!I", 3),
    "negative length": b"Q" + struct.pack("!i", -1) + b"x" * 50,
    "two gigabytes announced": b"Q" + struct.pack("!I", 0x7FFFFFFF) + b"x" * 1000,
    "query without NUL": raw.message(b"Q", b"SELECT 1"),
    "query with bytes after the NUL": raw.message(b"Q", b"SELECT 1\0junk"),
    "empty query message": raw.message(b"Q", b""),
    "parse without names": raw.message(b"P", b""),
    "parse with too few types": raw.message(b"P", b"\0SELECT 1\0" + struct.pack("!H", 5)),
    "parse with trailing bytes": raw.message(b"P", b"\0SELECT 1\0" + struct.pack("!H", 0) + b"zz"),
    "bind with negative count": raw.parse("", "SELECT 1") + raw.message(b"B", b"\0\0" + struct.pack("!h", -1)),
    "bind with a huge parameter": raw.parse("", "SELECT 1") + raw.message(
        b"B", b"\0\0" + struct.pack("!HHI", 0, 1, 0x7FFFFFF0) + b"x"),
    "bind cut short": raw.message(b"B", b"\0"),
    "execute cut short": raw.message(b"E", b"\0\0"),
    "describe of kind X": raw.message(b"D", b"X\0"),
    "close of kind X": raw.message(b"C", b"Xname\0"),
    "sync with a body": raw.message(b"S", b"body"),
    "flush with a body": raw.message(b"H", b"body"),
    "function call cut short": raw.message(b"F", b"\0\0"),
    "password after login": raw.message(b"p", b"secret\0"),
}


# The stream is out of step: PostgreSQL, too, closes without a word.
CLOSED_AT_ONCE = {"length 0", "length 3", "negative length", "two gigabytes announced"}


@pytest.mark.core
@pytest.mark.parametrize("case", BAD_MESSAGES)
def test_bad_messages_after_login(strict, bystander, case):
    with raw.log_in(dsn(strict), timeout=5) as session:
        session.send(BAD_MESSAGES[case])
        try:
            session.send(raw.SYNC)
        except (ConnectionResetError, BrokenPipeError):
            pass
        try:
            first = session.read_until("E")[-1]
        except (EOFError, ConnectionResetError):
            assert case in CLOSED_AT_ONCE
            return
        assert raw.fields(first[1])["C"] in ("08P01", "0A000")
        # What follows is the end, or a session that works.
        try:
            session.read_until_ready()
        except (EOFError, OSError):
            return
        session.send(raw.query("SELECT 'after'"))
        while True:
            messages = session.read_until_ready()
            if [b"after"] in raw.rows(messages):
                break


@pytest.mark.parametrize("data", [
    raw.query("SELECT 1")[:3], raw.query("SELECT 1")[:-1], raw.parse("", "SELECT 1"),
    raw.parse("", "SELECT 1") + raw.bind("", "")[:-2]])
def test_half_sent_messages_and_a_client_that_goes(strict, bystander, cluster, data):
    session = raw.log_in(dsn(strict))
    session.send(data)
    session.socket.close()


def test_copy_data_out_of_place_is_ignored(strict, bystander):
    with raw.log_in(dsn(strict)) as session:
        session.send(raw.message(b"d", b"1\n"), raw.message(b"c"), raw.message(b"f", b"no\0"),
                     raw.query("SELECT 1"))
        assert raw.rows(session.read_until_ready()) == [[b"1"]]


def test_a_message_larger_than_allowed_is_refused_before_it_is_read(strict, bystander):
    before = strict.rss_kib()
    with raw.log_in(dsn(strict), timeout=10) as session:
        try:
            session.send(b"P" + struct.pack("!I", 0x40000000))
            for _ in range(200):
                session.send(b"x" * 100_000)
        except (ConnectionResetError, BrokenPipeError):
            pass
        session.socket.close()
    assert strict.rss_kib() - before < 64 * 1024


@pytest.mark.core
def test_random_bytes_at_every_stage(strict, bystander):
    seed = random.randrange(1 << 30)
    print(f"seed {seed}")
    numbers = random.Random(seed)
    for round_number in range(60):
        noise = numbers.randbytes(numbers.choice([1, 5, 20, 300, 5000]))
        if round_number % 3 == 0:
            opened = raw.connect(strict.host, strict.port, timeout=5)
        else:
            opened = raw.log_in(dsn(strict), timeout=5)
            if round_number % 3 == 1:
                noise = bytes([numbers.choice(b"QPBDECHSFdcfpX")]) + struct.pack("!I", len(noise) + 4) + noise
        try:
            opened.send(noise)
            opened.socket.shutdown(socket.SHUT_WR)
        except OSError:
            pass
        opened.read_to_end()
        opened.socket.close()


def test_clients_that_vanish_leave_no_backend_at_work(strict, bystander, cluster):
    for kind in range(40):
        session = raw.log_in(dsn(strict) + " application_name=vanishing")
        session.send(raw.query("SELECT generate_series(1, 100000)"))
        if kind % 2:
            # A reset instead of an orderly end.
            session.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        session.socket.close()
    # What was opened for one that had gone by then has done nothing yet.
    until(lambda: not any(cluster.in_backends("application_name = 'vanishing' AND (state <> 'idle' OR "
                                              "query LIKE '%generate_series%')").values()),
          "their backends are gone, or reset", 20)
