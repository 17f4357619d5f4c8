"""pgbench: three query modes, read-only and TPC-B-like, many clients at once."""

import re
import subprocess
import time

import pytest

from support.waiting import SLOWDOWN

CLIENTS = 8


def pgbench(target, *options, user="app"):
    done = subprocess.run(["pgbench", "-n", "-c", str(CLIENTS), "-j", "2", *options],
                          env={**target.environment(), "PGUSER": user, "PGPASSWORD": user},
                          text=True, capture_output=True, timeout=120 * SLOWDOWN, check=False)
    assert done.returncode == 0, done.stderr
    assert re.search(r"number of failed transactions: 0 ", done.stdout), done.stdout
    return done.stdout


@pytest.fixture(scope="module", autouse=True)
def tables(cluster):
    host = {"PGHOST": "127.0.0.1", "PGPORT": str(cluster.primary.port), "PGUSER": "app",
            "PGPASSWORD": "app", "PGDATABASE": "app", "PATH": "/usr/bin:/bin"}
    subprocess.run(["pgbench", "-i", "-q", "-s", "1"], env=host, check=True, capture_output=True,
                   timeout=120 * SLOWDOWN)
    cluster.wait_until_replayed()
    yield
    subprocess.run(["pgbench", "-i", "-I", "d"], env=host, check=True, capture_output=True,
                   timeout=120 * SLOWDOWN)


@pytest.mark.core
@pytest.mark.parametrize("mode", ["simple", "extended", "prepared"])
def test_read_only_runs_on_replicas_only(target, mode):
    target.wait_until_known("pgbench_accounts")
    for attempt in range(1, 31):
        output = pgbench(target, "-S", "-M", mode, "-t", "100")
        assert f"transactions actually processed: {CLIENTS * 100}/{CLIENTS * 100}" in output
        where = target.cluster.where_ran("SELECT abalance FROM pgbench_accounts")
        assert sum(where.values()) >= attempt * CLIENTS * 100
        if target.direct:
            return
        assert "primary" not in where, where
        if len(where) == 2:
            return
        # For a while all may go to the one that answers much faster, as right after the load.
        time.sleep(1)
    raise AssertionError(f"one replica got nothing: {where}")


@pytest.mark.core
@pytest.mark.parametrize("mode", ["simple", "extended", "prepared"])
def test_tpcb_like_runs_on_the_primary_and_adds_up(target, mode):
    before = target.cluster.primary.value("SELECT count(*) FROM pgbench_history")
    pgbench(target, "-M", mode, "-t", "50")
    totals = target.cluster.primary.sql("""
        SELECT (SELECT sum(abalance) FROM pgbench_accounts), (SELECT sum(bbalance) FROM pgbench_branches),
               (SELECT sum(tbalance) FROM pgbench_tellers), (SELECT sum(delta) FROM pgbench_history)""")
    assert len(set(totals[0])) == 1, totals
    after = target.cluster.primary.value("SELECT count(*) FROM pgbench_history")
    assert after - before == CLIENTS * 50
    assert set(target.cluster.where_ran("UPDATE pgbench_branches")) == {"primary"}


def test_a_new_connection_for_each_transaction(target):
    pgbench(target, "-S", "-C", "-t", "20")


def test_pipelined_script(target, tmp_path):
    script = tmp_path / "pipeline.sql"
    script.write_text("""
        \\set aid random(1, 100000)
        \\startpipeline
        BEGIN;
        UPDATE pgbench_accounts SET abalance = abalance + 1 WHERE aid = :aid;
        SELECT abalance FROM pgbench_accounts WHERE aid = :aid;
        END;
        SELECT 1;
        \\endpipeline
    """)
    for mode in ("extended", "prepared"):
        pgbench(target, "-M", mode, "-t", "50", "-f", str(script))
    target.cluster.primary.sql("UPDATE pgbench_accounts SET abalance = 0;")
    target.cluster.primary.sql("UPDATE pgbench_branches SET bbalance = 0;")
    target.cluster.primary.sql("UPDATE pgbench_tellers SET tbalance = 0;")
    target.cluster.primary.sql("TRUNCATE pgbench_history")
