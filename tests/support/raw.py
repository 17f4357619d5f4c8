"""Messages byte by byte: for what no driver would send, and for sockets that are not read."""

import os
import socket
import struct

import psycopg

from support.waiting import SLOWDOWN

PROTOCOL_3_0 = 3 << 16
PROTOCOL_3_2 = (3 << 16) + 2
SSL_REQUEST = struct.pack("!II", 8, (1234 << 16) + 5679)
GSSENC_REQUEST = struct.pack("!II", 8, (1234 << 16) + 5680)


def message(kind: bytes, body: bytes = b"") -> bytes:
    return kind + struct.pack("!I", len(body) + 4) + body


def startup(parameters: dict, version=PROTOCOL_3_0) -> bytes:
    body = struct.pack("!I", version)
    for name, value in parameters.items():
        body += name.encode() + b"\0" + value.encode() + b"\0"
    return struct.pack("!I", len(body) + 5) + body + b"\0"


def cancel_request(process_id: int, key: int) -> bytes:
    return struct.pack("!IIIi", 16, (1234 << 16) + 5678, process_id, key)


def query(text: str) -> bytes:
    return message(b"Q", text.encode() + b"\0")


def parse(name: str, text: str) -> bytes:
    return message(b"P", name.encode() + b"\0" + text.encode() + b"\0" + struct.pack("!H", 0))


def bind(portal: str, statement: str, *parameters: bytes) -> bytes:
    body = portal.encode() + b"\0" + statement.encode() + b"\0" + struct.pack("!HH", 0, len(parameters))
    for value in parameters:
        body += struct.pack("!I", len(value)) + value
    return message(b"B", body + struct.pack("!H", 0))


def execute(portal: str, rows=0) -> bytes:
    return message(b"E", portal.encode() + b"\0" + struct.pack("!I", rows))


def describe(kind: str, name: str) -> bytes:
    return message(b"D", kind.encode() + name.encode() + b"\0")


def close(kind: str, name: str) -> bytes:
    return message(b"C", kind.encode() + name.encode() + b"\0")


SYNC = message(b"S")
FLUSH = message(b"H")


class Connection:
    """A socket that speaks messages; every wait is bounded."""

    def __init__(self, opened: socket.socket, timeout=20.0):
        self.socket = opened
        self.socket.settimeout(timeout * SLOWDOWN)
        self._input = bytearray()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, *parts: bytes) -> None:
        self.socket.sendall(b"".join(parts))

    def read_exactly(self, size: int) -> bytes:
        while len(self._input) < size:
            received = self.socket.recv(1 << 16)
            if not received:
                raise EOFError(f"closed; {bytes(self._input[:200])!r} was left")
            self._input += received
        result = bytes(self._input[:size])
        del self._input[:size]
        return result

    def read(self) -> tuple:
        """The next message: (type as a letter, body)."""
        head = self.read_exactly(5)
        return chr(head[0]), self.read_exactly(struct.unpack("!I", head[1:])[0] - 4)

    def read_until(self, last: str) -> list:
        messages = [self.read()]
        while messages[-1][0] != last:
            messages.append(self.read())
        return messages

    def read_until_ready(self) -> list:
        return self.read_until("Z")

    def read_to_end(self, or_until="") -> list:
        """All messages until the other side closes (a reset counts as closing), or until one of
        type `or_until`."""
        messages = []
        try:
            while not messages or messages[-1][0] != or_until:
                messages.append(self.read())
        except (EOFError, ConnectionResetError, BrokenPipeError):
            pass
        return messages


def connect(host: str, port: int, timeout=20.0) -> Connection:
    return Connection(socket.create_connection((host, port), timeout * SLOWDOWN), timeout)


def log_in(dsn: str, timeout=20.0) -> Connection:
    """A session that libpq has authenticated and that is ours from then on."""
    with psycopg.connect(dsn, autocommit=True) as driver:
        duplicate = os.dup(driver.fileno())
        # Closing libpq's side would say Terminate on the shared socket.
        silent = os.open("/dev/null", os.O_RDWR)
        os.dup2(silent, driver.fileno())
        os.close(silent)
    opened = socket.socket(fileno=duplicate)
    opened.setblocking(True)
    return Connection(opened, timeout)


def fields(body: bytes) -> dict:
    """Of an ErrorResponse or NoticeResponse: {'C': sqlstate, 'M': message, ...}."""
    return {part[:1].decode(): part[1:].decode() for part in body.split(b"\0") if part}


def sqlstates(messages: list) -> list:
    return [fields(body)["C"] for kind, body in messages if kind == "E"]


def values(body: bytes) -> list:
    """Of a DataRow, as bytes or None."""
    (count,) = struct.unpack_from("!H", body)
    place, result = 2, []
    for _ in range(count):
        (size,) = struct.unpack_from("!i", body, place)
        place += 4
        result.append(None if size < 0 else body[place:place + size])
        place += max(size, 0)
    return result


def rows(messages: list) -> list:
    return [values(body) for kind, body in messages if kind == "D"]


def kinds(messages: list) -> str:
    """Their types, one letter each."""
    return "".join(kind for kind, _ in messages)
