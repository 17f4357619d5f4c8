"""A short run of tests/consistency/check: no violation where none may be, some where they must be."""

import os
import re
import subprocess
import sys

import pytest

from support.cluster import ROOT
from support.proxy import find_binary
from support.waiting import SLOWDOWN

CHECK = os.path.join(ROOT, "tests", "consistency", "check")


def check(*options):
    done = subprocess.run([sys.executable, CHECK, "--binary", find_binary(), *options], text=True,
                          capture_output=True, timeout=1200 * SLOWDOWN,
                          check=False)
    print(done.stdout, done.stderr)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return {name: int(number) for number, name in re.findall(r"(\d+) (reads|writes)", done.stdout)}


@pytest.mark.parametrize("level", ["session", "global", "strict", "bounded"])
def test_no_read_misses_what_its_level_promises(level, full):
    least = 200_000 if full else 500
    counts = check("--level", level, "--reads", str(least), "--at-least", "6",
                   "--freshness-wait", "5ms" if level == "global" else "0ms")
    assert counts["reads"] >= least


def test_the_check_finds_what_eventual_reads_miss():
    check("--level", "eventual", "--delay", "500ms", "--seconds", "4", "--expect-violations")
