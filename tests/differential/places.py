"""Where scripts run: a primary with two replicas, a database for each side, made from one template, and pgsteer before
one of them. Between two scripts both databases are as they were at the beginning.
"""

import os
import time

import psycopg

from support.cluster import Cluster
from support.proxy import Pgsteer, merged
from support.waiting import SLOWDOWN, until

DIRECT, THROUGH = "direct", "through"

_OBJECTS = """
CREATE SCHEMA other;
CREATE TABLE t (k int PRIMARY KEY, v int, body text);
CREATE TABLE other.t (k int PRIMARY KEY, v int, body text);
CREATE TABLE own0 (k int PRIMARY KEY, v int);
CREATE TABLE own1 (k int PRIMARY KEY, v int);
CREATE TABLE own2 (k int PRIMARY KEY, v int);
CREATE TABLE late (k int, v int UNIQUE DEFERRABLE INITIALLY DEFERRED);
CREATE UNLOGGED TABLE u (k int PRIMARY KEY, v int);
CREATE TABLE log (n int);
CREATE TABLE moving (k int PRIMARY KEY, v int, w text);
CREATE SEQUENCE s;
CREATE TYPE mood AS ENUM ('sad', 'glad');
CREATE TABLE moods (k int PRIMARY KEY, m mood);
CREATE VIEW seen AS SELECT k, v FROM t WHERE k < 8;
CREATE FUNCTION reads(int) RETURNS bigint LANGUAGE sql STABLE AS 'SELECT count(*) FROM t WHERE k < $1';
CREATE FUNCTION twice(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1 * 2';
CREATE FUNCTION changing(int) RETURNS int LANGUAGE sql STABLE AS 'SELECT $1 + 1';
CREATE FUNCTION writes(int) RETURNS int LANGUAGE sql VOLATILE AS 'INSERT INTO log VALUES ($1); SELECT $1';
CREATE FUNCTION notes(text) RETURNS text LANGUAGE plpgsql STABLE AS
    $$ BEGIN RAISE NOTICE 'noted %', $1; RETURN $1; END $$;
CREATE FUNCTION lies(int) RETURNS int LANGUAGE plpgsql STABLE AS
    $$ BEGIN IF pg_catalog.pg_is_in_recovery() THEN RAISE EXCEPTION 'recovery' USING errcode = '25006'; END IF;
       RETURN $1; END $$;
"""
_TABLES = ["t", "other.t", "own0", "own1", "own2", "late", "u", "log", "moving", "moods"]
_ROWS = """
INSERT INTO t SELECT i, i * 10, 'row ' || i FROM generate_series(1, 12) i;
INSERT INTO other.t SELECT i, -i, 'other ' || i FROM generate_series(1, 3) i;
INSERT INTO own0 SELECT i, i FROM generate_series(1, 6) i;
INSERT INTO own1 SELECT i, i FROM generate_series(1, 6) i;
INSERT INTO own2 SELECT i, i FROM generate_series(1, 6) i;
INSERT INTO u SELECT i, i FROM generate_series(1, 3) i;
INSERT INTO moving SELECT i, i, 'w' || i FROM generate_series(1, 4) i;
INSERT INTO moods VALUES (1, 'sad'), (2, 'glad');
SELECT setval('s', 1, false);
"""
_KEEPER = """
CREATE SCHEMA keeper;
CREATE FUNCTION keeper.structure() RETURNS text LANGUAGE sql AS $$
    SELECT concat(
        (SELECT string_agg(format('%s.%s %s %s %s %s', n.nspname, relname, relkind, attname, atttypid::regtype, attnum), E'\n'
                           ORDER BY n.nspname, relname, attnum)
         FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace JOIN pg_attribute ON attrelid = c.oid
         WHERE n.nspname NOT LIKE 'pg\\_%' AND n.nspname NOT IN ('information_schema', 'keeper') AND NOT attisdropped),
        (SELECT string_agg(oid::regprocedure || provolatile || prosrc, E'\n' ORDER BY oid::regprocedure::text) FROM pg_proc
         WHERE pronamespace IN ('public'::regnamespace, 'other'::regnamespace))) $$;
CREATE FUNCTION keeper.contents() RETURNS text LANGUAGE plpgsql AS $$
    DECLARE result text := ''; part text; name regclass; BEGIN
    FOR name IN SELECT c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
                WHERE relkind = 'r' AND n.nspname IN ('public', 'other') ORDER BY n.nspname, relname LOOP
        EXECUTE format('SELECT string_agg(x::text, E''\n'' ORDER BY x::text) FROM %s x', name) INTO part;
        result := result || E'\n' || name || E'\n' || coalesce(part, '');
    END LOOP;
    IF to_regclass('public.s') IS NOT NULL THEN
        EXECUTE 'SELECT x::text FROM (SELECT last_value, is_called FROM public.s) x' INTO part;
        result := result || E'\ns\n' || part;
    END IF;
    RETURN result; END $$;
"""
# What a session that has gone must not leave behind.
_LEFT = """
SELECT coalesce(string_agg(DISTINCT concat(a.state, ' ', l.locktype), ', '), '') FROM pg_stat_activity a
LEFT JOIN pg_locks l ON l.pid = a.pid AND l.locktype IN ('advisory', 'relation') AND l.granted
WHERE a.datname = %s AND a.pid <> pg_backend_pid() AND a.backend_type = 'client backend' AND a.usename = 'app'
  AND (a.state NOT IN ('idle') OR l.locktype IS NOT NULL)
"""


class Places:
    """All of it. A context manager."""

    def __init__(self, changes: dict, through=None):
        """`through`: the address that stands for pgsteer; default: a pgsteer of its own with `changes`. It may be given, and
        taken away, later."""
        self._changes = changes
        self.through = through
        self._beginning = None
        self.replicas = None
        self.proxy = None

    def __enter__(self):
        self.cluster = Cluster(replicas=2)
        try:
            self._set_up()
        except BaseException:
            self.cluster.stop()
            raise
        return self

    def __exit__(self, *_):
        try:
            if self.proxy:
                self.proxy.stop(check=False)
        finally:
            self.cluster.stop()

    def _set_up(self) -> None:
        primary = self.cluster.primary
        for server in self.cluster.servers:
            _trust(server)
        for setting in ("log_statement = 'none'", "autovacuum = off"):
            primary.sql(f"ALTER SYSTEM SET {setting}")
        for replica in self.cluster.replicas:
            replica.set("hot_standby_feedback", "on", reload=False)
            replica.set("max_standby_streaming_delay", "30s", reload=False)
            replica.set("log_statement", "none", reload=False)
        for server in self.cluster.servers:
            server.sql("SELECT pg_reload_conf()")
        primary.sql("CREATE DATABASE template_of_both OWNER app")
        with primary.connect("template_of_both") as session:
            session.execute("SET ROLE app")
            session.execute(_objects())
            session.execute("RESET ROLE")
            session.execute(_KEEPER)
        for name in (DIRECT, THROUGH):
            primary.sql(f"CREATE DATABASE {name} TEMPLATE template_of_both OWNER app")
        self._connect()
        self._wait_until_replayed()
        self._structure = self._structures()[DIRECT]
        self._beginning = self.contents(DIRECT)
        if self.through is None:
            self._start_pgsteer()

    def _start_pgsteer(self) -> None:
        base = {"auth": {"method": "trust"}, "databases": [{"name": THROUGH}], "workers": 1,
                "routing": {"consistency": "global", "freshness_wait": "20ms", "catalog_interval": "1s"}}
        self.proxy = Pgsteer(self.cluster, merged(base, self._changes))
        self._wait_until_known()

    def start_again(self) -> None:
        """A pgsteer without sessions, and servers without its own: what hangs must not hang the next script."""
        if not self.through:
            self.proxy.process.kill()
            self.proxy.process.wait()
        self.replicas.resume_all()
        for keeper in (self._keepers[THROUGH], *self.replicas.sessions):
            self._end_others(keeper, THROUGH, held_only=False)
        if self.through:
            return
        self.proxy.start()
        self.restore()
        self._wait_until_known()

    def recover(self) -> None:
        """When the servers are there again: one of them has crashed."""
        self.cluster.heal()
        self._connect()
        if self.proxy:
            self.start_again()
        else:
            self.restore()

    def _connect(self) -> None:
        self._keepers = {name: self.cluster.primary.connect(name) for name in (DIRECT, THROUGH)}
        self.replicas = Replicas(self.cluster)

    def startup(self, side: str) -> dict:
        return {"user": "app", "database": side}

    def address(self, side: str) -> tuple:
        if side == DIRECT:
            return self.cluster.primary.host, self.cluster.primary.port
        if self.through:
            return self.through(self.cluster.primary)
        return self.proxy.host, self.proxy.port

    # --- the state of the databases

    def contents(self, side: str) -> str:
        return self._keepers[side].execute("SELECT keeper.contents()").fetchone()[0]

    def _structures(self) -> dict:
        return {side: keeper.execute("SELECT keeper.structure()").fetchone()[0] for side, keeper in self._keepers.items()}

    def outcome(self) -> tuple:
        """Contents and structure of both, for comparison."""
        structures = self._structures()
        return tuple(self.contents(side) + "\n" + structures[side] for side in (DIRECT, THROUGH))

    def left_behind(self, patience: float) -> str:
        """What the sessions of the script still hold on the primary or a replica though they are gone; empty: nothing."""
        end = time.monotonic() + patience
        while True:
            left = [self._keepers[THROUGH].execute(_LEFT, (THROUGH,)).fetchone()[0]]
            left += [replica.execute(_LEFT, (THROUGH,)).fetchone()[0] for replica in self.replicas.sessions]
            if not any(left):
                return ""
            if time.monotonic() > end:
                return "; ".join(filter(None, left))
            time.sleep(0.002)

    def restore(self) -> None:
        """Both databases as they were at the beginning, on the replicas as well."""
        self.replicas.resume_all()
        structures = self._structures()
        rebuilt = False
        changed = False
        for side, keeper in self._keepers.items():
            if structures[side] != self._structure:
                self._end_others(keeper, side)
                keeper.execute("SELECT pg_advisory_unlock_all()")
                keeper.execute("BEGIN; DROP SCHEMA other, public CASCADE; CREATE SCHEMA public AUTHORIZATION app;"
                               "SET LOCAL ROLE app; " + _objects() + "COMMIT")
                rebuilt = True
            elif self.contents(side) != self._beginning:
                self._end_others(keeper, side)
                keeper.execute(f"BEGIN; TRUNCATE {', '.join(_TABLES)}; {_ROWS} COMMIT")
                changed = True
        if rebuilt or changed:
            self._wait_until_replayed()
        if rebuilt and not self.through:
            self._wait_until_known()

    def end_direct_sessions(self) -> None:
        self._end_others(self._keepers[DIRECT], DIRECT, held_only=False)

    @staticmethod
    def _end_others(keeper, side: str, held_only=True) -> None:
        condition = "AND state <> 'idle'" if held_only else ""
        keeper.execute("SELECT pg_terminate_backend(pid, 2000) FROM pg_stat_activity WHERE datname = %s "
                       f"AND usename = 'app' AND pid <> pg_backend_pid() {condition}", (side,))

    def _wait_until_replayed(self) -> None:
        keeper = self._keepers[DIRECT]
        lsn = keeper.execute("SELECT pg_current_wal_insert_lsn()").fetchone()[0]
        # Standbys get what is flushed, and an aborted transaction's WAL may wait for long.
        keeper.execute("COMMENT ON DATABASE direct IS 'flush'")
        for replica in self.replicas.sessions:
            until(lambda r=replica: r.execute("SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn", (lsn,)).fetchone()[0],
                  "the replicas replay", 30, interval=0.001)

    def _wait_until_known(self) -> None:
        """Until pgsteer runs on replicas what may run there."""
        reads = ["SELECT count(*) FROM t", "SELECT count(*) FROM seen", "SELECT reads(1), twice(1), changing(1)",
                 "SELECT count(*) FROM moving", "SELECT m FROM moods"]
        with psycopg.connect(host=self.proxy.host, port=self.proxy.port, user="app", dbname=THROUGH,
                             autocommit=True) as session:
            def known(read):
                session.execute(read)
                return "role=replica" in session.execute("SHOW pgsteer.last_route").fetchone()[0]
            for read in reads:
                until(lambda r=read: known(r), f"{read} runs on a replica", 20)


class Replicas:
    """Their replay, paused and resumed; and one session of the harness on each."""

    def __init__(self, cluster: Cluster):
        self.sessions = [replica.connect("postgres") for replica in cluster.replicas]
        self._paused = set()

    def pause(self, which: int) -> None:
        self.sessions[which].execute("SELECT pg_wal_replay_pause()")
        self._paused.add(which)

    def resume(self, which: int) -> None:
        self.sessions[which].execute("SELECT pg_wal_replay_resume()")
        self._paused.discard(which)

    def resume_all(self) -> None:
        for which in list(self._paused):
            self.resume(which)


def _objects() -> str:
    return _OBJECTS + _ROWS


def _trust(server) -> None:
    path = os.path.join(server.data, "pg_hba.conf")
    with open(path, encoding="utf-8") as file:
        lines = file.read()
    with open(path, "w", encoding="utf-8") as file:
        file.write("host all app 127.0.0.1/32 trust\n" + lines)


def patience() -> float:
    return 4 * SLOWDOWN
