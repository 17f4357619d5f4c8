"""What the test programs in other languages need before they run: node's packages, compiled Java."""

import os
import shutil
import subprocess

from support.cluster import ROOT
from support.waiting import SLOWDOWN

INTEGRATION = os.path.join(ROOT, "tests", "integration")
NODE_SOURCE = os.path.join(INTEGRATION, "node")
JDBC_SOURCE = os.path.join(INTEGRATION, "jdbc")
JDBC_DRIVER = "/usr/share/java/postgresql.jar"
_NODE_PLACE = os.environ.get("PGSTEER_NODE_DIR", os.path.join(ROOT, "build", "node"))
_JDBC_PLACE = os.environ.get("PGSTEER_JDBC_DIR", os.path.join(ROOT, "build", "jdbc"))


def has_node() -> bool:
    return bool(shutil.which("node"))


def has_jdbc() -> bool:
    return bool(shutil.which("javac")) and os.path.exists(JDBC_DRIVER)


def node_modules() -> str:
    return npm_packages(NODE_SOURCE, _NODE_PLACE)


def npm_packages(source: str, place: str) -> str:
    """The packages that `source` locks, installed in `place`, outside of the source tree, once."""
    with open(os.path.join(source, "package-lock.json"), encoding="utf-8") as file:
        lock = file.read()
    stamp = os.path.join(place, "installed.json")
    if not os.path.exists(stamp) or open(stamp, encoding="utf-8").read() != lock:
        os.makedirs(place, exist_ok=True)
        for name in ("package.json", "package-lock.json"):
            shutil.copy(os.path.join(source, name), place)
        subprocess.run(["npm", "ci", "--no-audit", "--no-fund", "--loglevel=error"], cwd=place, check=True,
                       timeout=300 * SLOWDOWN, stdout=2)  # what versions.py prints is a folder
        with open(stamp, "w", encoding="utf-8") as file:
            file.write(lock)
    return os.path.join(place, "node_modules")


def compiled_java(name: str) -> str:
    """Compiles jdbc/`name`.java; the class path to run it with."""
    os.makedirs(_JDBC_PLACE, exist_ok=True)
    subprocess.run(["javac", "-cp", JDBC_DRIVER, "-encoding", "UTF-8", "-d", _JDBC_PLACE,
                    os.path.join(JDBC_SOURCE, f"{name}.java")], check=True, timeout=120 * SLOWDOWN)
    return f"{JDBC_DRIVER}:{_JDBC_PLACE}"
