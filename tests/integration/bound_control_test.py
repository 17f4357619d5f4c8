"""BEGIN and its like that are bound with parameters which they do not have: refused as straight from the server, not answered
at once."""

import struct

import pytest

from support import raw
from support.beside import same_as_direct

pytestmark = pytest.mark.core


def bind_with(statement: str, formats: list, values: list, result_formats=()) -> bytes:
    body = b"\0" + statement.encode() + b"\0" + struct.pack(f"!H{len(formats)}H", len(formats), *formats)
    body += struct.pack("!H", len(values)) + b"".join(struct.pack("!I", len(value)) + value for value in values)
    return raw.message(b"B", body + struct.pack(f"!H{len(result_formats)}H", len(result_formats), *result_formats))


def parse_with(name: str, text: str, *types: int) -> bytes:
    return raw.message(b"P", f"{name}\0{text}\0".encode() + struct.pack(f"!H{len(types)}I", len(types), *types))


E, S = raw.execute(""), raw.SYNC


@pytest.mark.parametrize("text", ["BEGIN", "COMMIT", "BEGIN READ ONLY"])
@pytest.mark.parametrize("messages", [
    lambda text: [parse_with("", text), bind_with("", [], [b"1"]), E, S],
    lambda text: [parse_with("s1", text), bind_with("s1", [], [b"1", b"1"]), E, S],
    lambda text: [parse_with("", text, 23), bind_with("", [], []), E, S],
    lambda text: [parse_with("", text, 23), bind_with("", [], [b"1"]), E, S],
    lambda text: [parse_with("", text), bind_with("", [0, 0], []), E, S],
    lambda text: [parse_with("", text), bind_with("", [1], [], [1, 1]), E, S],
], ids=["one too many", "two too many", "one missing", "declared", "two formats", "formats only"])
def test_parameters_that_it_has_not(proxy, cluster, text, messages):
    def script(session):
        session.say(*messages(text))
        session.query("SELECT 1")
        session.query("ROLLBACK")
    same_as_direct(script, dsn(cluster.primary.port), dsn(proxy.port))


def test_a_statement_that_declared_one_when_it_was_prepared(proxy, cluster):
    def script(session):
        session.say(parse_with("s1", "BEGIN", 23), S)
        session.say(bind_with("s1", [], []), E, S)
        session.say(bind_with("s1", [], [b"1"]), E, S)
        session.query("ROLLBACK")
    same_as_direct(script, dsn(cluster.primary.port), dsn(proxy.port))


def dsn(port: int) -> str:
    return f"host=127.0.0.1 port={port} user=app password=app dbname=app"
