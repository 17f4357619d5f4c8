"""One run of pgbench against one port."""

import dataclasses
import glob
import math
import os
import re
import subprocess

from lib import processes

_PROGRESS = re.compile(r"progress: ([\d.]+) s, ([\d.]+) tps")
_LOG_SAMPLING = 0.1
PIPELINE = 10  # queries in a batch of the mode "pipeline"


@dataclasses.dataclass
class Run:
    """Latencies in milliseconds, CPU in microseconds a query."""

    tps: float
    p50: float
    p99: float
    cpu: float = math.nan
    cpu_user: float = math.nan
    cpu_system: float = math.nan


def pgbench(binary: str, port: int, mode: str, clients: int, threads: int, seconds: int, folder: str, proxy_pid=None) -> Run:
    """CPU is that of the proxy's processes between pgbench's first and last report of progress (one a second)
    over the queries of that time: connecting and logging in are not in it."""
    prefix = os.path.join(folder, "transactions")
    script, size = (["-f", _pipeline(folder), "-M", "prepared"], PIPELINE) if mode == "pipeline" else (["-S", "-M", mode], 1)
    command = [binary, "-n", *script, "-c", str(clients), "-j", str(threads), "-T", str(seconds),
               "-P", "1", "--progress-timestamp", "-l", "--log-prefix", prefix, "--sampling-rate", str(_LOG_SAMPLING),
               "-h", "127.0.0.1", "-p", str(port), "-U", "app", "app"]
    environment = {**os.environ, "PGPASSWORD": "app", "PGSSLMODE": "disable", "PGGSSENCMODE": "disable"}
    process = subprocess.Popen(command, env=environment, cwd=folder, text=True, stdin=subprocess.DEVNULL,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        marks, complaints = _follow(process.stderr, proxy_pid)
        output = process.stdout.read()
        status = process.wait(30)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
    tps = re.search(r"tps = ([\d.]+)", output)
    if status != 0 or not tps:
        raise RuntimeError(f"pgbench -M {mode} failed: {' '.join(complaints)[:500]}")
    latencies = _latencies(prefix)
    run = Run(float(tps[1]), _percentile(latencies, 0.50) / 1000, _percentile(latencies, 0.99) / 1000)
    if proxy_pid and len(marks) > 1:
        queries = size * sum(tps * (now - before) for (before, _, _), (now, tps, _) in zip(marks, marks[1:]))
        first, last = marks[0][2], marks[-1][2]
        run.cpu_user, run.cpu_system = ((b - a) * 1e6 / queries for a, b in zip(first, last))
        run.cpu = run.cpu_user + run.cpu_system
    return run


def _pipeline(folder: str) -> str:
    """The script: the same query as -S, ten times before the Sync."""
    path = os.path.join(folder, "pipeline.sql")
    if not os.path.exists(path):
        with open(path, "w", encoding="ascii") as file:
            file.write("\\set aid random(1, 100000 * :scale)\n\\startpipeline\n")
            file.write("SELECT abalance FROM pgbench_accounts WHERE aid = :aid;\n" * PIPELINE)
            file.write("\\endpipeline\n")
    return path


def _follow(lines, proxy_pid) -> tuple:
    """([(time, tps since the last report, CPU seconds of the proxy so far)], other lines)."""
    marks, others = [], []
    for line in lines:
        report = _PROGRESS.match(line)
        if report:
            cpu = processes.cpu_seconds(proxy_pid) if proxy_pid else (0.0, 0.0)
            marks.append((float(report[1]), float(report[2]), cpu))
        else:
            others.append(line.strip())
    return marks, others


def _latencies(prefix: str) -> list:
    """Sorted, in microseconds: the third column of pgbench's log."""
    values = []
    for path in glob.glob(f"{prefix}.*"):
        with open(path, encoding="ascii") as file:
            values += (int(line.split()[2]) for line in file)
        os.unlink(path)
    return sorted(values)


def _percentile(ordered: list, part: float) -> float:
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))] if ordered else math.nan
