"""The harness itself: what the other tests trust must be able to say no."""

import time

import psycopg
import pytest

from support.cluster import measure, new_marker
from support.waiting import until

pytestmark = pytest.mark.core


def test_where_ran_tells_the_servers_apart(cluster):
    marker = new_marker()
    cluster.replicas[0].sql(f"SELECT 1 /* {marker} */")
    assert cluster.where_ran(marker) == {"replica1": 1}
    cluster.primary.sql(f"SELECT %s::int /* {marker} */", 5)
    cluster.primary.sql(f"SELECT %s::int,\n 2 /* {marker} */", 6)
    assert cluster.where_ran(marker) == {"primary": 2, "replica1": 1}


def test_replicas_follow_the_primary(cluster):
    cluster.primary.sql("CREATE TABLE followed AS SELECT 42 AS n")
    cluster.wait_until_replayed()
    assert [replica.value("SELECT n FROM followed") for replica in cluster.replicas] == [42, 42]
    cluster.primary.sql("DROP TABLE followed")


def test_a_paused_and_a_delayed_replica_stay_behind(hurt):
    paused, delayed = hurt.replicas
    hurt.primary.sql("CREATE TABLE behind (n int)")
    hurt.wait_until_replayed()
    paused.pause_replay()
    delayed.set("recovery_min_apply_delay", "2s")
    hurt.primary.sql("INSERT INTO behind VALUES (1)")
    seconds = measure(lambda: until(
        lambda: delayed.value("SELECT count(*) FROM behind") == 1, "the delay is over"))
    assert seconds > 1
    assert paused.value("SELECT count(*) FROM behind") == 0
    paused.resume_replay()
    until(lambda: paused.value("SELECT count(*) FROM behind") == 1, "replay goes on")
    hurt.primary.sql("DROP TABLE behind")


def test_a_killed_replica_comes_back_behind_its_former_position(hurt):
    replica = hurt.replicas[0]
    hurt.primary.sql("CREATE TABLE killed (n int)")
    hurt.primary.sql("INSERT INTO killed VALUES (1)")
    hurt.wait_until_replayed()
    replica.set("recovery_min_apply_delay", "1h", reload=False)
    hurt.primary.sql("INSERT INTO killed VALUES (2)")
    until(lambda: replica.value("SELECT count(*) FROM killed") == 2, "it has replayed")
    before = replica.value("SELECT pg_last_wal_replay_lsn()")
    replica.kill()
    assert not replica.postmaster()
    replica.start()
    assert not replica.has_replayed(before)
    hurt.heal()
    hurt.primary.sql("DROP TABLE killed")


def test_a_hung_replica_does_not_answer_until_resumed(hurt):
    replica = hurt.replicas[1]
    connection = replica.connect()
    replica.hang()
    connection.pgconn.send_query(b"SELECT 1")
    time.sleep(0.5)  # for an answer that should not come
    assert _is_busy(connection)
    replica.resume()
    until(lambda: not _is_busy(connection), "an answer")
    connection.pgconn.finish()


def _is_busy(connection) -> bool:
    connection.pgconn.consume_input()
    return connection.pgconn.is_busy()


def test_what_is_kept_is_left_when_it_ends(cluster):
    primary, own = cluster.primary, "SELECT pg_backend_pid()"
    first = primary.value(own)
    assert primary.value(own) == first
    with pytest.raises(psycopg.errors.DivisionByZero):
        primary.sql("SELECT 1/0")
    with primary.connect() as other:
        other.execute("SELECT pg_terminate_backend(%s, 10000)", (first,))
    second = primary.value(own)
    assert second != first
    primary.sql("SET work_mem = '77MB'")
    assert primary.value("SHOW work_mem") != "77MB" and primary.value(own) == second
