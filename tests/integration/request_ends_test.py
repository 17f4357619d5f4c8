"""Requests end where PostgreSQL ends them, and what it skips is skipped: each script of messages runs on a direct
connection and through pgsteer, from the same state. Every message is compared, in particular how many ReadyForQuery
come and what they say, what the table holds at the end, and that no transaction stays behind."""

import time

import pytest

from support import raw
from support.cluster import new_marker
from support.raw import FLUSH as H, SYNC as S, bind as B, close as C, describe as D, execute as E, query as Q
from support.waiting import until

TABLE = "request_ends"
READ = f"SELECT v FROM {TABLE} WHERE id = 1"
FAILING_READ = f"SELECT 10 / (id - 2) FROM {TABLE} ORDER BY id"
WRITE = f"INSERT INTO {TABLE} VALUES (100, 'written')"
COPY = f"COPY {TABLE} FROM STDIN"
GOOD = raw.message(b"d", b"50\tcopied\n")
MORE = raw.message(b"d", b"51\tcopied\n")
BAD = raw.message(b"d", b"no number\tcopied\n")
DONE = raw.message(b"c")
FAIL = raw.message(b"f", b"changed my mind\0")
NO_TYPE = raw.message(b"z", b"")
SPLIT = object()  # what follows comes in a later packet, when the client has had nothing to say for a while


def P(text, name=""):
    return raw.parse(name, text)


def F(oid=1317, argument=b"four"):
    """FunctionCall, length(text) unless said otherwise; everything as text."""
    return raw.message(b"F", oid.to_bytes(4, "big") + b"\0\0\0\1" + len(argument).to_bytes(4, "big") + argument +
                       b"\0\0")


def run(text):
    return P(text) + B("", "") + E("")


NOT_A_FUNCTION = F(1)
UNKNOWN = run("SELECT * FROM never_was")
SCRIPTS = {
    # --- what follows a failed message before the Sync is skipped, whatever it is
    "query behind an unknown table": [UNKNOWN, Q("SELECT 7"), S, Q("SELECT 8")],
    "function call behind an unknown table": [UNKNOWN, F(), S, Q("SELECT 8")],
    "query behind an unknown table, sync later": [UNKNOWN, Q("SELECT 7"), SPLIT, S, SPLIT, Q("SELECT 8")],
    "query later, sync later": [UNKNOWN, SPLIT, Q("SELECT 7"), SPLIT, S, SPLIT, Q("SELECT 8")],
    "query after the error was seen": [UNKNOWN, H, "E", Q("SELECT 7"), SPLIT, S, "Z", Q("SELECT 8")],
    "function call later, sync later": [UNKNOWN, SPLIT, F(), SPLIT, S, SPLIT, Q("SELECT 8")],
    "several queries": [UNKNOWN, Q("SELECT 5"), Q(WRITE), F(), Q("SELECT 7"), S, Q("SELECT 8")],
    "several queries one by one": [UNKNOWN, SPLIT, Q("SELECT 5"), SPLIT, Q(WRITE), SPLIT, F(), SPLIT, S, Q("SELECT 8")],
    "a whole pipeline before the sync": [UNKNOWN, Q("SELECT 5"), run(WRITE), Q(READ), run(READ), S, run(READ), S],
    "a read that fails, queries, sync": [run(FAILING_READ), Q(READ), Q(WRITE), S, Q(READ)],
    "a read that fails, queries of both kinds one by one":
        [run(FAILING_READ), SPLIT, Q(READ), SPLIT, Q(WRITE), SPLIT, S, Q(READ)],
    "a write that fails, queries, sync": [run(f"INSERT INTO {TABLE} VALUES (1, '')"), Q(READ), Q(WRITE), S, Q(READ)],
    "queries that run behind extended messages": [run(READ), Q("SELECT 7"), run(WRITE), Q(READ), S, Q("SELECT 8")],
    "queries that fail behind extended messages": [run(READ), Q("SELECT 1/0"), run(WRITE), F(1), run(READ), S],
    "an error in a query skips nothing": [Q("SELECT 1/0"), run(WRITE), S, F(1), Q(READ)],
    "two errors, two syncs": [UNKNOWN, Q(READ), S, UNKNOWN, F(), Q(READ), S, run(READ), S],
    "syncs only": [S, S, SPLIT, S, Q("SELECT 8")],
    "flushes only": [H, H, SPLIT, H, Q(READ), H, SPLIT, Q(READ)],
    "a large query is skipped": [UNKNOWN, H, "E", Q("SELECT '" + "x" * 300_000 + "'"), S, Q("SELECT 8")],
    "a large bind is skipped": [UNKNOWN, H, "E", raw.bind("", "", b"x" * 300_000), E(""), S, Q("SELECT 8")],
    "copy data is skipped": [UNKNOWN, H, "E", GOOD, DONE, FAIL, Q(WRITE), S, Q("SELECT 8")],
    "statements named while messages are skipped":
        [UNKNOWN, H, "E", P(READ, "skipped"), Q("PREPARE skipped_too AS SELECT 1"), S,
         B("", "skipped"), E(""), S, Q("EXECUTE skipped_too"), P(READ, "skipped"), B("", "skipped"), E(""), S],
    "in a block, query": [Q("BEGIN"), UNKNOWN, Q("SELECT 7"), S, Q("SELECT 8"), Q("ROLLBACK"), Q(READ)],
    "in a block, one by one": [Q("BEGIN"), SPLIT, UNKNOWN, SPLIT, Q("SELECT 7"), SPLIT, S, SPLIT, Q("COMMIT"), Q(READ)],
    "in a block behind a write": [Q("BEGIN"), Q(WRITE), UNKNOWN, Q("COMMIT"), S, Q("COMMIT"), Q(READ)],
    "commit is skipped": [Q("BEGIN"), run(WRITE), S, UNKNOWN, H, "E", Q("COMMIT"), S, "Z", Q("COMMIT"), Q(READ)],
    "begin is skipped": [UNKNOWN, Q("BEGIN"), S, Q(WRITE), UNKNOWN, H, "E", Q("BEGIN"), run("BEGIN"), S, Q(READ)],
    # --- a write behind a read that fails
    "a flushed read fails, then a write": [run(FAILING_READ), H, "E", run(WRITE), S, Q(READ)],
    "a flushed read fails, then a write at once": [run(FAILING_READ), H, run(WRITE), S, Q(READ)],
    "a flushed read fails, then a write, then sync later": [run(FAILING_READ), H, run(WRITE), SPLIT, S, Q(READ)],
    "a flushed read fails, then a query that writes": [run(FAILING_READ), H, "E", Q(WRITE), SPLIT, S, Q(READ)],
    "a read fails in its second row": [P(FAILING_READ), D("S", ""), H, "T", B("", ""), E("", 1), E(""), H, "E", run(WRITE),
                                       S, Q(READ)],
    "a read fails, then a write in a block":
        [Q("BEGIN"), run(FAILING_READ), H, "E", run(WRITE), S, Q("COMMIT"), Q(READ)],
    "a read fails, then a write in a block at once":
        [Q("BEGIN"), run(FAILING_READ), H, run(WRITE), S, Q("COMMIT"), Q(READ)],
    "a read fails, then a query that writes in a block":
        [Q("BEGIN"), run(FAILING_READ), H, "E", Q(WRITE), Q("COMMIT"), S, Q("COMMIT"), Q(READ)],
    "begin with the read that fails":
        [run("BEGIN"), run(FAILING_READ), H, "E", run(WRITE), run("COMMIT"), S, Q("COMMIT"), Q(READ)],
    "a flushed read, then a write": [run(READ), H, "C", run(WRITE), H, "C", run(READ), S, Q(READ)],
    "a flushed read, then a write, then an error": [run(READ), H, "C", run(WRITE), H, "C", UNKNOWN, S, Q(READ)],
    "a write, then a read that fails": [run(WRITE), H, "C", run(FAILING_READ), S, Q(READ)],
    # --- what has no end yet
    "a write without an end": [run(WRITE), SPLIT, S, Q(READ)],
    "a read in pieces": [P(READ), SPLIT, B("", ""), SPLIT, E(""), SPLIT, S, Q(READ)],
    "a read and a write in pieces": [P(READ), SPLIT, B("", ""), E(""), P(WRITE), SPLIT, B("", ""), SPLIT, E(""), S, Q(READ)],
    "an error without an end": [UNKNOWN, "E", S, Q(READ)],
    "begin behind a read without an end": [run(READ), SPLIT, Q("BEGIN"), SPLIT, Q(WRITE), Q("ROLLBACK"), Q(READ)],
    "begin in pieces": [P("BEGIN"), SPLIT, B("", ""), E(""), SPLIT, S, run(WRITE), SPLIT, S, run("ROLLBACK"), SPLIT, S],
    "a setting without an end": [run("SET application_name = 'abc'"), SPLIT, Q("SHOW application_name"),
                                 run("SHOW application_name"), S],
    "a bad option of ours is not needed here": [run(READ), SPLIT, run("SET work_mem = 'none'"), SPLIT, Q(READ), S],
    # --- COPY FROM STDIN
    "copy, all at once": [run(COPY), S, GOOD, DONE, S, Q(READ), Q("SELECT count(*) FROM " + TABLE)],
    "copy, sync behind execute": [run(COPY), S, "G", GOOD, DONE, S, "Z", Q(READ)],
    "copy, then a read elsewhere": [run(COPY), S, GOOD, DONE, S, run(READ), S, run(WRITE), S, run(READ), S],
    "copy, two syncs and flushes": [run(COPY), S, H, S, "G", GOOD, H, S, MORE, DONE, S, Q(READ)],
    "copy, flush": [run(COPY), H, "G", GOOD, DONE, S, Q(READ)],
    "copy, nothing behind execute": [run(COPY), "G", GOOD, DONE, SPLIT, S, Q(READ)],
    "copy in a block": [Q("BEGIN"), run(COPY), S, "G", GOOD, DONE, S, "Z", Q("COMMIT"), Q(READ)],
    "copy in a block, all at once": [run("BEGIN"), S, run(COPY), S, GOOD, DONE, S, run("COMMIT"), S, Q(READ)],
    "copy, then more before the sync": [run(COPY), S, GOOD, DONE, run(READ), Q(READ), run(WRITE), S, Q(READ)],
    "two copies in a pipeline": [run(COPY), S, GOOD, DONE, S, run(COPY), S, MORE, DONE, S, Q(READ)],
    "two copies before one sync": [run(COPY), GOOD, DONE, run(COPY), MORE, DONE, S, Q(READ)],
    "copy fails at the client's wish": [run(COPY), S, "G", GOOD, FAIL, S, "Z", Q(READ)],
    "copy fails at the client's wish, at once": [run(COPY), S, GOOD, FAIL, S, Q(READ)],
    "copy of no table": [run("COPY never_was FROM STDIN"), S, GOOD, DONE, S, Q(READ)],
    "copy of no table, sync behind the data": [run("COPY never_was FROM STDIN"), GOOD, DONE, S, Q(READ)],
    "copy of bad data": [run(COPY), S, "G", BAD, DONE, S, "Z", Q(READ)],
    "copy of bad data at once": [run(COPY), S, BAD, DONE, S, Q(READ)],
    "copy of bad data, sync but no end": [run(COPY), H, "G", BAD, S, "Z", Q(READ)],
    "copy of bad data, end later": [run(COPY), H, "G", BAD, S, "Z", DONE, S, "Z", Q(READ)],
    "copy of bad data, two syncs": [run(COPY), S, "G", BAD, S, DONE, S, Q(READ)],
    "copy of good and bad data, syncs between": [run(COPY), S, "G", GOOD, S, BAD, S, DONE, S, Q(READ)],
    "copy of good and bad data, one sync between": [run(COPY), S, "G", GOOD, S, BAD, DONE, S, Q(READ)],
    "copy of good and bad data, all at once": [run(COPY), S, GOOD, S, S, BAD, S, DONE, S, run(READ), S, Q(READ)],
    "copy of good and bad data, then an error": [run(COPY), S, GOOD, S, BAD, DONE, UNKNOWN, Q(READ), S, run(READ), S],
    "copy of bad data, error seen": [run(COPY), S, "G", BAD, "E", GOOD, DONE, Q(WRITE), S, "Z", Q(READ)],
    "copy of bad data in a block": [Q("BEGIN"), run(COPY), S, "G", BAD, DONE, S, "Z", Q("COMMIT"), Q(READ)],
    "simple copy, sync inside": [Q(COPY), S, "G", GOOD, S, H, MORE, DONE, "Z", Q(READ)],
    "simple copy, sync inside, in the middle": [Q(COPY), "G", GOOD, S, MORE, H, S, DONE, "Z", Q(READ)],
    "simple copy, sync inside and behind": [Q(COPY), S, GOOD, S, DONE, S, Q(READ)],
    "simple copy, all at once": [Q(COPY), GOOD, DONE, Q(READ), Q(COPY), MORE, DONE, run(READ), S],
    "simple copies in one text": [Q(f"{COPY}; {COPY}; {READ}"), GOOD, S, DONE, MORE, S, DONE, Q(READ)],
    "simple copy fails": [Q(COPY), "G", GOOD, FAIL, S, Q(READ)],
    "simple copy of bad data": [Q(COPY), "G", BAD, "Z", GOOD, DONE, S, Q(READ)],
    "simple copy of bad data at once": [Q(COPY), BAD, GOOD, DONE, S, Q(READ)],
    "simple copy of bad data, sync before its end": [Q(COPY), "G", BAD, S, DONE, S, Q(READ)],
    "simple copy of good and bad data, syncs between": [Q(COPY), S, "G", GOOD, S, BAD, S, DONE, S, Q(READ)],
    "simple copy of good and bad data, syncs between, a read": [Q(COPY), S, GOOD, S, BAD, S, DONE, run(READ), S, Q(READ)],
    "simple copy in a block": [Q("BEGIN"), Q(COPY), S, "G", GOOD, S, DONE, "Z", Q("COMMIT"), Q(READ)],
    "simple copy of bad data in a block": [Q("BEGIN"), Q(COPY), S, BAD, S, DONE, S, Q("COMMIT"), Q(READ)],
    "copy data without a copy": [GOOD, DONE, FAIL, Q(READ), DONE, run(READ), GOOD, DONE, S, Q(READ)],
    "copy out with syncs": [run(f"COPY {TABLE} TO STDOUT"), S, Q(f"COPY {TABLE} TO STDOUT"), S, Q(READ)],
    "data of a copy that is none in a block, a query": [Q("BEGIN"), Q(WRITE), Q(COPY), "G", GOOD, Q(READ)],
    "a parse during a copy in a block": [Q("BEGIN"), Q(WRITE), run(COPY), H, "G", GOOD, run(READ), S],
    "an execute during a simple copy in a block": [Q("BEGIN"), Q(WRITE), Q(COPY), "G", E("")],
    "a query during a simple copy": [Q(COPY), "G", GOOD, Q(READ)],
    "a query during a simple copy at once": [Q(COPY), Q(READ)],
    "begin during a copy": [run(COPY), H, "G", GOOD, Q("BEGIN")],
    "a parse during a copy": [run(COPY), H, "G", GOOD, run(READ), S],
    # --- names
    "a skipped query leaves the unnamed statement": [P(READ), S, D("S", "none"), Q("SELECT 2"), S, B("", ""), E(""), S],
    "a query that fails does not": [P(READ), S, Q("SELECT 1/0"), B("", ""), E(""), S],
    "a query elsewhere does not": [P(WRITE), S, Q(READ), B("", ""), E(""), S, Q(READ)],
    "a query elsewhere, described": [P(WRITE), S, SPLIT, Q(READ), SPLIT, D("S", ""), S],
    "a query elsewhere, then another statement": [P(WRITE), S, Q(READ), P(READ), B("", ""), E(""), S],
    "a skipped parse of the unnamed statement": [P(WRITE), S, E("none"), P("SHOW work_mem"), S, B("", ""), E(""), S],
    "a skipped parse of a name": [P(READ, "n"), S, E("none"), C("S", "n"), P(WRITE, "n"), S, B("", "n"), E(""), S],
    "a skipped parse of a new name": [E("none"), P(READ, "n"), S, P(WRITE, "n"), B("", "n"), E(""), S, B("", "n"), E(""), S],
    "a parse that fails": [P(READ), S, P("SELECT 1; SELECT 2"), S, B("", ""), E(""), S],
    "a prepare that fails": [run("PREPARE n AS SELECT 1 FROM never_was"), S, P(READ, "n"), B("", "n"), E(""), S],
    "a prepare that is skipped": [E("none"), run("PREPARE n AS SELECT 1"), S, Q("EXECUTE n"), P(READ, "n"), S],
    "begin by a portal with a name": [P("BEGIN", "n"), B("c", "n"), E("c"), S, D("P", "none"), S, E("c"), S],
    "begin by a portal with a name, closed in sql": [P("BEGIN", "n"), B("c", "n"), E("c"), S, run("CLOSE c"), S],
    "begin by a portal with a name, then read write":
        [P("BEGIN READ ONLY", "n"), B("c", "n"), E("c"), S, Q("SET TRANSACTION READ WRITE"), run(WRITE), S, Q("COMMIT"), Q(READ)],
    "begin by a portal with a name, used again": [P("BEGIN"), B("c", ""), E("c"), S, P(READ), B("c", ""), E("c"), S],
    # --- what is no message
    "nothing of that type": [run(READ), S, NO_TYPE, Q(READ)],
    "nothing of that type behind a query": [Q(WRITE), NO_TYPE],
    "nothing of that type behind a batch": [run(READ), NO_TYPE],
    "nothing of that type behind a write": [run(WRITE), NO_TYPE, S, Q(READ)],
    "nothing of that type behind an error": [UNKNOWN, NO_TYPE, S, Q(READ)],
    "nothing of that type in a block": [Q("BEGIN"), Q(WRITE), NO_TYPE],
    "a password": [C("S", ""), raw.message(b"p", b"secret\0"), S],
}
MALFORMED = {kind: raw.message(kind.encode(), body) for kind, body in {
    "P": b"", "B": b"none", "D": b"Xname\0", "C": b"x\0", "E": b"", "S": b"body", "H": b"\0", "Q": b"SELECT 1", "F": b"\0"}.items()}
for KIND, MESSAGE in MALFORMED.items():
    SCRIPTS |= {
        f"malformed {KIND}": [MESSAGE, S, P(READ, "n"), S, run(WRITE), MESSAGE, run(WRITE), Q(READ), S, B("", "n"), E(""), S],
        f"malformed {KIND} in a block": [run("BEGIN"), S, MESSAGE, S, Q(READ), Q("COMMIT"), run(READ), H, MESSAGE, S, Q(READ)],
    }
SCRIPTS |= {f"malformed {KIND} that is skipped": [UNKNOWN, H, "E", MALFORMED[KIND], S, Q(READ)] for KIND in "SQ"}


def play(script, dsn):
    """Everything that comes back; "closed" as the last if the connection is closed."""
    seen = []
    with raw.log_in(dsn, timeout=6) as session:
        try:
            for step in script:
                if step is SPLIT:
                    time.sleep(0.03)
                elif isinstance(step, str):
                    seen += session.read_until(step)
                else:
                    send(session, step)
            send(session, Q("ROLLBACK"), Q("SELECT 'the end'"))
            while not (seen and seen[-1][0] == "D" and b"the end" in seen[-1][1]):
                seen.append(session.read())
            seen += session.read_until_ready()
        except (EOFError, ConnectionResetError, BrokenPipeError):
            seen.append(("closed", b""))
        except TimeoutError:
            seen.append(("nothing more comes", b""))
    return [(kind, said(body) if kind in "EN" else body) for kind, body in seen]


def send(session, *messages):
    """What was said before the other side has closed is still to be read."""
    try:
        session.send(*messages)
    except (ConnectionResetError, BrokenPipeError):
        pass


def said(body):
    """Where PostgreSQL's source says so tells that it is not of ours, but where that is told in the same words."""
    fields = raw.fields(body)
    return {name: value for name, value in fields.items() if name not in "FLR"} if "message type 1" in fields["M"] else fields


def packets(script):
    """What stands together goes out in one send."""
    joined = []
    for step in script:
        if isinstance(step, bytes) and joined and isinstance(joined[-1], bytes):
            joined[-1] += step
        else:
            joined.append(step)
    return joined


@pytest.fixture(scope="module")
def table(cluster):
    # Never analyzed: another plan may find the division by zero before its first row is sent.
    cluster.primary.sql(f"CREATE TABLE {TABLE} (id int PRIMARY KEY, v text) WITH (autovacuum_enabled = off);"
                        f"ALTER TABLE {TABLE} OWNER TO app")
    yield TABLE
    cluster.primary.sql(f"DROP TABLE {TABLE}")


@pytest.fixture(scope="module")
def lazy_proxy(cluster, leases):
    from support.proxy import Pgsteer
    with Pgsteer(cluster, {"routing": {"transactions": "lazy"}}, leases=leases) as running:
        yield running


def compare(script, cluster, proxy, table):
    def outcome(server):
        cluster.primary.sql(f"DELETE FROM {table}; INSERT INTO {table} VALUES (1, 'one'), (2, 'two'), (3, 'three')")
        cluster.wait_until_replayed()
        name = new_marker()
        messages = play(packets(script), f"host={server.host} port={server.port} user=app password=app dbname=app "
                                         f"application_name={name}")
        until(lambda: not any(cluster.in_backends(
            f"application_name = '{name}' AND (state <> 'idle' OR xact_start IS NOT NULL)").values()),
            "no transaction stays behind")
        return messages, cluster.primary.value(f"SELECT array_agg(t ORDER BY id)::text FROM {table} t")

    direct, through = outcome(cluster.primary), outcome(proxy)
    assert through[0] == direct[0]
    assert through[1] == direct[1]


@pytest.mark.parametrize("name", SCRIPTS)
def test_as_direct(cluster, proxy, table, name):
    compare(SCRIPTS[name], cluster, proxy, table)


@pytest.mark.parametrize("name", [name for name in SCRIPTS if "begin" in name or "block" in name or "fails" in name])
def test_as_direct_in_lazy_transactions(cluster, lazy_proxy, table, name):
    compare(SCRIPTS[name], cluster, lazy_proxy, table)


# In single messages: each is read, and answered if it can be, before the next one comes.
@pytest.mark.parametrize("name", SCRIPTS)
def test_as_direct_one_message_at_a_time(cluster, proxy, table, name):
    script = []
    for step in SCRIPTS[name]:
        if not isinstance(step, bytes):
            script.append(step)
            continue
        while step:
            size = 1 + int.from_bytes(step[1:5], "big")
            script += [step[:size], SPLIT]
            step = step[size:]
    compare(script, cluster, proxy, table)
