"""What a session was answered, freed of what must differ between two runs, and compared. Pure. README.md says why."""

import struct
from collections import namedtuple

from support import raw

FIRST_USER_OID = 16384
_NOT_COMPARED = ("F", "L", "R")  # where in the server's source an error was raised

# what: messages, hang, closed, notifications, tables, left behind
Difference = namedtuple("Difference", "what session request expected got detail")


def kind_of(difference: Difference) -> str:
    """Differences of one kind have one cause, most likely."""
    return f"{difference.what}: {difference.expected} -> {difference.got}"


class Transcript:
    """All answers that one session got. `pid` is what BackendKeyData told it."""

    def __init__(self, pid: int):
        self.pid = pid
        self.messages = []  # (kind, body); and ("closed", b""), ("hang", b"") at the end

    def requests(self) -> list:
        """Lists of readable messages, each up to its ReadyForQuery; NotificationResponses are not among them, and
        ParameterStatuses come last, sorted."""
        numbers, result, current, parameters = {}, [], [], []
        for kind, body in self.messages:
            if kind == "S":
                parameters.append(f"S {body!r}")
            elif kind != "A":
                current.append(readable(kind, body, numbers))
            if kind == "Z":
                result.append(current + sorted(parameters))
                current, parameters = [], []
        if current or parameters:
            result.append(current + sorted(parameters))
        return result

    def notifications(self) -> list:
        own = [body for kind, body in self.messages if kind == "A"]
        return [("own" if struct.unpack_from("!I", body)[0] == self.pid else "another's", body[4:]) for body in own]


def readable(kind: str, body: bytes, numbers: dict) -> str:
    if kind in "EN":
        fields = raw.fields(body)
        return f"{kind} " + " ".join(f"{name}={value}" for name, value in fields.items() if name not in _NOT_COMPARED)
    if kind == "T":
        return f"T {_columns(body, numbers)}"
    if kind == "t":
        (count,) = struct.unpack_from("!H", body)
        return f"t {[_number(oid, numbers) for oid in struct.unpack_from(f'!{count}I', body, 2)]}"
    return f"{kind} {body!r}" if body else kind


def _columns(body: bytes, numbers: dict) -> list:
    (count,) = struct.unpack_from("!H", body)
    place, result = 2, []
    for _ in range(count):
        end = body.index(b"\0", place)
        table, column, kind, size, modifier, result_format = struct.unpack_from("!IhIhih", body, end + 1)
        result.append((body[place:end].decode(), _number(table, numbers), column, _number(kind, numbers), size, modifier,
                       result_format))
        place = end + 19
    return result


def _number(oid: int, numbers: dict):
    """OIDs of a database's own objects, by the order in which they are seen."""
    return oid if oid < FIRST_USER_OID else f"oid {numbers.setdefault(oid, len(numbers))}"


def compare(direct: list, through: list):
    """The first Difference between the transcripts of all sessions, or None. A session that hangs comes first: the others
    end where it does."""
    pairs = sorted(enumerate(zip(direct, through)), key=lambda pair: ("hang", b"") not in pair[1][1].messages)
    for session, (one, other) in pairs:
        for number, (expected, got) in enumerate(_pairs(one.requests(), other.requests())):
            if expected != got:
                return _first(session, number, expected or [], got or [])
        if one.notifications() != other.notifications():
            return Difference("notifications", session, 0, _briefly_notified(one), _briefly_notified(other),
                              f"{one.notifications()} but {other.notifications()}")
    return None


def _briefly_notified(transcript: Transcript) -> str:
    names = [name for name, _ in transcript.notifications()]
    return f"{names.count('own')} own, {len(names) - names.count('own')} others"


def _pairs(one: list, other: list) -> list:
    length = max(len(one), len(other))
    return list(zip(one + [None] * (length - len(one)), other + [None] * (length - len(other))))


def _first(session: int, number: int, expected: list, got: list) -> Difference:
    places = [index for index, (left, right) in enumerate(_pairs(expected, got)) if left != right]
    left, right = _pairs(expected, got)[places[0]]
    what = "hang" if "hang" in got else "messages"
    detail = f"direct:  {_lines(expected)}\nthrough: {_lines(got)}"
    return Difference(what, session, number, brief(left), brief(right), detail)


def _lines(messages: list) -> str:
    text = "\n         ".join(line if len(line) < 240 else f"{line[:200]}... ({len(line)} characters)"
                              for line in messages[:40])
    return text + (f"\n         ... {len(messages)} messages" if len(messages) > 40 else "")


def brief(message) -> str:
    """Type, and of errors the severity and SQLSTATE."""
    if message is None:
        return "nothing"
    if message[:2] in ("E ", "N "):
        words = dict(word.split("=", 1) for word in message.split(" ") if word[1:2] == "=")
        return f"{message[0]} {words.get('V', '')} {words.get('C', '')}"
    if message[:2] == "Z ":
        return message
    return message.split(" ", 1)[0]
