"""What /proc says about a process and all that descend from it."""

import os
import time

_TICK = 1 / os.sysconf("SC_CLK_TCK")


def tree(root: int) -> list:
    """Process ids: the root first, then its descendants."""
    found, waiting = [], [root]
    while waiting:
        pid = waiting.pop()
        found.append(pid)
        waiting += _children(pid)
    return found


def wait_until_all_started(root: int) -> None:
    """Until no process has been added for two seconds."""
    count, since = 0, time.monotonic()
    while time.monotonic() - since < 2:
        if len(tree(root)) != count:
            count, since = len(tree(root)), time.monotonic()
        time.sleep(0.1)


def cpu_seconds(root: int) -> tuple:
    """(user, system) time used so far by all threads of all processes of the tree.

    Time of children that have ended is in their parent's own count, so the sum never goes back.
    """
    user = system = 0
    for pid in tree(root):
        fields = _stat(pid)
        if fields:
            user += int(fields[11]) + int(fields[13])
            system += int(fields[12]) + int(fields[14])
    return user * _TICK, system * _TICK


def memory_kib(root: int) -> int:
    """Resident memory; of several processes the proportional share, so that nothing counts twice."""
    pids = tree(root)
    return _resident(pids[0]) if len(pids) == 1 else sum(map(_proportional, pids))


def _children(pid: int) -> list:
    children = []
    try:
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/children", encoding="ascii") as file:
                children += map(int, file.read().split())
    except OSError:
        pass  # it has just ended
    return children


def _stat(pid: int) -> list:
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            return file.read().rpartition(")")[2].split()
    except OSError:
        return []


def _resident(pid: int) -> int:
    return _kib(f"/proc/{pid}/status", "VmRSS:")


def _proportional(pid: int) -> int:
    return _kib(f"/proc/{pid}/smaps_rollup", "Pss:")


def _kib(path: str, key: str) -> int:
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            for line in file:
                if line.startswith(key):
                    return int(line.split()[1])
    except OSError:
        pass
    return 0
