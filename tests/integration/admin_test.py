"""The endpoints, signals, and the end of the process."""

import json
import signal
import socket
import subprocess
import threading
import time

import psycopg
import pytest

from support.proxy import find_binary
from support.session import connect
from support.waiting import SLOWDOWN, until


@pytest.mark.core
def test_status_shows_every_server(proxy, cluster):
    status = proxy.status()
    by_name = {server["name"]: server for server in status["servers"]}
    assert set(by_name) == {"primary", "replica1", "replica2"}
    assert all(server["status"].upper() == "HEALTHY" for server in by_name.values())
    assert by_name["primary"]["role"] == "primary"
    assert by_name["replica1"]["role"] == "replica"
    assert status["primary"] == "primary" or status["primary"]["name"] == "primary"
    assert "password" not in json.dumps(status).lower()


@pytest.mark.core
def test_endpoints_answer(proxy):
    assert proxy.http_status("/livez") == 200
    assert proxy.http_status("/readyz") == 200
    assert proxy.http_status("/health/database") == 200
    assert proxy.http_status("/nothing-here") == 404
    json.loads(proxy.http("/health/database"))


@pytest.mark.core
def test_metrics_count_what_ran_where(proxy):
    before = {role: total(proxy, role) for role in ("primary", "replica")}
    with connect(proxy) as session:
        for _ in range(10):
            session.execute("SELECT 1")
        session.execute("SELECT pg_advisory_unlock_all()")
    until(lambda: total(proxy, "replica") - before["replica"] >= 10, "ten reads are counted")
    assert total(proxy, "primary") - before["primary"] >= 1
    for line in proxy.http("/metrics").splitlines():
        assert not line or line.startswith(("#", "pgsteer_", "process_")), line


def total(proxy, role) -> float:
    try:
        return proxy.metric("pgsteer_requests_total", role=role)
    except AssertionError:
        return 0


def test_readyz_follows_the_primary(make_proxy, hurt):
    proxy = make_proxy({"health": {"timeout": "1s"}})
    hurt.primary.hang()
    until(lambda: proxy.http_status("/readyz") == 503, "not ready without a primary", 20)
    assert proxy.http_status("/livez") == 200
    hurt.primary.resume()
    until(lambda: proxy.http_status("/readyz") == 200, "ready again", 20)


def test_reads_go_on_while_the_primary_is_away(make_proxy, hurt):
    proxy = make_proxy()
    with connect(proxy) as session:
        session.execute("SELECT 1")
        hurt.primary.kill()
        proxy.wait_for_state("primary", "UNHEALTHY")
        assert session.execute("SELECT count(*) FROM pg_class").fetchone()[0] > 0
        with pytest.raises(psycopg.OperationalError) as info:
            session.execute("SELECT pg_advisory_unlock_all()")
        assert info.value.sqlstate == "57P03"
        hurt.primary.start()
        proxy.wait_for_state("primary", "HEALTHY", 40)


def is_refused(proxy):
    try:
        connect(proxy).close()
        return False
    except psycopg.OperationalError:
        return True


@pytest.mark.core
def test_sigterm_lets_what_runs_finish_and_refuses_the_rest(make_proxy, cluster):
    proxy = make_proxy({"shutdown_timeout": "10m"})
    results = {}

    def long_query():
        with connect(proxy) as session:
            results["slept"] = session.execute("SELECT 'slept' FROM pg_sleep(3)").fetchone()[0]

    runner = threading.Thread(target=long_query)
    idle = connect(proxy)
    idle.execute("SELECT 1")
    working = connect(proxy)
    working.execute("BEGIN")
    working.execute("CREATE TEMP TABLE mine (n int)")
    runner.start()
    until(lambda: any(cluster.in_backends("wait_event = 'PgSleep' AND query LIKE '%''slept''%'").values()), "it sleeps")
    proxy.process.send_signal(signal.SIGTERM)
    until(lambda: is_refused(proxy), "it takes no new sessions")
    working.execute("INSERT INTO mine VALUES (1)")
    working.execute("COMMIT")
    with pytest.raises(psycopg.OperationalError) as info:
        idle.execute("SELECT 1")
    assert info.value.sqlstate in ("57P01", None)
    runner.join(60 * SLOWDOWN)
    assert results == {"slept": "slept"}
    working.close()
    proxy.process.wait(60 * SLOWDOWN)
    assert proxy.process.returncode == 0


@pytest.fixture
def in_transaction(make_proxy):
    """(a pgsteer, a session with an open transaction in it)"""
    opened = []

    def make(shutdown_timeout):
        proxy = make_proxy({"shutdown_timeout": shutdown_timeout})
        opened.append(connect(proxy))
        opened[0].execute("BEGIN")
        opened[0].execute("CREATE TEMP TABLE mine (n int)")
        return proxy, opened[0]
    yield make
    opened[0].close()


def test_a_second_sigterm_ends_at_once(in_transaction):
    proxy, _ = in_transaction("10m")
    proxy.process.send_signal(signal.SIGTERM)
    until(lambda: "draining: no new clients" in proxy.log(), "it drains")
    assert proxy.process.poll() is None
    proxy.process.send_signal(signal.SIGTERM)
    proxy.process.wait(60 * SLOWDOWN)


def test_shutdown_timeout_is_kept(in_transaction):
    proxy, _ = in_transaction("1s")
    started = time.monotonic()
    proxy.process.send_signal(signal.SIGTERM)
    proxy.process.wait(60 * SLOWDOWN)
    assert time.monotonic() - started > 0.5


@pytest.mark.core
def test_starting_without_any_server_and_finding_one_later(make_proxy, hurt):
    for server in hurt.servers:
        server.stop()
    proxy = make_proxy(wait=False)
    until(lambda: proxy.http_status("/livez") == 200, "it lives", 10)
    assert proxy.http_status("/readyz") == 503
    for server in hurt.servers:
        server.start()
    proxy.wait_until_ready()
    with connect(proxy) as session:
        assert session.execute("SELECT 1").fetchone() == (1,)


@pytest.mark.core
def test_command_line(proxy, tmp_path):
    def run(*arguments):
        return subprocess.run([find_binary(), *arguments], text=True, capture_output=True,
                              timeout=20 * SLOWDOWN, check=False)
    assert "0." in run("--version").stdout
    assert "--config" in run("--help").stdout
    bad = tmp_path / "bad.yaml"
    bad.write_text("listen: {prot: 1}\nservers: []\n")
    done = run("--check-config", str(bad))
    assert done.returncode == 1
    assert "bad.yaml:1:" in done.stdout + done.stderr and "port" in done.stdout + done.stderr
    explained = run("explain", "SELECT 1").stdout
    assert "replica" in explained
    assert "primary" in run("explain", "DELETE FROM t").stdout


def test_running_without_a_file(proxy, cluster):
    """--primary and --replica; the default ports may be taken on this machine."""
    if any(is_taken(port) for port in (6432, 9932)):
        pytest.skip("a default port is taken")

    def uri(server):
        return f"postgresql://pgsteer:pgsteer@127.0.0.1:{server.port}/postgres"
    arguments = [find_binary(), "--primary", uri(cluster.primary)]
    for replica in cluster.replicas:
        arguments += ["--replica", uri(replica)]
    with subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                          text=True) as process:
        try:
            until(lambda: is_taken(9932) or process.poll() is not None, "it listens")
            assert process.poll() is None, process.stderr.read()
            dsn = "host=127.0.0.1 port=6432 user=pgsteer password=pgsteer dbname=postgres"

            def works():
                try:
                    with psycopg.connect(dsn, autocommit=True) as session:
                        return session.execute("SELECT 1").fetchone() == (1,)
                except psycopg.OperationalError:
                    return False
            until(works, "queries are answered")
        finally:
            process.terminate()
            process.communicate(timeout=40 * SLOWDOWN)


def is_taken(port) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
