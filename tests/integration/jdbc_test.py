"""pgjdbc: jdbc/Suite.java runs the cases, this compiles it and reads its report."""

import os
import re
import shutil
import subprocess

import pytest

from support.cluster import ROOT, new_marker
from support.waiting import SLOWDOWN

SOURCE = os.path.join(ROOT, "tests", "integration", "jdbc", "Suite.java")
DRIVER = "/usr/share/java/postgresql.jar"
PLACE = os.environ.get("PGSTEER_JDBC_DIR", os.path.join(ROOT, "build", "jdbc"))
with open(SOURCE, encoding="utf-8") as suite:
    CASES = re.findall(r'CASES\.put\("(\w+)"', suite.read())

pytestmark = pytest.mark.skipif(not shutil.which("javac") or not os.path.exists(DRIVER),
                                reason="no javac, or no libpostgresql-jdbc-java")


# Runs once; every case below looks at its own line.
_reports = {}


@pytest.fixture
def report(target):
    if not _reports:
        os.makedirs(PLACE, exist_ok=True)
        subprocess.run(["javac", "-cp", DRIVER, "-encoding", "UTF-8", "-d", PLACE, SOURCE], check=True,
                       timeout=120 * SLOWDOWN)
        prefix = new_marker()
        done = subprocess.run(
            ["java", "-Xmx512m", "-cp", f"{DRIVER}:{PLACE}", "Suite"], text=True,
            capture_output=True, timeout=180 * SLOWDOWN, check=False,
            env={**target.environment(), "MARKER": prefix, "LC_ALL": "C.UTF-8"})
        _reports["lines"] = done.stdout.splitlines()
        _reports["output"] = done.stdout + done.stderr
        _reports["where"] = {
            name: target.cluster.where_ran(f"{prefix}_{name} ")
            for name in ("read", "write", "transaction", "read_only", "rows")}
    return _reports


@pytest.mark.core
@pytest.mark.parametrize("case", CASES)
def test_case(report, case):
    line = next((line for line in report["lines"]
                 if re.match(rf"(not )?ok {case}\b", line)), f"no report:\n{report['output']}")
    assert line == f"ok {case}", line


@pytest.mark.core
def test_reads_ran_on_replicas_and_writes_on_the_primary(target, report):
    where = report["where"]
    assert set(where["write"]) == {"primary"}
    assert set(where["transaction"]) == {"primary"}
    if not target.direct:
        for name in ("read", "rows", "read_only"):
            assert where[name] and "primary" not in where[name], (name, where[name])
