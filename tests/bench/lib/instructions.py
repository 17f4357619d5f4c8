"""Instructions of pgsteer's worker thread for one query, counted by valgrind's callgrind.

One client asks one thing after the other, so that what the worker does does not depend on how busy the machine is: two
runs of one build differ by less than 1 per mille (callgrind runs one thread at a time, whoever waits gets the rest).
"""

import glob
import os
import re
import statistics
import subprocess

from lib.load import PIPELINE
from support import raw, wire_client

_SQL = "SELECT abalance FROM pgbench_accounts WHERE aid = "
_ROUNDS, _QUERIES, _WARM_UP = 5, 1000, 300
CALLGRIND = ("valgrind", "--tool=callgrind", "--separate-threads=yes")


def command(prefix: str) -> tuple:
    """What to put before pgsteer's own command line."""
    return (*CALLGRIND, f"--callgrind-out-file={prefix}")


def _simple(number: int) -> bytes:
    return raw.query(f"{_SQL}{number}")


def _unnamed(number: int) -> bytes:
    return (raw.parse("", f"{_SQL}$1") + _run("", number)) + raw.SYNC


def _run(name: str, number: int) -> bytes:
    return raw.bind("", name, str(number).encode()) + raw.describe("P", "") + raw.execute("")


def _prepared(number: int) -> bytes:
    return _run("s", number) + raw.SYNC


def _pipeline(number: int) -> bytes:
    return b"".join(_run("s", number + i) for i in range(PIPELINE)) + raw.SYNC


REQUESTS = {"simple": (_simple, 1), "extended": (_unnamed, 1), "prepared": (_prepared, 1), "pipeline": (_pipeline, PIPELINE)}


def per_query(one, prefix: str, mode: str) -> float:
    """`one` was started behind command(prefix). The median of some rounds."""
    request, size = REQUESTS[mode]
    session = wire_client.log_in("127.0.0.1", one.port, "app", "app", "app", timeout=60)
    try:
        session.send(raw.parse("s", f"{_SQL}$1"), raw.SYNC)
        session.read_until_ready()
        _ask(session, request, size, _WARM_UP)
        counts = []
        for _ in range(_ROUNDS):
            _control(one.pid, "--zero")
            _ask(session, request, size, _QUERIES)
            counts.append(_dump(one.pid, prefix) / _QUERIES)
        return statistics.median(counts)
    finally:
        session.socket.close()


def _ask(session, request, size: int, queries: int) -> None:
    for i in range(queries // size):
        session.send(request(1000 + i % 1000))
        failure = raw.sqlstates(session.read_until_ready())
        if failure:
            raise RuntimeError(f"the query failed: {failure}")


def _control(pid: int, action: str) -> None:
    subprocess.run(["callgrind_control", action, str(pid)], check=True, timeout=60,
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _dump(pid: int, prefix: str) -> int:
    """The largest count of a thread since the last zero: the worker's. Others work by the clock."""
    _control(pid, "--dump")
    counts = []
    for path in glob.glob(f"{glob.escape(prefix)}.*-*"):
        with open(path, encoding="utf-8", errors="replace") as file:
            found = re.search(r"^(?:summary|totals): (\d+)", file.read(), re.MULTILINE)
        os.unlink(path)
        counts.append(int(found[1]) if found else 0)
    if not counts:
        raise RuntimeError("callgrind has dumped nothing")
    return max(counts)
