"""Session settings follow the session to whichever server serves it next."""

import psycopg
import pytest

from support.cluster import new_marker
from support.session import connect

DATE = "SELECT date '2020-02-01' || ''"  # shows DateStyle on the server that runs it
ISO, GERMAN, SQL_STYLE = "2020-02-01", "01.02.2020", "02/01/2020"


@pytest.fixture
def connection(target):
    with connect(target) as opened:
        yield opened


def on_replica(target, connection, query=DATE):
    """The value that a replica shows."""
    shown = []

    def read(marker):
        shown.append(connection.execute(f"{query} /* {marker} */").fetchone()[0])
    target.read_until_on_replica(read)
    return shown[-1]


def on_primary(target, connection, query=DATE):
    marker = new_marker()
    shown = connection.execute(f"/* pgsteer: primary */ {query} /* {marker} */").fetchone()[0]
    target.expect_primary(marker)
    return shown


def both(target, connection, query=DATE):
    shown = {on_replica(target, connection, query), on_primary(target, connection, query)}
    assert len(shown) == 1, f"the servers differ: {shown}"
    return shown.pop()


@pytest.mark.core
def test_set_and_reset_reach_both_servers(target, connection):
    assert both(target, connection) == ISO
    connection.execute("SET DateStyle = 'German'")
    assert both(target, connection) == GERMAN
    connection.execute("SET DateStyle = 'SQL, MDY'")
    assert both(target, connection) == SQL_STYLE
    connection.execute("RESET DateStyle")
    assert both(target, connection) == ISO


def test_set_config_reaches_both_servers(target, connection):
    connection.execute("SELECT set_config('DateStyle', 'German', false)")
    assert both(target, connection) == GERMAN
    connection.execute("SELECT set_config('app.tenant', 'x', false)")
    assert both(target, connection, "SELECT current_setting('app.tenant')") == "x"


def test_set_config_with_parameters_is_seen_by_every_later_read(connection):
    """What it sets is not in the text; the session may stay on one server for it."""
    for style, shown in (("German", GERMAN), ("ISO, MDY", ISO), ("SQL, MDY", SQL_STYLE)):
        connection.execute("SELECT set_config('DateStyle', %s, false)", (style,))
        for _ in range(5):
            assert connection.execute(DATE).fetchone()[0] == shown


@pytest.mark.core
def test_settings_of_a_transaction_that_rolled_back_are_rolled_back(target, connection):
    connection.execute("SET DateStyle = 'German'")
    assert both(target, connection) == GERMAN
    connection.execute("BEGIN")
    connection.execute("SET DateStyle = 'SQL, MDY'")
    assert connection.execute(DATE).fetchone()[0] == SQL_STYLE
    connection.execute("ROLLBACK")
    assert both(target, connection) == GERMAN


def test_settings_of_a_committed_transaction_stay(target, connection):
    with connection.transaction():
        connection.execute("SET DateStyle = 'German'")
    assert both(target, connection) == GERMAN


def test_settings_roll_back_with_their_savepoint(target, connection):
    connection.execute("BEGIN")
    connection.execute("SET DateStyle = 'German'")
    connection.execute("SAVEPOINT s")
    connection.execute("SET DateStyle = 'SQL, MDY'")
    connection.execute("ROLLBACK TO SAVEPOINT s")
    connection.execute("COMMIT")
    assert both(target, connection) == GERMAN


def test_set_local_ends_with_its_transaction(target, connection):
    connection.execute("SET DateStyle = 'German'")
    with connection.transaction():
        connection.execute("SET LOCAL DateStyle = 'SQL, MDY'")
        assert connection.execute(DATE).fetchone()[0] == SQL_STYLE
    assert both(target, connection) == GERMAN


def test_a_set_before_an_error_in_one_query_is_rolled_back(target, connection):
    with pytest.raises(psycopg.errors.DivisionByZero):
        connection.execute("SET DateStyle = 'German'; SELECT 1/0")
    assert both(target, connection) == ISO


def test_reset_all_and_discard_all(target, connection):
    connection.execute("SET DateStyle = 'German'")
    assert both(target, connection) == GERMAN
    connection.execute("RESET ALL")
    assert both(target, connection) == ISO
    connection.execute("SET DateStyle = 'German'")
    connection.execute("DISCARD ALL")
    assert both(target, connection) == ISO


@pytest.mark.core
def test_startup_options_reach_both_servers(target):
    name = new_marker()
    dsn = target.dsn(application_name=name, options="-c DateStyle=German -c work_mem=7MB")
    with psycopg.connect(dsn, autocommit=True) as connection:
        assert both(target, connection) == GERMAN
        assert both(target, connection, "SELECT current_setting('work_mem')") == "7MB"
        active = target.cluster.in_backends(f"application_name = '{name}'")
        assert active["primary"] == 1
        if not target.direct:
            assert sum(active.values()) == 2
        # A reset goes back to what the client asked for at startup.
        connection.execute("SET DateStyle = 'ISO'")
        connection.execute("RESET DateStyle")
        assert both(target, connection) == GERMAN


def test_search_path_decides_on_both_servers(target, connection, cluster):
    cluster.primary.sql("CREATE SCHEMA tenant; CREATE TABLE public.here AS SELECT 'public' AS place;"
                        "CREATE TABLE tenant.here AS SELECT 'tenant' AS place;"
                        "GRANT USAGE ON SCHEMA tenant TO app;"
                        "GRANT SELECT ON ALL TABLES IN SCHEMA public, tenant TO app")
    cluster.wait_until_replayed()
    try:
        query = "SELECT place FROM here"
        assert both(target, connection, query) == "public"
        connection.execute("SET search_path = tenant, public")
        assert both(target, connection, query) == "tenant"
        connection.execute("SET search_path TO DEFAULT")
        assert both(target, connection, query) == "public"
    finally:
        cluster.primary.sql("DROP SCHEMA tenant CASCADE; DROP TABLE public.here")


def test_statement_timeout_holds_on_a_replica(target, connection):
    connection.execute("SELECT 1")
    connection.execute("SET statement_timeout = '300ms'")
    marker = new_marker()
    with pytest.raises(psycopg.errors.QueryCanceled):
        connection.execute(f"SELECT pg_sleep(20) /* {marker} */")
    # Cancelled once: a timeout is not run again elsewhere.
    assert sum(target.cluster.where_ran(marker).values()) == 1


def test_client_encoding(target, connection):
    connection.execute("SET client_encoding = 'LATIN1'")
    assert connection.info.encoding == "iso8859-1"
    assert both(target, connection, "SELECT 'ü'::text") == "ü"


@pytest.mark.core
@pytest.mark.parametrize("setting, expected", [
    ("transaction_read_only", "off"), ("default_transaction_read_only", "off"),
    ("in_hot_standby", "off"), ("transaction_isolation", "read committed")])
def test_the_replicas_read_only_state_stays_hidden(target, connection, setting, expected):
    on_replica(target, connection, "SELECT 1")
    assert connection.execute(f"SHOW {setting}").fetchone()[0] == expected
    assert connection.execute(f"SELECT current_setting('{setting}')").fetchone()[0] == expected
    assert connection.info.parameter_status("in_hot_standby") == "off"
    assert connection.info.parameter_status("default_transaction_read_only") == "off"


def test_what_the_primary_says_of_read_only_is_reported(make_proxy, cluster):
    cluster.primary.sql("ALTER ROLE other SET default_transaction_read_only = on")
    try:
        proxy = make_proxy()
        options = {"host": proxy.host, "port": proxy.port, "user": "other", "password": "other", "dbname": "app"}
        for _ in range(2):  # as the server says it, and as it is remembered
            with psycopg.connect(**options) as session:
                assert session.info.parameter_status("default_transaction_read_only") == "on"
                assert session.info.parameter_status("in_hot_standby") == "off"
        with pytest.raises(psycopg.OperationalError, match="read-only"):
            psycopg.connect(**options, target_session_attrs="read-write")
    finally:
        cluster.primary.sql("ALTER ROLE other RESET default_transaction_read_only")


def test_pg_is_in_recovery_says_primary(target, connection):
    on_replica(target, connection, "SELECT 1")
    assert connection.execute("SELECT pg_is_in_recovery()").fetchone() == (False,)


def test_a_client_cannot_open_a_replica_for_writing(target, connection):
    on_replica(target, connection, "SELECT 1")
    connection.execute("SET default_transaction_read_only = off")
    connection.execute("SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE")
    name = f"opened_{new_marker()}"
    connection.execute(f"CREATE TABLE {name} (n int)")
    connection.execute(f"INSERT INTO {name} VALUES (1)")
    assert connection.execute(f"SELECT n FROM {name}").fetchone() == (1,)
    connection.execute(f"DROP TABLE {name}")


def test_default_transaction_read_only_set_by_the_client_is_obeyed(target, connection):
    on_replica(target, connection, "SELECT 1")
    connection.execute("SET default_transaction_read_only = on")
    assert connection.execute("SHOW default_transaction_read_only").fetchone() == ("on",)
    with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
        connection.execute("CREATE TABLE never (n int)")
    connection.execute("SET default_transaction_read_only = off")
    connection.execute("CREATE TEMP TABLE now_it_may (n int)")


def test_a_setting_that_fails_is_not_applied(target, connection):
    with pytest.raises(psycopg.errors.InvalidParameterValue):
        connection.execute("SET DateStyle = 'nonsense'")
    assert both(target, connection) == ISO
    with pytest.raises(psycopg.errors.UndefinedObject):
        connection.execute("SET no_such_setting = 1")
    assert both(target, connection) == ISO


def test_set_role_and_session_authorization(target, cluster):
    cluster.primary.sql("CREATE ROLE worker; GRANT worker TO app")
    cluster.wait_until_replayed()
    try:
        with connect(target) as connection:
            assert both(target, connection, "SELECT current_user::text") == "app"
            connection.execute("SET ROLE worker")
            for _ in range(3):
                assert connection.execute("SELECT current_user::text").fetchone() == ("worker",)
            assert on_primary(target, connection, "SELECT current_user::text") == "worker"
            connection.execute("RESET ROLE")
            assert connection.execute("SELECT current_user::text").fetchone() == ("app",)
    finally:
        cluster.primary.sql("DROP ROLE worker")
