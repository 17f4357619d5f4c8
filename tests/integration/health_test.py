"""What the health checker says of real servers that are delayed, hung, killed and promoted.

Runs the checker alone (health_watch), before a cluster of its own: these tests change roles.
"""

import json
import os
import subprocess
import threading
import time

import pytest
from support.cluster import Cluster
from support.proxy import find_binary
from support.waiting import SLOWDOWN, until

FALL = 3


def _find_tool() -> str:
    named = os.environ.get("PGSTEER_HEALTH_WATCH")
    if named:
        return named
    build = os.path.dirname(os.path.dirname(find_binary()))
    return os.path.join(build, "tests", "health_watch")


class Watch:
    """A running health_watch; every report it prints is kept."""

    def __init__(self, cluster, *options, user="pgsteer", password="pgsteer"):
        addresses = [f"{server.host}:{server.port}" for server in cluster.servers]
        self.names = [server.name for server in cluster.servers]
        self.reports = []
        self.process = subprocess.Popen(
            [_find_tool(), user, *addresses, *options], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd="/",
            env={**os.environ, "PGPASSWORD": password})
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.say("quit")
        try:
            assert self.process.wait(10 * SLOWDOWN) == 0
        finally:
            self.process.kill()
            self.process.wait()

    def _read(self):
        for line in self.process.stdout:
            report = json.loads(line)
            report["servers"] = dict(zip(self.names, report["servers"]))
            report["at"] = time.monotonic()
            self.reports.append(report)

    def say(self, command: str) -> None:
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()

    def server(self, name: str) -> dict:
        return self.reports[-1]["servers"][name]

    def primary(self):
        number = self.reports[-1]["primary"]
        return None if number < 0 else self.names[number]

    def wait_for(self, name: str, timeout=15, **expected):
        until(lambda: self.reports and
              all(self.server(name)[key] == value for key, value in expected.items()),
              f"{name} is {expected}, last: {self.reports and self.server(name)}", timeout)

    def wait_until_healthy(self, timeout=15):
        for name in self.names:
            self.wait_for(name, timeout, status="HEALTHY")

    def failures_until_unhealthy(self, name: str) -> int:
        """The most bad probes in a row behind which it was not UNHEALTHY yet, and the one that made it so."""
        return 1 + max((report["servers"][name]["failures"] for report in self.reports
                        if report["servers"][name]["status"] != "UNHEALTHY"), default=0)

    def watch(self, seconds: float) -> list:
        """The reports of the next seconds."""
        start = len(self.reports)
        time.sleep(seconds)
        return self.reports[start:]


def staleness(reports, name):
    values = [report["servers"][name]["staleness"] for report in reports]
    assert values and min(values) >= 0, f"{name} was of unknown freshness"
    return sorted(values)


def allowed(reports) -> float:
    """A second; and what this machine, by the pace of the reports and the servers' answers, kept all of it waiting."""
    gaps = [later["at"] - earlier["at"] for earlier, later in zip(reports, reports[1:])]
    answers = [server["response"] for report in reports for server in report["servers"].values()]
    return 1 + 2 * max(gaps) + 2 * max(answers)


@pytest.fixture(scope="module")
def servers(leases):
    with Cluster(replicas=2, leases=leases) as started:
        started.primary.sql("CREATE TABLE counted (n int)")
        yield started


@pytest.fixture
def hurt_servers(servers):
    yield servers
    servers.heal()


def test_finds_roles_with_the_first_probes(servers):
    """Of which one every half second is sent: within a second of starting, if the servers answer in time."""
    with Watch(servers) as watch:
        watch.wait_until_healthy()
        first = next(report for report in watch.reports if all(
            server["status"] == "HEALTHY" for server in report["servers"].values()))
        assert all(server["probes"] <= 3 for server in first["servers"].values()), first
        assert watch.primary() == "primary"
        assert {name: watch.server(name)["role"] for name in watch.names} == {
            "primary": "primary", "replica1": "replica", "replica2": "replica"}


def test_an_idle_replica_stays_fresh_to_within_a_second(servers):
    with Watch(servers) as watch:
        watch.wait_until_healthy()
        reports = watch.watch(4)
        for name in ("replica1", "replica2"):
            assert staleness(reports, name)[-1] < allowed(reports)


def test_an_idle_replica_is_fresh_to_within_milliseconds_while_somebody_waits(servers):
    with Watch(servers) as watch:
        watch.wait_until_healthy()
        watch.say("fast")
        watch.watch(0.2)
        before = watch.reports[-1]
        values = staleness(watch.watch(3), "replica1")
        after = watch.reports[-1]
        print("median", values[len(values) // 2], "max", values[-1])
        # Milliseconds are what many probes give; how many there are in a second is the machine's affair.
        probes = [report["servers"]["replica1"]["probes"] for report in (before, after)]
        assert probes[1] - probes[0] >= 20 and after["fast_rounds"] > before["fast_rounds"]
        assert values[len(values) // 2] < 3 / (probes[1] - probes[0]) + 0.25, "fresh as of one of the latest probes"


@pytest.mark.parametrize("pace", ["slow", "fast"])
def test_an_open_writing_transaction_does_not_hold_replicas_back(servers, pace):
    """Its WAL is not flushed by anybody: standbys would wait for it for ten seconds and more."""
    with Watch(servers) as watch, servers.primary.connect() as writer:
        watch.wait_until_healthy()
        watch.say(pace)
        before = watch.reports[-1]["nudges"]
        with writer.transaction(force_rollback=True):
            reports = []
            for _ in range(4):
                writer.execute("INSERT INTO counted SELECT generate_series(1, 10)")
                reports += watch.watch(1)
        for name in ("replica1", "replica2"):
            values = staleness(reports, name)
            print(pace, name, "median", values[len(values) // 2], "max", values[-1])
            assert values[-1] < allowed(reports)
        assert watch.reports[-1]["nudges"] > before


def test_without_nudging_an_open_writing_transaction_holds_replicas_back(servers):
    """That the test above can fail."""
    with Watch(servers, "--nudge", "0") as watch, servers.primary.connect() as writer:
        watch.wait_until_healthy()
        with writer.transaction(force_rollback=True):
            def is_held_back():  # one insert may happen to be flushed with what the server writes itself
                writer.execute("INSERT INTO counted SELECT generate_series(1, 10)")
                return staleness(watch.watch(2), "replica1")[-1] > 1.5
            until(is_held_back, "it is held back")


def test_a_paused_replica_falls_behind_and_comes_back(hurt_servers):
    replica = hurt_servers.replicas[0]
    with Watch(hurt_servers) as watch:
        watch.wait_until_healthy()
        replica.pause_replay()
        hurt_servers.primary.sql("INSERT INTO counted VALUES (1)")
        until(lambda: watch.server("replica1")["staleness"] > 2, "staleness grows")
        assert watch.server("replica1")["bytes"] > 0
        replica.resume_replay()
        until(lambda: 0 <= watch.server("replica1")["staleness"] < 1, "staleness shrinks")
        assert watch.server("replica1")["incarnation"] == 1


def test_a_killed_replica_serves_nothing_at_once_and_comes_back_by_itself(hurt_servers):
    replica = hurt_servers.replicas[0]
    with Watch(hurt_servers) as watch:
        watch.wait_until_healthy()
        replica.kill()
        until(lambda: watch.server("replica1")["staleness"] < 0, "no evidence is left")
        watch.wait_for("replica1", status="UNHEALTHY")
        first = next(report for report in watch.reports if report["servers"]["replica1"]["staleness"] < 0)
        assert first["servers"]["replica1"]["failures"] <= 1, "at once: not when it became UNHEALTHY"
        assert watch.failures_until_unhealthy("replica1") <= FALL
        assert watch.server("replica2")["status"] == "HEALTHY"
        replica.start()
        watch.wait_for("replica1", 15, status="HEALTHY")
        assert watch.server("replica1")["incarnation"] == 2


def test_a_hung_replica_is_left_in_time_and_comes_back_as_the_same_run(hurt_servers):
    replica = hurt_servers.replicas[0]
    with Watch(hurt_servers) as watch:
        watch.wait_until_healthy()
        replica.hang()
        watch.wait_for("replica1", status="UNHEALTHY")
        assert watch.failures_until_unhealthy("replica1") <= FALL
        replica.resume()
        watch.wait_for("replica1", 30, status="HEALTHY")
        assert watch.server("replica1")["incarnation"] == 1


def test_evidence_makes_suspect_until_a_later_probe_is_good(servers):
    with Watch(servers) as watch:
        watch.wait_until_healthy()
        version, probes = watch.reports[-1]["version"], watch.server("replica1")["probes"]
        watch.say("lost 1")
        until(lambda: watch.reports[-1]["version"] > version, "a new topology")
        until(lambda: not watch.reports[-1]["suspects"], "the suspicion is over")
        # One that was on its way does not count; the next one does, and another may have followed.
        assert watch.server("replica1")["probes"] <= probes + 4
        assert watch.server("replica1")["status"] == "HEALTHY"
        assert watch.server("replica1")["incarnation"] == 1


def test_a_primary_that_is_killed_is_primary_again_when_it_returns(hurt_servers):
    with Watch(hurt_servers) as watch:
        watch.wait_until_healthy()
        hurt_servers.primary.kill()
        until(lambda: watch.primary() is None, "no primary")
        hurt_servers.primary.start()
        until(lambda: watch.primary() == "primary", "the primary is back", 5)
        watch.wait_until_healthy()


def test_a_user_without_privileges_still_sees_the_replicas(servers):
    servers.primary.sql("CREATE ROLE plain LOGIN PASSWORD 'plain'")
    servers.wait_until_replayed()
    with Watch(servers, user="plain", password="plain") as watch:
        watch.wait_until_healthy()
        assert watch.server("replica1")["timeline"] == 1


def test_a_promotion_is_followed_and_the_former_primary_is_not_believed(servers):
    """The last test here: the cluster is never what it was again."""
    old, new, other = servers.servers
    with Watch(servers) as watch:
        watch.wait_until_healthy()
        old.stop("immediate")
        new.promote()
        start = time.monotonic()
        until(lambda: watch.primary() == "replica1", "the new primary is found", 5)
        print("found after", time.monotonic() - start)
        assert watch.server("replica1")["timeline"] == 2
        assert watch.server("replica2")["staleness"] < 0, "it is not on the new timeline"
        conninfo = other.value("SHOW primary_conninfo").replace(str(old.port), str(new.port))
        other.set("primary_conninfo", conninfo.replace("'", "''"))
        watch.wait_for("replica2", 15, status="HEALTHY", timeline=2)
        until(lambda: 0 <= watch.server("replica2")["staleness"] < 1, "it is fresh")
        old.start()
        watch.wait_for("primary", 40, status="UNHEALTHY", role="unknown")
        until(lambda: "superseded" in watch.server("primary")["reason"], "it is superseded", 40)
        assert watch.primary() == "replica1"
        other.promote()  # to timeline 3, which is later than 2
        until(lambda: watch.primary() == "replica2", "the later timeline wins", 5)
