"""The same messages once straight to the primary and once through pgsteer: what comes back has to be the same."""

import psycopg

from support import raw
from support.waiting import until

# Where in PostgreSQL's source an error was raised: an answer may be the same and come from another place.
SOURCE_FIELDS = "FLR"


def columns(body: bytes) -> list:
    """Of a RowDescription, without the OID of the table, which the two runs make anew."""
    place, result = 2, []
    while place < len(body):
        end = body.index(b"\0", place)
        result.append((body[place:end], body[end + 5:end + 19]))
        place = end + 19
    return result


def comparable(message: tuple) -> tuple:
    kind, body = message
    if kind == "T":
        return kind, columns(body)
    if kind not in "EN":
        return kind, body
    return kind, {code: text for code, text in raw.fields(body).items() if code not in SOURCE_FIELDS}


class Recorder:
    """A session whose script is run twice; `heard` is all that it was told."""

    def __init__(self, session: raw.Connection, is_direct: bool):
        self.session = session
        self.is_direct = is_direct
        self.heard = []

    def say(self, *parts: bytes, ready=1) -> list:
        """Sends, and reads until `ready` ReadyForQuery have come."""
        self.session.send(*parts)
        return self.hear(ready)

    def hear(self, ready=1) -> list:
        messages = []
        for _ in range(ready):
            messages += self.session.read_until_ready()
        self.heard.append([comparable(message) for message in messages])
        return messages

    def hear_until(self, kind: str) -> list:
        messages = self.session.read_until(kind)
        self.heard.append([comparable(message) for message in messages])
        return messages

    def query(self, text: str) -> list:
        return self.say(raw.query(text))


def same_as_direct(script, direct: str, through: str, before=lambda dsn: dsn, timeout=20.0) -> list:
    """script(recorder) is run beside; before(dsn) brings the servers to the state in which it starts,
    and says where to connect."""
    heard = []
    for dsn in (direct, through):
        with raw.log_in(before(dsn), timeout) as session:
            recorder = Recorder(session, dsn is direct)
            try:
                script(recorder)
            except (EOFError, TimeoutError, ConnectionError) as error:
                recorder.heard.append([repr(error)])
            heard.append(recorder.heard)
    for step, (straight, other) in enumerate(zip(*heard)):
        assert other == straight, f"step {step} of {len(heard[0])}:\n direct  {straight}\n through {other}"
    assert heard[1] == heard[0]
    return heard[0]


def until_read_on_a_replica(dsn: str, *reads: str) -> None:
    """Until pgsteer's catalog knows what they need: before, such a read runs on the primary."""
    def is_on_a_replica(read):
        session.execute(read)
        return "role=replica" in session.execute("SHOW pgsteer.last_route").fetchone()[0]
    with psycopg.connect(dsn, autocommit=True) as session:
        for read in reads:
            until(lambda read=read: is_on_a_replica(read), f"{read} runs on a replica")
