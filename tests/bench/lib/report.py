"""Medians, ratios and tables in Markdown."""

import math
import statistics

YARDSTICK = "HAProxy"


def summary(runs: dict, memory: dict) -> dict:
    """`runs`: contender -> mode -> one Run for each round, in order. The ratio is the median of each round's ratio to
    HAProxy in the same round: what the machine did at that moment falls out of it."""
    result = {}
    for name, modes in runs.items():
        result[name] = {"modes": {}, "memory": memory.get(name, {})}
        for mode, rounds in modes.items():
            if not rounds:
                continue
            entry = {field: _median(getattr(run, field) for run in rounds)
                     for field in ("tps", "p50", "p99", "cpu", "cpu_user", "cpu_system")}
            base = runs.get(YARDSTICK, {}).get(mode, [])
            entry["cpu_ratio"] = _median(run.cpu / other.cpu for run, other in zip(rounds, base))
            entry["tps_ratio"] = _median(run.tps / other.tps for run, other in zip(rounds, base))
            entry["cpu_spread"] = _spread(run.cpu for run in rounds)
            result[name]["modes"][mode] = entry
    return result


def markdown(result: dict, modes: list, notes: dict, reads: dict) -> str:
    parts = []
    for mode in modes:
        parts += [f"### pgbench -S -M {mode}", "", *_mode_table(result, mode), ""]
    parts += ["### CPU per query relative to HAProxy", "", *_ratio_table(result, modes), ""]
    if any(entry["memory"] for entry in result.values()):
        parts += ["### Memory", "", *_memory_table(result), ""]
    parts += ["### Contenders", "", *_contender_table(notes, reads), ""]
    return "\n".join(parts)


def _mode_table(result: dict, mode: str) -> list:
    lines = ["| | TPS | p50 ms | p99 ms | proxy CPU, us per query (user + system) | spread |",
             "|---|---:|---:|---:|---:|---:|"]
    for name, entry in result.items():
        run = entry["modes"].get(mode)
        if run is None:
            lines.append(f"| {name} | not possible | | | | |")
            continue
        cpu = "" if math.isnan(run["cpu"]) else f"{run['cpu']:.1f} ({run['cpu_user']:.1f} + {run['cpu_system']:.1f})"
        spread = "" if math.isnan(run["cpu_spread"]) else f"±{run['cpu_spread']:.0%}"
        lines.append(f"| {name} | {run['tps']:.0f} | {run['p50']:.2f} | {run['p99']:.2f} | {cpu} | {spread} |")
    return lines


def _ratio_table(result: dict, modes: list) -> list:
    lines = ["| | " + " | ".join(modes) + " |", "|---|" + "---:|" * len(modes)]
    for name, entry in result.items():
        ratios = [entry["modes"].get(mode, {}).get("cpu_ratio", math.nan) for mode in modes]
        if not all(map(math.isnan, ratios)):
            lines.append(f"| {name} | " + " | ".join("" if math.isnan(r) else f"{r:.2f}" for r in ratios) + " |")
    return lines


def _memory_table(result: dict) -> list:
    lines = ["| | processes | nobody connected, MiB | clients logged in, MiB | after one query each, MiB |",
             "|---|---:|---:|---:|---:|"]
    for name, entry in result.items():
        memory = entry["memory"]
        if memory:
            cells = (_mib(memory.get(key)) for key in ("empty", "logged_in", "used"))
            lines.append(f"| {name} | {memory.get('processes', '')} | " + " | ".join(cells) + " |")
    return lines


def _contender_table(notes: dict, reads: dict) -> list:
    lines = ["| | what it is | where the reads ran |", "|---|---|---|"]
    for name, note in notes.items():
        total = sum(reads.get(name, {}).values())
        shares = (f"{server} {count / total:.0%}" for server, count in reads.get(name, {}).items() if total)
        lines.append(f"| {name} | {note} | {', '.join(shares)} |")
    return lines


def _mib(kib) -> str:
    return "" if kib is None else f"{kib / 1024:.1f}"


def _median(values) -> float:
    known = [value for value in values if not math.isnan(value)]
    return statistics.median(known) if known else math.nan


def _spread(values) -> float:
    """Half the distance between the extremes, relative to the median."""
    known = [value for value in values if not math.isnan(value)]
    return (max(known) - min(known)) / 2 / statistics.median(known) if len(known) > 1 else math.nan
