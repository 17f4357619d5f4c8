"""Two builds of pgsteer beside each other: instructions of a query, and CPU in paired rounds."""

import dataclasses
import os
import shutil
import statistics

from lib import contenders, instructions, load

MODES = ("simple", "extended", "prepared", "pipeline")
MOST_INSTRUCTIONS, MOST_CPU = 1.00, 1.02  # of the other build's


@dataclasses.dataclass
class Pair:
    """Of one mode: what this build and the other need for a query, and this relative to the other."""

    this: float
    other: float
    ratio: float
    worst: tuple = ()  # smallest and largest ratio of a round


def _build(title: str, path: str, before: tuple = ()):
    class Build(contenders.PgsteerOneReplica):
        name = title
        binary = path

        def command(self) -> list:
            return [*before, *super().command()]

    return Build


def count_instructions(this: str, other: str, folder: str, leases, servers, modes: list, say) -> dict:
    """{mode: Pair}; {} if valgrind is not installed."""
    if not shutil.which("valgrind") or not shutil.which("callgrind_control"):
        say("instructions: needs valgrind")
        return {}
    counts = {}
    for name, path in (("this", this), ("other", other)):
        prefix = os.path.join(folder, f"callgrind.{name}")
        one = _build(f"{name} under callgrind", path, instructions.command(prefix))(folder, leases, servers, 100)
        one.start()
        try:
            for mode in modes:
                counts[name, mode] = instructions.per_query(one, prefix, mode)
                say(f"instructions {mode:9} {name:5} {counts[name, mode]:9.0f}")
        finally:
            one.stop()
    return {mode: Pair(counts["this", mode], counts["other", mode], counts["this", mode] / counts["other", mode])
            for mode in modes}


def measure_cpu(this: str, other: str, folder: str, leases, servers, modes: list, arguments, say) -> dict:
    """{mode: Pair}. Both run all the time; within a round one comes right after the other, in turn first."""
    builds = {name: _build(f"{name} build", path)(folder, leases, servers, 100, arguments.pin)
              for name, path in (("this", this), ("other", other))}
    runs = {(name, mode): [] for name in builds for mode in modes}
    try:
        for one in builds.values():
            one.start()
        for number in range(arguments.rounds):
            for mode in modes:
                for name in sorted(builds, reverse=number % 2 == 0):
                    runs[name, mode].append(load.pgbench(
                        servers.pgbench, builds[name].port, mode, arguments.clients, arguments.threads,
                        arguments.seconds, folder, builds[name].pid).cpu)
                say(f"round {number + 1:2} {mode:9} this {runs['this', mode][-1]:6.2f}  other {runs['other', mode][-1]:6.2f} us CPU")
    finally:
        for one in builds.values():
            one.stop()
    return {mode: _paired(runs["this", mode], runs["other", mode]) for mode in modes}


def _paired(this: list, other: list) -> Pair:
    ratios = [a / b for a, b in zip(this, other)]
    return Pair(statistics.median(this), statistics.median(other), statistics.median(ratios), (min(ratios), max(ratios)))


def table(counts: dict, cpu: dict, modes: list, rounds: int) -> str:
    lines = [f"Of one query; a pipeline is {instructions.PIPELINE} in one batch. CPU: us, and the median of {rounds} paired rounds "
             "(smallest to largest).", "",
             "| | instructions, this | other | ratio | CPU, this | other | ratio |", "|---|---:|---:|---:|---:|---:|---:|"]
    for mode in modes:
        cells = []
        for pair, digits in ((counts.get(mode), 0), (cpu.get(mode), 2)):
            spread = f" ({pair.worst[0]:.2f} to {pair.worst[1]:.2f})" if pair and pair.worst else ""
            cells += [f"{pair.this:.{digits}f}", f"{pair.other:.{digits}f}", f"{pair.ratio:.3f}{spread}"] if pair else [""] * 3
        lines.append(f"| {mode} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def too_dear(counts: dict, cpu: dict) -> list:
    """What is over its limit, in words. Of instructions the third digit is noise."""
    found = [f"instructions, {mode}: {pair.ratio:.3f}" for mode, pair in counts.items() if round(pair.ratio, 2) > MOST_INSTRUCTIONS]
    return found + [f"CPU, {mode}: {pair.ratio:.3f}" for mode, pair in cpu.items() if pair.ratio > MOST_CPU]
