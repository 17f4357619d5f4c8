"""Prepared statements whose messages are split, pipelined or undone in awkward places."""

import time

import pytest
from psycopg import errors

from support import raw
from support import session as sessions
from support.cluster import new_marker
from support.session import connect, dsn, roles

pytestmark = pytest.mark.core


@pytest.fixture
def session(target):
    with raw.log_in(target.dsn()) as opened:
        yield opened


def run(session, sql):
    session.send(raw.query(sql))
    return session.read_until_ready()


@pytest.fixture
def on_replica(session, target):
    """The session's next statements run on a replica, as long as they may."""
    target.read_until_on_replica(lambda marker: run(session, f"SELECT 1 /* {marker} */"))


def test_a_large_parse_may_be_split_behind_its_header(session):
    parse = raw.parse("", "SELECT 1 -- " + "x" * 200_000)
    session.send(parse[:5])
    time.sleep(0.2)  # it is read alone
    session.send(parse[5:], raw.bind("", ""), raw.execute(""), raw.SYNC)
    assert raw.kinds(session.read_until_ready()) == "12DCZ"


def test_a_bind_that_came_in_two_parts_runs_again_whole(session, cluster):
    """An unlogged table cannot be read on a replica: the read is run again on the primary."""
    cluster.primary.sql("CREATE UNLOGGED TABLE unlogged AS SELECT 1 AS n; "
                        "GRANT SELECT ON unlogged TO app")
    cluster.wait_until_replayed()
    try:
        bind = raw.bind("", "", b"v" * 20_000)
        session.send(raw.parse("", "SELECT n, length($1::text) FROM unlogged"), bind[:3000])
        time.sleep(0.2)  # it is read without the rest
        session.send(bind[3000:], raw.execute(""), raw.SYNC)
        messages = session.read_until_ready()
        assert raw.kinds(messages) == "12DCZ" and raw.rows(messages) == [[b"1", b"20000"]]
        assert raw.rows(run(session, "SELECT 5")) == [[b"5"]]
    finally:
        cluster.primary.sql("DROP TABLE unlogged")


def test_a_setting_made_on_a_replica_reaches_the_primary_after_a_copy(session, target):
    run(session, "CREATE TABLE copied (a text)")
    try:
        session.send(raw.query("COPY copied FROM STDIN"))
        session.read_until("G")
        session.send(raw.message(b"d", b"x\n"), raw.message(b"c"))
        session.read_until_ready()
        target.read_until_on_replica(lambda marker: run(session, f"SELECT 1 /* {marker} */"))
        run(session, f"SET work_mem = '7MB' /* {new_marker()} */")
        messages = run(session, "INSERT INTO copied SELECT current_setting('work_mem') RETURNING a")
        assert raw.rows(messages) == [[b"7MB"]]
    finally:
        run(session, "DROP TABLE copied")


@pytest.mark.parametrize("how", ["DEALLOCATE ALL", "DEALLOCATE s1"])
@pytest.mark.parametrize("protocol", ["simple", "extended"])
def test_deallocate_and_a_new_parse_in_one_pipeline(session, on_replica, how, protocol):
    session.send(raw.parse("s1", "SELECT 1"), raw.SYNC)
    session.read_until_ready()
    first = ([raw.query(how)] if protocol == "simple" else
             [raw.parse("", how), raw.bind("", ""), raw.execute(""), raw.SYNC])
    session.send(*first, raw.parse("s1", "SELECT 2"), raw.bind("", "s1"), raw.execute(""), raw.SYNC)
    session.read_until_ready()
    assert raw.kinds(session.read_until_ready()) == "12DCZ"
    session.send(raw.bind("", "s1"), raw.execute(""), raw.SYNC)
    assert raw.rows(session.read_until_ready()) == [[b"2"]]


def test_the_unnamed_statement_survives_a_skipped_parse(session, on_replica):
    session.send(raw.parse("", "SELECT 1"), raw.SYNC)
    session.read_until_ready()
    session.send(raw.execute("no such portal"), raw.parse("", "SELECT 2"), raw.SYNC)
    assert raw.kinds(session.read_until_ready()) == "EZ"
    session.send(raw.bind("", ""), raw.execute(""), raw.SYNC)
    messages = session.read_until_ready()
    assert raw.rows(messages) == [[b"1"]], messages


def test_the_unnamed_statement_survives_what_pgsteer_asks_behind_its_back(session, cluster):
    """Every Query destroys it, so also samples on the primary and verifications on replicas do."""
    cluster.primary.sql("CREATE TABLE unnamed (n int); ALTER TABLE unnamed OWNER TO app")
    try:
        session.send(raw.parse("", "INSERT INTO unnamed VALUES (1)"), raw.SYNC)
        session.read_until_ready()
        for _ in range(20):
            session.send(raw.bind("", ""), raw.execute(""), raw.SYNC)
            assert raw.kinds(session.read_until_ready()) == "2CZ"
        assert raw.rows(run(session, "SELECT count(*) FROM unnamed")) == [[b"20"]]
        session.send(raw.parse("", "SELECT count(*) FROM unnamed"), raw.SYNC)
        session.read_until_ready()
        for expected in range(21, 200):  # writes by a name of their own, so that reads have to verify
            session.send(*([raw.parse("w", "INSERT INTO unnamed VALUES (1)")] if expected == 21 else []),
                         raw.bind("", "w"), raw.execute(""), raw.SYNC)
            session.read_until_ready()
            session.send(raw.bind("", ""), raw.execute(""), raw.SYNC)
            messages = session.read_until_ready()
            assert raw.rows(messages) == [[b"%d" % expected]], messages
    finally:
        cluster.primary.sql("DROP TABLE unnamed")


# --- PREPARE and EXECUTE in SQL ---

@pytest.fixture
def prepared_table(cluster):
    cluster.primary.sql("CREATE TABLE executed (id int PRIMARY KEY, n int); INSERT INTO executed VALUES (1, 10), (2, 20);"
                        "ALTER TABLE executed OWNER TO app")
    cluster.wait_until_replayed()
    yield cluster
    cluster.primary.sql("DROP TABLE executed")


def test_execute_runs_where_its_statement_would(make_proxy, prepared_table):
    proxy = make_proxy({"routing": {"freshness_wait": "2s"}})
    with connect(proxy) as session:
        def run(sql):
            rows, servers = sessions.run(prepared_table, session, sql)
            return rows, roles(servers)
        session.execute("PREPARE get (int) AS SELECT n, 'it''s' FROM executed WHERE id = $1")
        session.execute("PREPARE put AS UPDATE executed SET n = n + $2 WHERE id = $1 RETURNING n")
        assert run("EXECUTE get(1)") == ([(10, "it's")], {"replica"})
        assert run("EXECUTE put(1, 5)") == ([(15,)], {"primary"})
        assert run("EXECUTE get(1)") == ([(15, "it's")], {"replica"})
        assert run("EXECUTE get(-1)") == ([], {"replica"})
        assert run("EXECUTE get(length('x'))")[1] == {"primary"}, "an argument that is not a constant"
        with pytest.raises(errors.DuplicatePreparedStatement):
            session.execute("PREPARE get AS SELECT 1")
        session.execute("DEALLOCATE get")
        with pytest.raises(errors.InvalidSqlStatementName):
            session.execute("EXECUTE get(1)")
        with pytest.raises(errors.UndefinedTable):
            session.execute("PREPARE get AS SELECT nextval('nothing')")
        with pytest.raises(errors.InvalidSqlStatementName):
            session.execute("EXECUTE never")
        assert run("EXECUTE put(1, 5)") == ([(20,)], {"primary"})
        session.execute("DEALLOCATE ALL")
        with pytest.raises(errors.InvalidSqlStatementName):
            session.execute("EXECUTE put(1, 5)")
        session.execute("PREPARE get AS SELECT n FROM executed WHERE id = 2")
        assert run("EXECUTE get") == ([(20,)], {"replica"})


def test_statements_of_sql_and_of_the_protocol_are_the_same(make_proxy, prepared_table):
    proxy = make_proxy({"routing": {"freshness_wait": "2s"}})
    with raw.log_in(dsn(proxy)) as session:
        def ask(*messages):
            session.send(*messages)
            return session.read_until_ready()
        ask(raw.parse("p", "SELECT n FROM executed WHERE id = 1"), raw.SYNC)
        ask(raw.query("PREPARE q AS SELECT n FROM executed WHERE id = 2"))
        for _ in range(3):
            assert raw.rows(ask(raw.query("EXECUTE p"))) == [[b"10"]]
            assert raw.rows(ask(raw.bind("", "q"), raw.execute(""), raw.SYNC)) == [[b"20"]]
            assert raw.rows(ask(raw.parse("", "EXECUTE q"), raw.bind("", ""), raw.execute(""), raw.SYNC)) == [[b"20"]]
            ask(raw.query("UPDATE executed SET n = n WHERE id = 1"))
            assert raw.rows(ask(raw.parse("", "EXECUTE q"), raw.bind("", ""), raw.execute(""), raw.SYNC)) == [[b"20"]]
        ask(raw.query("DEALLOCATE q"))
        assert raw.sqlstates(ask(raw.bind("", "q"), raw.execute(""), raw.SYNC)) == ["26000"]
        ask(raw.close("S", "p"), raw.SYNC)
        assert raw.sqlstates(ask(raw.query("EXECUTE p"))) == ["26000"]


def test_what_execute_sets_is_known(make_proxy, prepared_table):
    proxy = make_proxy()
    with connect(proxy) as session:
        session.execute("PREPARE s AS SELECT set_config('my.executed', 'x', false)")
        session.execute("EXECUTE s")
        for _ in range(2):
            assert session.execute("SELECT current_setting('my.executed'), id FROM executed WHERE id = 1"
                                   ).fetchone() == ("x", 1)
