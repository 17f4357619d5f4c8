"""Who gets in, how, and what the others are told."""

import os
import subprocess

import psycopg
import pytest

from support import raw
from support.cluster import new_marker
from support.session import connect, dsn
from support.waiting import SLOWDOWN, until


def one(dsn):
    with psycopg.connect(dsn, autocommit=True) as connection:
        return connection.execute("SELECT current_user::text").fetchone()[0]


def refusal(dsn_text):
    """What libpq says about the error that ended the login."""
    connection = psycopg.pq.PGconn.connect(dsn_text.encode())
    assert connection.status == psycopg.pq.ConnStatus.BAD
    text = connection.error_message.decode()
    connection.finish()
    return text


@pytest.mark.core
@pytest.mark.parametrize("user, password", [("app", "app"), ("md5_user", "md5"),
                                            ("clear_user", "clear"), ("trust_user", "trust")])
def test_server_side_authentication_by_every_method(proxy, target, user, password):
    """The client logs in by SCRAM; the servers ask for SCRAM, md5, a clear password, nothing."""
    marker = new_marker()
    with connect(proxy, user=user, password=password) as connection:
        assert connection.execute("SELECT current_user::text").fetchone() == (user,)
        connection.execute(f"SELECT 1 /* {marker} */")
        connection.execute("SELECT pg_advisory_unlock_all()")
    target.expect_replica(marker)


@pytest.mark.core
def test_wrong_password_and_unknown_user_look_alike(proxy):
    wrong = refusal(dsn(proxy, password="wrong"))
    unknown = refusal(dsn(proxy, user="nobody", password="wrong"))
    assert 'FATAL:  password authentication failed for user "app"' in wrong
    assert wrong.replace('"app"', '"nobody"') == unknown


@pytest.mark.parametrize("user", ["app", "nobody"])
def test_a_failed_login_has_its_sqlstate(proxy, user):
    """By hand, since libpq hides it: 28P01 after a SCRAM exchange that looks the same for both."""
    with raw.connect(proxy.host, proxy.port) as opened:
        opened.send(raw.startup({"user": user, "database": "app"}))
        kind, body = opened.read()
        assert (kind, body) == ("R", b"\0\0\0\nSCRAM-SHA-256\0\0")
        first = b"n,,n=,r=abcdefghijklmnopqrstuvwx"
        opened.send(raw.message(b"p", b"SCRAM-SHA-256\0" + len(first).to_bytes(4, "big") + first))
        kind, body = opened.read()
        assert kind == "R" and body.startswith(b"\0\0\0\x0br=abcdefghijklmnopqrstuvwx")
        parts = dict(part.split(b"=", 1) for part in body[4:].split(b","))
        assert parts[b"i"] == b"4096"
        proof = b"c=biws,r=" + parts[b"r"] + b",p=" + b"A" * 43 + b"="
        opened.send(raw.message(b"p", proof))
        messages = opened.read_to_end()
        assert raw.sqlstates(messages) == ["28P01"]
        assert raw.fields(messages[0][1])["S"] == "FATAL"


@pytest.mark.core
def test_unknown_database(proxy):
    text = refusal(dsn(proxy, dbname="nosuch"))
    assert 'FATAL:  database "nosuch" does not exist' in text
    # Whoever cannot log in does not learn which databases there are.
    assert "password authentication failed" in refusal(dsn(proxy, dbname="nosuch", password="x"))


def test_the_database_defaults_to_the_users_name(proxy):
    with psycopg.connect(f"host={proxy.host} port={proxy.port} user=app password=app") as connection:
        assert connection.info.dbname == "app"


def test_a_startup_packet_without_user_is_refused(proxy):
    with raw.connect(proxy.host, proxy.port) as opened:
        opened.send(raw.startup({"database": "app"}))
        assert raw.sqlstates(opened.read_to_end()) == ["28000"]


def test_a_verifier_instead_of_a_password(make_proxy, cluster):
    verifier = cluster.primary.value("SELECT rolpassword FROM pg_authid WHERE rolname = 'app'")
    proxy = make_proxy({"auth": {"users": [{"name": "app", "verifier": verifier}]}})
    with connect(proxy) as connection:
        read, write = new_marker(), new_marker()
        connection.execute(f"SELECT 1 /* {read} */")
        connection.execute(f"SELECT pg_advisory_unlock_all() /* {write} */")
    assert set(cluster.where_ran(write)) == {"primary"}
    assert set(cluster.where_ran(read)) <= {"replica1", "replica2"}
    assert "password authentication failed" in refusal(dsn(proxy, password="wrong"))


@pytest.mark.parametrize("method", ["md5", "trust"])
def test_other_methods_for_clients(make_proxy, method):
    proxy = make_proxy({"auth": {"method": method}})
    assert one(dsn(proxy)) == "app"
    if method == "md5":
        assert "password authentication failed" in refusal(dsn(proxy, password="wrong"))
    else:
        assert one(dsn(proxy, password="whatever")) == "app"


@pytest.mark.core
def test_unix_socket(make_proxy, tmp_path):
    proxy = make_proxy({"listen": {"unix_socket": str(tmp_path)}})
    assert one(dsn(proxy, host=tmp_path)) == "app"
    proxy.stop()
    assert not list(tmp_path.iterdir()), "the socket is left behind"


def test_a_stale_unix_socket_does_not_prevent_the_start(make_proxy, tmp_path):
    proxy = make_proxy({"listen": {"unix_socket": str(tmp_path)}})
    proxy.process.kill()
    proxy.process.wait()
    proxy.start()
    assert one(dsn(proxy, host=tmp_path)) == "app"


@pytest.mark.core
def test_max_clients(make_proxy):
    proxy = make_proxy({"listen": {"max_clients": 3}})
    held = [psycopg.connect(dsn(proxy)) for _ in range(3)]
    assert "too many clients" in refusal(dsn(proxy))
    with raw.connect(proxy.host, proxy.port) as opened:
        opened.send(raw.startup({"user": "app", "database": "app"}))
        assert raw.sqlstates(opened.read_to_end()) == ["53300"]
    held.pop().close()
    until(lambda: not refused(proxy), "a place is free again")
    for connection in held:
        assert connection.execute("SELECT 1").fetchone() == (1,)
        connection.close()


def refused(proxy) -> bool:
    try:
        psycopg.connect(dsn(proxy)).close()
    except psycopg.OperationalError:
        return True
    return False


def test_server_name_maps_a_database(make_proxy):
    proxy = make_proxy({"databases": [{"name": "shop", "server_name": "app"}, {"name": "postgres"}]})
    with connect(proxy, dbname="shop") as connection:
        assert connection.execute("SELECT current_database()::text").fetchone() == ("app",)
    assert 'database "app" does not exist' in refusal(dsn(proxy))


def test_any_database_with_a_star(make_proxy):
    proxy = make_proxy({"databases": [{"name": "*"}]})
    assert one(dsn(proxy)) == "app"
    assert 'database "nosuch" does not exist' in refused_late(proxy, "nosuch")


def refused_late(proxy, dbname) -> str:
    """The server's own refusal, at login or with the first query."""
    try:
        with connect(proxy, dbname=dbname) as connection:
            connection.execute("SELECT 1")
    except psycopg.OperationalError as error:
        return str(error)
    return ""


def test_pool_size_is_a_limit_and_waiting_ends(make_proxy):
    proxy = make_proxy({"pool": {"size": 2, "acquire_timeout": "500ms"}})
    held = [connect(proxy) for _ in range(2)]
    for connection in held:
        connection.execute("SELECT pg_advisory_unlock_all()")
    with pytest.raises(psycopg.OperationalError) as info:
        with connect(proxy) as third:
            third.execute("SELECT pg_advisory_unlock_all()")
    assert info.value.sqlstate in ("53300", None)
    for connection in held:
        connection.close()
    until(lambda: one(dsn(proxy)) == "app", "places are free again")


def test_reads_beyond_the_replicas_pools_go_to_the_primary_without_waiting(make_proxy, cluster):
    # The first session of each worker has a connection to the primary since its login.
    proxy = make_proxy({"workers": 2, "pool": {"size": 3, "acquire_timeout": "10m"}})
    sessions, markers = [], []
    for _ in range(7):
        sessions.append(connect(proxy))
        markers.append(new_marker())
        sessions[-1].execute(f"SELECT 1 /* {markers[-1]} */")
    ran = [cluster.where_ran(marker) for marker in markers]
    assert sorted(server for servers in ran for server in set(servers)) == [
        "primary", *["replica1"] * 3, *["replica2"] * 3]
    for session in sessions:
        session.close()


@pytest.mark.core
def test_replication_connections_go_to_the_primary(proxy, cluster, tmp_path):
    done = subprocess.run(
        ["psql", "-X", "-A", "-t", dsn(proxy, user="repl", password="repl", replication="database"),
         "-c", "IDENTIFY_SYSTEM"], text=True, capture_output=True, timeout=30 * SLOWDOWN, check=True)
    assert done.stdout.split("|")[0] == str(cluster.primary.value(
        "SELECT system_identifier FROM pg_control_system()"))
    receivewal = os.path.join(cluster.env["BINDIR"], "pg_receivewal")
    if not os.path.exists(receivewal):
        pytest.skip("pg_receivewal has to be of the servers' version, and came without it")
    folder = tmp_path / "wal"
    folder.mkdir()
    with subprocess.Popen(
            [receivewal, "-D", str(folder), "-d",
             f"host={proxy.host} port={proxy.port} user=repl password=repl"],
            stderr=subprocess.PIPE) as receiver:
        try:
            until(lambda: any(folder.iterdir()), "WAL arrives")
            assert proxy.metric("pgsteer_requests_total", reason="replication") >= 2
            assert cluster.primary.value("SELECT count(*) FROM pg_stat_replication "
                                         "WHERE application_name = 'pg_receivewal'") == 1
        finally:
            receiver.terminate()
            receiver.communicate(timeout=20 * SLOWDOWN)


def test_logins_in_a_burst(proxy):
    opened = [psycopg.connect(dsn(proxy)) for _ in range(60)]
    assert all(connection.execute("SELECT 1").fetchone() == (1,) for connection in opened)
    for connection in opened:
        connection.close()
