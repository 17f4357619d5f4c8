"""pgjdbc: jdbc/Suite.java runs the cases, this compiles it and reads its report."""

import os
import re
import subprocess

import pytest

from support import programs
from support.cluster import new_marker
from support.waiting import SLOWDOWN

with open(os.path.join(programs.JDBC_SOURCE, "Suite.java"), encoding="utf-8") as suite:
    CASES = re.findall(r'CASES\.put\("(\w+)"', suite.read())

pytestmark = pytest.mark.skipif(not programs.has_jdbc(), reason="no javac, or no libpostgresql-jdbc-java")


# Runs once; every case below looks at its own line.
_reports = {}


@pytest.fixture
def report(target):
    if not _reports:
        classes = programs.compiled_java("Suite")
        prefix = new_marker()
        done = subprocess.run(
            ["java", "-Xmx512m", "-cp", classes, "Suite"], text=True,
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
