"""An error in answer to a message of pgsteer's own is never taken for a broken server: where it concerns the client's
statement, it is the answer to the client's message, as straight from the server."""

import threading

import psycopg
import pytest

from support import raw
from support.beside import same_as_direct, until_read_on_a_replica
from support.proxy import Pgsteer

pytestmark = pytest.mark.core

B, E, S, H = raw.bind("", "s1"), raw.execute(""), raw.SYNC, raw.FLUSH


class Bystander:
    """Others write, read and ask all the while; nothing of theirs may fail."""

    def __init__(self, dsn):
        self.failed, self.done, self._stop = [], 0, threading.Event()
        self._session = psycopg.connect(dsn, autocommit=True)
        self._thread = threading.Thread(target=self._work)

    def _work(self):
        while not self._stop.is_set():
            for sql in ("SHOW server_version", "SELECT txid_current()", "SELECT 1"):
                try:
                    self._session.execute(sql)
                    self.done += 1
                except psycopg.Error as error:
                    self.failed.append(repr(error))
                    return
            self._stop.wait(0.01)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join()
        self._session.close()


RUNS = 40  # two for each test that drops something


def dsn_of(port, schema):
    return f"host=127.0.0.1 port={port} user=app password=app dbname=app options='-c search_path={schema},public'"


@pytest.fixture(scope="module")
def own_proxy(cluster, leases):
    """Started when all schemas are there: it knows them from the start."""
    cluster.primary.sql("CREATE TABLE kept (n int); ALTER TABLE kept OWNER TO app;" + "".join(
        f"CREATE SCHEMA r{number} AUTHORIZATION app; CREATE TABLE r{number}.gone AS SELECT 10 AS n;"
        f"ALTER TABLE r{number}.gone OWNER TO app;"
        f"CREATE FUNCTION r{number}.gone() RETURNS int IMMUTABLE LANGUAGE plpgsql AS 'BEGIN RETURN 5; END';"
        for number in range(RUNS)))
    cluster.wait_until_replayed()
    with Pgsteer(cluster, leases=leases) as proxy:
        yield proxy
    cluster.primary.sql("DROP TABLE kept;" + "".join(f"DROP SCHEMA r{number} CASCADE;" for number in range(RUNS)))


@pytest.fixture(scope="module")
def unused_schemas():
    return [f"r{number}" for number in range(1, RUNS)]


@pytest.fixture
def beside(own_proxy, cluster, unused_schemas):
    """beside(script): runs it straight and through, with table gone (n int), function gone() and table kept.
    `drop` takes one of them away, from either."""
    schemas = []

    def run(script, drops=False):
        def before(dsn):
            schemas.append(unused_schemas.pop() if drops else "r0")
            cluster.primary.sql("TRUNCATE kept")
            cluster.wait_until_replayed()
            through = dsn_of(own_proxy.port, schemas[-1])
            until_read_on_a_replica(through, "SELECT n FROM gone", "SELECT gone()", "SELECT n FROM kept")
            return dsn_of(cluster.primary.port, schemas[-1]) if dsn == "direct" else through

        with Bystander(dsn_of(own_proxy.port, "public")) as bystander:
            heard = same_as_direct(script, "direct", "through", before)
        assert not bystander.failed and bystander.done > 0
        own_proxy.check_health()
        return heard

    def drop(what):
        cluster.primary.sql(what.replace("gone", f"{schemas[-1]}.gone"))
        cluster.wait_until_replayed()

    run.drop = drop
    return run


def codes(heard):
    return [body["C"] for messages in heard for kind, body in messages if kind == "E"]


DROPPED = {
    "table": ("SELECT n FROM gone", "DROP TABLE gone", "42P01"),
    "column": ("SELECT n FROM gone", "ALTER TABLE gone DROP COLUMN n", "42703"),
    "function": ("SELECT gone()", "DROP FUNCTION gone()", "42883"),
}
USES = {
    "bind": [B, E, S],
    "twice": [B, E, B, E, S],
    "behind another": [raw.parse("", "SELECT 3"), raw.bind("", ""), E, B, E, S],
}


@pytest.mark.parametrize("what,use", [*((what, "bind") for what in DROPPED), *(("table", use) for use in USES if use != "bind")])
def test_what_was_prepared_needs_what_is_dropped(beside, what, use):
    read, drop, code = DROPPED[what]

    def script(session):
        session.say(raw.parse("s1", read), B, E, S)
        beside.drop(drop)
        for _ in range(2):
            session.say(*USES[use])
        session.query("SELECT 4")

    assert set(codes(beside(script, drops=True))) == {code}


def test_describe_of_what_is_gone(beside):
    """Straight from the server its parameters come first, which are not known where it cannot be prepared."""
    def script(session):
        session.say(raw.parse("s1", "SELECT n FROM gone"), B, E, S)
        beside.drop("DROP TABLE gone")
        messages = session.say(raw.describe("S", "s1"), B, E, S)
        del session.heard[-1][:messages[0][0] == "t"]

    assert codes(beside(script, drops=True)) == ["42P01"]


def test_in_a_transaction_it_fails_the_transaction(beside):
    def script(session):
        session.say(raw.parse("s1", "SELECT n FROM gone"), B, E, S)
        session.query("BEGIN")
        session.query("INSERT INTO kept VALUES (1)")
        beside.drop("DROP TABLE gone")
        session.say(B, E, S)
        session.say(B, E, S)
        session.query("COMMIT")
        session.query("SELECT count(*) FROM kept")

    assert codes(beside(script, drops=True)) == ["42P01", "25P02"]


def test_the_unnamed_statement(beside):
    def script(session):
        session.say(raw.parse("", "SELECT n FROM gone"), S)
        beside.drop("DROP TABLE gone")
        session.say(raw.bind("", ""), E, S)
        session.say(raw.bind("", ""), E, S)

    assert codes(beside(script, drops=True)) == ["42P01", "42P01"]


@pytest.mark.parametrize("in_block", [False, True])
def test_execute_in_sql(beside, in_block):
    def script(session):
        session.query("PREPARE s1 AS SELECT n FROM gone")
        session.query("EXECUTE s1")
        beside.drop("DROP TABLE gone")
        if in_block:
            session.query("BEGIN")
            session.query("INSERT INTO kept VALUES (1)")
        session.query("EXECUTE s1")
        session.say(B, E, S)
        session.query("ROLLBACK" if in_block else "SELECT 1")
        session.say(raw.parse("", "EXECUTE s1"), raw.bind("", ""), raw.describe("P", ""), E, S)
        session.query("DEALLOCATE s1")
        session.query("EXECUTE s1")

    beside(script, drops=True)


FAILED_BLOCK_USES = {
    "bind": [[B, E, S]],
    "describe": [[raw.describe("S", "s1"), S]],
    "close and flush": [[raw.close("S", "s1"), H], [S]],
    "close": [[raw.close("S", "s1"), S]],
    "parse again": [[raw.parse("s1", "SELECT 2"), S]],
    "execute": [[raw.query("EXECUTE s1")]],
    "deallocate": [[raw.query("DEALLOCATE s1")]],
    "prepare": [[raw.query("PREPARE s1 AS SELECT 2")]],
}


@pytest.mark.parametrize("use", FAILED_BLOCK_USES)
@pytest.mark.parametrize("by", ["parse", "prepare"])
def test_in_a_failed_block(beside, use, by):
    """The statement is prepared on a replica only, and nothing can be prepared in the failed block."""
    def script(session):
        if by == "parse":
            session.say(raw.parse("s1", "SELECT n FROM gone"), B, E, S)
        else:
            session.query("PREPARE s1 AS SELECT n FROM gone")
            session.query("EXECUTE s1")
        session.query("BEGIN")
        session.query("INSERT INTO kept VALUES (1)")
        session.query("SELECT 1/0 FROM kept")
        for parts in FAILED_BLOCK_USES[use]:
            if parts[-1] == H:
                session.session.send(*parts)
                session.hear_until("3")
            else:
                session.say(*parts)
        session.say(B, E, S)
        session.query("ROLLBACK")
        session.say(B, E, S)
        session.say(raw.parse("s1", "SELECT 9"), S)
        session.say(B, E, S)
        session.query("SELECT count(*) FROM kept")

    beside(script)


@pytest.mark.parametrize("prepared", [False, True])
@pytest.mark.parametrize("again", [False, True])
def test_unnamed_statements_that_fail(beside, prepared, again):
    def script(session):
        if prepared:
            session.say(raw.parse("", "SELECT n FROM gone"), raw.bind("", ""), E, S)
        session.query("INSERT INTO kept VALUES (1)")
        session.say(raw.close("S", ""), raw.parse("", "SELECT nosuch FROM gone"), S)
        if again:
            session.say(raw.parse("", "SELECT n FROM gone"), S)
        session.say(raw.parse("", "SELECT 1 FROM nosuch"), S)
        session.say(E, raw.bind("", ""), S)
        session.say(raw.bind("", ""), E, S)
        session.say(raw.parse("", "SELECT 1"), S)
        session.say(raw.bind("", ""), E, S)

    beside(script)


def test_another_search_path(beside):
    def script(session):
        session.query("SET search_path = r0")
        session.say(raw.parse("s1", "SELECT n FROM gone"), B, E, S)
        session.query("SET search_path = public")
        session.say(B, E, S)
        session.query("INSERT INTO public.kept VALUES (1)")
        session.say(B, E, S)
        session.query("BEGIN")
        session.query("INSERT INTO public.kept VALUES (1)")
        session.say(B, E, S)
        session.query("ROLLBACK")
        session.query("SET search_path = r0")
        session.say(B, E, S)

    assert codes(beside(script)) == ["42P01", "42P01", "42P01"]


def test_in_a_pipeline_each_gets_its_own_error(beside):
    def script(session):
        session.say(raw.parse("s1", "SELECT n FROM gone"), B, E, S)
        beside.drop("DROP TABLE gone")
        session.say(B, E, S, raw.query("INSERT INTO kept VALUES (1)"), B, E, S, B, E, S,
                    raw.query("SELECT count(*) FROM kept"), ready=5)

    assert codes(beside(script, drops=True)) == ["42P01"] * 3


def test_what_another_error_has_skipped_is_prepared_for_the_next(beside):
    """The statement is prepared again in a request that fails before it comes to that."""
    def script(session):
        session.say(raw.parse("s1", "SELECT n FROM gone"), B, E, S)
        session.query("BEGIN")
        session.query("INSERT INTO kept VALUES (1)")
        session.query("SAVEPOINT a")
        session.say(raw.parse("", "SELECT 1/0 FROM kept"), raw.bind("", ""), E, B, E, S,
                    raw.query("ROLLBACK TO a"), B, E, S, B, E, S, ready=4)
        session.query("COMMIT")

    assert codes(beside(script)) == ["22012"]


def test_names_in_use_on_the_other_connection(beside):
    """Parse and PREPARE of a name in use fail, DEALLOCATE finds it, whatever has become of the table meanwhile."""
    def script(session):
        session.say(raw.parse("s1", "SELECT n FROM gone"), B, E, S)
        beside.drop("DROP TABLE gone")
        for part in (raw.query("INSERT INTO kept VALUES (1)"), raw.query("PREPARE s1 AS INSERT INTO kept VALUES (2)")):
            session.say(part)
        session.say(raw.parse("s1", "INSERT INTO kept VALUES (3)"), S)
        session.query("BEGIN")
        session.query("INSERT INTO kept VALUES (1)")
        session.query("DEALLOCATE s1")
        session.say(raw.parse("s1", "INSERT INTO kept VALUES (4) RETURNING n"), B, E, S)
        session.query("COMMIT")
        session.say(B, E, S)
        session.query("SELECT n FROM kept ORDER BY n")

    beside(script, drops=True)
