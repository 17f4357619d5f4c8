"""Where hints, transactions and what fails on a replica run, as the servers saw it; routing_table_test.py has the single
statements."""

import psycopg
import pytest

from support.cluster import new_marker
from support.session import connect


@pytest.fixture(scope="module", autouse=True)
def objects(cluster):
    cluster.primary.sql("""
        CREATE TABLE routed (n int PRIMARY KEY, body text);
        INSERT INTO routed VALUES (1, 'one');
        ALTER TABLE routed OWNER TO app;
    """)
    cluster.wait_until_replayed()
    yield
    cluster.primary.sql("DROP TABLE routed")


@pytest.mark.core
@pytest.mark.parametrize("place", ["/* pgsteer: {hint} */ {sql}", "{sql} /* pgsteer: {hint} */"])
@pytest.mark.parametrize("hint", ["primary", "replica"])
def test_hints_at_either_end(target, place, hint):
    marker = new_marker()
    text = place.format(hint=hint, sql=f"SELECT '{marker}'")
    with connect(target) as session:
        assert session.execute(text).fetchone() == (marker,)
    where = set(target.cluster.where_ran(marker))
    if hint == "primary":
        assert where == {"primary"}
    elif not target.direct:
        assert where and "primary" not in where


def test_a_replica_hint_on_a_write_still_writes_on_the_primary(target):
    with connect(target) as session:
        session.execute("/* pgsteer: replica */ INSERT INTO routed VALUES (50, 'hinted')")
        assert session.execute("SELECT body FROM routed WHERE n = 50").fetchone() == ("hinted",)
        session.execute("DELETE FROM routed WHERE n = 50")


@pytest.mark.parametrize("begin", [
    "BEGIN READ ONLY", "START TRANSACTION READ ONLY", "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY",
    "BEGIN TRANSACTION READ ONLY"])
def test_read_only_transactions_run_on_a_replica(target, begin):
    target.wait_until_known("routed")
    marker = new_marker()
    with connect(target) as session:
        session.execute(begin)
        session.execute(f"SELECT body FROM routed /* {marker} */")
        session.execute("COMMIT")
    target.expect_replica(marker)


@pytest.mark.core
@pytest.mark.parametrize("begin", ["BEGIN", "BEGIN READ WRITE", "BEGIN ISOLATION LEVEL SERIALIZABLE",
                                   "BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY DEFERRABLE"])
def test_other_transactions_run_on_the_primary(target, begin):
    target.wait_until_known("routed")
    marker = new_marker()
    with connect(target) as session:
        session.execute(begin)
        session.execute(f"SELECT body FROM routed /* {marker} */")
        session.execute("COMMIT")
    target.expect_primary(marker)


@pytest.mark.core
def test_what_fails_on_a_replica_only_is_run_on_the_primary(target, cluster):
    """An unlogged table cannot be read on a standby: the client never learns of it."""
    cluster.primary.sql("CREATE UNLOGGED TABLE unlogged AS SELECT 1 AS n; GRANT SELECT ON unlogged TO app")
    cluster.wait_until_replayed()
    marker = new_marker()
    try:
        with connect(target) as session:
            for _ in range(3):
                assert session.execute(f"SELECT n FROM unlogged /* {marker} */").fetchone() == (1,)
        assert cluster.where_ran(marker)["primary"] == 3
    finally:
        cluster.primary.sql("DROP TABLE unlogged")


def test_a_table_that_has_not_arrived_yet_is_found_on_the_primary(target, hurt):
    for replica in hurt.replicas:
        replica.pause_replay()
    hurt.primary.sql("CREATE TABLE not_there_yet AS SELECT 1 AS n; GRANT SELECT ON not_there_yet TO app")
    try:
        with connect(target) as session:
            assert session.execute("SELECT n FROM not_there_yet").fetchone() == (1,)
    finally:
        hurt.primary.sql("DROP TABLE not_there_yet")


def test_a_faulty_read_reports_its_error_once(target):
    with connect(target) as session:
        for _ in range(5):
            with pytest.raises(psycopg.errors.UndefinedTable) as info:
                session.execute("SELECT * FROM no_such_table")
            assert info.value.diag.statement_position == "15"
        with pytest.raises(psycopg.errors.DivisionByZero):
            session.execute("SELECT 1 / 0")
        assert session.execute("SELECT 1").fetchone() == (1,)
