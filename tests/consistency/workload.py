"""Sessions that write and read through the proxy, and tell the model."""

import asyncio
import random
import time

import asyncpg

from model import Session

SCHEMA = """
    CREATE TABLE registers (id int PRIMARY KEY, n bigint NOT NULL, seen_id int, seen_n bigint)
        WITH (fillfactor = 50);
    CREATE TABLE lists (id int, n bigint, PRIMARY KEY (id, n));
    ALTER TABLE registers OWNER TO load;
    ALTER TABLE lists OWNER TO load;
"""
TABLES = ["registers", "lists"]
# Registers below are those of the sessions; these belong to the pairs that talk to each other.
FIRST_OF_PAIRS = 1_000_000
FIRST_OF_OUTSIDERS = 2_000_000
LISTS = 3_000_000  # register numbers of lists in the model

LOST = (OSError, asyncpg.PostgresConnectionError, asyncpg.InterfaceError,
        asyncpg.CannotConnectNowError, asyncpg.AdminShutdownError, asyncpg.InternalClientError,
        asyncio.TimeoutError)


class Workload:
    """`options`: level, sessions, reads, bound (seconds) as the command line has them. `primary()`: who it is now."""

    def __init__(self, options, target, primary, history, tally):
        self._options = options
        self._target = target
        self._primary = primary
        self._history = history
        self._tally = tally
        self._comment = ""
        if options.level == "bounded":
            self._comment = f"/* pgsteer: max_staleness={int(options.bound * 1000)}ms */"

    def is_over(self):
        enough = (self._options.reads and self._tally.reads >= self._options.reads
                  and time.monotonic() >= self._earliest)
        return enough or time.monotonic() >= self._deadline

    async def run(self):
        self._deadline = time.monotonic() + self._options.seconds
        self._earliest = time.monotonic() + self._options.at_least
        outsiders = 2 if self._options.level == "strict" else 0
        jobs = [self._guard(self._reader_and_writer, number) for number in range(self._options.sessions)]
        if self._options.level in ("session", "global", "strict"):
            jobs += [self._guard(self._notify_pair, FIRST_OF_PAIRS + number) for number in range(2)]
            jobs += [self._guard(self._lock_pair, FIRST_OF_PAIRS + 10 + number) for number in range(2)]
        jobs += [self._guard(self._outsider, FIRST_OF_OUTSIDERS + number) for number in range(outsiders)]
        await asyncio.gather(*jobs)

    async def _guard(self, job, number):
        """Runs `job` again with a new connection when a fault has cut the old one."""
        while not self.is_over():
            try:
                await job(number)
            except LOST as error:
                self._tally.reconnects += 1
                self._tally.errors[type(error).__name__] += 1
                await asyncio.sleep(0.05)

    async def _connect(self):
        connection = await asyncpg.connect(
            host=self._target.host, port=self._target.port, user="load", password="load", database="app",
            timeout=20, command_timeout=30)
        return connection

    def _session(self, name):
        return Session(name, self._options.level, self._history, self._tally, self._options.bound)

    # --- the bulk: every session writes its own register and list, and reads everybody's

    async def _reader_and_writer(self, number):
        connection = await self._connect()
        try:
            session = self._session(number)
            choice = random.Random(f"{self._options.seed}/{number}/{time.monotonic()}")
            insert = "INSERT INTO registers VALUES ($1, 0) ON CONFLICT (id) DO UPDATE SET id = excluded.id RETURNING n"
            value = await connection.fetchval(insert, number)
            listed = await connection.fetchval(
                "/* pgsteer: primary */ SELECT coalesce(max(n), 0) FROM lists WHERE id = $1", number)
            last = (number, 0)
            while not self.is_over():
                action = choice.random()
                if action < 0.1:
                    value += 1
                    await connection.execute(
                        "UPDATE registers SET n = $2, seen_id = $3, seen_n = $4 WHERE id = $1", number, value, *last)
                    self._wrote(session, number, value)
                elif action < 0.13:
                    listed += 1
                    await connection.execute("INSERT INTO lists VALUES ($1, $2)", number, listed)
                    self._wrote(session, LISTS + number, listed)
                own = choice.random() < 0.4
                register = number if own else choice.randrange(self._options.sessions)
                if choice.random() < 0.2:
                    await self._read_list(connection, session, register)
                else:
                    seen = await self._read(connection, session, register)
                    if seen:
                        last = (register, seen)
        finally:
            await _close(connection)

    def _wrote(self, session, register, value, outside=False):
        self._tally.writes += 1
        self._history.acknowledge(register, value, time.monotonic(), outside)
        if session:
            session.wrote(register, value)

    async def _read(self, connection, session, register, least=0, kind=""):
        needs = session.must_see(register, time.monotonic())
        row = await connection.fetchrow(
            f"SELECT n, seen_id, seen_n FROM registers WHERE id = $1 {self._comment}", register)
        value = row["n"] if row else 0
        session.read(register, value, needs, least, kind)
        if row and row["seen_id"] is not None:
            session.saw_dependency(row["seen_id"], row["seen_n"])
        return value

    async def _read_list(self, connection, session, register):
        needs = session.must_see(LISTS + register, time.monotonic())
        rows = await connection.fetch(
            f"SELECT n FROM lists WHERE id = $1 ORDER BY n DESC LIMIT 20 {self._comment}", register)
        session.read_list(LISTS + register, [row["n"] for row in rows], needs)

    # --- messages that pass through PostgreSQL itself

    async def _notify_pair(self, number):
        """One session writes and notifies in one transaction; the other reads on hearing of it."""
        writer, listener = await self._connect(), await self._connect()
        try:
            session = self._session(f"listener {number}")
            heard = asyncio.Queue()
            await listener.add_listener(f"told_{number}", lambda *args: heard.put_nowait(int(args[-1])))
            value = await self._own(writer, number)
            while not self.is_over():
                value += 1
                async with writer.transaction():
                    await writer.execute("UPDATE registers SET n = $2 WHERE id = $1", number, value)
                    await writer.execute(f"NOTIFY told_{number}, '{value}'")
                self._wrote(None, number, value)
                told = await asyncio.wait_for(heard.get(), 20)
                await self._read(listener, session, number, told, "listen_then_read")
                await asyncio.sleep(0.002)
        finally:
            await _close(writer)
            await _close(listener)

    async def _lock_pair(self, number):
        """Sessions that take turns under an advisory lock: what was written under it is seen under it."""
        connections = [await self._connect(), await self._connect()]
        try:
            sessions = [self._session(f"lock {number}.{i}") for i in (0, 1)]
            value = await self._own(connections[0], number)
            turn = 0
            while not self.is_over():
                connection, session = connections[turn], sessions[turn]
                await connection.execute("SELECT pg_advisory_lock($1)", number)
                await self._read(connection, session, number, value, "lock_hand_over")
                value += 1
                await connection.execute("UPDATE registers SET n = $2 WHERE id = $1", number, value)
                self._wrote(session, number, value)
                await connection.execute("SELECT pg_advisory_unlock($1)", number)
                turn = 1 - turn
                await asyncio.sleep(0.002)
        finally:
            for connection in connections:
                await _close(connection)

    async def _own(self, connection, number):
        return await connection.fetchval(
            "INSERT INTO registers VALUES ($1, 0) ON CONFLICT (id) DO UPDATE SET id = excluded.id RETURNING n", number)

    async def _outsider(self, number):
        """Writes past the proxy, and reads through it: level strict knows of such writes too."""
        primary = self._primary()
        outside = await asyncpg.connect(host=primary.host, port=primary.port, user="load",
                                        password="load", database="app", timeout=20)
        inside = await self._connect()
        try:
            session = self._session(f"outsider {number}")
            value = await self._own(outside, number)
            while not self.is_over():
                value += 1
                await outside.execute("UPDATE registers SET n = $2 WHERE id = $1", number, value)
                self._wrote(None, number, value, outside=True)
                await self._read(inside, session, number)
                await asyncio.sleep(0.005)
        except asyncpg.ReadOnlySQLTransactionError as error:
            if not await outside.fetchval("SELECT pg_is_in_recovery()"):
                raise  # not the outsider's own connection
            raise ConnectionResetError("no longer the primary") from error
        finally:
            await _close(outside)
            await _close(inside)


async def _close(connection):
    try:
        await connection.close(timeout=5)
    except LOST + (asyncpg.PostgresError,):
        connection.terminate()
