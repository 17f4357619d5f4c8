"""Plays a script against a server, or what stands before one, and writes down what each session was answered."""

import select
import socket
import struct
import time

from differential.messages import encode
from differential.owed import Owed
from differential.transcript import Transcript
from support import raw

LAST_WORDS = [["f", "the script ends"], ["S"]]
LAST_QUESTION = [["Q", "SELECT 'end'"]]


class Hung(Exception):
    """A session was not answered in time."""


class Session:
    """One client. What it reads goes into its transcript."""

    def __init__(self, address: tuple, startup: dict, patience: float):
        self.socket = socket.create_connection(address, patience)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.owed = Owed()
        self._kept = b""
        self._whole = []  # (where it ends in _kept, message)
        self._input = bytearray()
        self.transcript = None
        try:
            self._log_in(startup, patience)
        except BaseException:
            self.socket.close()
            raise

    def _log_in(self, startup: dict, patience: float) -> None:
        self.socket.sendall(raw.startup(startup))
        end, pid = time.monotonic() + patience, 0
        while True:
            for kind, body in self._messages():
                if kind == "E":
                    raise ConnectionError(f"login refused: {raw.fields(body)}")
                if kind == "K":
                    (pid,) = struct.unpack_from("!I", body)
                if kind == "Z":
                    self.transcript = Transcript(pid)
                    return
            if time.monotonic() > end:
                raise Hung("at login")
            self._receive()

    def send(self, messages: list, cuts=(), keep=0) -> None:
        buffer, self._kept = bytearray(self._kept), b""
        for message in messages:
            buffer += encode(message)
            self._whole.append((len(buffer), message))
        last = max(0, len(buffer) - keep)
        places = sorted((place % last, pause) for place, pause in cuts) if last else []
        start = 0
        for place, pause in [*places, (last, 0)]:
            self._send_part(buffer, start, place)
            if pause:
                time.sleep(pause / 1000)
            start = place
        self._kept = bytes(buffer[last:])
        self._whole = [(end - last, message) for end, message in self._whole]

    def _send_part(self, buffer: bytearray, start: int, end: int) -> None:
        while self._whole and self._whole[0][0] <= end:
            self.owed.sent(self._whole.pop(0)[1])
        try:
            self.socket.sendall(buffer[start:end])
        except OSError:
            pass  # it is read why

    def read(self) -> bool:
        """What has come by now; false: the other side has closed."""
        if not self._receive():
            self.transcript.messages.append(("closed", b""))
            self.owed.closed()
            return False
        for kind, body in self._messages():
            self.transcript.messages.append((kind, body))
            self.owed.received(kind, body)
        return True

    def _receive(self) -> bool:
        try:
            received = self.socket.recv(1 << 17)
        except OSError:
            received = b""
        self._input += received
        return bool(received)

    def _messages(self):
        while len(self._input) >= 5:
            size = struct.unpack_from("!I", self._input, 1)[0] + 1
            if len(self._input) < size:
                return
            kind, body = chr(self._input[0]), bytes(self._input[5:size])
            del self._input[:size]
            yield kind, body


class Replay:
    """One script at one address. `replicas` has pause(number) and resume(number), or is None."""

    def __init__(self, script, address: tuple, startup: dict, patience: float, replicas=None, idle=None):
        """`idle`: sessions of earlier scripts, to be used again (a login costs more than all else)."""
        self._script = script
        self._patience = patience
        self._replicas = replicas
        self._idle = idle
        self._last = None
        self.sessions = []
        for _ in range(script.sessions):
            self.sessions.append(idle.pop() if idle else Session(address, startup, patience))
        self.transcripts = [session.transcript for session in self.sessions]

    def run(self, notifications=()) -> list:
        """The transcripts. `notifications`: how many of them each session has to get."""
        try:
            for step in self._script.steps:
                self._step(step)
            self._end(notifications)
        except Hung:
            pass
        finally:
            for session in self.sessions:
                if session not in (self._idle or ()):
                    session.socket.close()
        return self.transcripts

    def _step(self, step: dict) -> None:
        if "on" not in step:
            if self._replicas:
                for what, which in step.items():
                    getattr(self._replicas, what)(which)
            return
        session = self.sessions[step["on"]]
        if not self._script.apart:
            self._hand_over(session)
        if step.get("alone") and len(self.sessions) > 1:
            self._end_transactions()
        session.send(step["send"], step.get("cuts", ()), step.get("keep", 0))
        if step.get("wait", True):
            self._wait(session)

    def _hand_over(self, session: Session) -> None:
        """The session that was at work before has done all that it was told."""
        if self._last not in (None, session):
            if self._last.owed.unflushed() and not self._last.owed.ended:
                self._last.send([["H"]])
            self._wait(self._last)
        self._last = session

    def _end_transactions(self) -> None:
        for session in self.sessions:
            if not session.owed.ended:
                session.send(LAST_WORDS)
                self._wait(session)
                session.send([["Q", "ROLLBACK"]])
                self._wait(session)

    def _end(self, notifications) -> None:
        for messages in (LAST_WORDS, LAST_QUESTION):
            for session in self.sessions:
                if not session.owed.ended:
                    session.send(messages)
                    self._wait(session)
        for session, count in zip(self.sessions, notifications):
            self._wait_for(lambda s=session, c=count: len(s.transcript.notifications()) >= c or s.owed.ended, None, 2)
        for session in self.sessions:
            if not session.owed.ended and self._idle is not None:
                self._clean(session)
            elif not session.owed.ended:
                session.send([["X"]])
                self._wait_for(lambda s=session: s.owed.ended, session, self._patience)

    def _clean(self, session: Session) -> None:
        """As after a login; what X would have been answered is known."""
        transcript = session.transcript
        session.transcript = Transcript(transcript.pid)
        for text in ("ROLLBACK", "DISCARD ALL"):
            session.send([["Q", text]])
            self._wait(session)
        session.transcript = Transcript(transcript.pid)
        transcript.messages.append(("closed", b""))
        self.transcripts[self.sessions.index(session)] = transcript
        self._idle.append(session)

    def _wait(self, session: Session) -> None:
        self._wait_for(session.owed.settled, session, self._patience)

    def _wait_for(self, condition, whose, patience: float) -> None:
        """Reads all sessions meanwhile. Too late: `whose` session hangs, or nothing if there is none."""
        end = time.monotonic() + patience
        while not condition():
            open_ones = {session.socket: session for session in self.sessions if not session.owed.ended}
            readable = select.select(list(open_ones), [], [], max(0.0, end - time.monotonic()))[0]
            if not readable:
                if not whose:
                    return
                whose.transcript.messages.append(("hang", b""))
                raise Hung
            for ready in readable:
                open_ones[ready].read()
                end = time.monotonic() + patience
