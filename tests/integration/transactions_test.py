"""Explicit transactions: which replica-safe ones leave the primary, and that nobody notices."""

import os
import random

import psycopg
import pytest
from psycopg import errors

from support import raw
from support.cluster import new_marker
from support.session import connect, dsn, on_replicas, roles, run
from support.waiting import until

# Long enough for any machine: a wait ends as soon as a replica has caught up.
LAZY = {"routing": {"transactions": "lazy", "freshness_wait": "20s"}}


@pytest.fixture(scope="module")
def table(cluster):
    cluster.primary.sql(
        "CREATE TABLE moving (id int PRIMARY KEY, n int);"
        "INSERT INTO moving SELECT g, 0 FROM generate_series(1, 10) g;"
        "ALTER TABLE moving OWNER TO app;"
        "CREATE SEQUENCE moving_s; ALTER SEQUENCE moving_s OWNER TO app;"
        "CREATE FUNCTION moving_writes() RETURNS int LANGUAGE sql VOLATILE AS"
        " 'UPDATE moving SET n = n + 1 WHERE id = 10 RETURNING n';"
        "CREATE FUNCTION moving_liar() RETURNS int LANGUAGE plpgsql STABLE AS"
        " 'BEGIN RETURN moving_writes(); END'")
    cluster.wait_until_replayed()
    yield
    cluster.primary.sql("DROP FUNCTION moving_liar(); DROP FUNCTION moving_writes();"
                        "DROP TABLE moving; DROP SEQUENCE moving_s")


@pytest.fixture(scope="module")
def lazy(cluster, leases, table):
    from support.proxy import Pgsteer  # pylint: disable=import-outside-toplevel
    with Pgsteer(cluster, LAZY, leases=leases) as running:
        yield running


class Script:
    """Runs statements and remembers where each ran."""

    def __init__(self, cluster, session):
        self.cluster = cluster
        self.session = session

    def run(self, sql, *parameters):
        """Its rows, and the servers on which it ran, replicas all called `replica`."""
        rows, servers = run(self.cluster, self.session, sql, *parameters)
        return rows, "+".join(sorted(roles(servers)))

    def place(self, sql):
        return self.run(sql)[1]


@pytest.fixture
def script(lazy, cluster):
    with connect(lazy) as session:
        session.execute("SELECT 1")
        yield Script(cluster, session)


def test_a_transaction_that_only_reads_stays_on_a_replica(script):
    assert script.place("BEGIN") == ""
    assert script.place("SELECT n FROM moving WHERE id = 1") == "replica"
    assert script.place("SELECT count(*) FROM moving") == "replica"
    assert script.place("COMMIT") == "replica"


def test_nothing_is_asked_of_a_server_for_an_empty_transaction(script):
    for end in "COMMIT", "ROLLBACK", "END", "ABORT":
        assert script.run("BEGIN") == ("BEGIN", "")
        assert script.run(end) == ("COMMIT" if end in ("COMMIT", "END") else "ROLLBACK", "")
    assert script.run("START TRANSACTION") == ("START TRANSACTION", "")
    assert script.run("COMMIT AND CHAIN") == ("COMMIT", "")
    assert script.session.info.transaction_status == psycopg.pq.TransactionStatus.INTRANS
    assert script.run("ROLLBACK") == ("ROLLBACK", "")
    assert script.session.info.transaction_status == psycopg.pq.TransactionStatus.IDLE


def test_the_first_write_moves_it(script):
    script.run("UPDATE moving SET n = 5 WHERE id = 1")
    script.run("BEGIN")
    assert script.run("SELECT n FROM moving WHERE id = 1") == ([(5,)], "replica")
    assert script.place("UPDATE moving SET n = n + 1 WHERE id = 1") == "primary"
    assert script.run("SELECT n FROM moving WHERE id = 1") == ([(6,)], "primary")
    assert script.place("ROLLBACK") == "primary"
    assert script.run("SELECT n FROM moving WHERE id = 1")[0] == [(5,)]
    script.run("BEGIN")
    assert script.place("UPDATE moving SET n = 7 WHERE id = 1") == "primary"
    assert script.place("COMMIT") == "primary"
    assert script.run("SELECT n FROM moving WHERE id = 1")[0] == [(7,)]


def test_settings_and_savepoints_move_with_it(script):
    script.run("BEGIN")
    script.run("SET LOCAL work_mem = '3MB'")
    assert script.place("SELECT 1 FROM moving") == "replica"
    script.run("SAVEPOINT a")
    script.run("SET LOCAL work_mem = '4MB'")
    script.run("SET LOCAL lock_timeout = '7s'")
    script.run("SAVEPOINT b")
    script.run("SELECT set_config('my.local', 'x', true)")
    assert script.place("SELECT 2 FROM moving") == "replica"
    script.run("RELEASE b")
    assert script.place("INSERT INTO moving VALUES (100, 1)") == "primary"
    assert script.run("SHOW work_mem")[0] == [("4MB",)]
    assert script.run("SHOW lock_timeout")[0] == [("7s",)]
    assert script.run("SHOW my.local")[0] == [("x",)]
    script.run("ROLLBACK TO a")
    assert script.run("SHOW work_mem")[0] == [("3MB",)]
    assert script.run("SELECT count(*) FROM moving WHERE id = 100")[0] == [(0,)]
    with pytest.raises(errors.InvalidSavepointSpecification):
        script.run("ROLLBACK TO b")
    script.run("ROLLBACK")
    assert script.run("SHOW work_mem")[0] == [("4MB",)]


def test_a_setting_made_on_the_replica_lasts(script):
    script.run("BEGIN")
    script.run("SET work_mem = '5MB'")
    script.run("SELECT 1 FROM moving")
    script.run("SELECT nextval('moving_s')")
    script.run("COMMIT")
    assert script.run("SHOW work_mem") == ([("5MB",)], "primary")
    assert script.run("SELECT current_setting('work_mem') FROM moving WHERE id = 1") == ([("5MB",)], "replica")


@pytest.mark.parametrize("sql", [
    "SELECT now()", "SELECT CURRENT_TIMESTAMP", "SELECT CURRENT_DATE", "SELECT LOCALTIME",
    "SELECT transaction_timestamp()", "SELECT age(timestamp '2001-01-01')",
    "SELECT n FROM moving WHERE now() > '2001-01-01'",
    "DECLARE c CURSOR FOR SELECT 1", "SET CONSTRAINTS ALL DEFERRED", "SELECT nextval('moving_s')",
    "SELECT n FROM moving WHERE id = 1 FOR UPDATE", "LOCK TABLE moving", "LISTEN moving", "SHOW work_mem",
    "SELECT pg_advisory_xact_lock(1)", "SELECT moving_writes()", "SELECT pg_backend_pid()"])
def test_what_has_to_be_on_the_primary_moves_it(script, sql):
    script.run("BEGIN")
    script.run("SELECT 1 FROM moving")
    assert script.place(sql) == "primary"
    assert script.place("SELECT 1 FROM moving") == "primary"
    script.run("ROLLBACK")
    script.run("BEGIN")
    assert script.place(sql) == "primary"
    script.run("ROLLBACK")


def test_the_time_of_a_transaction_stands_still(script):
    script.run("BEGIN")
    script.run("SELECT 1 FROM moving")
    first = script.run("SELECT now()")[0]
    script.run("INSERT INTO moving VALUES (101, 1)")
    assert script.run("SELECT now()")[0] == first
    script.run("ROLLBACK")


@pytest.mark.parametrize("begin", ["BEGIN ISOLATION LEVEL REPEATABLE READ", "BEGIN ISOLATION LEVEL SERIALIZABLE",
                                   "BEGIN READ WRITE"])
def test_other_kinds_start_on_the_primary(script, begin):
    script.run(begin)
    assert script.place("SELECT 1 FROM moving") == "primary"
    script.run("ROLLBACK")


def test_a_failed_transaction_on_a_replica_stays_failed(script):
    script.run("BEGIN")
    script.run("SELECT 1 FROM moving")
    with pytest.raises(errors.DivisionByZero):
        script.run("SELECT n / 0 FROM moving")
    with pytest.raises(errors.InFailedSqlTransaction):
        script.run("SELECT 1 FROM moving")
    with pytest.raises(errors.InFailedSqlTransaction):
        script.run("INSERT INTO moving VALUES (102, 1)")
    assert script.run("COMMIT")[0] == "ROLLBACK"
    assert script.place("SELECT 1 FROM moving") == "replica"


def test_a_savepoint_heals_a_failed_transaction_which_then_moves(script):
    script.run("BEGIN")
    script.run("SELECT 1 FROM moving")
    script.run("SAVEPOINT a")
    with pytest.raises(errors.DivisionByZero):
        script.run("SELECT n / 0 FROM moving")
    script.run("ROLLBACK TO a")
    assert script.place("INSERT INTO moving VALUES (103, 1)") == "primary"
    script.run("ROLLBACK TO a")
    assert script.run("COMMIT")[0] == "COMMIT"


def test_what_a_replica_could_not_do_moves_it_too(script):
    script.run("BEGIN")
    script.run("SET LOCAL work_mem = '3MB'")
    script.run("SELECT 1 FROM moving")
    before = script.session.execute("SELECT n FROM moving WHERE id = 10").fetchone()[0]
    assert script.run("SELECT moving_liar()") == ([(before + 1,)], "primary+replica")
    assert script.run("SHOW work_mem")[0] == [("3MB",)]
    script.run("ROLLBACK")
    assert script.run("SELECT n FROM moving WHERE id = 10")[0] == [(before,)]


def test_as_the_first_statement(script):
    script.run("BEGIN")
    _, place = script.run("SELECT moving_liar()")
    assert place == "primary+replica"
    assert script.place("SELECT 1 FROM moving") == "primary"
    script.run("ROLLBACK")


def test_prepared_statements_are_there_after_the_move(script):
    session = script.session
    session.execute("BEGIN")
    for n in 1, 2, 3:
        assert session.execute("SELECT n + %s FROM moving WHERE id = 2", (n,), prepare=True).fetchone() == (n,)
    session.execute("UPDATE moving SET n = 9 WHERE id = %s", (2,), prepare=True)
    assert session.execute("SELECT n + %s FROM moving WHERE id = 2", (1,), prepare=True).fetchone() == (10,)
    session.execute("ROLLBACK")


@pytest.mark.parametrize("write", ["EXECUTE moving_p (8)", "UPDATE moving SET n = 8 WHERE id = 2"])
def test_what_is_prepared_in_sql_moves_too(script, write):
    script.run("BEGIN")
    assert script.run("PREPARE moving_p (int) AS UPDATE moving SET n = $1 WHERE id = 2")[0] == "PREPARE"
    script.run("PREPARE moving_q AS SELECT n FROM moving WHERE id = 2")
    assert script.place("EXECUTE moving_q") == "replica"
    assert script.place(write) == "primary"
    assert script.run("EXECUTE moving_q") == ([(8,)], "primary")
    assert script.run("SHOW transaction_read_only")[0] == [("off",)]
    script.run("ROLLBACK")
    assert script.run("EXECUTE moving_q") == ([(0,)], "replica")
    script.run("DEALLOCATE ALL")


def test_a_setting_that_only_its_answer_tells_moves_too(script):
    """From a transaction that was chained to one with settings of its own."""
    script.run("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
    script.run("SET LOCAL work_mem = '6MB'")
    script.run("COMMIT AND CHAIN")
    script.run("SELECT set_config('moving.told', lower('ABC'), false)")
    assert script.run("SHOW moving.told")[0] == [("abc",)]
    script.run("COMMIT")
    for _ in range(2):
        assert script.run("SELECT current_setting('moving.told') FROM moving LIMIT 1")[0] == [("abc",)]
        script.run("SELECT nextval('moving_s')")
    assert script.run("SHOW moving.told") == ([("abc",)], "primary")


@pytest.fixture
def slow_wal_writer(cluster):
    """Only pgsteer makes the primary flush what no commit does: its nudges, or the flushing sample of a session."""
    cluster.primary.set("wal_writer_delay", "10s")
    yield
    cluster.primary.sql("ALTER SYSTEM RESET wal_writer_delay")
    cluster.primary.sql("SELECT pg_reload_conf()")


@pytest.mark.parametrize("failing", ["ROLLBACK", "an error"])
def test_reads_behind_what_was_rolled_back_find_a_replica(script, slow_wal_writer, failing):
    """Nobody is in a hurry to flush it, and no replica has it before: all of them wait for what is flushed at most."""
    on_replicas = 0
    for _ in range(10):
        if failing == "ROLLBACK":
            script.run("BEGIN")
            script.run("UPDATE moving SET n = n + 1 WHERE id = 1")
            script.run("ROLLBACK")
        else:
            with pytest.raises(errors.UniqueViolation):
                script.run("INSERT INTO moving VALUES (1, 1), (2, 2)")
        on_replicas += script.place("SELECT n FROM moving WHERE id = 1") == "replica"
    print(f"{on_replicas} of 10 on replicas")
    assert on_replicas == 10


def test_a_commit_with_a_limit_of_rows_stays_on_the_replica(lazy, script):
    """As pgjdbc sends it."""
    marker = new_marker()
    with raw.log_in(dsn(lazy)) as session:
        session.send(raw.query("BEGIN") + raw.query(f"SELECT n FROM moving WHERE id = 3 /* {marker} */"))
        session.read_until_ready()
        session.read_until_ready()
        session.send(raw.parse("", f"COMMIT /* {marker} */") + raw.bind("", "") + raw.execute("", 1) +
                     raw.message(b"S"))
        assert session.read_until_ready()[-1][1] == b"I"
    assert not {"primary"} & set(script.cluster.where_ran(marker))


def test_a_pipeline_of_all_at_once(lazy, script):
    with raw.log_in(dsn(lazy)) as session:
        session.send(raw.query("BEGIN") + raw.query("SELECT n FROM moving WHERE id = 3") + raw.query("SAVEPOINT a") +
                     raw.query("UPDATE moving SET n = 3 WHERE id = 3 RETURNING n") + raw.query("ROLLBACK TO a") +
                     raw.query("SELECT n FROM moving WHERE id = 3") + raw.query("COMMIT"))
        answers = [session.read_until_ready() for _ in range(7)]
    assert [raw.rows(answer) for answer in answers] == [[], [[b"0"]], [], [[b"3"]], [], [[b"0"]], []]
    assert [answer[-1][1] for answer in answers] == [b"T"] * 6 + [b"I"]


def test_begin_and_the_first_statement_in_one_batch(lazy, script):
    """As pgjdbc sends them."""
    def both(sql, marker):
        return (raw.parse("", "BEGIN") + raw.bind("", "") + raw.execute("") +
                raw.parse("", f"{sql} /* {marker} */") + raw.bind("", "") + raw.execute("") + raw.message(b"S"))

    with raw.log_in(dsn(lazy)) as session:
        for sql, place in ("SELECT n FROM moving WHERE id = 4", "replica"), ("SELECT now()", "primary"), \
                          ("UPDATE moving SET n = 0", "primary"):
            marker = new_marker()
            session.send(both(sql, marker))
            assert session.read_until_ready()[-1][1] == b"T"
            assert roles(script.cluster.where_ran(marker)) == {place}
            session.send(raw.query("UPDATE moving SET n = 4 WHERE id = 4 RETURNING n"))
            assert raw.rows(session.read_until_ready()) == [[b"4"]]
            session.send(raw.query("ROLLBACK"))
            assert session.read_until_ready()[-1][1] == b"I"


def test_a_portal_that_goes_on_keeps_it_on_the_primary(lazy, script):
    marker = new_marker()
    with raw.log_in(dsn(lazy)) as session:
        session.send(raw.query("BEGIN"))
        session.read_until_ready()
        session.send(raw.parse("", f"SELECT id FROM moving ORDER BY id /* {marker} */") + raw.bind("c", "") +
                     raw.execute("c", 2) + raw.message(b"S"))
        assert raw.rows(session.read_until_ready()) == [[b"1"], [b"2"]]
        session.send(raw.query("UPDATE moving SET n = 0 WHERE id = 4"))
        session.read_until_ready()
        session.send(raw.execute("c", 2) + raw.message(b"S"))
        assert raw.rows(session.read_until_ready()) == [[b"3"], [b"4"]]
    assert set(script.cluster.where_ran(marker)) == {"primary"}


# --- READ ONLY ---

@pytest.fixture(scope="module", params=["read_only", "lazy"])
def either(request, cluster, leases, table):
    from support.proxy import Pgsteer  # pylint: disable=import-outside-toplevel
    with Pgsteer(cluster, {"routing": {"transactions": request.param, "freshness_wait": "20s"}},
                 leases=leases) as running:
        yield running


@pytest.mark.parametrize("begin", [
    ["BEGIN READ ONLY"], ["START TRANSACTION READ ONLY"], ["BEGIN", "SET TRANSACTION READ ONLY"],
    ["SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY", "BEGIN"],
    ["SET default_transaction_read_only = on", "BEGIN"], ["SET default_transaction_read_only = 'yes'", "BEGIN"],
    ["SELECT set_config('default_transaction_read_only', 'true', false)", "BEGIN"]])
def test_a_read_only_transaction_runs_on_a_replica(either, cluster, begin):
    with connect(either) as session:
        script = Script(cluster, session)
        for sql in begin:
            script.run(sql)
        assert script.place("SELECT n FROM moving WHERE id = 1") == "replica"
        assert script.run("SHOW transaction_read_only")[0] == [("on",)]
        with pytest.raises(errors.ReadOnlySqlTransaction):
            script.run("UPDATE moving SET n = 1")
        session.execute("ROLLBACK")
        session.execute("SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE")
        session.execute("BEGIN")
        session.execute("UPDATE moving SET n = n")
        session.execute("COMMIT")


def test_a_startup_option_makes_all_of_them_read_only(either, cluster):
    with connect(either, options="-c default_transaction_read_only=on") as session:
        script = Script(cluster, session)
        script.run("BEGIN")
        assert script.place("SELECT n FROM moving WHERE id = 1") == "replica"
        script.run("COMMIT")
        with pytest.raises(errors.ReadOnlySqlTransaction):
            script.run("UPDATE moving SET n = 1")


def test_a_role_setting_makes_all_of_them_read_only(either, cluster):
    with connect(either) as session:
        session.execute("ALTER ROLE app SET default_transaction_read_only = on")  # makes pgsteer look
    try:
        with connect(either) as session:
            script = Script(cluster, session)

            def on_a_replica():
                session.execute("BEGIN")
                place = script.place("SELECT n FROM moving WHERE id = 1")
                session.execute("COMMIT")
                return place == "replica"
            until(on_a_replica, "the catalog to know", timeout=10, interval=0.1)
    finally:  # through pgsteer, which leaves the connections that have it
        with connect(either, options="-c default_transaction_read_only=off") as session:
            session.execute("ALTER ROLE app RESET default_transaction_read_only")


def test_one_snapshot_on_the_replica(either, cluster):
    with connect(either) as session, connect(either) as writer:
        script = Script(cluster, session)
        writer.execute("UPDATE moving SET n = 1 WHERE id = 5")
        cluster.wait_until_replayed()
        for begin in (["BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"],
                      ["SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL REPEATABLE READ",
                       "BEGIN READ ONLY"]):
            for sql in begin:
                script.run(sql)
            (before,), place = script.run("SELECT n FROM moving WHERE id = 5")
            assert place == "replica"
            writer.execute("UPDATE moving SET n = n + 1 WHERE id = 5")
            cluster.wait_until_replayed()
            assert script.run("SELECT n FROM moving WHERE id = 5") == ([before], "replica")
            assert script.run("SELECT now() = now(), n FROM moving WHERE id = 5") == ([(True, *before)], "replica")
            assert script.run("SHOW transaction_isolation")[0] == [("repeatable read",)]
            script.run("COMMIT")


def test_serializable_is_for_the_primary(either, cluster):
    with connect(either) as session:
        script = Script(cluster, session)
        for begin in (["BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY"],
                      ["BEGIN READ ONLY", "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE"],
                      ["SET default_transaction_isolation = serializable", "BEGIN READ ONLY"]):
            for sql in begin:
                script.run(sql)
            assert script.place("SELECT 1 FROM moving") == "primary"
            assert script.run("SHOW transaction_isolation")[0] == [("serializable",)]
            script.run("COMMIT")


def test_a_cursor_of_a_read_only_transaction_is_on_the_replica(either, cluster):
    with connect(either) as session:
        script = Script(cluster, session)
        script.run("BEGIN READ ONLY")
        assert script.place("DECLARE c CURSOR FOR SELECT id FROM moving ORDER BY id") == "replica"
        assert script.run("FETCH 2 FROM c") == ([(1,), (2,)], "replica")
        assert script.place("SHOW work_mem") == "replica"
        assert script.run("FETCH 1 FROM c")[0] == [(3,)]
        script.run("COMMIT")


def test_what_a_replica_cannot_do_works_in_a_read_only_transaction(either, cluster):
    with connect(either) as session:
        script = Script(cluster, session)
        script.run("BEGIN READ ONLY")
        assert script.place("SELECT 1 FROM moving") == "replica"
        assert script.place("LISTEN moving") == "primary"
        script.run("COMMIT")
        with pytest.raises(errors.ReadOnlySqlTransaction):
            script.run("BEGIN READ ONLY; UPDATE moving SET n = 1")
        script.run("ROLLBACK")


# --- faults ---

def test_a_replica_that_dies_is_not_missed(make_proxy, hurt, table):
    proxy = make_proxy({**LAZY, "health": {"interval": "100ms", "fall": 2, "timeout": "500ms"}})
    with connect(proxy) as session:
        script = Script(hurt, session)
        script.run("BEGIN")
        script.run("SET LOCAL work_mem = '3MB'")
        assert script.place("SELECT 1 FROM moving") == "replica"
        for replica in hurt.replicas:
            replica.kill()
        assert script.run("SELECT count(*) FROM moving WHERE id <= 10")[0] == [(10,)]
        assert script.run("SHOW work_mem")[0] == [("3MB",)]
        assert script.run("COMMIT")[0] == "COMMIT"


def test_without_a_primary_it_fails_as_a_transaction_does(make_proxy, hurt, table):
    proxy = make_proxy({**LAZY, "health": {"interval": "100ms", "fall": 2, "timeout": "500ms"},
                        "pool": {"acquire_timeout": "1s"}})
    with connect(proxy) as session:
        script = Script(hurt, session)
        script.run("SELECT 1")
        script.run("BEGIN")
        assert script.place("SELECT 1 FROM moving") == "replica"
        with connect(proxy) as other:
            other.execute("BEGIN")
            hurt.primary.kill()
            proxy.wait_for_state("primary", "UNHEALTHY")
            with pytest.raises(psycopg.Error):
                other.execute("INSERT INTO moving VALUES (200, 1)")
            assert other.info.transaction_status == psycopg.pq.TransactionStatus.INERROR
            with pytest.raises(errors.InFailedSqlTransaction):
                other.execute("SELECT 1 FROM moving")
            assert other.execute("ROLLBACK").statusmessage == "ROLLBACK"
            assert other.info.transaction_status == psycopg.pq.TransactionStatus.IDLE
        with pytest.raises(psycopg.Error):
            script.run("INSERT INTO moving VALUES (200, 1)")


def test_what_is_kept_of_a_transaction_without_a_server_is_bounded(script):
    """Beyond 64 KiB of SET TRANSACTION it is opened, with all of them."""
    session = script.session
    statement = "SET TRANSACTION ISOLATION LEVEL READ COMMITTED"
    for end in "COMMIT", "ROLLBACK":
        script.run("BEGIN")
        before = new_marker()
        session.execute(f"{statement} /* {before} */")
        assert not script.cluster.where_ran(before)
        for _ in range(3000):
            session.execute(statement, prepare=False)
        last = new_marker()
        session.execute(f"{statement} /* {last} */")
        assert script.cluster.where_ran(last)
        assert script.run("SHOW transaction_isolation")[0] == [("read committed",)]
        script.run("INSERT INTO moving VALUES (300, 1) ON CONFLICT DO NOTHING")
        script.run(end)
        assert session.info.transaction_status == psycopg.pq.TransactionStatus.IDLE


def test_an_option_that_makes_no_sense_fails_the_transaction(script):
    script.run("BEGIN")
    with pytest.raises(errors.InvalidParameterValue):
        script.run("SET pgsteer.consistency = 'always'")
    with pytest.raises(errors.InFailedSqlTransaction):
        script.run("SELECT 1")
    assert script.run("COMMIT")[0] == "ROLLBACK"


# --- the same as without pgsteer ---

class Side:
    """One of two connections that get the same statements."""

    def __init__(self, session, schema):
        self.session = session
        self.schema = schema
        self.marker = new_marker()  # of the reads outside of a transaction
        self.set_path()

    def set_path(self):
        self.run(f"SET search_path TO {self.schema}")

    def run(self, sql, prepare=False):
        if is_read_alone(self, sql):
            sql = f"{sql} /* {self.marker} */"
        try:
            cursor = self.session.execute(sql, prepare=prepare)
            rows = cursor.fetchall() if cursor.description else None
            answer = (cursor.statusmessage, rows)
        except psycopg.Error as error:
            answer = (error.sqlstate, None)
        return (*answer, self.session.info.transaction_status.name)

    def status(self):
        return self.session.info.transaction_status


def is_read_alone(side, sql):
    return sql.startswith("SELECT k, v FROM t") and side.status() == psycopg.pq.TransactionStatus.IDLE


def last_answers(proxy, cluster, *script):
    """Through pgsteer and straight."""
    with connect(proxy) as through, connect(cluster.primary) as direct:
        sides = Side(through, "public"), Side(direct, "public")
        for sql in script:
            answers = [side.run(sql) for side in sides]
            print(sql, *answers)
    return answers


@pytest.mark.xfail(strict=True, raises=AssertionError, reason="known, see proxy/limits.md: it was set on the replica")
def test_known_deviation_session_characteristics_in_a_snapshot_of_a_replica(either, cluster):
    through, straight = last_answers(
        either, cluster, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", "SELECT n FROM moving WHERE id = 9",
        "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY", "COMMIT", "SHOW default_transaction_read_only")
    assert through == straight


@pytest.mark.xfail(strict=True, raises=AssertionError, reason="known, see proxy/limits.md: the replica has its own level")
def test_known_deviation_a_chain_behind_a_failed_transaction_of_a_replica(either, cluster):
    through, straight = last_answers(
        either, cluster, "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL REPEATABLE READ", "BEGIN READ ONLY",
        "SELECT n FROM moving WHERE id = 9", "SELECT n / 0 FROM moving", "ROLLBACK AND CHAIN",
        "SELECT n FROM moving WHERE id = 9", "SHOW transaction_isolation")
    assert through == straight


def is_known_deviation(sql, status):
    """Might be one of the two above: the random test leaves them out."""
    if "SESSION CHARACTERISTICS" in sql:
        return status != psycopg.pq.TransactionStatus.IDLE
    return "AND CHAIN" in sql and status == psycopg.pq.TransactionStatus.INERROR


def random_statement(rng):
    name = rng.choice("ab")
    n = rng.randrange(10)
    return rng.choice([
        *["BEGIN"] * 12, "BEGIN READ ONLY", "START TRANSACTION",
        "SET TRANSACTION READ ONLY", "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ", *["COMMIT"] * 3,
        *["ROLLBACK"] * 2, "COMMIT AND CHAIN", "ROLLBACK AND CHAIN", "ABORT", "END",
        *[f"SAVEPOINT {name}"] * 3, f"RELEASE {name}", f"ROLLBACK TO {name}", f"ROLLBACK TO {name}",
        *[f"SELECT k, v FROM t WHERE k < {n} ORDER BY k"] * 16, "SELECT count(*), sum(v) FROM t",
        f"INSERT INTO t VALUES ({n}, 0)", f"UPDATE t SET v = v + 1 WHERE k = {n}", f"DELETE FROM t WHERE k = {n}",
        f"SET LOCAL work_mem = '{64 + n}kB'", f"SET work_mem = '{64 + n}kB'", "RESET work_mem", "SHOW work_mem",
        f"SET LOCAL my.x = '{n}'", "SELECT nullif(current_setting('my.x', true), ''), current_setting('work_mem')",
        f"SELECT set_config('my.x', '{n}', true)", f"SELECT set_config('my.x', '{n}', false)",
        "SELECT 1/0", "SELECT nothing", "SELECT now() = now()", "SHOW transaction_isolation",
        "SELECT 1; SELECT 2", f"BEGIN; UPDATE t SET v = {n} WHERE k = {n}; COMMIT", "SET TRANSACTION READ WRITE",
        f"DECLARE {name} CURSOR FOR SELECT k FROM t ORDER BY k", f"FETCH 2 FROM {name}", f"CLOSE {name}",
        f"PREPARE {name} AS SELECT count(*) FROM t", *[f"EXECUTE {name}"] * 3, f"DEALLOCATE {name}",
        f"PREPARE {name} (int) AS UPDATE t SET v = $1 WHERE k = $1", f"EXECUTE {name} ({n})",
        "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
        *["SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE"] * 3,
        "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL REPEATABLE READ",
        *["SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL READ COMMITTED"] * 3,
        "SHOW transaction_read_only", "LOCK TABLE t IN ROW SHARE MODE", "DISCARD ALL", "SET CONSTRAINTS ALL IMMEDIATE"])


@pytest.mark.parametrize("transactions", ["lazy", "read_only"])
def test_random_transactions_answer_as_they_do_without_pgsteer(make_proxy, cluster, full, transactions):
    for schema in "through", "direct":
        cluster.primary.sql(f"CREATE SCHEMA {schema} AUTHORIZATION app; CREATE TABLE {schema}.t (k int PRIMARY KEY,"
                            f" v int); ALTER TABLE {schema}.t OWNER TO app")
    cluster.wait_until_replayed()
    proxy = make_proxy({"routing": {**LAZY["routing"], "transactions": transactions}})
    seed = int(os.environ.get("PGSTEER_SEED", random.randrange(1 << 30)))
    rng = random.Random(seed)
    count = 20000 if full else 1500
    try:
        with connect(proxy) as session, connect(cluster.primary) as primary:
            through, direct = sides = Side(session, "through"), Side(primary, "direct")
            history, reads_alone = [], 0
            for _ in range(count):
                sql = random_statement(rng)
                if is_known_deviation(sql, direct.status()):
                    continue
                idle = direct.status() == psycopg.pq.TransactionStatus.IDLE
                alone = is_read_alone(direct, sql)
                prepare = idle and "FROM t" in sql and ";" not in sql and rng.random() < 0.5
                answers = [side.run(sql, prepare) for side in sides]
                history.append(f"{sql} -> {answers[1]}")
                assert answers[0] == answers[1], f"seed {seed}: {history[-int(os.environ.get('PGSTEER_HISTORY', 25)):]} but {answers[0]}"
                reads_alone += alone and answers[0][1] is not None  # psycopg's statements may be gone: an error
                if sql == "DISCARD ALL":
                    for side in sides:
                        side.set_path()
        ran = cluster.where_ran(through.marker)
        print(f"{transactions}: seed {seed}, {count} statements, {reads_alone} reads outside of a transaction: {ran}")
        assert reads_alone > count / 40, "the test shows little"
        assert on_replicas(ran) and sum(ran.values()) >= reads_alone
    finally:
        for schema in "through", "direct":
            cluster.primary.sql(f"DROP SCHEMA {schema} CASCADE")
