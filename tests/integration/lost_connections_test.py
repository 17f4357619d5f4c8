"""One session's server connection is ended, in every way that need not concern anybody else: nobody else notices."""

import os
import socket
import threading

import psycopg
import pytest

from support.bystanders import Bystanders
from support.session import connect
from support.waiting import until

ROUNDS = 12


@pytest.fixture(scope="module")
def counters(cluster):
    cluster.primary.sql("CREATE TABLE counters (id int PRIMARY KEY, n int); ALTER TABLE counters OWNER TO app;"
                        "INSERT INTO counters SELECT i, 0 FROM generate_series(1, 8) i")
    cluster.wait_until_replayed()
    yield cluster
    cluster.primary.sql("DROP TABLE counters")


def write(session):
    session.execute("UPDATE counters SET n = n + 1 WHERE id = 1")


def write_in_transaction(session):
    with session.transaction():
        session.execute("UPDATE counters SET n = n + 1 WHERE id = 2")


def show(session):
    session.execute("SHOW max_connections")


def listen(session):
    session.execute("LISTEN heard")
    session.execute("UNLISTEN heard")


def read(session):
    session.execute("SELECT n FROM counters WHERE id = 3")


WORKS = {"write": write, "write in transaction": write_in_transaction, "show": show, "listen": listen, "read": read}


def victim(proxy):
    return connect(proxy, user="other", connect_timeout=60)


def terminated(cluster, session):
    session.execute("SELECT nextval('victims')")
    cluster.primary.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'other'")


def terminated_while_it_works(cluster, session):
    ends = threading.Thread(target=until, args=(lambda: cluster.primary.value(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename = 'other' AND state = 'active'"),
        "it works, and is ended", 60))
    ends.start()
    with pytest.raises(psycopg.Error):
        session.execute("SELECT nextval('victims'), pg_sleep(60)")
    ends.join()


def terminates_itself(_cluster, session):
    with pytest.raises(psycopg.Error):
        session.execute("SELECT pg_terminate_backend(pg_backend_pid())")


def idle(cluster, session):
    ends_idle(cluster, session, "SET idle_session_timeout = '20ms'; SELECT nextval('victims')")


def idle_in_transaction(cluster, session):
    ends_idle(cluster, session,
              "SET idle_in_transaction_session_timeout = '20ms'; BEGIN; SELECT nextval('victims')")


def ends_idle(cluster, session, then_idle):
    """In one text, so that a slow machine cannot end it too early."""
    session.execute(then_idle)
    until(lambda: not cluster.primary.value("SELECT count(*) FROM pg_stat_activity WHERE usename = 'other'"),
          "the server has ended the session", 30)


def dies_in_a_transaction(_cluster, session):
    session.execute("BEGIN; SELECT nextval('victims')")
    socket.socket(fileno=os.dup(session.fileno())).shutdown(socket.SHUT_RDWR)


def dies_while_it_works(_cluster, session):
    threading.Timer(0.02, lambda: socket.socket(fileno=os.dup(session.fileno())).shutdown(socket.SHUT_RDWR)).start()
    with pytest.raises(psycopg.Error):
        session.execute("SELECT nextval('victims'), pg_sleep(60)")


@pytest.mark.core
@pytest.mark.parametrize("end", [terminated, terminated_while_it_works, terminates_itself, idle, idle_in_transaction,
                                 dies_in_a_transaction, dies_while_it_works], ids=lambda end: end.__name__)
def test_a_lost_connection_is_one_sessions_trouble(counters, make_proxy, end):
    proxy = make_proxy()
    counters.primary.sql("CREATE SEQUENCE IF NOT EXISTS victims; GRANT ALL ON SEQUENCE victims TO other")
    with Bystanders(proxy, WORKS) as bystanders:
        until(lambda: all(count > 3 for count in bystanders.done().values()), "all are at work", 60)
        for _ in range(ROUNDS):
            session = victim(proxy)
            end(counters, session)
            before = bystanders.done()
            until(lambda last=before: all(count > last[name] + 2 for name, count in bystanders.done().items()),
                  f"all go on; {bystanders.failures()}", 60)
            session.close()
    print(bystanders.done(), "requests, the longest took", round(bystanders.longest(), 3), "s")
    assert bystanders.failures() == {}


def test_requests_wait_for_a_primary_that_is_away_for_a_moment(hurt, make_proxy):
    """It refuses connections, but no probe has given it up: what begins meanwhile waits for the next one. What the
    restart itself has cut is another matter."""
    hurt.primary.sql("CREATE TABLE away (n int); GRANT ALL ON away TO app")
    proxy = make_proxy({"health": {"interval": "500ms", "timeout": "60s", "fall": 100}})
    works = {f"write {number}": lambda session: session.execute("INSERT INTO away VALUES (1)") for number in range(3)}
    with Bystanders(proxy, works) as bystanders:
        until(lambda: all(count > 3 for count in bystanders.done().values()), "all are at work", 60)
        hurt.primary.restart()
        before = bystanders.done()
        until(lambda: all(count > before[name] + 3 for name, count in bystanders.done().items()), "all write again", 60)
    print(bystanders.done(), "writes, the longest took", round(bystanders.longest(), 3), "s; cut:", bystanders.failures())
    # 57P01 and 08006 are the last words on connections that were there when the server went down; of a FATAL that
    # comes unasked the driver knows the text alone.
    cut = ("57P01", "08006", "None consuming input failed: terminating connection due to administrator command")
    assert all(failure.startswith(cut) for bystander in bystanders.by_name.values() for failure in bystander.failures), (
        bystanders.failures())
    assert all(len(bystander.failures) <= 1 for bystander in bystanders.by_name.values()), bystanders.failures()
    hurt.primary.sql("DROP TABLE away")
