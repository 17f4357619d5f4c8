"""A client that has gone ends what its session waits for, and what that holds, whether it said good-bye or not; and
what it has asked for before it said good-bye is done."""

import select

import psycopg
import pytest

from support import raw, wire_client
from support.cluster import new_marker
from support.raw import FLUSH as H, SYNC as S, bind as B, execute as E, parse as P, query as Q
from support.waiting import until

TERMINATE = raw.message(b"X")
LOCK = 471_100


@pytest.fixture
def name():
    return new_marker()


@pytest.fixture
def session(cluster, proxy, name):
    with raw.log_in(f"host={proxy.host} port={proxy.port} user=app password=app dbname=app "
                    f"application_name={name}") as opened:
        yield opened


@pytest.fixture
def lock(cluster):
    """Held, so that sessions that want it wait."""
    with cluster.primary.connect() as holder:
        holder.execute("SELECT pg_advisory_lock(%s)", (LOCK,))
        yield holder
        holder.rollback()


@pytest.fixture
def table(cluster, name):
    cluster.primary.sql(f"CREATE TABLE gone_{name} (n int); ALTER TABLE gone_{name} OWNER TO app")
    yield f"gone_{name}"
    cluster.primary.sql(f"DROP TABLE gone_{name}")


def waits(cluster, name):
    return cluster.primary.value("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' "
                                 "AND application_name = %s", name) > 0


def expect_nothing_left(cluster, name):
    until(lambda: not any(cluster.in_backends(f"application_name = '{name}' AND (state <> 'idle' OR "
                                              "xact_start IS NOT NULL)").values()),
          "nothing of the session is left", 3)


@pytest.mark.core
@pytest.mark.parametrize("behind", [Q("SELECT count(*) FROM pg_class"), Q("BEGIN"), Q("COMMIT"), P("", "SELECT 1") + H,
                                    Q("SHOW pgsteer.last_route"), b""])
def test_a_client_that_goes_while_its_session_waits_for_an_answer(cluster, lock, session, name, table, behind):
    session.send(Q("BEGIN"), Q(f"LOCK TABLE {table}"))
    session.read_until_ready()
    session.read_until_ready()
    session.send(Q(f"SELECT pg_advisory_lock({LOCK})"), behind)
    until(lambda: waits(cluster, name), "it waits")
    session.socket.close()
    expect_nothing_left(cluster, name)


def test_a_client_that_goes_while_its_session_waits_to_read_elsewhere(cluster, lock, session, name):
    session.send(Q(f"SELECT pg_advisory_lock({LOCK})"), Q("SELECT count(*) FROM pg_class"), Q("SELECT 1"))
    until(lambda: waits(cluster, name), "it waits")
    session.socket.close()
    expect_nothing_left(cluster, name)


@pytest.mark.core
@pytest.mark.parametrize("behind", [S, b"", S + raw.message(b"d", b"1\n"), raw.message(b"d", b"1\n") + S])
def test_a_client_that_goes_in_the_middle_of_a_copy(cluster, session, name, table, behind):
    session.send(Q("BEGIN"), P("", f"COPY {table} FROM STDIN"), B("", ""), E(""), behind)
    session.read_until("Z")
    session.send(H)
    until(lambda: any(cluster.in_backends(f"application_name = '{name}' AND query LIKE 'COPY%'").values()), "it copies")
    session.socket.close()
    expect_nothing_left(cluster, name)


@pytest.mark.core
def test_what_was_asked_for_before_terminate_is_done(cluster, lock, session, name, table):
    session.send(Q(f"SELECT pg_advisory_xact_lock({LOCK}); INSERT INTO {table} VALUES (1)"),
                 P("", f"INSERT INTO {table} VALUES (2)"), B("", ""), E(""), S, TERMINATE)
    session.socket.close()
    until(lambda: waits(cluster, name), "it waits")
    lock.rollback()
    lock.execute("SELECT pg_advisory_unlock(%s)", (LOCK,))
    until(lambda: cluster.primary.value(f"SELECT count(*) FROM {table}") == 2, "all is done")
    expect_nothing_left(cluster, name)


def test_a_drain_does_not_wait_for_requests_that_were_skipped(cluster, make_proxy, name, table):
    proxy = make_proxy({"shutdown_timeout": "60s"})
    with raw.log_in(f"host={proxy.host} port={proxy.port} user=app password=app dbname=app "
                    f"application_name={name}") as session:
        session.send(Q("BEGIN"), Q(f"INSERT INTO {table} VALUES (1)"), P("", "SELECT * FROM never_was"), B("", ""), E(""),
                     Q("SELECT 7"), S, Q("ROLLBACK"))
        assert raw.sqlstates(session.read_until_ready() + session.read_until_ready() + session.read_until_ready() +
                             session.read_until_ready()) == ["42P01"]
        proxy.stop()
        assert raw.sqlstates(session.read_to_end()) == ["57P01"]


@pytest.fixture
def narrow(make_proxy):
    """One server connection for each user, for which requests wait for long."""
    return make_proxy({"workers": 1, "pool": {"size": 1, "acquire_timeout": "10m"}})


@pytest.fixture
def in_line(narrow, name):
    """A session that waits for the connection of another one, which it will not get."""
    def log_in():
        return wire_client.log_in(narrow.host, narrow.port, "app", "app", "app", application_name=name)
    with log_in() as holder, log_in() as waiting:
        holder.send(Q("BEGIN; SELECT txid_current()"))
        holder.read_until_ready()
        waiting.send(Q("SELECT txid_current()"))
        until(lambda: narrow.metric("pgsteer_pool_waiting") == 1, "it waits")
        yield waiting


@pytest.mark.core
def test_a_client_that_goes_while_its_session_waits_for_a_connection(narrow, in_line):
    in_line.socket.close()
    until(lambda: narrow.metric("pgsteer_pool_waiting") == 0, "nobody waits", 3)


@pytest.mark.core
def test_a_cancel_reaches_a_session_that_waits_for_a_connection(narrow, in_line):
    with raw.connect(narrow.host, narrow.port) as other:
        other.send(raw.cancel_request(*in_line.key))
    assert raw.sqlstates(in_line.read_until_ready()) == ["57014"]
    assert narrow.metric("pgsteer_pool_waiting") == 0


@pytest.fixture
def at_a_hanging_server(hurt, make_proxy, name):
    """pgsteer, and a session that waits for a new connection to the primary, which may take ten minutes."""
    servers = [{"name": server.name, "host": server.host, "port": server.port, "connect_timeout": "10m"}
               for server in hurt.servers]
    proxy = make_proxy({"workers": 1, "servers": servers, "health": {"timeout": "10m"}, "shutdown_timeout": "1s"})
    def log_in():
        return wire_client.log_in(proxy.host, proxy.port, "app", "app", "app", application_name=name)
    with log_in(), log_in() as waiting:  # the first one has the connection on which its login was looked up
        hurt.primary.hang()
        waiting.send(Q("SELECT txid_current()"))
        yield proxy, waiting
        hurt.primary.resume()


def connections_to_primary(proxy):
    return proxy.metric("pgsteer_server_connections", server="primary")


def test_a_client_that_goes_while_a_server_takes_its_time(hurt, at_a_hanging_server):
    proxy, waiting = at_a_hanging_server
    waiting.socket.close()
    until(lambda: proxy.metric("pgsteer_clients") == 1, "its session has ended")
    assert connections_to_primary(proxy) == 1
    hurt.primary.resume()
    until(lambda: connections_to_primary(proxy) == 2, "what was opened for it is there for others")


def test_a_cancel_reaches_a_session_while_a_server_takes_its_time(hurt, at_a_hanging_server):
    proxy, waiting = at_a_hanging_server
    def answered():  # it may come before what it is to cancel
        with raw.connect(proxy.host, proxy.port) as other:
            other.send(raw.cancel_request(*waiting.key))
        return select.select([waiting.socket], [], [], 0.1)[0]
    until(answered, "it is cancelled")
    assert raw.sqlstates(waiting.read_until_ready()) == ["57014"]
    assert connections_to_primary(proxy) == 1
    hurt.primary.resume()
    waiting.send(Q("SELECT txid_current()"))
    assert not raw.sqlstates(waiting.read_until_ready())


def test_a_client_for_replication_that_goes_while_a_server_takes_its_time(at_a_hanging_server):
    proxy, _ = at_a_hanging_server
    accepted = proxy.metric("pgsteer_clients_accepted_total")
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(f"host={proxy.host} port={proxy.port} user=repl password=repl dbname=app replication=database "
                        "connect_timeout=2")
    assert proxy.metric("pgsteer_clients_accepted_total") == accepted + 1
    until(lambda: proxy.metric("pgsteer_clients") == 2, "its session has ended")


@pytest.mark.core
def test_an_end_while_a_server_takes_its_time(at_a_hanging_server):
    proxy, waiting = at_a_hanging_server
    proxy.stop()
    assert raw.sqlstates(waiting.read_to_end()) == ["57P01"]
