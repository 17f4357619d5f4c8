"""A replica is promoted by hand under load, and the old primary comes back a moment later: no read fails, nothing
is written to the old one, and what pgsteer says of it is short."""

import json
import re
import time
from collections import defaultdict
from datetime import datetime

import psycopg
import pytest

from support.bystanders import Bystanders
from support.cluster import Cluster
from support.proxy import Pgsteer
from support.session import connect
from support.waiting import until

INTERVAL = 0.2  # seconds; also of health.interval below
CONFIG = {"health": {"interval": "200ms", "timeout": "1s", "fall": 3}, "log": {"format": "json"}}
# Primary lost, new one, replicas that leave and come back, the old one that appears and goes: twice what is needed.
MOST_CHANGES = 24


@pytest.fixture
def servers(leases):
    with Cluster(replicas=2, leases=leases) as running:
        running.primary.sql("CREATE TABLE written (at timestamptz DEFAULT clock_timestamp(), n int);"
                            "CREATE TABLE items (id int PRIMARY KEY); INSERT INTO items SELECT generate_series(1, 100);"
                            "ALTER TABLE written OWNER TO app; ALTER TABLE items OWNER TO app")
        running.wait_until_replayed()
        yield running


def write(session):
    session.execute("INSERT INTO written (n) VALUES (1)")


def write_in_transaction(session):
    with session.transaction():
        session.execute("INSERT INTO written (n) VALUES (2)")
        time.sleep(0.005)


def read(session):
    assert session.execute("SELECT count(*) FROM items").fetchone() == (100,)


WRITES = {"write": write, "write too": write, "write in transaction": write_in_transaction}
READS = {"read": read, "read too": read, "read as well": read}


def log_entries(proxy):
    return [json.loads(line) for line in proxy.log().splitlines() if line.startswith("{")]


def repeated_within_a_second(entries, since=0.0):
    """What was said twice within a second, but for the time; not before `since`."""
    last, repeated = {}, defaultdict(int)
    for entry in entries:
        at = datetime.fromisoformat(entry.pop("time").replace("Z", "+00:00")).timestamp()
        if at < since:
            continue
        said = json.dumps(entry, sort_keys=True)
        if said in last and at - last[said] < 1:
            repeated[said] += 1
        last[said] = at
    return dict(repeated)


def status_of(proxy, server) -> dict:
    return next(known for known in proxy.status()["servers"] if known["name"] == server.name)


def is_primary_for(server):
    try:
        return not server.value("SELECT pg_is_in_recovery()")
    except psycopg.Error:  # not there yet
        return False


def follow(server, primary):
    conninfo = re.sub(r"port=\d+", f"port={primary.port}", server.value("SHOW primary_conninfo"))
    server.set("primary_conninfo", conninfo.replace("'", "''"))


def promote_and_bring_back(servers, replica, other):
    """As by hand: the primary stops, `replica` is promoted, `other` follows it, and the old one is started as it was."""
    old = servers.primary
    old.stop()
    replica.promote()
    assert is_primary_for(replica)
    promoted_at = time.time()
    follow(other, replica)
    old.forget_log()
    old.start()
    return old, promoted_at


@pytest.mark.parametrize("away", [False, True], ids=["at_hand", "was_away_before"])
def test_promotion_by_hand_with_the_old_primary_back(servers, leases, away):
    replica, other = servers.replicas
    with Pgsteer(servers, CONFIG, leases=leases) as proxy:
        with Bystanders(proxy, {**WRITES, **READS}) as load:
            until(lambda: all(count > 10 for count in load.done().values()), "all are at work", 60)
            if away:
                replica.stop()
                # Until it is asked as seldom as it ever will be: 2^5 intervals apart if nothing caps that.
                until(lambda: status_of(proxy, replica)["consecutive_failures"] >= 8, "it has been asked in vain", 120)
                replica.start()
            before = proxy.metric("pgsteer_topology_changes_total")
            began = time.time()  # whatever was said at the start may be said again
            old, promoted_at = promote_and_bring_back(servers, replica, other)
            until(lambda: proxy.status()["primary"] == replica.name, "it is found", 60)
            counts = load.done()
            until(lambda: all(count > counts[name] + 5 for name, count in load.done().items()), "all go on", 60)
            time.sleep(3 * INTERVAL)  # for changes that should not be
            back = status_of(proxy, old)
            changes = proxy.metric("pgsteer_topology_changes_total") - before
        first_write = replica.value("SELECT extract(epoch FROM min(at)) FROM written WHERE at > to_timestamp(%s)",
                                    promoted_at)
        sent = old.statements("INSERT INTO written")
        print(f"first write {float(first_write) - promoted_at:.3f} s after the promotion; {changes:.0f} topology changes; "
              f"longest request {load.longest():.3f} s; failed writes {sum(len(b.failures) for b in load.by_name.values())}; "
              f"statements on the old primary {len(sent)}")
        assert not [failure for name in READS for failure in load.by_name[name].failures]
        assert sent == []
        assert old.value("SELECT count(*) FROM written WHERE at > to_timestamp(%s)", promoted_at) == 0
        assert back["role"] != "primary" and back["status"].upper() == "UNHEALTHY"
        assert changes <= MOST_CHANGES
        assert repeated_within_a_second(log_entries(proxy), since=began) == {}


def test_a_primary_that_still_runs_gets_nothing_once_another_is_found(servers, leases):
    """Not even in a transaction that was open there."""
    replica, old = servers.replicas[0], servers.primary
    with Pgsteer(servers, CONFIG, leases=leases) as proxy:
        with Bystanders(proxy, WRITES) as load:
            with connect(proxy, autocommit=False, connect_timeout=60) as session:
                write(session)
                replica.promote()
                until(lambda: proxy.status()["primary"] == replica.name, "the new primary is found", 60)
                counts = load.done()
                until(lambda: all(count > counts[name] + 5 for name, count in load.done().items()), "all go on", 60)
                old.forget_log()
                with pytest.raises(psycopg.OperationalError):
                    write(session)
            counts = load.done()
            until(lambda: all(count > counts[name] + 5 for name, count in load.done().items()), "all go on", 60)
        assert old.statements("INSERT INTO written") == []
        assert repeated_within_a_second(log_entries(proxy)) == {}


def test_a_superseded_primary_that_goes_away_is_spoken_of_once(servers, leases):
    replica, other = servers.replicas
    with Pgsteer(servers, CONFIG, leases=leases) as proxy:
        old, _ = promote_and_bring_back(servers, replica, other)
        until(lambda: proxy.status()["primary"] == replica.name, "the new primary is found", 60)
        until(lambda: proxy.states()[other.name] == "HEALTHY", "the other follows it", 60)
        until(lambda: "superseded" in status_of(proxy, old)["reason"], "the old one is told apart", 60)
        changes, lines = proxy.metric("pgsteer_topology_changes_total"), len(log_entries(proxy))
        old.stop()
        until(lambda: status_of(proxy, old)["consecutive_failures"] > 5, "it is given up", 60)
        changes = proxy.metric("pgsteer_topology_changes_total") - changes
        said = log_entries(proxy)[lines:]
        print(f"{changes:.0f} topology changes, {len(said)} log lines")
        assert changes <= 4
        assert len(said) <= 4
        assert status_of(proxy, old)["role"] == "unknown"


