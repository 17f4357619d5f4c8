"""Waiting with a limit: nothing in the tests waits for ever."""

import os
import time

# Sanitizers and loaded machines: every time limit is multiplied by this. A limit says only that something hangs; what
# is promised to happen soon is shown by what happens before and after it, never by a clock.
SLOWDOWN = float(os.environ.get("PGSTEER_TEST_SLOWDOWN", "1"))


LEAST_LIMIT = 30


def until(condition, what: str, timeout: float = LEAST_LIMIT, interval: float = 0.02):
    """The first true value of condition(); AssertionError after `timeout` seconds, at least LEAST_LIMIT."""
    timeout = max(timeout, LEAST_LIMIT)
    end = time.monotonic() + timeout * SLOWDOWN
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"waited {timeout * SLOWDOWN:.1f} s in vain: {what}")
        time.sleep(interval)
