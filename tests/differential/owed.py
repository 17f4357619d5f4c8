"""What a server still owes a client: PostgreSQL's side of the protocol, as far as one has to know it to wait for the
last answer and no longer. Pure. It knows nothing of SQL: whether a message fails, or begins a COPY, is told by the answers.
"""

from collections import deque

from differential.messages import FLUSHES, type_of

_ENDS = {"P": "1", "B": "2", "C": "3", "D": "Tn", "E": "CsI", "Q": "Z", "F": "Z", "S": "Z"}
_SILENT = frozenset("dcfH")


class Owed:
    """Feed it what is sent and what is received, in order."""

    def __init__(self):
        self._queue = deque()      # (number, message): not answered, oldest first
        self._number = 0
        self._flushed = 0          # answers of messages up to this number must come by themselves
        self._skipping = False     # to the next Sync
        self._copied = None        # while the server reads a COPY: what it has read of it
        self._copy_done = False
        self.ended = False

    def sent(self, message: list) -> None:
        self._number += 1
        self._queue.append((self._number, message))
        if type_of(message) in FLUSHES:
            self._flushed = self._number
        self._advance()

    def received(self, kind: str, body: bytes) -> None:
        if kind == "E":
            self._failed()
        elif kind == "G" and self._queue:
            self._copied, self._copy_done = [], False
        elif kind in ("C", "Z") and self._copied is not None:
            self._end_copy(put_back=False)
        if self._queue and kind in _ENDS.get(type_of(self._queue[0][1]), ""):
            if kind == "Z" and type_of(self._queue[0][1]) == "S":
                self._skipping = False
            self._queue.popleft()
        self._advance()

    def closed(self) -> None:
        self.ended = True
        self._queue.clear()

    def settled(self) -> bool:
        """The server owes nothing that comes without another message."""
        if self.ended or not self._queue:
            return True
        if self.copying():
            return len(self._queue) == 1
        if self._copied is not None and (type_of(self._queue[0][1]) == "Q" or type_of(self._copied[-1][1]) != "c"):
            return False
        # A Sync that was read as a part of the COPY has flushed nothing.
        last = self._copied[-1] if self._copied else self._queue[0]
        return last[0] > self._flushed

    def copying(self) -> bool:
        return self._copied is not None and not self._copy_done

    def unflushed(self) -> bool:
        """There are messages whose answers may stay in the server's buffer."""
        return bool(self._queue) and not self.copying() and self._queue[-1][0] > self._flushed

    def _advance(self) -> None:
        """Drops what is not answered from the front."""
        while self._queue:
            if self._copied is not None:
                if self._copy_done or len(self._queue) < 2:
                    return
                self._copy_one()
            elif (type_of(self._queue[0][1]) in _SILENT and self._queue[0][1][0] != "raw") or (
                    self._skipping and type_of(self._queue[0][1]) not in "SX"):
                self._queue.popleft()
            else:
                return

    def _copy_one(self) -> None:
        """The server reads the message behind the front one as a part of its COPY."""
        front = self._queue.popleft()
        item = self._queue.popleft()
        self._queue.appendleft(front)
        self._copied.append(item)
        if type_of(item[1]) not in "dHS":
            self._copy_done = True

    def _failed(self) -> None:
        if self._copied is not None:
            self._end_copy(put_back=True)
        if self._queue and type_of(self._queue[0][1]) not in "QFSX":
            self._queue.popleft()
            self._skipping = True

    def _end_copy(self, put_back: bool) -> None:
        """With `put_back` it failed: what it has not read is still to come. Wrong data is marked by the word `bad`."""
        front = self._queue.popleft()
        while put_back and self._copied:
            kind, text = type_of(self._copied[0][1]), self._copied[0][1][-1]
            del self._copied[0]
            if kind not in "dHS" or (kind == "d" and "bad" in text):
                break
        if put_back:
            self._queue.extendleft(reversed(self._copied))
        self._queue.appendleft(front)
        self._copied, self._copy_done = None, False
