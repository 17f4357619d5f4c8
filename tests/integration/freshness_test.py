"""The pitfalls of freshness: a standby that comes back behind, an idle primary with an open
transaction, lag limits."""

import time

import pytest

from support.cluster import new_marker
from support.session import connect, ran_on, run
from support.waiting import until


@pytest.fixture
def table(hurt):
    name = f"fresh_{new_marker()}"
    hurt.primary.sql(f"CREATE TABLE {name} (n int PRIMARY KEY); ALTER TABLE {name} OWNER TO app")
    hurt.wait_until_replayed()
    yield name
    hurt.heal()
    hurt.primary.sql("ALTER SYSTEM RESET autovacuum")
    hurt.primary.sql(f"SELECT pg_reload_conf(); DROP TABLE {name}")


def read_on(cluster, connection, table, n):
    """(was row n seen, where did the read run)"""
    [(found,)], servers = run(cluster, connection, f"SELECT count(*) FROM {table} WHERE n = {n}")
    return found == 1, servers


@pytest.mark.core
def test_a_standby_back_behind_its_position_between_two_probes_serves_no_stale_read(
        make_proxy, hurt, table):
    """Probes every 5 s: pgsteer cannot learn of the crash from them. The session's own floor was
    passed, and forgotten, before the crash; its row is missing on the standby afterwards."""
    replica = hurt.replicas[0]
    # Whoever truncates a system catalog locks it until a commit that the standby will not replay: nobody could log in.
    hurt.primary.set("autovacuum", "off")
    # Recovery starts behind the creation of the table: its absence would send reads to the primary.
    hurt.primary.sql("CHECKPOINT")
    hurt.wait_until_replayed()
    replica.sql("CHECKPOINT")
    proxy = make_proxy({"health": {"interval": "5s"}}, replicas=[replica])
    with connect(proxy) as session, connect(proxy) as unused:
        unused.execute("SELECT 1")
        # In force only after the crash: replay will stop at the first commit it meets.
        replica.set("recovery_min_apply_delay", "1h", reload=False)
        session.execute(f"INSERT INTO {table} VALUES (1)")
        unused.execute(f"INSERT INTO {table} VALUES (2)")
        until(lambda: "replica1" in read_on(hurt, session, table, 1)[1], "it reads from the replica")
        until(lambda: "replica1" in read_on(hurt, unused, table, 2)[1], "it reads from the replica")
        position = replica.value("SELECT pg_last_wal_replay_lsn()")
        replica.kill()
        replica.start()
        assert not replica.has_replayed(position), "the standby is not behind: nothing is shown"
        assert replica.value(f"SELECT count(*) FROM {table}") == 0
        end = time.monotonic() + 8
        while time.monotonic() < end:
            for connection, n in ((session, 1), (unused, 2)):
                seen, where = read_on(hurt, connection, table, n)
                assert seen, f"row {n} is missing on {where}"
            with connect(proxy) as fresh:
                fresh.execute(f"INSERT INTO {table} VALUES (3) ON CONFLICT DO NOTHING")
                seen, where = read_on(hurt, fresh, table, 3)
                assert seen, f"row 3 is missing on {where}"
            time.sleep(0.05)


@pytest.mark.core
def test_an_idle_primary_with_an_open_writing_transaction_leaves_replicas_fresh(
        proxy, hurt, table):
    """WAL of the open transaction is inserted, not flushed; standbys get only what is flushed."""
    writer = hurt.primary.connect()  # past the one pgsteer that watches: another would share the nudges
    writer.autocommit = False
    with connect(proxy) as session:
        nudges = proxy.metric("pgsteer_nudges_total")
        for n in range(12):
            writer.execute(f"INSERT INTO {table} VALUES (%s)", (1000 + n,))
            since = time.monotonic()
            for server in ("replica1", "replica2"):
                until(lambda server=server, since=since: proxy.metric("pgsteer_server_staleness_seconds", server=server)
                      < time.monotonic() - since, f"{server} is known to show what was committed then")
        # Flushed by pgsteer, not by what the primary does every ten or fifteen seconds by itself.
        assert proxy.metric("pgsteer_nudges_total") > nudges
        for n in range(3):
            session.execute(f"INSERT INTO {table} VALUES ({n})")
            # Insert without flush, after the session's commit.
            writer.execute(f"INSERT INTO {table} VALUES (%s)", (2000 + n,))
            nudges = proxy.metric("pgsteer_nudges_total")
            until(lambda n=n: "primary" not in _seen(hurt, session, table, n), "a replica serves the session")
            assert proxy.metric("pgsteer_nudges_total") <= nudges + 12, "it took much more than one of them"
    writer.rollback()
    writer.close()


def _seen(cluster, session, table, n):
    seen, where = read_on(cluster, session, table, n)
    assert seen, f"row {n} is missing on {where}"
    return where


def test_a_lagging_replica_is_degraded_then_unhealthy_then_healthy_again(make_proxy, hurt, table):
    replica = hurt.replicas[0]
    proxy = make_proxy({"servers": [
        {"name": "primary", "host": "127.0.0.1", "port": hurt.primary.port},
        {"name": "replica1", "host": "127.0.0.1", "port": replica.port,
         "max_lag": "1s", "max_lag_hard": "3s"}]})
    replica.pause_replay()
    with connect(proxy) as session:
        n = 0

        def after_a_write(state):
            nonlocal n
            n += 1
            session.execute(f"INSERT INTO {table} VALUES ({n})")
            assert read_on(hurt, session, table, n)[0]
            return proxy.states()["replica1"] == state
        until(lambda: after_a_write("DEGRADED"), "DEGRADED", 10, interval=0.1)
        until(lambda: after_a_write("UNHEALTHY"), "UNHEALTHY", 10, interval=0.1)
        replica.resume_replay()
        until(lambda: after_a_write("HEALTHY"), "HEALTHY", 20, interval=0.1)


def test_eventual_reads_from_a_replica_within_max_lag_only(make_proxy, hurt, table):
    replica = hurt.replicas[0]
    proxy = make_proxy({
        "routing": {"consistency": "eventual", "degraded_reads": False},
        "servers": [{"name": "primary", "host": "127.0.0.1", "port": hurt.primary.port},
                    {"name": "replica1", "host": "127.0.0.1", "port": replica.port, "max_lag": "5s"}]})
    replica.pause_replay()
    with connect(proxy) as session:
        session.execute(f"INSERT INTO {table} VALUES (1)")
        seen, where = read_on(hurt, session, table, 1)
        assert where == {"replica1"} and not seen
        until(lambda: read_on(hurt, session, table, 1) == (True, {"primary"}),
              "reads leave the lagging replica", 10)
        replica.resume_replay()
        until(lambda: read_on(hurt, session, table, 1) == (True, {"replica1"}),
              "reads return to the replica", 20)


def test_priority_decides_among_healthy_replicas(make_proxy, hurt):
    first, second = hurt.replicas
    proxy = make_proxy({"servers": [
        {"name": "primary", "host": "127.0.0.1", "port": hurt.primary.port},
        {"name": "replica1", "host": "127.0.0.1", "port": first.port, "priority": 1},
        {"name": "replica2", "host": "127.0.0.1", "port": second.port, "priority": 0}]})

    def serving():
        with connect(proxy) as session:
            return ran_on(hurt, session, "SELECT 1")
    assert all(serving() == {"replica2"} for _ in range(5))
    second.kill()
    assert all(serving() <= {"replica1", "primary"} for _ in range(5))
    until(lambda: serving() == {"replica1"}, "the next priority serves", 10)
    second.start()
    until(lambda: serving() == {"replica2"}, "the better one serves again", 30)
