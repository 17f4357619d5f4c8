"""Fixtures of the integration tests: one cluster for all of them, pgsteer in front.

Environment (tests/README.md): PGSTEER_BINARY, PGSTEER_DIRECT, PGSTEER_FULL, PGSTEER_TEST_SLOWDOWN.
"""

import os
import signal
import sys
import threading
import time

import pytest

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

# pylint: disable=wrong-import-position
from support.cluster import Cluster, new_marker  # noqa: E402
from support.ports import PortLeases  # noqa: E402
from support.proxy import Pgsteer  # noqa: E402
from support.session import connect, dsn  # noqa: E402
from support.waiting import LEAST_LIMIT, SLOWDOWN, until  # noqa: E402

DIRECT = bool(os.environ.get("PGSTEER_DIRECT"))
FULL = bool(os.environ.get("PGSTEER_FULL"))
_LIMIT = (1200 if FULL else 300) * SLOWDOWN  # what hangs


def pytest_configure(config):
    config.addinivalue_line("markers", "core: in `tests/run --quick` too")
    config.addinivalue_line("markers", "versions: with every major version of PostgreSQL, as core is")
    config.addinivalue_line("markers", "heavy: takes long under a sanitizer; not run there")


@pytest.fixture(scope="session")
def full():
    """True: the counts that the project promises; false: enough to notice a break."""
    return FULL


@pytest.fixture(scope="session")
def leases():
    return PortLeases()


@pytest.fixture(scope="session")
def cluster(leases):
    with Cluster(replicas=2, leases=leases) as servers:
        yield servers


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_call(item):
    """No test may take for ever: not even one that waits for a driver."""
    if threading.current_thread() is not threading.main_thread():
        yield  # execnet, if its main thread was not ready in time; signals are not for it, the run's limit is
        return

    def late(*_):
        raise TimeoutError(f"{item.name} took longer than {_LIMIT:.0f} s")
    previous = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, _LIMIT)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, previous)


@pytest.fixture(autouse=True)
def _fresh_logs(request):
    """Markers are unique, but the logs grow: each test reads only its own part."""
    if "cluster" in request.fixturenames:
        request.getfixturevalue("cluster").forget_logs()
    yield


class Target:
    """Where an application connects, and where its statements may run."""

    def __init__(self, cluster, host, port, direct):
        self.cluster = cluster
        self.host = host
        self.port = port
        self.direct = direct
        self.user = "app"
        self.password = "app"
        self.dbname = "app"

    def dsn(self, **changes) -> str:
        return dsn(self, **changes)

    def url(self) -> str:
        return f"postgresql://{self.user}:{self.password}@{self.host}:{self.port}/{self.dbname}"

    def environment(self) -> dict:
        """For programs that read libpq's variables."""
        return {**os.environ, "PGHOST": self.host, "PGPORT": str(self.port), "PGUSER": self.user,
                "PGPASSWORD": self.password, "PGDATABASE": self.dbname, "PGCONNECT_TIMEOUT": "20"}

    def expect_primary(self, marker: str) -> None:
        where = self.cluster.where_ran(marker)
        assert set(where) == {"primary"}, f"{marker} ran on {where}"

    def expect_replica(self, marker: str) -> None:
        where = self.cluster.where_ran(marker)
        if not self.direct:
            assert where and "primary" not in where, f"{marker} ran on {where}"

    def wait_until_known(self, relation) -> None:
        """Until pgsteer has seen it in the catalog: reads of what is made past pgsteer begin on the primary."""
        def is_known():
            session.execute(f"SELECT 1 FROM {relation} LIMIT 0")
            return "unknown_relation" not in session.execute("SHOW pgsteer.last_route").fetchone()[0]
        if not self.direct:
            with connect(self) as session:
                until(is_known, f"{relation} is known")

    def read_until_on_replica(self, read, timeout=10) -> str:
        """Calls read(marker) until it ran on a replica and nowhere else: which one.

        A session that has just written reads from the primary until a replica has caught up.
        """
        end = time.monotonic() + max(timeout, LEAST_LIMIT) * SLOWDOWN
        while True:
            marker = new_marker()
            read(marker)
            where = self.cluster.where_ran(marker)
            assert where, "the statement is in no server's log"
            if self.direct or "primary" not in where:
                return next(iter(where))
            assert time.monotonic() < end, f"reads stay on the primary: {where}"
            time.sleep(0.02)


@pytest.fixture(scope="session")
def usual_proxy(cluster, leases):
    with Pgsteer(cluster, leases=leases) as running:
        yield running


@pytest.fixture
def proxy(request):
    """The pgsteer that most tests share; skipped when testing without one."""
    if DIRECT:
        pytest.skip("needs pgsteer")
    running = request.getfixturevalue("usual_proxy")
    if running.process.poll() is not None:
        running.start()  # the test in which it died has failed; the others shall still tell
    yield running
    running.check_health()


@pytest.fixture
def target(request, cluster):
    """What application tests connect to: pgsteer, or with PGSTEER_DIRECT the primary itself."""
    if DIRECT:
        return Target(cluster, cluster.primary.host, cluster.primary.port, True)
    running = request.getfixturevalue("proxy")
    return Target(cluster, running.host, running.port, False)


@pytest.fixture
def table(target, cluster):
    """The name of an empty one: (id int PRIMARY KEY, body text, data bytea)."""
    name = f"table_{new_marker()}"
    cluster.primary.sql(f"CREATE TABLE {name} (id int PRIMARY KEY, body text, data bytea); "
                        f"ALTER TABLE {name} OWNER TO app")
    cluster.wait_until_replayed()
    target.wait_until_known(name)
    yield name
    cluster.primary.sql(f"DROP TABLE {name}")


@pytest.fixture
def make_proxy(cluster, leases):
    """make_proxy(changes, **options): a pgsteer of one's own, stopped and checked at the end."""
    if DIRECT:
        pytest.skip("needs pgsteer")
    started = []

    def make(changes=None, **options):
        started.append(Pgsteer(cluster, changes, leases=leases, **options))
        return started[-1]

    yield make
    for running in started:
        running.stop()


@pytest.fixture
def hurt(cluster):
    """The cluster, for tests that kill, hang or delay servers; whole again afterwards."""
    cluster.heal()
    yield cluster
    cluster.heal()
