"""Small applications on ORMs and the like, which open a transaction for everything: with `transactions: lazy` their
reads run on replicas, and still they see what they have written. The applications know nothing of pgsteer.
"""

import importlib.util
import os
import re
import subprocess
import sys

import pytest

from conftest import Target
from support import programs
from support.waiting import SLOWDOWN

LAZY = {"routing": {"transactions": "lazy", "freshness_wait": "10ms"}}
LEAST_SHARE = 0.90
LEAST_READS = 500  # a share of less would say little
LOCKS_ROWS = re.compile(r"\bFOR (NO KEY UPDATE|UPDATE|SHARE|KEY SHARE)\b", re.IGNORECASE)


class App:
    """A program, called with `migrate` and then with `work`. The names of its tables start with `prefix`."""

    def __init__(self, prefix, command, needs):
        self.prefix = prefix
        self.command = command  # returns its words; may have to install or compile something first
        self.needs = needs      # returns whether all that it needs is installed

    def run(self, step, target):
        """Fails if the application does: it checks all that it reads."""
        done = subprocess.run([*self.command(), step], text=True, capture_output=True, timeout=100 * SLOWDOWN,
                              check=False, env=target.environment())
        assert done.returncode == 0, f"{self.prefix} {step}:\n{done.stdout}\n{done.stderr}"

    def drop_tables(self, server):
        for name, in server.sql("SELECT tablename FROM pg_tables WHERE tablename LIKE %s", f"{self.prefix}\\_%"):
            server.sql(f'DROP TABLE "{name}" CASCADE')

    def reads(self, server):
        """How many SELECTs of the application's tables `server` has run, by its log. SELECT ... FOR UPDATE is a
        write; each further portion of a result is not a statement of its own."""
        read = re.compile(r"LOG:  (statement|execute (?!fetch from)[^:]*): (DECLARE [^;]*? FOR\s+)?SELECT\b"
                          rf'.*?\b(FROM|JOIN)\s+"?{self.prefix}_', re.IGNORECASE | re.DOTALL)
        return sum(1 for record in server.statements(f"{self.prefix}_")
                   if read.search(record) and not LOCKS_ROWS.search(record))


def python_app(name):
    path = os.path.join(programs.INTEGRATION, "orm", f"{name}_app.py")
    return lambda: [sys.executable, path]


def node_app():
    return ["env", f"NODE_PATH={programs.node_modules()}", "node",
            os.path.join(programs.NODE_SOURCE, "sequelize_app.js")]


def java_app():
    return ["java", "-Xmx256m", "-cp", programs.compiled_java("Orders"), "Orders"]


def has_packages(*names):
    return all(importlib.util.find_spec(name) for name in names)


APPS = {
    "sqlalchemy": App("alchemy", python_app("sqlalchemy"), lambda: has_packages("sqlalchemy", "psycopg2")),
    "django": App("django", python_app("django"), lambda: has_packages("django", "psycopg2")),
    "jdbc": App("jdbc", java_app, programs.has_jdbc),
    "sequelize": App("sequelize", node_app, programs.has_node),
}


@pytest.fixture(params=APPS)
def app(request, cluster):
    wanted = APPS[request.param]
    if not wanted.needs():
        pytest.skip(f"{request.param} is not installed")
    yield wanted
    wanted.drop_tables(cluster.primary)


def migrate_and_work(app, target):
    """As a deployment does it. A new session may not see at once what another one has just made."""
    app.run("migrate", target)
    target.cluster.wait_until_replayed()
    target.cluster.forget_logs()
    app.run("work", target)


def reads_in_all(app, cluster):
    """How many SELECTs the application makes. The replicas' logs cannot tell: they also have the attempts of pgsteer
    that came too early and were thrown away. The primary's log has each of its reads once."""
    primary = cluster.primary
    migrate_and_work(app, Target(cluster, primary.host, primary.port, True))
    count = app.reads(primary)
    app.drop_tables(primary)
    cluster.wait_until_replayed()
    return count


def test_most_reads_of_lazy_transactions_run_on_replicas(app, cluster, make_proxy):
    count = reads_in_all(app, cluster)
    proxy = make_proxy(LAZY)
    migrate_and_work(app, Target(cluster, proxy.host, proxy.port, False))
    reads = {server.name: app.reads(server) for server in cluster.servers}
    share = 1 - reads["primary"] / count
    print(f"\n{app.prefix}: {share:.1%} of {count} reads on replicas (in the logs: {reads})")
    assert LEAST_READS <= count <= sum(reads.values())
    assert share >= LEAST_SHARE, (count, reads)


def test_it_works_with_the_usual_settings_too(app, target):
    """`transactions: read_only`; or without pgsteer."""
    migrate_and_work(app, target)
