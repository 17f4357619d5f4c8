"""node's pg: node/suite.js runs the cases, this reads its report."""

import os
import re
import shutil
import subprocess

import pytest

from support.cluster import ROOT, new_marker
from support.waiting import SLOWDOWN

SOURCE = os.path.join(ROOT, "tests", "integration", "node")
PLACE = os.environ.get("PGSTEER_NODE_DIR", os.path.join(ROOT, "build", "node"))
with open(os.path.join(SOURCE, "suite.js"), encoding="utf-8") as suite:
    CASES = re.findall(r"^    async (\w+)\(", suite.read(), re.MULTILINE)

pytestmark = pytest.mark.skipif(not shutil.which("node"), reason="node is not installed")


@pytest.fixture(scope="module")
def modules():
    """The locked packages, installed outside of the source tree, once."""
    with open(os.path.join(SOURCE, "package-lock.json"), encoding="utf-8") as file:
        lock = file.read()
    stamp = os.path.join(PLACE, "installed.json")
    if not os.path.exists(stamp) or open(stamp, encoding="utf-8").read() != lock:
        os.makedirs(PLACE, exist_ok=True)
        for name in ("package.json", "package-lock.json"):
            shutil.copy(os.path.join(SOURCE, name), PLACE)
        subprocess.run(["npm", "ci", "--no-audit", "--no-fund", "--loglevel=error"], cwd=PLACE,
                       check=True, timeout=300)
        with open(stamp, "w", encoding="utf-8") as file:
            file.write(lock)
    return os.path.join(PLACE, "node_modules")


# Runs once; every case below looks at its own line.
_reports = {}


@pytest.fixture
def report(target, modules):
    if not _reports:
        prefix = new_marker()
        done = subprocess.run(
            ["node", os.path.join(SOURCE, "suite.js")], text=True, capture_output=True,
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
