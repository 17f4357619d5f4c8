"""Free loopback ports, leased: two test runs on one machine never get the same one."""

import fcntl
import os
import random
import socket
import tempfile

# Below the kernel's range for outgoing connections (32768 and up), so that a server which is
# stopped and started again finds its port still free.
_FIRST, _LAST = 12000, 19999


class PortLeases:
    """Each lease is a locked file; the kernel drops the lock when this process ends."""

    def __init__(self):
        self._folder = os.path.join(tempfile.gettempdir(), f"pgsteer-ports-{os.getuid()}")
        os.makedirs(self._folder, mode=0o700, exist_ok=True)
        self._files = {}

    def take(self) -> int:
        for port in random.sample(range(_FIRST, _LAST), 500):
            if self._lock(port):
                if _is_free(port):
                    return port
                self.give_back(port)
        raise RuntimeError("no free loopback port")

    def give_back(self, port: int) -> None:
        os.close(self._files.pop(port))

    def _lock(self, port: int) -> bool:
        handle = os.open(os.path.join(self._folder, str(port)), os.O_CREAT | os.O_RDWR, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(handle)
            return False
        self._files[port] = handle
        return True


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
