"""Statements about databases and roles, while pgsteer keeps idle connections: they succeed as direct, and who logs
in after them gets what a direct session gets."""

import threading

import psycopg
import pytest

from support import session as sessions
from support.waiting import until
from support.wire_client import LoginRefused, log_in

USERS = {"users": [{"name": "app", "password": "app"}, {"name": "other", "password": "other"},
                   {"name": "owner", "password": "owner"}, {"name": "changing", "password": "changing"}]}


@pytest.fixture(scope="module", autouse=True)
def _roles(cluster):
    cluster.primary.sql("CREATE ROLE owner SUPERUSER LOGIN PASSWORD 'owner'; "
                        "CREATE ROLE changing LOGIN PASSWORD 'changing'")
    cluster.wait_until_replayed()
    yield
    cluster.primary.sql("DROP ROLE owner")
    cluster.primary.sql("DROP ROLE changing")


@pytest.fixture
def proxy(make_proxy):
    return make_proxy({"auth": USERS, "databases": [{"name": "*"}], "workers": 2})


def connect(where, user="owner", dbname="app", **options):
    return sessions.connect(where, user=user, dbname=dbname, **options)


def use(proxy, dbname, count=4) -> None:
    """Idle connections to that database remain, on all servers and workers."""
    for _ in range(count):
        with connect(proxy, "app", dbname) as session:
            session.execute("SELECT 1")
            session.execute("SELECT pg_advisory_unlock_all()")


def databases(cluster) -> set:
    return {row[0] for row in cluster.primary.sql("SELECT datname FROM pg_database")}


@pytest.fixture
def made(cluster):
    """made(name) creates a database past pgsteer; what is left of them is dropped."""
    before = databases(cluster)

    def create(name):
        quoted = '"' + name.replace('"', '""') + '"'
        cluster.primary.sql(f"CREATE DATABASE {quoted}")
        cluster.wait_until_replayed()
        return quoted
    yield create
    for name in databases(cluster) - before:
        cluster.primary.sql('DROP DATABASE "' + name.replace('"', '""') + '" WITH (FORCE)')


@pytest.mark.core
@pytest.mark.parametrize("name", ["dropped", "My \"Shop"])
@pytest.mark.parametrize("form", ["simple", "extended", "force"])
def test_a_database_that_clients_have_left_can_be_dropped(proxy, cluster, made, name, form):
    quoted = made(name)
    use(proxy, name)
    with connect(proxy) as session:
        if form == "extended":
            session.execute(f"DROP DATABASE {quoted}", prepare=True)
        else:
            session.execute(f"DROP DATABASE {quoted}{' WITH (FORCE)' if form == 'force' else ''}")
    assert name not in databases(cluster)


@pytest.mark.core
def test_a_database_that_clients_have_left_can_be_renamed_copied_and_moved(proxy, cluster, made):
    """And afterwards its name means what it means to the servers, on replicas, too."""
    made("before")
    use(proxy, "before")
    with connect(proxy) as session:
        session.execute("CREATE DATABASE copied TEMPLATE before")
        use(proxy, "before")
        use(proxy, "copied")
        session.execute("ALTER DATABASE before RENAME TO after")
        session.execute("ALTER DATABASE copied RENAME TO before")
    cluster.wait_until_replayed()
    oids = dict(cluster.primary.sql("SELECT datname, oid FROM pg_database"))
    for _ in range(6):
        with connect(proxy, "app", "before") as session:
            found = session.execute("SELECT oid FROM pg_database WHERE datname = current_database()").fetchone()
            assert found == (oids["before"],)
    assert {"before", "after"} <= databases(cluster) and "copied" not in databases(cluster)


@pytest.mark.core
def test_createdb_is_not_kept_out_of_its_template(proxy, cluster, made):
    """template1, which nobody has named."""
    del made  # drops what is created here
    use(proxy, "template1")
    with connect(proxy) as session:
        session.execute("CREATE DATABASE from_template1")
    assert "from_template1" in databases(cluster)


def test_clients_that_are_there_keep_a_database_from_being_dropped(proxy, cluster, made):
    """As direct: 55006, and they do not notice."""
    made("in_use")
    use(proxy, "in_use")
    with connect(proxy, "app", "in_use") as holder, connect(proxy) as session:
        holder.execute("CREATE TEMP TABLE mine AS SELECT 7 AS seven")
        with pytest.raises(psycopg.errors.ObjectInUse):
            session.execute("DROP DATABASE in_use")
        assert holder.execute("SELECT seven FROM mine").fetchone() == (7,)
    assert "in_use" in databases(cluster)


def test_a_database_can_be_dropped_while_others_connect_and_leave(proxy, cluster, made):
    """Connections that come back while the statement waits are not kept either."""
    made("busy")
    stop = threading.Event()

    def come_and_go():
        while not stop.is_set():
            try:
                use(proxy, "busy", 1)
            except psycopg.Error:
                return  # it is gone
    thread = threading.Thread(target=come_and_go)
    thread.start()
    try:
        with connect(proxy) as session:
            def is_dropped():
                try:
                    session.execute("DROP DATABASE busy")
                    return True
                except psycopg.errors.ObjectInUse:
                    return False  # one was there for all of the 5 s that PostgreSQL waits
            until(is_dropped, "the database is dropped", 30)
    finally:
        stop.set()
        thread.join()
    assert "busy" not in databases(cluster)


# --- what a login gets

def value(where, setting, user="changing", dbname="app"):
    with connect(where, user, dbname) as session:
        return session.execute(f"SHOW {setting}").fetchone()[0]


def reported(where, user="changing"):
    session = log_in(where.host, where.port, user, user, "app")
    session.socket.close()
    return {name: text for name, text in session.parameters.items()
            if name not in ("in_hot_standby", "default_transaction_read_only")}


def fill(proxy, user="changing", count=4) -> None:
    for _ in range(count):
        with connect(proxy, user) as session:
            session.execute("SELECT 1")
            session.execute("SELECT pg_advisory_unlock_all()")


@pytest.mark.core
@pytest.mark.parametrize("statement, undo", [
    ("ALTER ROLE changing SET timezone = 'Asia/Tokyo'", "ALTER ROLE changing RESET timezone"),
    ("ALTER ROLE changing IN DATABASE app SET timezone = 'Asia/Tokyo'",
     "ALTER ROLE changing IN DATABASE app RESET timezone"),
    ("ALTER DATABASE app SET timezone = 'Asia/Tokyo'", "ALTER DATABASE app RESET timezone"),
    ("ALTER ROLE ALL SET timezone = 'Asia/Tokyo'", "ALTER ROLE ALL RESET ALL"),
])
def test_new_sessions_begin_with_what_was_set_for_them(proxy, cluster, statement, undo):
    fill(proxy)
    with connect(proxy) as session:
        session.execute(statement)
        try:
            for _ in range(4):  # both workers
                assert value(proxy, "timezone") == "Asia/Tokyo"
                assert reported(proxy) == reported(cluster.primary)
        finally:
            session.execute(undo)
    for _ in range(4):
        assert reported(proxy) == reported(cluster.primary)


@pytest.mark.core
def test_a_setting_in_a_transaction_counts_from_its_commit_on(proxy, cluster):
    fill(proxy)
    with connect(proxy) as session:
        session.execute("BEGIN")
        session.execute("ALTER ROLE changing SET timezone = 'Asia/Tokyo'")
        fill(proxy)  # with what is in force still
        session.execute("COMMIT")
        try:
            for _ in range(4):
                assert value(proxy, "timezone") == "Asia/Tokyo"
                assert reported(proxy) == reported(cluster.primary)
        finally:
            session.execute("ALTER ROLE changing RESET ALL")


def test_sessions_on_replicas_begin_with_it_when_it_has_arrived(proxy, cluster):
    fill(proxy)
    with connect(proxy) as session:
        session.execute("ALTER ROLE changing SET pgsteer_test.x = 'set'")
        try:
            cluster.wait_until_replayed()

            def is_set():
                with connect(proxy, "changing") as reader:
                    return reader.execute("/* pgsteer: replica */ SELECT current_setting('pgsteer_test.x', true)"
                                          ).fetchone() == ("set",)
            until(lambda: all(is_set() for _ in range(6)), "all sessions have it")
        finally:
            session.execute("ALTER ROLE changing RESET ALL")


def test_who_may_not_log_in_any_more_does_not(proxy, cluster):
    """By an idle connection: as direct."""
    fill(proxy)

    def answer(where):
        try:
            with connect(where, "changing") as session:
                return session.execute("SELECT 1 FROM pg_catalog.pg_class WHERE false").fetchall()
        except psycopg.OperationalError as error:
            return str(error).rsplit("FATAL:", maxsplit=1)[-1]
    with connect(proxy) as session:
        session.execute("ALTER ROLE changing NOLOGIN")
        try:
            cluster.wait_until_replayed()
            assert "not permitted to log in" in answer(cluster.primary)
            assert "not permitted to log in" in answer(proxy)
        finally:
            session.execute("ALTER ROLE changing LOGIN")
        cluster.wait_until_replayed()
        until(lambda: answer(proxy) == [], "the role is let in again")


@pytest.mark.core
def test_a_changed_configuration_is_what_new_sessions_are_told(proxy, cluster):
    """ALTER SYSTEM and a reload, past pgsteer."""
    fill(proxy)
    cluster.primary.set("timezone", "Asia/Tokyo")
    try:
        until(lambda: reported(cluster.primary)["TimeZone"] == "Asia/Tokyo", "it is in force")
        until(lambda: all(reported(proxy) == reported(cluster.primary) for _ in range(4)), "and told")
    finally:
        cluster.primary.sql("ALTER SYSTEM RESET timezone")
        cluster.primary.sql("SELECT pg_reload_conf()")
    until(lambda: all(reported(proxy) == reported(cluster.primary) for _ in range(4)), "and told")


def test_what_is_set_past_pgsteer_is_seen_with_the_catalog(make_proxy, cluster):
    proxy = make_proxy({"auth": USERS, "routing": {"catalog_interval": "1s"}})
    fill(proxy)
    cluster.primary.sql("ALTER ROLE changing SET timezone = 'Asia/Tokyo'")
    try:
        until(lambda: all(reported(proxy) == reported(cluster.primary) for _ in range(4)), "it is told")
        assert value(proxy, "timezone") == "Asia/Tokyo"
    finally:
        cluster.primary.sql("ALTER ROLE changing RESET ALL")


def test_a_refused_login_is_no_reason_to_keep_a_database(proxy, made):
    """Its name is not remembered as one that exists."""
    del made
    with pytest.raises(LoginRefused) as refused:
        log_in(proxy.host, proxy.port, "app", "app", "no_such_database")
    assert refused.value.sqlstate == "3D000"
