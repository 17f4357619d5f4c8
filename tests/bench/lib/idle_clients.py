"""Many clients that are logged in and do nothing."""

from support import raw, wire_client


class IdleClients:
    def __init__(self, port: int, count: int):
        self._sessions = []
        try:
            for _ in range(count):
                self._sessions.append(
                    wire_client.log_in("127.0.0.1", port, "app", "app", "app", timeout=30))
        except BaseException:
            self.close()
            raise

    def ask_once(self) -> None:
        """One read each: from now on a session pool holds a server connection for every client."""
        for session in self._sessions:
            session.send(raw.query("SELECT abalance FROM pgbench_accounts WHERE aid = 1"))
            failure = raw.sqlstates(session.read_until_ready())
            if failure:
                raise RuntimeError(f"the query failed: {failure}")

    def close(self) -> None:
        for session in self._sessions:
            session.socket.close()
        self._sessions.clear()
