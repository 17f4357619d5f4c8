"""node's pg: node/suite.js runs the cases, this reads its report."""

import os
import re
import subprocess

import pytest

from support import programs
from support.cluster import new_marker
from support.waiting import SLOWDOWN

SOURCE = os.path.join(programs.NODE_SOURCE, "suite.js")
with open(SOURCE, encoding="utf-8") as suite:
    CASES = re.findall(r"^    async (\w+)\(", suite.read(), re.MULTILINE)

pytestmark = pytest.mark.skipif(not programs.has_node(), reason="node is not installed")


@pytest.fixture(scope="module")
def modules():
    return programs.node_modules()


# Runs once; every case below looks at its own line.
_reports = {}


@pytest.fixture
def report(target, modules):
    if not _reports:
        prefix = new_marker()
        done = subprocess.run(
            ["node", SOURCE], text=True, capture_output=True,
            timeout=180 * SLOWDOWN, check=False,
            env={**target.environment(), "NODE_PATH": modules, "MARKER": prefix})
        _reports["lines"] = done.stdout.splitlines()
        _reports["output"] = done.stdout + done.stderr
        _reports["where"] = {name: target.cluster.where_ran(f"{prefix}_{name} ")
                             for name in ("read", "write", "transaction", "rows")}
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
        assert where["read"] and "primary" not in where["read"]
        assert where["rows"] and "primary" not in where["rows"]
