"""psql: scripts, meta-commands, COPY through the client, several statements in one query."""

import os
import signal
import subprocess

import pytest

from support.cluster import new_marker
from support.waiting import SLOWDOWN, until


def psql(target, script, *options, check=True):
    """Standard output and error of a psql that reads `script`."""
    done = subprocess.run(
        ["psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=0", *options], input=script,
        env=target.environment(), text=True, capture_output=True, timeout=60 * SLOWDOWN,
        check=False)
    assert not check or done.returncode == 0, done.stderr
    return done.stdout, done.stderr


@pytest.mark.core
def test_reads_run_on_a_replica_and_writes_on_the_primary(target, table):
    write, read = new_marker(), new_marker()
    psql(target, f"INSERT INTO {table} VALUES (1, 'one') /* {write} */;")
    target.expect_primary(write)
    target.cluster.wait_until_replayed()
    out, _ = psql(target, f"SELECT body FROM {table} /* {read} */;")
    assert out == "one\n"
    target.expect_replica(read)


def test_connection_string_as_url(target):
    done = subprocess.run(["psql", "-X", "-A", "-t", target.url(), "-c", "SELECT 1", "-c", "SELECT 2"],
                          text=True, capture_output=True, timeout=60 * SLOWDOWN, check=True)
    assert done.stdout == "1\n2\n"


@pytest.mark.core
def test_transaction_with_error_and_savepoint(target, table):
    out, error = psql(target, f"""
        BEGIN;
        INSERT INTO {table} VALUES (1);
        SAVEPOINT s;
        INSERT INTO {table} VALUES (1);
        SELECT 'never';
        ROLLBACK TO s;
        INSERT INTO {table} VALUES (2);
        COMMIT;
        SELECT id FROM {table} ORDER BY id;
    """)
    assert out == "1\n2\n"
    assert "duplicate key" in error and "current transaction is aborted" in error


def test_several_statements_in_one_query(target, table):
    out, _ = psql(target, f"INSERT INTO {table} VALUES (1)\\; SELECT count(*) FROM {table}\\; SELECT 2;")
    assert out in ("1\n2\n", "2\n")  # psql before 15 shows the last result only
    # One failing statement undoes the whole query.
    psql(target, f"INSERT INTO {table} VALUES (5)\\; SELECT 1/0;")
    out, _ = psql(target, f"SELECT count(*) FROM {table} WHERE id = 5;")
    assert out == "0\n"


def test_prepared_statement_runs_twenty_times(target):
    calls = "".join(f"EXECUTE twice ({number});\n" for number in range(20))
    out, _ = psql(target, f"PREPARE twice (int) AS SELECT $1 * 2;\n{calls}")
    assert out.split() == [str(number * 2) for number in range(20)]


def test_eight_megabytes_of_bytea(target, table):
    psql(target, f"INSERT INTO {table} VALUES (1, NULL, '\\x{'ab' * (8 << 20)}');")
    out, _ = psql(target, f"SELECT length(data), md5(data) FROM {table};\nSELECT data FROM {table};")
    first, second = out.splitlines()
    assert first == f"{8 << 20}|{psql(target, f'SELECT md5(data) FROM {table};')[0].strip()}"
    assert second == "\\x" + "ab" * (8 << 20)


@pytest.mark.core
def test_twenty_thousand_rows_at_once_and_by_portions(target):
    expected = "".join(f"{n}\n" for n in range(1, 20001))
    query = "SELECT n FROM generate_series(1, 20000) n;"
    assert psql(target, query)[0] == expected
    assert psql(target, query, "-v", "FETCH_COUNT=500")[0] == expected


@pytest.mark.core
def test_copy_both_ways(target, table, tmp_path):
    source = tmp_path / "in"
    source.write_text("".join(f"{n}\tline {n}\n" for n in range(20000)))
    psql(target, f"\\copy {table} (id, body) FROM '{source}'")
    psql(target, f"\\copy (SELECT id, body FROM {table} ORDER BY id) TO '{tmp_path / 'out'}'")
    assert (tmp_path / "out").read_text() == source.read_text()
    out, _ = psql(target, f"COPY {table} (id) FROM STDIN;\n-1\n-2\n\\.\nSELECT count(*) FROM {table};")
    assert out == "20002\n"


def test_cursors(target):
    out, _ = psql(target, """
        BEGIN;
        DECLARE c SCROLL CURSOR FOR SELECT generate_series(1, 5);
        FETCH 2 FROM c; MOVE 1 FROM c; FETCH NEXT FROM c; FETCH PRIOR FROM c;
        CLOSE c;
        COMMIT;
    """)
    assert out.split() == ["1", "2", "4", "3"]


@pytest.mark.core
def test_listen_and_notify(target):
    out, _ = psql(target, "LISTEN psql_channel;\nSELECT 1;\nNOTIFY psql_channel, 'payload';\nSELECT 2;")
    assert 'Asynchronous notification "psql_channel" with payload "payload"' in out


def test_set_show_and_reset(target):
    out, _ = psql(target, """
        SET work_mem = '7MB'; SHOW work_mem; SELECT current_setting('work_mem');
        BEGIN; SET LOCAL work_mem = '9MB'; SHOW work_mem; COMMIT; SHOW work_mem;
        RESET ALL; SHOW work_mem;
    """)
    assert out.split() == ["7MB", "7MB", "9MB", "7MB", "4MB"]


def test_temporary_tables(target):
    out, _ = psql(target, """
        CREATE TEMP TABLE scratch (n int); INSERT INTO scratch VALUES (1), (2);
        SELECT sum(n) FROM scratch; SELECT 1; DROP TABLE scratch;
    """)
    assert out == "3\n1\n"


@pytest.mark.parametrize("command", ["\\d", "\\l", "\\du", "\\dn+", "\\df pg_catalog.abs", "\\dt+ *.*"])
def test_meta_commands(target, command):
    out, error = psql(target, f"{command}\n")
    assert not error
    assert command == "\\d" or out


@pytest.mark.core
def test_ctrl_c_cancels_pg_sleep(target):
    with subprocess.Popen(["psql", "-X", "-A", "-t", "-c", "SELECT pg_sleep(1000)"],
                          env=target.environment(), stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True) as process:
        until(lambda: any(target.cluster.in_backends(
            "query = 'SELECT pg_sleep(1000)' AND state = 'active'").values()), "it sleeps")
        os.kill(process.pid, signal.SIGINT)
        _, error = process.communicate(timeout=60 * SLOWDOWN)
    assert "canceling statement due to user request" in error
    assert not any(target.cluster.in_backends(
        "query = 'SELECT pg_sleep(1000)' AND state = 'active'").values())
