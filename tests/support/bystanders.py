"""Sessions at work while something happens to another one: each counts what it did and what failed."""

import threading
import time

import psycopg


class Bystander(threading.Thread):
    """Repeats `work(session)` in autocommit until it is over; a new connection whenever the old one is lost."""

    def __init__(self, target, work, user="app"):
        super().__init__(daemon=True)
        self._target = target
        self._user = user
        self._work = work
        self._is_over = threading.Event()
        self.done = 0
        self.longest = 0.0
        self.failures = []
        self.start()

    def run(self):
        while not self._is_over.is_set():
            try:
                with psycopg.connect(host=self._target.host, port=self._target.port, user=self._user,
                                     password=self._user, dbname="app", autocommit=True,
                                     connect_timeout=60) as session:
                    self._session(session)
            except psycopg.Error as error:
                self.failures.append(f"connecting: {error.sqlstate} {error}")
                time.sleep(0.01)

    def _session(self, session):
        while not self._is_over.is_set():
            started = time.monotonic()
            try:
                self._work(session)
                self.done += 1
                self.longest = max(self.longest, time.monotonic() - started)
            except psycopg.Error as error:
                self.failures.append(f"{error.sqlstate} {error}")
                if session.closed:
                    return
            time.sleep(0.001)

    def finish(self):
        self._is_over.set()
        self.join(90)
        assert not self.is_alive(), "a bystander waits for ever"


class Bystanders:
    """One for each of the named kinds of work; a context manager, finished at its end."""

    def __init__(self, target, works: dict, user="app"):
        self.by_name = {name: Bystander(target, work, user) for name, work in works.items()}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.finish()

    def finish(self):
        for bystander in self.by_name.values():
            bystander.finish()

    def done(self) -> dict:
        return {name: bystander.done for name, bystander in self.by_name.items()}

    def failures(self) -> dict:
        return {name: bystander.failures[:5] for name, bystander in self.by_name.items() if bystander.failures}

    def longest(self) -> float:
        return max(bystander.longest for bystander in self.by_name.values())
