"""One script, once direct and once through pgsteer, from the same state; and what differed."""

import psycopg

from differential.places import DIRECT, THROUGH
from differential.replay import Hung, Replay
from differential.transcript import Difference, compare, kind_of


class Void(Exception):
    """The script tells nothing: PostgreSQL itself did not answer."""


class Crash(Void):
    """A server process has crashed, and taken all sessions with it."""


class Trial:
    def __init__(self, places, patience: float):
        self._places = places
        self._patience = patience
        self._idle = []
        self.runs = 0

    def difference(self, script):
        """A Difference, or None. Raises Void."""
        self.runs += 1
        try:
            try:
                return self._compared(script)
            finally:
                self._places.restore()
        except psycopg.OperationalError as error:
            self._idle.clear()
            self._places.recover()
            raise Crash(str(error)) from error

    def fails_like(self, wanted: str):
        """For shrinking: does a script differ in the same way? Less patient with what hangs: that costs most."""
        def fails(script) -> bool:
            usual = self._patience
            self._patience = usual / 3
            try:
                found = self.difference(script)
            except Void:
                return False
            finally:
                self._patience = usual
            return found is not None and kind_of(found) == wanted
        return fails

    def _compared(self, script):
        direct = self._replay(script, DIRECT, None).run()
        if any(_hangs(one) or _was_ended(one) for one in direct):
            self._idle.clear()
            self._places.end_direct_sessions()
            raise Void("PostgreSQL did not answer in time")
        try:
            replay = self._replay(script, THROUGH, self._places.replicas)
        except (OSError, Hung) as error:
            self._places.start_again()
            return Difference("login", 0, 0, "accepted", "refused", str(error))
        through = replay.run([len(one.notifications()) for one in direct])
        found = compare(direct, through)
        if any(_hangs(one) for one in through):
            self._places.start_again()
        return found or self._what_is_left()

    def _replay(self, script, side: str, replicas):
        idle = self._idle if side == DIRECT else None
        return Replay(script, self._places.address(side), self._places.startup(side), self._patience, replicas, idle)

    def _what_is_left(self):
        left = self._places.left_behind(self._patience)
        if left:
            self._places.start_again()
            return Difference("left behind", 0, 0, "nothing", left, "after all sessions had ended")
        direct, through = self._places.outcome()
        if direct != through:
            return Difference("tables", 0, 0, "the same", "others", _lines_that_differ(direct, through))
        return None


def _hangs(transcript) -> bool:
    return any(kind == "hang" for kind, _ in transcript.messages)


def _was_ended(transcript) -> bool:
    """By the harness, which is no part of the script."""
    return any(kind == "E" and b"C57P01\0" in body for kind, body in transcript.messages)


def _lines_that_differ(direct: str, through: str) -> str:
    left, right = direct.split("\n"), through.split("\n")
    return "\n".join([*(f"direct only:  {line}" for line in left if line not in right),
                      *(f"through only: {line}" for line in right if line not in left)]) or "the order"
