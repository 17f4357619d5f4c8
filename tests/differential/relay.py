"""Stands where pgsteer stands, and passes everything to the primary: honestly, to show that scripts are the same twice, or
with a fault, to show that faults are found.
"""

import select
import socket
import struct
import threading

KINDS = ("honest", "changes_an_error", "drops_a_ready", "forgets_a_notice", "runs_twice", "writes_once_more")


def starter(kind: str):
    """A function that starts such a relay before a server, once, and tells its address."""
    started = []

    def address(server):
        if not started:
            started.append(Relay(kind, (server.host, server.port)))
        return started[0].address
    return address


class Relay(threading.Thread):
    """One thread for all connections. Whole messages of the server pass through _changed()."""

    def __init__(self, kind: str, server: tuple):
        super().__init__(daemon=True)
        self._kind = kind
        self._server = server
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = self._listener.getsockname()
        self._peers, self._inputs, self._from_server = {}, {}, set()
        self.start()

    def run(self):
        while True:
            for ready in select.select([self._listener, *self._peers], [], [])[0]:
                if ready is self._listener:
                    self._accept()
                elif ready in self._peers:
                    self._pass(ready)

    def _accept(self) -> None:
        client, _ = self._listener.accept()
        server = socket.create_connection(self._server)
        for one, other in ((client, server), (server, client)):
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._peers[one], self._inputs[one] = other, b""
        self._from_server.add(server)

    def _pass(self, source: socket.socket) -> None:
        try:
            data = source.recv(1 << 17)
            if data:
                self._peers[source].sendall(self._changed(source, data))
        except OSError:
            data = b""
        if not data:
            for one in (source, self._peers[source]):
                self._from_server.discard(one)
                del self._peers[one], self._inputs[one]
                one.close()

    def _changed(self, source: socket.socket, data: bytes) -> bytes:
        if source not in self._from_server:
            return self._sent(data)
        self._inputs[source] += data
        result = b""
        while len(whole := self._inputs[source]) >= 5:
            size = struct.unpack_from("!I", whole, 1)[0] + 1
            if len(whole) < size:
                break
            self._inputs[source] = whole[size:]
            result += self._message(whole[:size])
        return result

    def _sent(self, data: bytes) -> bytes:
        is_whole_query = len(data) >= 5 and data[:1] == b"Q" and struct.unpack_from("!I", data, 1)[0] + 1 == len(data)
        if is_whole_query and data.startswith(b"INSERT INTO log", 5) and b";" not in data:
            if self._kind == "runs_twice":
                return data * 2
            if self._kind == "writes_once_more":
                return _query(b"WITH w AS (INSERT INTO log VALUES (99)) " + data[5:data.index(b"\0", 5)])
        return data

    def _message(self, message: bytes) -> bytes:
        kind = message[:1]
        if self._kind == "changes_an_error" and kind == b"E":
            return message.replace(b"C22012\0", b"C22013\0")
        if self._kind == "drops_a_ready" and message == b"Z\0\0\0\5E":
            return b""
        if self._kind == "forgets_a_notice" and kind == b"N":
            return b""
        return message


def _query(text: bytes) -> bytes:
    return b"Q" + struct.pack("!I", len(text) + 5) + text + b"\0"
