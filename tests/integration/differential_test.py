"""tests/differential: proof that it finds what is wrong, makes scripts small, and tells nothing else."""

import json
import math
import struct

import pytest

from differential import grammar, messages, relay
from differential.owed import Owed
from differential.places import Places
from differential.script import Script
from differential.shrink import Budget, shrink
from differential.transcript import Transcript, compare, kind_of
from differential.trial import Trial
from support import raw
from support.waiting import SLOWDOWN

ERROR = b"SERROR\0C22012\0Mdivision by zero\0Fint.c\0L1\0\0"


@pytest.fixture(scope="module")
def servers():
    with Places({}) as running:
        yield running


@pytest.fixture
def places(servers):
    """Its `kind` is the relay that stands for pgsteer."""
    relays = {}

    def address(server):
        kind = servers.kind
        relays.setdefault(kind, relay.Relay(kind, (server.host, server.port)))
        return relays[kind].address
    servers.kind, servers.through = "honest", address
    yield servers
    servers.through = None


# All of them pass: another grammar makes other scripts of them. The first are those of faults that have been mended.
SEEDS = [1045, 1091, 1115, 1143, 1148, 1158, 7007, 7042, 7071, 7089, 7091, *range(7020, 7069)]
# Too long for a busy machine to be taken for a hang.
PATIENCE = max(10, 4 * SLOWDOWN)


def test_pgsteer_answers_as_the_primary_does(servers):
    """A few scripts of all kinds; differential/check makes any number."""
    trial = Trial(servers, PATIENCE)
    for seed in SEEDS:
        found = trial.difference(grammar.make(seed))
        assert not found, f"seed {seed}: {found.what}\n{found.detail}\n{grammar.make(seed)}"
    assert servers.proxy.metric("pgsteer_requests_total", role="replica") > 0
    servers.proxy.check_health()


def test_scripts_are_answered_the_same_way_twice(places):
    places.kind = "honest"
    trial = Trial(places, PATIENCE)
    for seed in range(1, 26):
        found = trial.difference(grammar.make(seed))
        assert not found, f"seed {seed}: {found}"


@pytest.mark.parametrize("kind, what, most", [
    ("changes_an_error", "messages", 3), ("drops_a_ready", "hang", 4), ("forgets_a_notice", "messages", 3),
    ("runs_twice", "messages", 3), ("writes_once_more", "tables", 3)])
def test_a_relay_that_is_wrong_is_found_and_its_script_made_small(places, kind, what, most):
    places.kind = kind
    trial = Trial(places, 2 * SLOWDOWN)
    for script in sorted(map(grammar.make, range(1, 800)), key=Script.messages):  # few messages are soon made fewer
        found = trial.difference(script) if script.sessions == 1 else None
        if found and found.what == what:
            break
    assert found and found.what == what
    smallest = shrink(script, trial.fails_like(kind_of(found)), Budget(math.inf, 300))
    assert smallest.messages() <= most and smallest.sessions == 1, f"{script}\nshrunk to\n{smallest}"


def test_the_same_seed_makes_the_same_script():
    assert grammar.make(7).to_json() == grammar.make(7).to_json() != grammar.make(8).to_json()
    assert Script.from_json(grammar.make(7).to_json()).to_json() == grammar.make(7).to_json()


def test_every_message_type_comes_in_every_order():
    kinds = "PBEDCHSQFdcf"
    pairs = set()
    for seed in range(3000):
        sent = {}
        for step in grammar.make(seed).steps:
            sent.setdefault(step.get("on"), []).extend(message[0] for message in step.get("send", ()))
        for session in sent.values():
            pairs.update(zip(session, session[1:]))
    assert not {(one, other) for one in kinds for other in kinds} - pairs


def test_shrinking_keeps_what_matters_and_nothing_else():
    def fails(script):
        sent = [(step["on"], message) for step in script.steps if "on" in step for message in step["send"]]
        return ["H"] in [message for _, message in sent] and any(message[0] == "F" for _, message in sent)
    script = next(script for script in map(grammar.make, range(1000)) if script.sessions == 3 and fails(script))
    smallest = shrink(script, fails, Budget(60, 5000))
    assert smallest.messages() == 2 and smallest.sessions <= 2 and not any("cuts" in step for step in smallest.steps)


def settled_after(*events):
    """What Owed says after each: a message that was sent, or a letter that was received."""
    owed, said = Owed(), []
    for event in events:
        if isinstance(event, list):
            owed.sent(event)
        else:
            owed.received(event, ERROR if event == "E" else b"")
        said.append(owed.settled())
    return said


P, B, E, S, H, Q, F = ["P", "", ""], ["B", "", ""], ["E", "", 0], ["S"], ["H"], ["Q", ""], ["F", 1, []]
GOOD, BAD, DONE = ["d", "1\n"], ["d", "bad\n"], ["c"]


@pytest.mark.parametrize("events, said", [
    ([P, B, E, S, "1", "2", "D", "C", "Z"], "yyynnnnny"),
    ([P, B, E, H, "1", "2", "C"], "yyynnny"),
    ([P, B, Q, S, "E", "Z", Q, "Z"], "yynnnyny"),        # the Query is skipped, one ReadyForQuery for both
    ([P, F, S, "E", "Z"], "ynnny"),
    ([Q, "G", GOOD, S, DONE, "C", "Z"], "nyyynny"),       # a Sync inside a COPY is none
    ([Q, GOOD, BAD, GOOD, DONE, "G", "E", "Z"], "nnnnnnny"),
    ([E, S, GOOD, DONE, S, "G", "C", "Z"], "ynnnnnny"),
    ([E, S, "G", BAD, S, "E", "Z"], "ynyyyny"),
    ([E, S, "G", GOOD, ["f", "no"], S, "E", "Z"], "ynyynnny"),
    ([E, S, "G", GOOD, DONE, S, "C", "Z"], "ynyyynny"),
])
def test_what_is_owed(events, said):
    assert "".join("y" if one else "n" for one in settled_after(*events)) == said


def transcript(*entries, pid=7):
    result = Transcript(pid)
    result.messages.extend(entries)
    return [result]


def notification(pid):
    return "A", struct.pack("!I", pid) + b"ch\0a\0"


def test_what_is_compared_and_what_is_not():
    end = ("Z", b"I")
    moved = ERROR.replace(b"int.c", b"char.c")
    assert not compare(transcript(("E", ERROR), end), transcript(("E", moved), end))
    other_text = ERROR.replace(b"zero", b"nil")
    assert compare(transcript(("E", ERROR), end), transcript(("E", other_text), end)).what == "messages"
    status, row = ("S", b"a\0b\0"), ("C", b"SET\0")
    assert not compare(transcript(status, row, end), transcript(row, status, end))
    assert compare(transcript(row, status, end), transcript(row, end, status))
    assert not compare(transcript(notification(7), end), transcript(end, notification(9), pid=9))
    assert compare(transcript(notification(7)), transcript(notification(8), pid=9)).what == "notifications"
    assert compare(transcript(end), transcript(("hang", b""))).what == "hang"


def test_messages_are_what_the_protocol_says():
    assert messages.encode(["P", "s", "SELECT $1", 23]) == raw.message(b"P", b"s\0SELECT $1\0\0\1\0\0\0\x17")
    assert messages.encode(["B", "p", "s", ["1", None], 1]) == raw.bind("p", "s")[:0] + raw.message(
        b"B", b"p\0s\0\0\0\0\2\0\0\0\0011\xff\xff\xff\xff\0\1\0\1")
    assert json.loads(json.dumps(["raw", "z", "00"])) and messages.encode(["raw", "z", "00"]) == b"z\0\0\0\5\0"
