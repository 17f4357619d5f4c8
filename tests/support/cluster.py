"""A real primary with streaming replicas, and what can happen to them.

Started by deploy/throwaway-cluster. Where a statement ran is read from the servers' own logs,
never from pgsteer's word.
"""

import os
import re
import select
import shutil
import signal
import subprocess
import tempfile
import threading
import time
import uuid

import psycopg

from support.ports import PortLeases
from support.waiting import SLOWDOWN, until

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
THROWAWAY = os.path.join(ROOT, "deploy", "throwaway-cluster")

_SETTINGS = [
    "log_statement = 'all'",
    "log_line_prefix = '%m [%p] app=%a '",
    "log_parameter_max_length = 64",
    "log_parameter_max_length_on_error = 0",
    "log_min_messages = 'warning'",
    "max_standby_streaming_delay = '2s'",
]
_HBA = [
    "host all md5_user 127.0.0.1/32 md5",
    "host all clear_user 127.0.0.1/32 password",
    "host all trust_user 127.0.0.1/32 trust",
]
_ROLES = """
    CREATE ROLE load LOGIN PASSWORD 'load';           -- not logged: for tests that count
    ALTER ROLE load SET log_statement = 'none';
    ALTER ROLE pgsteer SET log_statement = 'none';
    CREATE ROLE other LOGIN PASSWORD 'other';
    CREATE ROLE clear_user LOGIN PASSWORD 'clear';
    CREATE ROLE trust_user LOGIN;
    CREATE ROLE repl LOGIN REPLICATION PASSWORD 'repl';
    SET password_encryption = 'md5';
    CREATE ROLE md5_user LOGIN PASSWORD 'md5';
    GRANT ALL ON DATABASE app TO load, other, clear_user, trust_user, md5_user;
    GRANT ALL ON SCHEMA public TO load, other, clear_user, trust_user, md5_user;
"""
_LOG_RECORD = re.compile(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d[^\n]*?\[\d+\] app=", re.MULTILINE)


_USUAL = ("app", "postgres")  # databases that stay
_CHANGES_SESSION = re.compile(r"(^|;)\s*(SET|RESET|LISTEN|LOAD|PREPARE|DECLARE|BEGIN|CREATE\s+TEMP)\b|set_config|pg_temp|advisory",
                              re.IGNORECASE)


def _microseconds(time: str) -> str:
    """SQL of a time as an integer: no setting of the server (DateStyle, extra_float_digits) rounds or spells it."""
    return f"(extract(epoch FROM {time}) * 1000000)::int8"


def new_marker() -> str:
    """A comment's content that finds one statement in the logs again."""
    return f"m{uuid.uuid4().hex[:16]}"


class Server:
    """One PostgreSQL server of a Cluster."""

    def __init__(self, name: str, folder: str, env: dict):
        self.name = name
        self.host = "127.0.0.1"
        self.port = int(env[f"{name.upper()}_PORT"])
        self.data = os.path.join(folder, name)
        self.log_file = os.path.join(folder, "log", f"{name}.log")
        self._env = env
        self._log_start = 0
        self._kept = threading.local()  # connections by database
        self._changes = 0               # of what runs: none is kept over one

    def __repr__(self):
        return f"<{self.name} at port {self.port}>"

    # --- SQL, as superuser and past any proxy

    def connect(self, dbname="app", **options):
        return psycopg.connect(
            host=self.host, port=self.port, dbname=dbname, user=self._env["SUPERUSER"],
            password=self._env["SUPERUSER_PASSWORD"], autocommit=True,
            connect_timeout=int(10 * SLOWDOWN), application_name="harness", **options)

    def sql(self, query, *params, dbname="app"):
        """Rows of `query`, or None if it returns none. Nothing that it does to its session lasts."""
        if dbname not in _USUAL or _CHANGES_SESSION.search(query):
            with self.connect(dbname) as connection:
                return _rows(connection, query, params)
        if "pg_reload_conf" not in query:
            return _in_spite_of_replay(lambda: _rows(self._connection(dbname), query, params))
        connection = self._connection(dbname)
        before = connection.execute(f"SELECT {_microseconds('clock_timestamp()')}").fetchone()[0]
        rows = _rows(connection, query, params)
        until(lambda: self._has_reloaded(before), f"{self.name} reads its configuration")
        return rows

    def value(self, query, *params, dbname="app"):
        return self.sql(query, *params, dbname=dbname)[0][0]

    def _connection(self, dbname):
        """One that is kept: a login costs more than what most tests ask."""
        kept = self._kept.__dict__.setdefault("connections", {})
        changes, connection = kept.pop(dbname, (None, None))
        if connection is not None and (changes != self._changes or not _is_idle(connection)):
            connection.close()
            connection = None
        connection = connection or self.connect(dbname, prepare_threshold=None)
        kept[dbname] = self._changes, connection
        return connection

    def _has_reloaded(self, since) -> bool:
        """The postmaster forks the next process when it has read the files and told the others of it."""
        with self.connect() as fresh:
            return fresh.execute(f"SELECT {_microseconds('pg_conf_load_time()')} >= %s", (since,)).fetchone()[0]

    # --- processes

    def postmaster(self) -> int:
        """Process id, 0 if it does not run."""
        return running_postmaster(self.data)

    def processes(self) -> list:
        """The postmaster first, then its children (each has a process group of its own)."""
        postmaster = self.postmaster()
        return [postmaster, *children_of(postmaster)] if postmaster else []

    def kill(self) -> None:
        """kill -9 of every process, as when the machine is lost."""
        postmaster = self.postmaster()
        if not postmaster:
            return
        # All stop before any dies: nobody finds time for a last word to its client.
        self.hang()
        victims = self.processes()
        for pid in victims:
            send_signal(pid, signal.SIGKILL)
        until(lambda: not any(is_alive(pid) for pid in victims), f"{self.name} is gone")
        # In a container nobody may collect the dead, and a zombie looks alive to the next start.
        socket = os.path.join(self._env["SOCKET_DIR"], f".s.PGSQL.{self.port}")
        for stale in (os.path.join(self.data, "postmaster.pid"), socket, f"{socket}.lock"):
            if os.path.exists(stale):
                os.unlink(stale)

    def hang(self) -> None:
        """SIGSTOP: connections stay open, nothing answers."""
        self._changes += 1
        postmaster = self.postmaster()
        os.kill(postmaster, signal.SIGSTOP)
        for pid in self.processes():
            send_signal(pid, signal.SIGSTOP)

    def resume(self) -> None:
        for pid in self.processes():
            send_signal(pid, signal.SIGCONT)

    def start(self, wait=True) -> None:
        self._pg_ctl("start", "-l", self.log_file, "-w" if wait else "-W", "-t", "60")

    def stop(self, mode="fast") -> None:
        self._pg_ctl("stop", "-w", "-m", mode, "-t", "60")

    def restart(self, mode="fast") -> None:
        self._pg_ctl("restart", "-l", self.log_file, "-w", "-m", mode, "-t", "60")

    def promote(self) -> None:
        self._pg_ctl("promote", "-w", "-t", "60")

    def become_standby(self) -> None:
        """At its next start."""
        path = os.path.join(self.data, "standby.signal")
        with open(path, "w", encoding="utf-8"):
            pass
        owner = os.stat(self.data)
        os.chown(path, owner.st_uid, owner.st_gid)

    def _pg_ctl(self, action, *options) -> None:
        self._changes += 1
        command = [os.path.join(self._env["BINDIR"], "pg_ctl"), "-s", "-D", self.data, action,
                   *options]
        subprocess.run([*as_owner(), *command], cwd="/", check=True, timeout=120 * SLOWDOWN,
                       stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)

    # --- replication

    def set(self, name: str, value: str, reload=True) -> None:
        """ALTER SYSTEM; without `reload` it is in force after the next start."""
        self.sql(f"ALTER SYSTEM SET {name} = '{value}'")
        if reload:
            self.sql("SELECT pg_reload_conf()")

    def pause_replay(self) -> None:
        """Nothing is replayed any more when this returns."""
        self.sql("SELECT pg_wal_replay_pause()")
        if int(self.value("SHOW server_version_num")) >= 140000:  # 13 does not tell
            until(lambda: self.value("SELECT pg_get_wal_replay_pause_state()") == "paused", f"{self.name} is paused")

    def resume_replay(self) -> None:
        until(lambda: _runs(self, "SELECT pg_wal_replay_resume()"), f"{self.name} replays")

    def has_replayed(self, lsn: str) -> bool:
        return self.value("SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn", lsn)

    # --- log

    def forget_log(self) -> None:
        """What was logged until now is of no interest any more."""
        self._log_start = os.path.getsize(self.log_file)

    def log(self) -> str:
        with open(self.log_file, encoding="utf-8", errors="replace") as file:
            file.seek(self._log_start)
            return file.read()

    def statements(self, text: str) -> list:
        """Log records of statements (simple or executed) that contain `text`."""
        if text not in (log := self.log()):
            return []
        starts = [match.start() for match in _LOG_RECORD.finditer(log)] + [len(log)]
        records = (log[start:end] for start, end in zip(starts, starts[1:]))
        return [record for record in records
                if text in record and re.search(r"LOG:  (statement|execute )", record)]


class Cluster:
    """The servers together. Use as a context manager, or call stop()."""

    def __init__(self, replicas=2, leases=None):
        self._leases = leases or PortLeases()
        self._ports = [self._leases.take() for _ in range(replicas + 1)]
        self.folder = tempfile.mkdtemp(prefix="pgsteer-test-")
        os.chmod(self.folder, 0o755)
        command = [THROWAWAY, "start", os.path.join(self.folder, "pg"), "--fast",
                   "--replicas", str(replicas), "--ports", ",".join(map(str, self._ports))]
        for line in _SETTINGS:
            command += ["--set", line]
        for line in _HBA:
            command += ["--hba", line]
        try:
            output = subprocess.run(command, check=True, timeout=120 * SLOWDOWN, text=True,
                                    stdin=subprocess.DEVNULL, stdout=subprocess.PIPE).stdout
        except BaseException:
            shutil.rmtree(self.folder, ignore_errors=True)
            raise
        self.env = dict(line.split("=", 1) for line in output.splitlines())
        names = ["primary", *(f"replica{number + 1}" for number in range(replicas))]
        pg_folder = os.path.join(self.folder, "pg")
        self.servers = [Server(name, pg_folder, self.env) for name in names]
        self.primary, *self.replicas = self.servers
        self.primary.sql(_ROLES)
        self.wait_until_replayed()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self) -> None:
        for server in self.servers:
            server.resume()
        subprocess.run([THROWAWAY, "stop", os.path.join(self.folder, "pg"), "--remove"],
                       check=False, timeout=120 * SLOWDOWN)
        shutil.rmtree(self.folder, ignore_errors=True)
        for port in self._ports:
            self._leases.give_back(port)

    def server(self, name: str) -> Server:
        return next(server for server in self.servers if server.name == name)

    def wait_until_replayed(self, timeout=30) -> None:
        """Until every replica shows all that is committed now."""
        lsn = self.primary.value("SELECT pg_current_wal_insert_lsn()")
        # Standbys get only what is flushed; a commit flushes all before it.
        self.primary.sql("COMMENT ON DATABASE app IS 'flush'")
        for replica in self.replicas:
            until(lambda replica=replica: replica.has_replayed(lsn),
                  f"{replica.name} replays up to {lsn}", timeout)

    def heal(self) -> None:
        """After a test that hurt a server: all run, replay and have no delay."""
        for server in self.servers:
            server.resume()
            if not server.postmaster():
                server.start()
        until(lambda: _answers(self.primary), "the primary answers", 60)
        for replica in self.replicas:
            until(lambda replica=replica: _answers(replica), f"{replica.name} answers", 60)
            replica.sql("ALTER SYSTEM RESET recovery_min_apply_delay")
            until(lambda replica=replica: _runs(replica, "SELECT pg_reload_conf(), pg_wal_replay_resume()"),
                  f"{replica.name} replays", 30)
        self.wait_until_replayed()

    def switch_over(self, replica: Server) -> None:
        """`replica` becomes the primary; the former one, stopped in order, becomes its replica. Nothing that was
        acknowledged is lost: a primary that stops sends all its WAL to the standbys that are connected."""
        until(lambda: self.primary.value("SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'") ==
              len(self.replicas), "all replicas stream", 60)
        conninfo = replica.value("SHOW primary_conninfo").replace(f"port={self.primary.port}", f"port={replica.port}")
        former = self.primary
        former.set("primary_conninfo", conninfo.replace("'", "''"))
        former.stop()
        replica.promote()
        for other in self.replicas:
            if other is not replica:
                other.set("primary_conninfo", conninfo.replace("'", "''"))
        former.become_standby()
        former.start()
        self.primary = replica
        self.replicas = [server for server in self.servers if server is not replica]

    def forget_logs(self) -> None:
        for server in self.servers:
            server.forget_log()

    def where_ran(self, marker: str) -> dict:
        """How often each server ran a statement that contains `marker`; absent: never."""
        counts = {server.name: len(server.statements(marker)) for server in self.servers}
        return {name: count for name, count in counts.items() if count}

    def in_backends(self, condition: str) -> dict:
        """Backends in pg_stat_activity for which `condition` holds, by server."""
        query = f"SELECT count(*) FROM pg_stat_activity WHERE {condition}"
        return {server.name: server.value(query) for server in self.servers}


def _in_spite_of_replay(ask, attempts=50):
    """A replica that is late cancels what is in the way of its replay, at once."""
    for _ in range(attempts - 1):
        try:
            return ask()
        except psycopg.errors.SerializationFailure:
            time.sleep(0.1)
    return ask()


def _rows(connection, query, params):
    cursor = connection.execute(query, params or None)
    return cursor.fetchall() if cursor.description else None


def _is_idle(connection) -> bool:
    """Not if its server has said anything since: most likely that it ends."""
    if connection.closed or connection.info.transaction_status != psycopg.pq.TransactionStatus.IDLE:
        return False
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    return not poll.poll(0)


def _runs(replica: Server, query: str) -> bool:
    """False: what has waited to be replayed cancelled the query."""
    try:
        replica.sql(query)
        return True
    except psycopg.errors.SerializationFailure:
        return False


def _answers(server: Server) -> bool:
    try:
        return server.value("SELECT pg_is_in_recovery()") is not None
    except psycopg.Error:
        return False


def as_owner() -> list:
    if os.getuid() != 0:
        return []
    return ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups", "--"]


def send_signal(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass


def _stat(pid: int) -> list:
    """Fields of /proc/PID/stat from the state on; empty if there is no such process."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            return file.read().rpartition(")")[2].split()
    except OSError:
        return []


def running_postmaster(data: str) -> int:
    """Process id of the server of this data folder, 0 if there is none."""
    try:
        with open(os.path.join(data, "postmaster.pid"), encoding="ascii") as file:
            pid = int(file.readline())
    except (OSError, ValueError):
        return 0
    return pid if is_alive(pid) else 0


def is_alive(pid: int) -> bool:
    fields = _stat(pid)
    return bool(fields) and fields[0] != "Z"


def children_of(parent: int) -> list:
    pids = (int(entry) for entry in os.listdir("/proc") if entry.isdigit())
    return [pid for pid in pids if (fields := _stat(pid)) and int(fields[1]) == parent]


def measure(action) -> float:
    """Seconds that action() takes."""
    start = time.monotonic()
    action()
    return time.monotonic() - start
