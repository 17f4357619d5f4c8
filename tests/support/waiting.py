"""Waiting with a limit: nothing in the tests waits for ever."""

import os
import time

# Sanitizers and loaded machines: every time limit is multiplied by this.
SLOWDOWN = float(os.environ.get("PGSTEER_TEST_SLOWDOWN", "1"))


def until(condition, what: str, timeout: float = 10, interval: float = 0.02):
    """The first true value of condition(); AssertionError after `timeout` seconds."""
    end = time.monotonic() + timeout * SLOWDOWN
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"waited {timeout * SLOWDOWN:.1f} s in vain: {what}")
        time.sleep(interval)
