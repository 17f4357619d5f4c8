"""psycopg2: parameters put into the text by the client, a transaction around everything."""

import io
import select
import threading

import psycopg2
import psycopg2.errors
import psycopg2.extensions
import psycopg2.extras
import pytest

from support.cluster import new_marker
from support.waiting import until


@pytest.fixture
def connection(target):
    opened = psycopg2.connect(target.dsn())
    opened.autocommit = True
    yield opened
    opened.close()


def fetch(connection, query, *params):
    with connection.cursor() as cursor:
        cursor.execute(query, params or None)
        return cursor.fetchall()


def run(connection, query, *params):
    with connection.cursor() as cursor:
        cursor.execute(query, params or None)


@pytest.mark.core
def test_reads_run_on_a_replica_and_writes_on_the_primary(target, connection, table):
    marker = new_marker()
    run(connection, f"INSERT INTO {table} VALUES (%s, %s) /* {marker} */", 1, "one")
    target.expect_primary(marker)
    target.read_until_on_replica(
        lambda m: fetch(connection, f"SELECT body FROM {table} WHERE id = %s /* {m} */", 1))


def test_parameters_come_back(connection):
    given = (7, 1.5, "text ' \" \\ ü€", None, True, [1, 2])
    assert fetch(connection, "SELECT %s, %s, %s, %s, %s, %s", *given) == [given]


@pytest.mark.core
def test_transaction_with_error_and_savepoint(target, connection, table):
    marker = new_marker()
    connection.autocommit = False
    run(connection, f"INSERT INTO {table} VALUES (1)")
    run(connection, "SAVEPOINT before")
    with pytest.raises(psycopg2.errors.UniqueViolation):
        run(connection, f"INSERT INTO {table} VALUES (1)")
    with pytest.raises(psycopg2.errors.InFailedSqlTransaction):
        fetch(connection, "SELECT 1")
    run(connection, "ROLLBACK TO before")
    run(connection, f"INSERT INTO {table} VALUES (2)")
    assert fetch(connection, f"SELECT id FROM {table} ORDER BY id /* {marker} */") == [(1,), (2,)]
    connection.commit()
    target.expect_primary(marker)
    run(connection, f"DELETE FROM {table}")
    connection.rollback()
    assert fetch(connection, f"SELECT count(*) FROM {table}") == [(2,)]
    connection.rollback()


def test_read_only_transactions_run_on_a_replica(target, connection):
    connection.set_session(readonly=True, autocommit=False)
    marker = new_marker()
    assert fetch(connection, f"SELECT 1 /* {marker} */") == [(1,)]
    with pytest.raises(psycopg2.errors.ReadOnlySqlTransaction):
        run(connection, "CREATE TABLE never (n int)")
    connection.rollback()
    target.expect_replica(marker)


@pytest.mark.core
def test_an_sql_level_prepared_statement_runs_twenty_times(connection, table):
    run(connection, f"INSERT INTO {table} SELECT n, 'row ' || n FROM generate_series(0, 19) n")
    run(connection, f"PREPARE by_id (int) AS SELECT body FROM {table} WHERE id = $1")
    for number in range(20):
        assert fetch(connection, "EXECUTE by_id (%s)", number) == [(f"row {number}",)]
        assert fetch(connection, "SELECT 1") == [(1,)]
    run(connection, "DEALLOCATE by_id")
    with pytest.raises(psycopg2.errors.InvalidSqlStatementName):
        run(connection, "EXECUTE by_id (1)")


def test_eight_megabytes_of_bytea_in_and_out(connection, table):
    big = bytes(range(256)) * (8 * 4096)
    run(connection, f"INSERT INTO {table} VALUES (1, NULL, %s)", psycopg2.Binary(big))
    assert bytes(fetch(connection, f"SELECT data FROM {table}")[0][0]) == big


@pytest.mark.core
def test_twenty_thousand_rows(target, connection):
    marker = new_marker()
    rows = fetch(connection, f"SELECT n, 'row ' || n FROM generate_series(1, 20000) n /* {marker} */")
    assert rows == [(n, f"row {n}") for n in range(1, 20001)]
    target.expect_replica(marker)


@pytest.mark.core
def test_copy_in_and_out(connection, table):
    text = "".join(f"{number}\tline {number}\n" for number in range(20000))
    with connection.cursor() as cursor:
        cursor.copy_expert(f"COPY {table} (id, body) FROM STDIN", io.StringIO(text))
        out = io.StringIO()
        cursor.copy_expert(f"COPY (SELECT id, body FROM {table} ORDER BY id) TO STDOUT", out)
    assert out.getvalue() == text


def test_executemany_and_execute_values(connection, table):
    with connection.cursor() as cursor:
        cursor.executemany(f"INSERT INTO {table} (id) VALUES (%s)", [(n,) for n in range(50)])
        psycopg2.extras.execute_values(
            cursor, f"INSERT INTO {table} (id) VALUES %s", [(n,) for n in range(50, 1000)])
    assert fetch(connection, f"SELECT count(*) FROM {table}") == [(1000,)]


def test_named_cursor(connection):
    connection.autocommit = False
    with connection.cursor("stepwise") as cursor:
        cursor.itersize = 100
        cursor.execute("SELECT n FROM generate_series(1, 1000) n")
        assert [row[0] for row in cursor] == list(range(1, 1001))
    connection.rollback()


@pytest.mark.core
def test_listen_and_notify(target, connection):
    run(connection, "LISTEN psycopg2_channel")
    fetch(connection, "SELECT 1")
    sender = psycopg2.connect(target.dsn())
    run(sender, "NOTIFY psycopg2_channel, 'payload'")
    assert not connection.notifies
    sender.commit()
    sender.close()

    def arrived():
        if select.select([connection], [], [], 0)[0]:
            connection.poll()
        return connection.notifies
    until(arrived, "the notification")
    assert connection.notifies[0].payload == "payload"


def test_set_and_show(connection):
    run(connection, "SET work_mem = '7MB'")
    assert fetch(connection, "SHOW work_mem") == [("7MB",)]
    assert fetch(connection, "SELECT current_setting('work_mem')") == [("7MB",)]
    connection.set_client_encoding("LATIN1")
    assert fetch(connection, "SELECT 'ü'") == [("ü",)]
    assert fetch(connection, "SHOW client_encoding") == [("LATIN1",)]


def test_temporary_tables(connection):
    run(connection, "CREATE TEMP TABLE scratch AS SELECT generate_series(1, 10) AS n")
    assert fetch(connection, "SELECT sum(n) FROM scratch") == [(55,)]


@pytest.mark.core
def test_cancel_of_pg_sleep(connection, cluster):
    def cancel():
        until(lambda: any(cluster.in_backends("query = 'SELECT pg_sleep(1000)' AND state = 'active'").values()),
              "it sleeps")
        connection.cancel()
    thread = threading.Thread(target=cancel)
    thread.start()
    with pytest.raises(psycopg2.extensions.QueryCanceledError):
        fetch(connection, "SELECT pg_sleep(1000)")
    thread.join()
    assert fetch(connection, "SELECT 1") == [(1,)]


def test_large_objects(connection):
    connection.autocommit = False
    blob = connection.lobject(0, "wb")
    blob.write(b"z" * 100_000)
    blob.close()
    again = connection.lobject(blob.oid, "rb")
    assert len(again.read()) == 100_000
    again.unlink()
    connection.commit()
