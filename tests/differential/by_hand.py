"""Scripts that are written by hand, in a line of letters: each is played straight to the primary and through pgsteer, and
every answer is compared.

    P name "sql"    Parse                             H      Flush
    B portal name   Bind; B name(1,2): parameters     S      Sync
    Ds name         Describe a statement; Dp portal   Q "sql"
    E portal rows   Execute                           |      the next packet: when all that is owed has come, and the other
    Cs name         Close a statement; Cp portal             end has read what it was sent
    ! "sql"         what somebody else does, straight on the primary, at the next packet; replicas have replayed it then
    & "sql"         the same by another client of the same address
    ^ name          straight to the server alone: the statement is prepared anew, and nothing of that compared. Where pgsteer
                    has prepared it anew by itself, for a client that was never told of its columns, this is what it does
    ~               until a replica reads {t} again, as it has to be known anew after DDL

A name that is left out is the unnamed one; `B name` binds to the unnamed portal, `B portal -` the unnamed statement. In the
text {t} is a table of the script's own (k int PRIMARY KEY, v int), with k = 1 to 5 and v = 10 k; {64} is a name of 64 bytes,
which begins as {70} does; {r} is a comment: through pgsteer this statement has to run on a replica, {p} on the primary.

At the end the unnamed statement and each name of the script are bound and executed once more: both sides have to agree on what
they mean. Then the table is compared.
"""

import re
import select
import struct

import pytest

from differential.messages import encode
from differential.replay import LAST_QUESTION, LAST_WORDS, Session
from differential.transcript import compare
from support.cluster import new_marker
from support.proxy import Pgsteer
from support.waiting import LEAST_LIMIT, SLOWDOWN, until

PATIENCE = LEAST_LIMIT * SLOWDOWN
DIRECT = "direct"
WAYS = ("read_only", "lazy")  # routing.transactions
USER = "trust_user"
_WORDS = re.compile(r'"([^"]*)"|(\S+)')
_LETTERS = frozenset(["P", "B", "Ds", "Dp", "E", "Cs", "Cp", "H", "S", "Q", "|", "!", "&", "~", "^"])
_LONG = re.compile(r"\{(\d+)\}")
_PLACES = re.compile(r"\{([rp])\}")
_PREPARED = re.compile(r"\bprepare (\w+)")


class Deviation(AssertionError):
    """The two sides were answered differently."""


class Case:
    """`deviates`: how pgsteer is known to differ today, in words; with `only`, in that one of WAYS alone; not `always`: now
    and then."""

    def __init__(self, name: str, script: str, deviates="", only="", always=True):
        self.name = name
        self.script = script
        self.deviates = deviates
        self.only = only
        self.always = always

    def deviates_in(self, way: str) -> str:
        return self.deviates if self.only in ("", way) else ""


def parameters(groups: dict):
    """For a test of (case, way): the cases of all groups, those that deviate as xfails, strict unless it is now and then."""
    for group, cases in groups.items():
        for case in cases:
            for way in WAYS:
                reason = case.deviates_in(way)
                marks = [pytest.mark.xfail(strict=case.always, raises=Deviation, reason=reason)] if reason else []
                yield pytest.param(case, way, id=f"{group}: {case.name}-{way}", marks=marks)


# --- the letters

def parse(text: str) -> list:
    """Steps: a list of messages to be sent in one packet, or (letter, sql)."""
    steps, packet = [], []
    for letter, arguments in _letters(text):
        if letter in "|!&~^":
            steps += [packet] if packet else []
            packet = []
            steps += [] if letter == "|" else [(letter, *(arguments or ([""] if letter == "^" else [])))]
        else:
            packet.append(_message(letter, arguments))
    return steps + ([packet] if packet else [])


def _letters(text: str):
    letter, arguments = None, []
    for match in _WORDS.finditer(text):
        if match[2] in _LETTERS:
            if letter:
                yield letter, arguments
            letter, arguments = match[2], []
        else:
            arguments.append(match[1] if match[1] is not None else "" if match[2] == "-" else match[2])
    yield letter, arguments


def _message(letter: str, arguments: list) -> list:
    first = arguments[0] if arguments else ""
    if letter in ("P", "Q"):
        return [letter, *([""] if letter == "P" and len(arguments) == 1 else []), *arguments]
    if letter == "B":
        portal, statement = ["", "", *arguments][-2:]
        name, _, values = statement.partition("(")
        return ["B", portal, name, values.rstrip(")").split(",") if values else []]
    if letter == "E":
        return ["E", first, int(arguments[1]) if len(arguments) > 1 else 0]
    if letter[0] in "DC":
        return [letter[0], letter[1].upper(), first]
    return [letter]


def names_of(steps: list) -> list:
    """Of the statements, in the order in which they come; the unnamed one last."""
    names = {}
    for message in [message for step in steps if isinstance(step, list) for message in step if message[0] in "PQ"]:
        names.update(dict.fromkeys(message[1:2] if message[0] == "P" else []))
        names.update(dict.fromkeys(_PREPARED.findall(message[-1])))
    names.pop("", None)
    return [*names, ""]


# --- where they are played

class Stage:
    """A database with the tables of all cases for each side, and pgsteer before those that need it. A context manager."""

    def __init__(self, cluster, leases, cases: list):
        self._cluster = cluster
        self._leases = leases
        self._cases = cases
        self._direct = {}   # case -> transcript, table; they are played once
        self._keepers = {}  # side -> a session of the harness, straight on the primary
        self._proxies = {}

    def __enter__(self):
        for number, case in enumerate(self._cases):
            case.table, case.marker = f"t{number:03}", new_marker()
        for side in (DIRECT, *WAYS):
            self._cluster.primary.sql(f"CREATE DATABASE hand_{side} OWNER {USER}", dbname="postgres")
            tables = "".join(f"CREATE TABLE {case.table} (k int PRIMARY KEY, v int) WITH (autovacuum_enabled = off);"
                             f"INSERT INTO {case.table} SELECT i, i * 10 FROM generate_series(1, 5) i;"
                             for case in self._cases if "{t}" in case.script)
            self._keepers[side] = self._cluster.primary.connect(f"hand_{side}", prepare_threshold=None)
            self._keepers[side].execute(f"SET ROLE {USER}; {tables} RESET ROLE")
        self._cluster.wait_until_replayed()
        for way in WAYS:
            changes = {"auth": {"method": "trust"}, "databases": [{"name": f"hand_{way}"}], "workers": 1,
                       # A read that has to be on a replica waits for it as long as it takes.
                       "routing": {"transactions": way, "consistency": "session", "freshness_wait": "20s"}}
            # One replica: what is known on it is known wherever a session reads.
            self._proxies[way] = Pgsteer(self._cluster, changes, leases=self._leases, replicas=self._cluster.replicas[:1])
        return self

    def __exit__(self, kind, *_):
        for proxy in self._proxies.values():
            proxy.stop(check=kind is None)
        for side, keeper in self._keepers.items():
            keeper.close()
            self._cluster.primary.sql(f"DROP DATABASE hand_{side} WITH (FORCE)", dbname="postgres")

    def check(self, case: Case, way: str) -> None:
        """Raises Deviation if it is not answered as directly; AssertionError if it did not run where it has to."""
        if case not in self._direct:
            self._direct[case] = self.play(case, DIRECT)
        through = self.play(case, way)
        self._proxies[way].check_health()
        compare_sides(case, self._direct[case], through)

    def play(self, case: Case, side: str) -> tuple:
        """(Transcript, what the table holds)."""
        proxy = self._proxies.get(side)
        server = proxy or self._cluster.primary
        address = server.host, server.port
        script = case.script.replace("{t}", case.table)
        script = _LONG.sub(lambda match: "n" * 60 + "0123456789"[:int(match[1]) - 60], script)
        script = _PLACES.sub(lambda match: f"/* {match[1]}{case.marker} */", script)
        self._cluster.forget_logs()
        player = Player(address, f"hand_{side}", lambda sql: self._run_past(side, sql),
                        (lambda: self._wait_until_known(address, side, case.table)) if proxy else None)
        transcript = player.play(parse(script))
        if proxy:
            self._check_places(case)
        return transcript, self._contents(side, case)

    def _run_past(self, side: str, sql: str) -> None:
        self._keepers[side].execute(sql)
        self._cluster.wait_until_replayed()

    def _wait_until_known(self, address: tuple, side: str, table: str) -> None:
        with _Asking(address, f"hand_{side}") as other:
            def is_known():
                other.ask(f"SELECT 1 FROM {table} LIMIT 0")
                return "role=replica" in str(other.ask("SHOW pgsteer.last_route"))
            until(is_known, f"{table} is read on a replica")

    def _check_places(self, case: Case) -> None:
        for letter, role in ("r", "replica"), ("p", "primary"):
            if f"{{{letter}}}" in case.script:
                where = self._cluster.where_ran(letter + case.marker)
                assert any(name.startswith(role) for name in where), f"{case.name}: {letter} ran on {where or 'none'}"

    def _contents(self, side: str, case: Case) -> list:
        if "{t}" not in case.script:
            return []
        return self._keepers[side].execute(f"SELECT t::text FROM {case.table} t ORDER BY k").fetchall()


def compare_sides(case: Case, direct: tuple, through: tuple) -> None:
    found = compare([direct[0]], [through[0]])
    if found:
        raise Deviation(f"{case.name}: {case.script}\nrequest {found.request}: {found.what}\n{found.detail}")
    if direct[1] != through[1]:
        raise Deviation(f"{case.name}: {case.script}\ntable, direct:  {direct[1]}\ntable, through: {through[1]}")


class Player:
    """Plays steps in one session. run_past(sql) is somebody else's; wait_until_known() is `~`; None: straight to a server."""

    def __init__(self, address: tuple, database: str, run_past, wait_until_known):
        self._address = address
        self._database = database
        self._run_past = run_past
        self._wait_until_known = wait_until_known

    def play(self, steps: list):
        with _Asking(self._address, self._database) as asking:
            for number, step in enumerate(steps):
                if isinstance(step, list):
                    asking.say(step)
                elif step[0] == "^":
                    self._prepare_anew(asking, steps[:number], step[1])
                else:
                    self._others(*step)
            self._end(asking, names_of(steps))
            return asking.session.transcript

    def _others(self, letter: str, sql="") -> None:
        if letter == "!":
            self._run_past(sql)
        elif letter == "~":
            if self._wait_until_known:
                self._wait_until_known()
        else:
            with _Asking(self._address, self._database) as other:
                answers = other.ask(sql)
                assert "E" not in [kind for kind, _ in answers], answers
            self._run_past("select 1")  # replicas have replayed it

    def _prepare_anew(self, asking, steps: list, name: str) -> None:
        """As the last of `steps` that does."""
        if self._wait_until_known:
            return
        said = asking.session.transcript.messages
        length = len(said)
        messages = [message for step in steps if isinstance(step, list) for message in step]
        *_, last = [message for message in messages if message[:2] == ["P", name]
                    or (message[0] == "Q" and message[1].startswith(f"prepare {name} "))]
        asking.say([["Q", f"deallocate {name}"], last] if last[0] == "Q" else [["C", "S", name], last, ["S"]])
        assert "E" not in [kind for kind, _ in said[length:]], said[length:]
        del said[length:]

    @staticmethod
    def _end(asking, names: list) -> None:
        """The unnamed statement first: a Query destroys it."""
        *named, unnamed = [[["B", "", name, []], ["E", "", 0], ["S"]] for name in names]
        for messages in (LAST_WORDS, unnamed, [["Q", "ROLLBACK"]], *named, LAST_QUESTION):
            asking.say(messages)


class _Asking:
    """A session that waits for all that it is owed. A context manager."""

    def __init__(self, address: tuple, database: str):
        self.session = Session(address, {"user": USER, "database": database}, PATIENCE)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        try:
            self.session.socket.sendall(encode(["X"]))
        except OSError:
            pass
        self.session.socket.close()

    def ask(self, sql: str) -> list:
        """The answers to a Query."""
        before = len(self.session.transcript.messages)
        self.say([["Q", sql]])
        return self.session.transcript.messages[before:]

    def say(self, messages: list) -> None:
        if self.session.owed.ended:
            return
        self.session.send(messages)
        while not self.session.owed.settled():
            if not select.select([self.session.socket], [], [], PATIENCE)[0]:
                self.session.transcript.messages.append(("hang", b""))
                self.session.owed.closed()
            else:
                self.session.read()
        if messages[-1][0] not in "SQ" and not self.session.owed.ended:  # these are answered when all has been read
            until(self._is_read, "the other end reads", interval=0.001)

    def _is_read(self) -> bool:
        """By the other end: the kernel holds nothing for it any more."""
        own, other = self.session.socket.getsockname(), self.session.socket.getpeername()
        with open("/proc/net/tcp", encoding="ascii") as file:
            for line in file:
                fields = line.split()
                if fields[1:3] == [_in_proc(other), _in_proc(own)]:
                    return fields[4].endswith(":00000000")
        return True


def _in_proc(address: tuple) -> str:
    host = struct.unpack("<I", bytes(int(part) for part in address[0].split(".")))[0]
    return f"{host:08X}:{address[1]:04X}"
