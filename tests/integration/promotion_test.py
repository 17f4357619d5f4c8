"""A replica becomes the primary, and the former primary one of its replicas: what sessions notice."""

import threading
import time

import psycopg
import pytest
from psycopg import errors

from support.cluster import Cluster, new_marker
from support.proxy import Pgsteer
from support.session import connect
from support.waiting import until


@pytest.fixture(scope="module")
def servers(leases):
    with Cluster(replicas=2, leases=leases) as running:
        running.primary.sql("CREATE TABLE promoted (id int PRIMARY KEY, n int); ALTER TABLE promoted OWNER TO app;"
                            "INSERT INTO promoted SELECT i, 0 FROM generate_series(1, 8) i")
        running.wait_until_replayed()
        yield running


@pytest.fixture
def proxy(servers, leases):
    with Pgsteer(servers, leases=leases) as running:
        yield running
        running.check_health()


class Writer(threading.Thread):
    """Counts its row up and reads it back, with a new connection whenever the old one is lost."""

    def __init__(self, proxy, number):
        super().__init__(daemon=True)
        self._proxy = proxy
        self.number = number
        self.is_over = False
        self.written = 0
        self.unexpected = []

    def run(self):
        while not self.is_over:
            try:
                with connect(self._proxy) as session:
                    while not self.is_over:
                        self._once(session)
            except (errors.CannotConnectNow, errors.AdminShutdown, errors.ConnectionFailure):
                time.sleep(0.05)
            except psycopg.OperationalError as error:  # the connection is gone, in the driver's own words
                if error.sqlstate is not None:
                    self.unexpected.append(repr(error))
            except psycopg.Error as error:
                self.unexpected.append(repr(error))
            except AssertionError as error:
                self.unexpected.append(str(error))

    def _once(self, session):
        read = "SELECT n FROM promoted WHERE id = %s"
        before = session.execute(read, (self.number,)).fetchone()[0]
        assert before >= self.written, f"wrote {self.written}, then read {before}"
        session.execute("UPDATE promoted SET n = n + 1 WHERE id = %s", (self.number,))
        self.written = before + 1
        after = session.execute(read, (self.number,)).fetchone()[0]
        assert after == self.written, f"wrote {self.written}, then read {after}"


@pytest.mark.versions
def test_sessions_go_on_with_the_new_primary(servers, proxy):
    writers = [Writer(proxy, number) for number in range(1, 9)]
    for writer in writers:
        writer.start()
    try:
        for replica in (servers.replicas[0], servers.replicas[1]):
            before = [writer.written for writer in writers]
            servers.switch_over(replica)
            until(lambda name=replica.name: proxy.status()["primary"] == name, "the new primary is found", 20)
            until(lambda known=before: all(writer.written > count + 5 for writer, count in zip(writers, known)),
                  "everybody writes again", 30)
    finally:
        for writer in writers:
            writer.is_over = True
        for writer in writers:
            writer.join(30)
    print([writer.written for writer in writers], "writes, two promotions")
    assert not sum((writer.unexpected for writer in writers), [])
    assert [servers.primary.value("SELECT n FROM promoted WHERE id = %s", writer.number)
            for writer in writers] == [writer.written for writer in writers]


def test_a_connection_made_for_a_replica_never_writes(servers, proxy):
    """It lies idle in the pool, read-only for good, when its server becomes the primary."""
    sessions = [connect(proxy) for _ in range(6)]
    for session in sessions:
        for _ in range(5):
            session.execute("SELECT n FROM promoted WHERE id = 1")
    for session in sessions:
        session.close()
    replica = servers.replicas[0]
    servers.switch_over(replica)
    until(lambda: proxy.status()["primary"] == replica.name, "the new primary is found", 20)
    for _ in range(12):
        with connect(proxy) as session:
            marker = new_marker()
            session.execute(f"UPDATE promoted SET n = n + 1 WHERE id = 1 /* {marker} */")
            assert set(servers.where_ran(marker)) == {replica.name}
