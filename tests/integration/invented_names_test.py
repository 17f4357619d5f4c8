"""What clients invent leaves nothing behind: databases, users, settings, statements, cancel keys."""

import os
import time

import pytest

from support import raw, wire_client
from support.session import connect
from support.waiting import until

_MANY = 250


def log_in(proxy, user="app", database="app", **parameters):
    """None if the login was refused."""
    try:
        wire_client.log_in(proxy.host, proxy.port, user, "app", database, **parameters).socket.close()
    except (wire_client.LoginRefused, EOFError, ConnectionError):
        pass


def size_of_answers(proxy) -> tuple:
    """Lines, since numbers have more digits from time to time."""
    return len(proxy.http("/metrics").splitlines()), len(proxy.http("/status").splitlines())


@pytest.fixture
def open_to_all(make_proxy):
    """Takes any name, and asks a server."""
    return make_proxy({"auth": {"method": "trust"}, "databases": [{"name": "*"}], "workers": 1})


@pytest.mark.core
def test_invented_databases_and_users_are_not_in_the_answers(open_to_all):
    proxy = open_to_all
    log_in(proxy)
    until(lambda: any(catalog["loaded"] for catalog in proxy.status()["catalogs"]), "the catalog is loaded")
    proxy.http("/metrics")
    before = size_of_answers(proxy)
    for i in range(60):
        log_in(proxy, database=f"invented{i}")
        log_in(proxy, user=f"nobody{i}")
        log_in(proxy, database=f"invented{i}", replication="database")
    text = proxy.http("/metrics") + proxy.http("/status")
    assert "invented" not in text and "nobody" not in text
    assert proxy.metric("pgsteer_server_refused_logins", server="primary") == 0
    lines, status_lines = size_of_answers(proxy)
    # The names of errors that occurred for the first time.
    assert lines <= before[0] + 10 and status_lines <= before[1] + 2


@pytest.mark.core
def test_databases_that_servers_know_are_in_the_answers(open_to_all, cluster):
    log_in(open_to_all, database="postgres")
    assert 'database="postgres"' in open_to_all.http("/metrics")


@pytest.mark.heavy
def test_memory_does_not_grow_by_what_clients_invent(open_to_all):
    proxy = open_to_all

    def invent(number):
        word = f"{number}_{os.urandom(4).hex()}"
        log_in(proxy, database=f"d{word}" + "x" * 40)
        log_in(proxy, user=f"u{word}" + "x" * 40)
        log_in(proxy, application_name=f"a{word}" + "x" * 2000, options=f"-c my.setting={word}")
        with raw.connect(proxy.host, proxy.port) as session:
            session.send(raw.cancel_request(number, number))
        if number % 50 == 0:
            with connect(proxy) as session:
                for i in range(50):
                    session.execute(f"SELECT 1 AS c{word}_{i}", prepare=True)

    for number in range(_MANY):  # what is bounded fills up, the allocator finds its size
        invent(number)
    before, metrics = proxy.rss_kib(), size_of_answers(proxy)
    for number in range(_MANY):
        invent(number)
    time.sleep(1.5)  # housekeeping
    assert proxy.rss_kib() < before + 4096
    lines, status_lines = size_of_answers(proxy)
    assert lines <= metrics[0] + 5 and status_lines <= metrics[1]
