"""A batch without Sync or Flush: a server executes what it has read, and says at once what it never holds back."""

import pytest

from support import raw
from support.cluster import new_marker
from support.raw import SYNC as S, bind as B, execute as E, parse as P, query as Q
from support.session import dsn
from support.waiting import until


def run(sql):
    return P("", sql) + B("", "") + E("")


@pytest.fixture(params=["direct", "through pgsteer"])
def session(request, cluster, proxy):
    with raw.log_in(dsn(cluster.primary if request.param == "direct" else proxy)) as opened:
        yield opened


@pytest.fixture
def name(cluster):
    name = f"unfinished_{new_marker()}"
    cluster.primary.sql(f"CREATE TABLE {name} (n int); ALTER TABLE {name} OWNER TO app")
    yield name
    cluster.primary.sql(f"DROP TABLE {name}")


@pytest.mark.core
def test_locks_are_taken(cluster, name, session):
    session.send(Q("BEGIN"))
    session.read_until_ready()
    session.send(run(f"LOCK TABLE {name} IN SHARE MODE"))
    until(lambda: cluster.primary.value("SELECT count(*) FROM pg_locks WHERE relation = %s::regclass AND mode = 'ShareLock' "
                                        "AND granted", name), "the table is locked")
    session.send(S)
    assert raw.kinds(session.read_until_ready()) == "12CZ"


@pytest.mark.core
def test_an_error_comes_at_once(session):
    session.send(run("SELECT 1 FROM nosuch"))
    assert raw.sqlstates([session.read()]) == ["42P01"]
    session.send(S)
    assert raw.kinds(session.read_until_ready()) == "Z"


@pytest.mark.core
def test_a_notice_comes_at_once(session):
    session.send(run("DO $$ BEGIN RAISE NOTICE 'seen'; END $$"))
    notice = session.read_until("N")[-1][1]
    assert raw.fields(notice)["M"] == "seen"
    session.send(S)
    assert raw.kinds(session.read_until_ready()) == "CZ"


@pytest.mark.core
def test_a_full_buffer_comes_at_once(session):
    session.send(run("SELECT repeat('x', 5000) FROM generate_series(1, 4)"))
    kinds = [session.read()[0] for _ in range(3)]
    assert kinds == ["1", "2", "D"], "and the rest is in a buffer of 8 KiB"
    session.send(S)
    assert raw.kinds(session.read_until_ready()) == "DDDCZ"
