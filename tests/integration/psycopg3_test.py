"""psycopg 3: what its users do, unchanged, through pgsteer."""

import threading
import time

import psycopg
import pytest
from psycopg import sql
from psycopg.rows import dict_row

from support.cluster import new_marker
from support.session import connect
from support.waiting import until


@pytest.fixture
def connection(target):
    with connect(target) as opened:
        yield opened


@pytest.mark.core
def test_reads_run_on_a_replica_and_writes_on_the_primary(target, connection, table):
    marker = new_marker()
    connection.execute(f"INSERT INTO {table} VALUES (1, 'one') /* {marker} */")
    target.expect_primary(marker)
    target.read_until_on_replica(
        lambda m: connection.execute(f"SELECT body FROM {table} /* {m} */").fetchall())


def test_the_first_read_of_a_session_runs_on_a_replica(target):
    marker = new_marker()
    with connect(target) as fresh:
        assert fresh.execute(f"SELECT 1 + 1 /* {marker} */").fetchone() == (2,)
    target.expect_replica(marker)


def test_parameters_of_many_types_come_back(connection):
    given = (7, 2 ** 40, 1.5, "text ' \" \\ ü€", b"\x00\xff", None, True, [1, 2, 3])
    row = connection.execute(
        "SELECT %s::int, %s::int8, %s::float8, %s::text, %s::bytea, %s::text, %s::bool, %s::int[]",
        given).fetchone()
    assert row == given
    row = connection.execute("SELECT %s::int, %s::bytea", (7, b"\x00\xff"), binary=True).fetchone()
    assert row == (7, b"\x00\xff")


def test_rows_keep_their_names_and_types(connection):
    with connection.cursor(row_factory=dict_row) as cursor:
        cursor.execute("SELECT 1 AS number, 'x'::text AS letter, now()::date AS day")
        assert list(cursor.fetchone()) == ["number", "letter", "day"]
        assert [column.type_code for column in cursor.description] == [23, 25, 1082]


@pytest.mark.core
def test_transaction_with_error_and_savepoint(target, connection, table):
    marker = new_marker()
    with connection.transaction():
        connection.execute(f"INSERT INTO {table} VALUES (1, 'kept') /* {marker} */")
        with pytest.raises(psycopg.errors.UniqueViolation):
            with connection.transaction():
                connection.execute(f"INSERT INTO {table} VALUES (1, 'again')")
        connection.execute(f"INSERT INTO {table} VALUES (2, 'kept too')")
        rows = connection.execute(f"SELECT id FROM {table} ORDER BY id /* {marker} */").fetchall()
    assert rows == [(1,), (2,)]
    target.expect_primary(marker)


def test_a_failed_transaction_refuses_everything_until_rollback(connection):
    connection.autocommit = False
    with pytest.raises(psycopg.errors.DivisionByZero):
        connection.execute("SELECT 1/0")
    with pytest.raises(psycopg.errors.InFailedSqlTransaction):
        connection.execute("SELECT 1")
    connection.rollback()
    assert connection.execute("SELECT 1").fetchone() == (1,)
    connection.rollback()


def test_read_only_transactions_run_on_a_replica_in_one_snapshot(target, table, cluster):
    marker = new_marker()
    with psycopg.connect(target.dsn()) as reader:
        reader.read_only = True
        reader.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        reader.execute(f"SELECT count(*) FROM {table} /* {marker} */")
        cluster.primary.sql(f"INSERT INTO {table} VALUES (99, 'later')")
        cluster.wait_until_replayed()
        count = reader.execute(f"SELECT count(*) FROM {table} /* {marker} */").fetchone()
        assert count == (0,)
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            reader.execute(f"INSERT INTO {table} VALUES (3)")
        reader.rollback()
    target.expect_replica(marker)


@pytest.mark.core
def test_a_prepared_statement_runs_twenty_times_wherever_it_goes(target, connection, table):
    insert = f"INSERT INTO {table} VALUES (%s, %s)"
    select = f"SELECT body FROM {table} WHERE id = %s"
    for number in range(20):
        connection.execute(insert, (number, f"row {number}"), prepare=True)
        row = connection.execute(select, (number,), prepare=True).fetchone()
        assert row == (f"row {number}",)
    # The statements were first prepared beside a write; now they have to exist on a replica too.
    target.cluster.wait_until_replayed()
    for number in range(20):
        assert connection.execute(select, (number,), prepare=True).fetchone()
    where = target.cluster.where_ran(f"SELECT body FROM {table} WHERE id")
    if not target.direct:
        assert any(name.startswith("replica") for name in where), where
    where = target.cluster.where_ran(f"INSERT INTO {table}")
    assert where == {"primary": 20}


def test_eight_megabytes_of_bytea_in_and_out(target, connection, table):
    big = bytes(range(256)) * (8 * 4096)
    connection.execute(f"INSERT INTO {table} VALUES (1, 'big', %s)", (big,), binary=True)
    for binary in (True, False):
        row = connection.execute(f"SELECT data FROM {table} WHERE id = 1", binary=binary).fetchone()
        assert row[0] == big

    def read(marker):
        row = connection.execute(f"SELECT data FROM {table} WHERE id = 1 /* {marker} */").fetchone()
        assert row[0] == big
    target.read_until_on_replica(read)


@pytest.mark.core
def test_twenty_thousand_rows(target, connection):
    marker = new_marker()
    rows = connection.execute(
        f"SELECT n, repeat('x', n % 100) FROM generate_series(1, 20000) n /* {marker} */").fetchall()
    assert [row[0] for row in rows] == list(range(1, 20001))
    assert sum(len(row[1]) for row in rows) == sum(n % 100 for n in range(1, 20001))
    target.expect_replica(marker)


@pytest.mark.core
def test_copy_in_and_out(target, connection, table):
    marker = new_marker()
    with connection.cursor() as cursor:
        with cursor.copy(f"COPY {table} (id, body) FROM STDIN /* {marker} */") as copy:
            for number in range(5000):
                copy.write_row((number, f"line {number}\t\\"))
    target.expect_primary(marker)

    def read(read_marker):
        lines = 0
        with connection.cursor() as cursor:
            with cursor.copy(f"COPY (SELECT id, body FROM {table} ORDER BY id) TO STDOUT "
                             f"/* {read_marker} */") as copy:
                for number, row in enumerate(copy.rows()):
                    assert row == (str(number), f"line {number}\t\\")
                    lines += 1
        assert lines == 5000
    target.read_until_on_replica(read)


def test_binary_copy(connection, table):
    with connection.cursor() as cursor:
        with cursor.copy(f"COPY {table} (id, body) FROM STDIN (FORMAT binary)") as copy:
            copy.set_types(["int4", "text"])
            for number in range(1000):
                copy.write_row((number, "b" * number))
        with cursor.copy(f"COPY {table} (id, body) TO STDOUT (FORMAT binary)") as copy:
            copy.set_types(["int4", "text"])
            rows = sorted(copy.rows())
    assert rows == [(number, "b" * number) for number in range(1000)]


def test_a_copy_that_the_client_breaks_off_leaves_nothing(connection, table):
    with pytest.raises(psycopg.errors.QueryCanceled):
        with connection.cursor() as cursor:
            with cursor.copy(f"COPY {table} (id) FROM STDIN") as copy:
                copy.write_row((1,))
                raise ZeroDivisionError
    assert connection.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)


def test_a_copy_that_the_server_refuses_reports_it(connection, table):
    with pytest.raises(psycopg.errors.InvalidTextRepresentation):
        with connection.cursor() as cursor:
            with cursor.copy(f"COPY {table} (id) FROM STDIN") as copy:
                copy.write("not a number\n" * 10000)
    assert connection.execute("SELECT 1").fetchone() == (1,)


def test_server_side_cursor(connection):
    with connection.transaction():
        with connection.cursor("stepwise") as cursor:
            cursor.itersize = 100
            cursor.execute("SELECT n FROM generate_series(1, 1000) n")
            assert [row[0] for row in cursor] == list(range(1, 1001))


def test_cursor_with_hold_outlives_its_transaction(connection):
    with connection.transaction():
        connection.execute("DECLARE held CURSOR WITH HOLD FOR SELECT generate_series(1, 5)")
    assert connection.execute("FETCH 2 FROM held").fetchall() == [(1,), (2,)]
    assert connection.execute("SELECT 'between'").fetchone() == ("between",)
    assert connection.execute("FETCH ALL FROM held").fetchall() == [(3,), (4,), (5,)]
    connection.execute("CLOSE held")


@pytest.mark.core
def test_listen_and_notify(target, connection):
    connection.execute("LISTEN psycopg3_channel")
    # While it waits, its reads go to a replica: the notification comes over the other connection.
    connection.execute("SELECT 1")
    with connect(target) as sender:
        sender.execute("NOTIFY psycopg3_channel, 'one'")
        sender.execute("SELECT pg_notify('psycopg3_channel', 'two')")
    received = []
    connection.add_notify_handler(lambda notify: received.append(notify.payload))

    def both():
        connection.execute("SELECT 2")
        return received == ["one", "two"]
    until(both, "both notifications")


def test_a_notification_arrives_while_the_session_is_idle(target, connection):
    connection.execute("LISTEN idle_channel")
    connection.execute("SELECT 1")

    def notify_later():
        time.sleep(0.3)  # the session is idle, and waits
        with connect(target) as sender:
            sender.execute("NOTIFY idle_channel, 'woken'")

    thread = threading.Thread(target=notify_later)
    thread.start()
    payload = next(iter(connection.notifies())).payload
    thread.join()
    assert payload == "woken"


@pytest.mark.core
def test_set_and_show(connection):
    connection.execute("SET statement_timeout = '1234ms'")
    assert connection.execute("SHOW statement_timeout").fetchone() == ("1234ms",)
    connection.execute("SET TimeZone = 'Asia/Tokyo'")
    assert connection.info.parameter_status("TimeZone") == "Asia/Tokyo"
    connection.execute("RESET statement_timeout")
    assert connection.execute("SHOW statement_timeout").fetchone() == ("0",)


def test_temporary_tables(connection):
    connection.execute("CREATE TEMPORARY TABLE scratch (n int)")
    connection.execute("INSERT INTO scratch SELECT generate_series(1, 10)")
    assert connection.execute("SELECT sum(n) FROM scratch").fetchone() == (55,)
    connection.execute("DROP TABLE scratch")
    with pytest.raises(psycopg.errors.UndefinedTable):
        connection.execute("SELECT * FROM scratch")


@pytest.mark.core
@pytest.mark.parametrize("query", ["SELECT pg_sleep(1000)",
                                   "SELECT pg_sleep(1000) FROM pg_advisory_lock(4711)"])
def test_cancel_reaches_the_running_statement(connection, cluster, query):
    def cancel():
        until(lambda: any(cluster.in_backends(f"query = '{query}' AND state = 'active'").values()), "it sleeps")
        connection.cancel()
    thread = threading.Thread(target=cancel)
    thread.start()
    with pytest.raises(psycopg.errors.QueryCanceled):
        connection.execute(query)
    thread.join()
    assert connection.execute("SELECT 1").fetchone() == (1,)


@pytest.mark.core
def test_pipeline_mode(connection, table):
    with connection.pipeline():
        cursors = []
        for number in range(100):
            connection.execute(f"INSERT INTO {table} VALUES (%s, %s)", (number, "p"))
            cursors.append(connection.execute(f"SELECT count(*) FROM {table}"))
    assert [cursor.fetchone()[0] for cursor in cursors] == list(range(1, 101))


def test_pipeline_of_reads_and_writes_with_syncs_between(connection, table):
    with connection.pipeline() as pipeline:
        cursors = []
        for number in range(50):
            connection.execute(f"INSERT INTO {table} VALUES (%s)", (number,))
            pipeline.sync()
            cursors.append(connection.execute(f"SELECT max(id) FROM {table}"))
            pipeline.sync()
    assert [cursor.fetchone()[0] for cursor in cursors] == list(range(50))


def test_an_error_in_a_pipeline_skips_to_the_sync(connection, table):
    with pytest.raises(psycopg.errors.DivisionByZero):
        with connection.pipeline() as pipeline:
            connection.execute(f"INSERT INTO {table} VALUES (1)")
            pipeline.sync()
            connection.execute("SELECT 1 / %s", (0,))
            connection.execute(f"INSERT INTO {table} VALUES (2)")
            pipeline.sync()
    assert connection.execute(f"SELECT id FROM {table}").fetchall() == [(1,)]


def test_several_statements_in_one_simple_query(target, connection, table):
    marker = new_marker()
    cursor = connection.execute(
        f"INSERT INTO {table} VALUES (1); SELECT count(*) FROM {table}; SELECT 'end' /* {marker} */")
    results = []
    while True:
        results.append(cursor.fetchall() if cursor.description else cursor.statusmessage)
        if not cursor.nextset():
            break
    assert results == ["INSERT 0 1", [(1,)], [("end",)]]
    target.expect_primary(marker)


def test_errors_carry_all_their_fields(connection, table):
    connection.execute(f"INSERT INTO {table} VALUES (1)")
    with pytest.raises(psycopg.errors.UniqueViolation) as info:
        connection.execute(f"INSERT INTO {table} VALUES (1)")
    diagnostics = info.value.diag
    assert diagnostics.sqlstate == "23505"
    assert diagnostics.table_name == table
    assert diagnostics.constraint_name == f"{table}_pkey"
    assert "(id)=(1)" in diagnostics.message_detail
    with pytest.raises(psycopg.errors.SyntaxError) as info:
        connection.execute("SELEKT 1")
    assert info.value.diag.statement_position == "1"


def test_notices_reach_the_client(connection):
    notices = []
    connection.add_notice_handler(lambda notice: notices.append(notice.message_primary))
    connection.execute("DO $$ BEGIN RAISE NOTICE 'from inside'; END $$")
    assert notices == ["from inside"]


def test_identifiers_and_literals_that_look_like_other_sql(connection, table):
    name = sql.Identifier('select " from; insert')
    statement = sql.SQL("SELECT 1 AS {}, 'delete from x; -- '").format(name)
    assert connection.execute(statement).fetchone() == (1, "delete from x; -- ")


def test_an_advisory_lock_is_not_lost_in_silence(make_proxy, cluster):
    """Its session ends with the connection that held it, as without pgsteer."""
    proxy = make_proxy()
    with connect(proxy) as session:
        def end(pid):  # pgsteer has seen it when it has closed its side
            cluster.primary.sql("SELECT pg_terminate_backend(%s)", pid)
            until(lambda: proxy.metric("pgsteer_server_connections", server="primary") == 0, "it is gone")
        end(session.execute("SELECT pg_backend_pid()").fetchone()[0])
        pid = session.execute("SELECT pg_backend_pid(), pg_advisory_lock(4711)").fetchone()[0]
        session.execute("SELECT 1")
        end(pid)
        with pytest.raises(psycopg.OperationalError):
            session.execute("SELECT 1")
