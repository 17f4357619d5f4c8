"""The protocol below the drivers: what is answered to which message, in which order."""

import struct
import threading
import time

import pytest

from support import raw
from support.cluster import new_marker
from support.session import connect
from support.waiting import SLOWDOWN, until


@pytest.fixture
def session(target):
    with raw.log_in(target.dsn()) as opened:
        yield opened


@pytest.mark.core
def test_simple_query_with_several_statements(session):
    session.send(raw.query("SELECT 1; SELECT 2, 3; ; SELECT 'x' WHERE false"))
    messages = session.read_until_ready()
    assert raw.kinds(messages) == "TDCTDCTCZ"
    assert raw.rows(messages) == [[b"1"], [b"2", b"3"]]
    assert messages[-1][1] == b"I"


def test_empty_query(session):
    session.send(raw.query(""), raw.query("  -- nothing\n"), raw.parse("", ""), raw.bind("", ""),
                 raw.execute(""), raw.SYNC)
    assert raw.kinds(session.read_until_ready()) == "IZ"
    assert raw.kinds(session.read_until_ready()) == "IZ"
    assert raw.kinds(session.read_until_ready()) == "12IZ"


@pytest.mark.core
def test_extended_query_in_every_step(session):
    session.send(raw.parse("s", "SELECT $1::int + 1"), raw.describe("S", "s"), raw.FLUSH)
    assert raw.kinds(session.read_until("T")) == "1tT"
    session.send(raw.bind("p", "s", b"41"), raw.describe("P", "p"), raw.execute("p"), raw.SYNC)
    messages = session.read_until_ready()
    assert raw.kinds(messages) == "2TDCZ"
    assert raw.rows(messages) == [[b"42"]]
    session.send(raw.close("S", "s"), raw.close("P", "never was"), raw.SYNC)
    assert raw.kinds(session.read_until_ready()) == "33Z"
    session.send(raw.bind("", "s", b"1"), raw.SYNC)
    messages = session.read_until_ready()
    assert raw.sqlstates(messages) == ["26000"]


def test_portal_read_by_portions_inside_a_transaction(session):
    session.send(raw.query("BEGIN"))
    session.read_until_ready()
    session.send(raw.parse("", "SELECT generate_series(1, 5)"), raw.bind("steps", ""),
                 raw.execute("steps", 2), raw.SYNC)
    messages = session.read_until_ready()
    assert raw.kinds(messages) == "12DDsZ" and messages[-1][1] == b"T"
    session.send(raw.execute("steps", 2), raw.execute("steps", 2), raw.SYNC)
    assert raw.kinds(session.read_until_ready()) == "DDsDCZ"
    session.send(raw.query("COMMIT"))
    session.read_until_ready()


def test_portal_suspended_outside_of_a_transaction_is_gone_after_sync(session):
    session.send(raw.parse("", "SELECT generate_series(1, 5)"), raw.bind("steps", ""),
                 raw.execute("steps", 2), raw.SYNC)
    assert raw.kinds(session.read_until_ready()) == "12DDsZ"
    session.send(raw.execute("steps", 2), raw.SYNC)
    assert raw.sqlstates(session.read_until_ready()) == ["34000"]


@pytest.mark.core
def test_an_error_skips_to_the_sync_and_no_further(session):
    session.send(raw.parse("", "SELECT 1/0"), raw.bind("", ""), raw.execute(""),
                 raw.parse("", "SELECT 1"), raw.bind("", ""), raw.execute(""), raw.SYNC,
                 raw.parse("", "SELECT 2"), raw.bind("", ""), raw.execute(""), raw.SYNC)
    messages = session.read_until_ready()
    assert raw.sqlstates(messages) == ["22012"] and not raw.rows(messages)
    assert raw.rows(session.read_until_ready()) == [[b"2"]]


def test_unknown_statement_and_duplicate_statement(session):
    session.send(raw.bind("", "nobody"), raw.SYNC)
    assert raw.sqlstates(session.read_until_ready()) == ["26000"]
    session.send(raw.parse("twice", "SELECT 1"), raw.parse("twice", "SELECT 2"), raw.SYNC)
    messages = session.read_until_ready()
    assert raw.kinds(messages) == "1EZ" and raw.sqlstates(messages) == ["42P05"]
    session.send(raw.bind("", "twice"), raw.execute(""), raw.SYNC)
    assert raw.rows(session.read_until_ready()) == [[b"1"]]


def test_a_statement_that_failed_to_parse_does_not_exist(session):
    session.send(raw.parse("bad", "SELEKT 1"), raw.SYNC)
    assert raw.sqlstates(session.read_until_ready()) == ["42601"]
    session.send(raw.parse("bad", "SELECT 5"), raw.bind("", "bad"), raw.execute(""), raw.SYNC)
    assert raw.rows(session.read_until_ready()) == [[b"5"]]


def test_a_statement_parsed_before_an_error_in_the_same_batch_stays(session):
    session.send(raw.parse("kept", "SELECT 7"), raw.parse("", "SELECT 1/0"), raw.bind("", ""),
                 raw.execute(""), raw.SYNC)
    session.read_until_ready()
    session.send(raw.bind("", "kept"), raw.execute(""), raw.SYNC)
    assert raw.rows(session.read_until_ready()) == [[b"7"]]


@pytest.mark.core
def test_copy_in_within_the_extended_protocol(session):
    session.send(raw.query("CREATE TEMP TABLE lines (line text)"))
    session.read_until_ready()
    session.send(raw.parse("", "COPY lines FROM STDIN"), raw.bind("", ""), raw.execute(""), raw.SYNC)
    assert raw.kinds(session.read_until("G")) == "12G"
    session.send(raw.message(b"d", b"one\ntwo\n"), raw.message(b"c"), raw.SYNC)
    assert raw.kinds(session.read_until_ready()) == "CZ"
    session.send(raw.query("SELECT count(*) FROM lines"))
    assert raw.rows(session.read_until_ready()) == [[b"2"]]


def test_copy_fail_and_a_query_instead_of_copy_data(session):
    session.send(raw.query("CREATE TEMP TABLE lines (line text)"))
    session.read_until_ready()
    session.send(raw.query("COPY lines FROM STDIN"))
    session.read_until("G")
    session.send(raw.message(b"d", b"one\n"), raw.message(b"f", b"changed my mind\0"))
    assert raw.sqlstates(session.read_until_ready()) == ["57014"]
    # Sync and Flush during COPY are ignored, as drivers pipeline them.
    session.send(raw.query("COPY lines FROM STDIN"))
    session.read_until("G")
    session.send(raw.SYNC, raw.FLUSH, raw.message(b"d", b"two\n"), raw.message(b"c"))
    assert raw.kinds(session.read_until_ready()) == "CZ"
    session.send(raw.query("SELECT line FROM lines"))
    assert raw.rows(session.read_until_ready()) == [[b"two"]]


def test_queries_pipelined_in_the_simple_protocol_answer_in_order(session):
    marker = new_marker()
    texts = [f"SELECT {n} /* {marker} */" if n % 2 else f"SELECT {n} FROM pg_advisory_unlock_all()"
             for n in range(200)]
    session.send(*(raw.query(text) for text in texts))
    answers = [raw.rows(session.read_until_ready())[0][0] for _ in texts]
    assert answers == [str(n).encode() for n in range(200)]


@pytest.mark.core
def test_reads_and_writes_pipelined_keep_their_order(session):
    session.send(raw.query("CREATE TABLE pipelined (n int)"))
    session.read_until_ready()
    batch = []
    for n in range(100):
        batch += [raw.parse("", f"INSERT INTO pipelined VALUES ({n})"), raw.bind("", ""),
                  raw.execute(""), raw.SYNC,
                  raw.parse("", "SELECT count(*) FROM pipelined"), raw.bind("", ""),
                  raw.execute(""), raw.SYNC]
    session.send(*batch)
    counts = []
    for _ in range(100):
        assert raw.kinds(session.read_until_ready()) == "12CZ"
        counts += raw.rows(session.read_until_ready())
    assert counts == [[str(n + 1).encode()] for n in range(100)]
    session.send(raw.query("DROP TABLE pipelined"))
    session.read_until_ready()


@pytest.mark.core
def test_statements_prepared_with_flush_and_used_after_several_syncs(session, cluster):
    """As asyncpg does it: a write and a read prepared, no Sync between, then used in turn."""
    session.send(raw.query("CREATE TABLE by_flush (n int)"))
    session.read_until_ready()
    session.send(raw.parse("i", "INSERT INTO by_flush VALUES ($1::int)"), raw.describe("S", "i"),
                 raw.FLUSH)
    assert raw.kinds(session.read_until("n")) == "1tn"
    session.send(raw.parse("s", "SELECT count(*) FROM by_flush WHERE $1::int > 0"),
                 raw.describe("S", "s"), raw.FLUSH)
    assert raw.kinds(session.read_until("T")) == "1tT"
    for n in range(1, 41):
        for name, answer in (("i", "2CZ"), ("s", "2DCZ")):
            session.send(raw.bind("", name, str(n).encode()), raw.execute(""), raw.SYNC)
            messages = session.read_until_ready()
            assert raw.kinds(messages) == answer, raw.sqlstates(messages)
        assert raw.rows(messages) == [[str(n).encode()]]
        if n % 10 == 0:
            cluster.wait_until_replayed()  # the next ones may run on replicas
    session.send(raw.query("DROP TABLE by_flush"))
    session.read_until_ready()


def test_several_statements_before_one_sync_are_one_transaction(session):
    session.send(raw.query("CREATE TABLE one_batch (n int PRIMARY KEY)"))
    session.read_until_ready()
    session.send(raw.parse("", "INSERT INTO one_batch VALUES (1)"), raw.bind("", ""), raw.execute(""),
                 raw.parse("", "SELECT count(*) FROM one_batch"), raw.bind("", ""), raw.execute(""),
                 raw.parse("", "INSERT INTO one_batch VALUES (1)"), raw.bind("", ""), raw.execute(""),
                 raw.SYNC)
    messages = session.read_until_ready()
    assert raw.rows(messages) == [[b"1"]] and raw.sqlstates(messages) == ["23505"]
    session.send(raw.query("SELECT count(*) FROM one_batch"))
    assert raw.rows(session.read_until_ready()) == [[b"0"]]
    session.send(raw.query("DROP TABLE one_batch"))
    session.read_until_ready()


@pytest.mark.core
def test_a_read_flushed_before_a_write_of_the_same_batch(session):
    session.send(raw.query("CREATE TABLE flushed (n int)"))
    session.read_until_ready()
    session.send(raw.parse("", "SELECT count(*) FROM flushed"), raw.bind("", ""), raw.execute(""),
                 raw.FLUSH)
    assert raw.rows(session.read_until("C")) == [[b"0"]]
    session.send(raw.parse("", "INSERT INTO flushed VALUES (1)"), raw.bind("", ""), raw.execute(""),
                 raw.SYNC)
    assert raw.kinds(session.read_until_ready()) == "12CZ"
    session.send(raw.query("SELECT count(*) FROM flushed"))
    assert raw.rows(session.read_until_ready()) == [[b"1"]]
    session.send(raw.query("DROP TABLE flushed"))
    session.read_until_ready()


def test_function_call(session):
    # abs(integer) is pg_proc 1397; arguments and result in binary.
    body = struct.pack("!IHHHIiH", 1397, 1, 1, 1, 4, -5, 1)
    session.send(raw.message(b"F", body))
    messages = session.read_until_ready()
    assert raw.kinds(messages) == "VZ"
    assert messages[0][1] == struct.pack("!Ii", 4, 5)


def test_every_piece_of_a_message_alone(session):
    batch = b"".join([raw.query("SELECT 1"), raw.parse("", "SELECT 2"), raw.bind("", ""),
                      raw.describe("P", ""), raw.execute(""), raw.SYNC])
    for place in range(len(batch)):
        session.send(batch[place:place + 1])
    assert raw.rows(session.read_until_ready()) == [[b"1"]]
    assert raw.rows(session.read_until_ready()) == [[b"2"]]


@pytest.mark.core
def test_ssl_and_gssenc_requests_are_declined_and_startup_goes_on(proxy, target):
    with raw.connect(target.host, target.port) as opened:
        for request in (raw.GSSENC_REQUEST, raw.SSL_REQUEST):
            opened.send(request)
            assert opened.read_exactly(1) == b"N"
        opened.send(raw.startup({"user": target.user, "database": target.dbname}))
        kind, body = opened.read()
        assert kind == "R" and body[:4] == struct.pack("!I", 10)  # SASL
        assert b"SCRAM-SHA-256\0" in body


def test_protocol_3_2_is_negotiated_down(target):
    with raw.connect(target.host, target.port) as opened:
        opened.send(raw.startup({"user": "app", "database": "app", "_pq_.unknown": "1"},
                                raw.PROTOCOL_3_2))
        kind, body = opened.read()
        assert kind == "v"
        newest, count = struct.unpack_from("!II", body)
        assert newest & 0xFFFF == 0 and count == 1
        assert body[8:] == b"_pq_.unknown\0"
        assert opened.read()[0] == "R"


@pytest.mark.core
def test_cancel_keys_are_checked(proxy, target):
    with raw.log_in(target.dsn()) as session:
        session.send(raw.query("SELECT pg_sleep(1.5)"))
        with raw.connect(target.host, target.port) as stranger:
            stranger.send(raw.cancel_request(12345, 67890))
            assert stranger.read_to_end() == []
        messages = session.read_until_ready()
        assert not raw.sqlstates(messages)


def test_a_cancel_between_requests_hits_nothing(target):
    with connect(target) as driver:
        for _ in range(30):
            driver.cancel()
            assert driver.execute("SELECT 1").fetchone() == (1,)


@pytest.mark.core
def test_a_client_that_goes_away_takes_its_query_along(target, cluster):
    text = f"SELECT pg_sleep(60) /* {new_marker()} */"
    condition = f"query = '{text}' AND state = 'active'"
    session = raw.log_in(target.dsn())
    session.send(raw.query(text))
    until(lambda: any(cluster.in_backends(condition).values()), "it runs")
    session.socket.close()
    if not target.direct:  # PostgreSQL itself does not look
        until(lambda: not any(cluster.in_backends(condition).values()), "it is cancelled", 10)
    else:
        for server in cluster.servers:
            server.sql(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {condition}")


def test_terminate_gives_the_server_connections_back_without_a_trace(target, cluster):
    name = new_marker()
    session = raw.log_in(target.dsn(application_name=name))
    for sql in ("SELECT 1", "CREATE TEMP TABLE trace (a int)", "SELECT pg_advisory_lock(4711)"):
        session.send(raw.query(sql))
        session.read_until_ready()
    session.send(raw.message(b"X"))
    assert session.read_to_end() == []
    session.socket.close()
    until(lambda: not any(cluster.in_backends(f"application_name = '{name}' AND (state <> 'idle' "
                                              "OR query <> 'DISCARD ALL')").values()),
          "every backend of the session has been reset")
    until(lambda: cluster.primary.value("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' "
                                        "AND objid = 4711") == 0, "its lock is gone")


def test_big_pipelines_both_ways_do_not_deadlock(session):
    """A client that sends 20,000 queries with 1 KiB each way before it reads anything."""
    count, filler = 20_000, b"x" * 1000
    one = raw.bind("", "echo", filler) + raw.execute("") + raw.SYNC
    session.send(raw.parse("echo", "SELECT $1::text"), raw.SYNC)
    session.read_until_ready()
    sender = threading.Thread(target=lambda: session.send(*([one] * count)), daemon=True)
    sender.start()
    time.sleep(1)  # all buffers on the way fill up meanwhile
    for _ in range(count):
        messages = session.read_until_ready()
        assert raw.rows(messages) == [[filler]]
    sender.join(60 * SLOWDOWN)
    assert not sender.is_alive()


def test_one_batch_of_ten_thousand_statements_before_its_sync(session):
    """No answer is read until all is sent: replies have to be taken in meanwhile."""
    count = 10_000
    batch = [raw.parse("s", "SELECT $1::int, repeat('y', 200)")]
    for n in range(count):
        batch += [raw.bind("", "s", str(n).encode()), raw.execute("")]
    sender = threading.Thread(target=lambda: session.send(*batch, raw.SYNC), daemon=True)
    sender.start()
    time.sleep(0.5)  # all buffers on the way fill up meanwhile
    found = raw.rows(session.read_until_ready())
    assert [int(row[0]) for row in found] == list(range(count))
    sender.join(20 * SLOWDOWN)
