"""What reads must not miss. Pure: told of writes and reads, counts what they got wrong.

Every register has one writer, which counts it up: so of two values the larger is the newer, and a
register's history is known without asking the servers. A value counts as missing only if its commit
was acknowledged before the read was sent; else it may still be on its way (commit_in_flight).
"""

import collections
import dataclasses

LEVELS = ("eventual", "session", "global", "strict", "bounded")


class History:
    """Acknowledged values of all registers, newest last; times of the monotonic clock in seconds."""

    def __init__(self):
        self._acknowledged = collections.defaultdict(collections.deque)

    def acknowledge(self, register, value, at, outside=False):
        """`outside`: written past the proxy, which only level strict knows of."""
        values = self._acknowledged[register]
        values.append((at, value, outside))
        # What is older than any bound, but for the newest of it, is never asked for again.
        while len(values) > 2 and values[1][0] < at - 60:
            values.popleft()

    def at(self, register, time, with_outside=True) -> int:
        """The newest value that was acknowledged before `time`; 0 if there is none."""
        for at, value, outside in reversed(self._acknowledged[register]):
            if at < time and (with_outside or not outside):
                return value
        return 0


@dataclasses.dataclass
class Tally:
    """Counts of one run."""

    reads: int = 0
    writes: int = 0
    commit_in_flight: int = 0
    reconnects: int = 0
    violations: collections.Counter = dataclasses.field(default_factory=collections.Counter)
    examples: list = dataclasses.field(default_factory=list)
    errors: collections.Counter = dataclasses.field(default_factory=collections.Counter)

    def violation(self, kind, text):
        self.violations[kind] += 1
        if len(self.examples) < 10:
            self.examples.append(f"{kind}: {text}")


class Session:
    """What one session has written, seen, and learnt of through others."""

    def __init__(self, name, level, history, tally, bound=None):
        self.name = name
        self._level = level
        self._history = history
        self._tally = tally
        self._bound = bound
        self.reconnected()

    def reconnected(self):
        """A new connection is a new session: it has seen nothing yet."""
        self._written = {}
        self._seen = {}
        self._followed = {}

    def wrote(self, register, value):
        self._written[register] = max(value, self._written.get(register, 0))

    def saw_dependency(self, register, value):
        """A row said that its writer had seen `value` before it wrote."""
        self._followed[register] = max(value, self._followed.get(register, 0))

    def must_see(self, register, sent_at) -> dict:
        """Kind of promise -> least value. Asked before the read is sent."""
        acknowledged = self._history.at(register, sent_at)
        if self._level == "bounded":
            return {"bounded": self._history.at(register, sent_at - self._bound)}
        if self._level == "eventual":
            # Promised of nothing; what a session would be promised shows that the check can fail.
            return {"read_your_writes": self._written.get(register, 0),
                    "monotonic_reads": min(self._seen.get(register, 0), acknowledged)}
        needs = {"read_your_writes": self._written.get(register, 0),
                 "monotonic_reads": min(self._seen.get(register, 0), acknowledged),
                 "writes_follow_reads": min(self._followed.get(register, 0), acknowledged)}
        if self._level == "global":
            needs["global"] = self._history.at(register, sent_at, with_outside=False)
        if self._level == "strict":
            needs["strict"] = acknowledged
        return needs

    def read(self, register, value, needs, least=0, kind=""):
        """`needs` as must_see() said; `least` what `kind` (a message, a lock) promises besides."""
        self._tally.reads += 1
        for promise, needed in needs.items():
            if value < needed:
                self._tally.violation(promise, f"session {self.name} read {value} of register "
                                               f"{register}, must see {needed}")
        if value < least:
            self._tally.violation(kind, f"session {self.name} read {value} of register {register}, "
                                        f"must see {least}")
        best_known = max(self._seen.get(register, 0), self._followed.get(register, 0))
        if value < best_known and self._level not in ("eventual", "bounded"):
            self._tally.commit_in_flight += 1
        self._seen[register] = max(value, self._seen.get(register, 0))

    def read_list(self, register, numbers, needs):
        """The newest rows of an append-only list, newest first: no gap, and as new as a register."""
        if any(a - b != 1 for a, b in zip(numbers, numbers[1:])):
            self._tally.violation("hole", f"session {self.name} read {numbers} of list {register}")
        self.read(register, numbers[0] if numbers else 0, needs)
