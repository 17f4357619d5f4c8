"""Frontend messages as plain lists, so that a script is JSON: ["P", "s1", "SELECT 1"], ["E", "", 0], ["S"]...

    Q sql                         P statement sql [type oid...]      B portal statement [parameter...] format
    D "S"|"P" name                E portal rows                      C "S"|"P" name
    S, H, c, X                    d text, f text                     F oid [argument...]
    raw type hex                  anything else, right or wrong
"""

import struct

from support import raw

# After one of these PostgreSQL sends all that it has to say.
FLUSHES = frozenset("QFSHX")


def encode(message: list) -> bytes:
    kind, *rest = message
    return _ENCODERS[kind](*rest)


def type_of(message: list) -> str:
    """The type byte as it is on the wire."""
    return message[1] if message[0] == "raw" else message[0]


def shown(message: list) -> str:
    """For people: P("s1", "SELECT 1")."""
    kind, *rest = message
    return f"{kind}({', '.join(repr(part) for part in rest)})" if rest else kind


def _parse(name, sql, *types):
    body = f"{name}\0{sql}\0".encode() + struct.pack(f"!H{len(types)}I", len(types), *types)
    return raw.message(b"P", body)


def _bind(portal, statement, parameters=(), result_format=0):
    body = f"{portal}\0{statement}\0".encode() + struct.pack("!HH", 0, len(parameters))
    for value in parameters:
        body += _counted(value)
    return raw.message(b"B", body + struct.pack("!HH", 1, result_format))


def _call(oid, arguments=()):
    body = struct.pack("!IHH", oid, 0, len(arguments))
    for value in arguments:
        body += _counted(value)
    return raw.message(b"F", body + struct.pack("!H", 0))


def _counted(value) -> bytes:
    if value is None:
        return struct.pack("!i", -1)
    return struct.pack("!i", len(value.encode())) + value.encode()


_ENCODERS = {
    "Q": raw.query,
    "P": _parse,
    "B": _bind,
    "D": raw.describe,
    "E": raw.execute,
    "C": raw.close,
    "S": lambda: raw.SYNC,
    "H": lambda: raw.FLUSH,
    "F": _call,
    "d": lambda text: raw.message(b"d", text.encode()),
    "c": lambda: raw.message(b"c"),
    "f": lambda text: raw.message(b"f", text.encode() + b"\0"),
    "X": lambda: raw.message(b"X"),
    "raw": lambda kind, body: raw.message(kind.encode(), bytes.fromhex(body)),
}
