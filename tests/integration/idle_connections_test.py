"""Server connections that nobody uses: what happens to them on the server's side is noticed at once."""

import os

import pytest

from support import session as sessions
from support.cluster import new_marker
from support.waiting import until


OURS = "idle_connections_test"  # another pgsteer before the same servers keeps connections, too


def connect(proxy):
    return sessions.connect(proxy, application_name=OURS)


def open_connections(proxy) -> dict:
    return {server["name"]: server["connections"] for server in proxy.status()["servers"]}


def close_wait(proxy) -> int:
    """Sockets of pgsteer whose other end is closed."""
    with open(f"/proc/{proxy.process.pid}/net/tcp", encoding="ascii") as file:
        rows = [line.split() for line in file.readlines()[1:]]
    own = set()
    for name in os.listdir(f"/proc/{proxy.process.pid}/fd"):
        try:
            own.add(os.readlink(f"/proc/{proxy.process.pid}/fd/{name}"))
        except FileNotFoundError:
            pass
    return sum(row[3] == "08" and f"socket:[{row[9]}]" in own for row in rows)


def fill(proxy, cluster, count=4):
    """Leaves idle connections to the primary and to replicas, of all workers."""
    sessions = [connect(proxy) for _ in range(count)]
    for session in sessions:
        session.execute("SELECT 1")
        session.execute("SELECT pg_advisory_unlock_all()")
    for session in sessions:
        session.close()
    until(lambda: open_connections(proxy)["primary"] and sum(open_connections(proxy).values()) > 1,
          "connections to the primary and to a replica")
    until_all_are_idle(proxy, cluster)


def until_all_are_idle(proxy, cluster):
    names = {"primary": cluster.primary, **{server.name: server for server in cluster.replicas}}
    idle = f"application_name = '{OURS}' AND state = 'idle' AND query = 'DISCARD ALL'"
    until(lambda: all(names[name].value(f"SELECT count(*) FROM pg_stat_activity WHERE {idle}") == number
                      for name, number in open_connections(proxy).items()), "all are idle")


def terminate(server) -> None:
    server.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = %s", OURS)


@pytest.mark.core
def test_connections_that_the_server_ends_leave_at_once(make_proxy, cluster):
    """Not only when the next client would have got them."""
    proxy = make_proxy()
    fill(proxy, cluster)
    before = open_connections(proxy)
    for server in cluster.servers:
        terminate(server)
    until(lambda: not any(open_connections(proxy).values()), "none is left")
    assert close_wait(proxy) == 0
    for name, number in before.items():
        assert proxy.metric("pgsteer_server_idle_connections_ended_total", server=name) == number
    assert set(proxy.states().values()) == {"HEALTHY"}, "the last words of sessions say nothing about a server"
    notices = []
    with connect(proxy) as session:
        session.add_notice_handler(notices.append)
        session.execute(f"SELECT 1 /* {new_marker()} */")
        session.execute("SELECT pg_advisory_unlock_all()")
    assert not notices


def test_an_idle_session_timeout_of_the_server_empties_the_pool(make_proxy, cluster):
    proxy = make_proxy()
    cluster.primary.sql("ALTER ROLE app SET idle_session_timeout = '2s'")
    cluster.wait_until_replayed()
    try:
        for _ in range(2):
            with connect(proxy) as session:
                session.execute("SELECT 1")
                session.execute("SELECT pg_advisory_unlock_all()")
            until(lambda: not any(open_connections(proxy).values()), "none is left")
        assert close_wait(proxy) == 0
    finally:
        cluster.primary.sql("ALTER ROLE app RESET idle_session_timeout")
        cluster.wait_until_replayed()


def test_a_restart_leaves_no_dead_connection_and_no_place_taken(make_proxy, hurt):
    """pool.size connections are there again, and not one less."""
    proxy = make_proxy({"pool": {"size": 4}})
    fill(proxy, hurt)
    for server in hurt.servers:
        server.restart()
        until(lambda server=server: open_connections(proxy)[server.name] == 0, "its connections are gone")
    assert close_wait(proxy) == 0
    until(lambda: set(proxy.states().values()) == {"HEALTHY"}, "all are back")
    sessions = [connect(proxy) for _ in range(4)]
    for session in sessions:
        session.execute("SELECT pg_advisory_unlock_all()")
    for session in sessions:
        session.close()


@pytest.mark.core
def test_an_idle_connection_is_used_again_and_watched_again(make_proxy, cluster):
    """Each round takes the same connections and gives them back; it may come before those of the last are back."""
    proxy = make_proxy({"workers": 1})
    fill(proxy, cluster, 1)
    opened = open_connections(proxy)
    for _ in range(20):
        with connect(proxy) as session:
            session.execute("SELECT 1")
            session.execute("SELECT pg_advisory_unlock_all()")
        until_all_are_idle(proxy, cluster)
    assert opened["primary"] == 1 and open_connections(proxy)["primary"] <= 2
    for server in cluster.servers:
        terminate(server)
    until(lambda: not any(open_connections(proxy).values()), "none is left")
