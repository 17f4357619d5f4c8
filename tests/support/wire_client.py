"""Logs in message by message, without a driver: what each step of a login looks like on the wire,
and connections whose start-up parameters are ours to choose. The rest of a session is raw.py's.
"""

import base64
import hashlib
import hmac
import os
import struct

from support import raw

OK, CLEARTEXT, MD5, SASL, SASL_CONTINUE, SASL_FINAL = 0, 3, 5, 10, 11, 12
PASSWORD = b"p"


class LoginRefused(Exception):
    """The ErrorResponse that ended a login, as raw.fields gives it."""

    def __init__(self, fields: dict):
        super().__init__(f"{fields.get('C')}: {fields.get('M')}")
        self.fields = fields
        self.sqlstate = fields.get("C")


class ScramClient:
    """SCRAM-SHA-256 (RFC 7677), the client's side. Change its parts to play a wrong client."""

    def __init__(self, password: str, gs2_header="n,,", user=""):
        self.password = password.encode()
        self.gs2_header = gs2_header
        self.nonce = base64.b64encode(os.urandom(18)).decode()
        self.first_bare = f"n={user},r={self.nonce}"
        self.server_signature = b""

    def first(self) -> bytes:
        return (self.gs2_header + self.first_bare).encode()

    def final(self, server_first: bytes) -> bytes:
        parts = dict(part.split("=", 1) for part in server_first.decode().split(","))
        assert parts["r"].startswith(self.nonce) and parts["r"] != self.nonce
        salted = hashlib.pbkdf2_hmac(
            "sha256", self.password, base64.b64decode(parts["s"]), int(parts["i"]))
        binding = base64.b64encode(self.gs2_header.encode()).decode()
        without_proof = f"c={binding},r={parts['r']}"
        conversation = ",".join((self.first_bare, server_first.decode(), without_proof)).encode()
        client_key = _hmac(salted, b"Client Key")
        signature = _hmac(hashlib.sha256(client_key).digest(), conversation)
        self.server_signature = _hmac(_hmac(salted, b"Server Key"), conversation)
        proof = bytes(a ^ b for a, b in zip(client_key, signature))
        return f"{without_proof},p={base64.b64encode(proof).decode()}".encode()

    def verify(self, server_final: bytes) -> None:
        assert server_final == b"v=" + base64.b64encode(self.server_signature), server_final


class Session(raw.Connection):
    """After log_in: what the server said on the way."""

    parameters: dict  # of all ParameterStatus
    key: tuple        # process id and secret of BackendKeyData, for raw.cancel_request
    methods: list     # numbers of the Authentication messages, in order


def sasl_initial(mechanism: str, data: bytes) -> bytes:
    return raw.message(PASSWORD, mechanism.encode() + b"\0" + struct.pack("!i", len(data)) + data)


def md5_password(user: str, password: str, salt: bytes) -> bytes:
    inner = hashlib.md5((password + user).encode()).hexdigest()
    return b"md5" + hashlib.md5(inner.encode() + salt).hexdigest().encode()


def read_or_refused(session: raw.Connection) -> tuple:
    """The next message; LoginRefused if it is an ErrorResponse."""
    kind, body = session.read()
    if kind == "E":
        raise LoginRefused(raw.fields(body))
    return kind, body


def read_authentication(session: raw.Connection) -> tuple:
    """(number, data) of the next Authentication message; a NegotiateProtocolVersion is skipped."""
    kind, body = read_or_refused(session)
    while kind == "v":
        kind, body = read_or_refused(session)
    assert kind == "R", (kind, body)
    return struct.unpack_from("!I", body)[0], body[4:]


def log_in(host: str, port: int, user: str, password="", database="", version=raw.PROTOCOL_3_0,
           timeout=20.0, **parameters) -> Session:
    """Until the first ReadyForQuery. LoginRefused on an ErrorResponse, EOFError if closed."""
    opened = raw.connect(host, port, timeout)
    session = Session(opened.socket, timeout)
    try:
        wanted = {"user": user, **({"database": database} if database else {}), **parameters}
        session.send(raw.startup(wanted, version))
        authenticate(session, user, password)
        _read_to_ready(session)
    except BaseException:
        session.socket.close()
        raise
    return session


def authenticate(session: Session, user: str, password: str) -> None:
    """Answers whatever the server asks for, until AuthenticationOk."""
    session.methods = []
    scram = ScramClient(password)
    while True:
        method, data = read_authentication(session)
        session.methods.append(method)
        if method == OK:
            return
        if method == CLEARTEXT:
            session.send(raw.message(PASSWORD, password.encode() + b"\0"))
        elif method == MD5:
            session.send(raw.message(PASSWORD, md5_password(user, password, data) + b"\0"))
        elif method == SASL:
            assert b"SCRAM-SHA-256" in data.split(b"\0"), data
            session.send(sasl_initial("SCRAM-SHA-256", scram.first()))
        elif method == SASL_CONTINUE:
            session.send(raw.message(PASSWORD, scram.final(data)))
        elif method == SASL_FINAL:
            scram.verify(data)
        else:
            raise AssertionError(f"unknown authentication method {method}")


def _hmac(key: bytes, data: bytes) -> bytes:
    return hmac.new(key, data, "sha256").digest()


def _read_to_ready(session: Session) -> None:
    session.parameters, session.key = {}, ()
    while True:
        kind, body = read_or_refused(session)
        if kind == "S":
            name, value, _ = body.split(b"\0")
            session.parameters[name.decode()] = value.decode()
        elif kind == "K":
            session.key = struct.unpack("!Ii", body)
        elif kind == "Z":
            return
