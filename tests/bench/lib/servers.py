"""The PostgreSQL servers behind all that is compared: one primary, two replicas, thrown away afterwards."""

import os
import subprocess
import time

import psycopg

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
_THROWAWAY = os.path.join(ROOT, "deploy", "throwaway-cluster")
_SETTINGS = [
    "max_connections = 1200",      # for the idle clients of relays that have no pool
    "shared_buffers = '256MB'",    # all data in memory
    "autovacuum = off",
]


class Servers:
    """Use as a context manager."""

    def __init__(self, folder: str, leases, scale: int):
        self.host = "127.0.0.1"
        self._folder = os.path.join(folder, "pg")
        self._scale = scale
        ports = ",".join(str(leases.take()) for _ in range(3))
        command = [_THROWAWAY, "start", self._folder, "--fast", "--replicas", "2", "--ports", ports]
        for setting in _SETTINGS:
            command += ["--set", setting]
        output = subprocess.run(command, check=True, timeout=120, text=True,
                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE).stdout
        env = dict(line.split("=", 1) for line in output.splitlines())
        self.pgbench = os.path.join(env["BINDIR"], "pgbench")
        self.ports = {"primary": int(env["PRIMARY_PORT"]), "replica1": int(env["REPLICA1_PORT"]),
                      "replica2": int(env["REPLICA2_PORT"])}
        self.primary_pid = int(env["PRIMARY_PID"])
        self._superuser = {"user": env["SUPERUSER"], "password": env["SUPERUSER_PASSWORD"]}
        self._watchers = {}

    def __enter__(self):
        try:
            self._fill()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for watcher in self._watchers.values():
            watcher.close()
        subprocess.run([_THROWAWAY, "stop", self._folder, "--remove"], check=False, timeout=300)

    def _fill(self) -> None:
        subprocess.run(
            [self.pgbench, "-i", "-q", "-s", str(self._scale), "-h", self.host,
             "-p", str(self.ports["primary"]), "-U", "app", "app"],
            env={**os.environ, "PGPASSWORD": "app"}, check=True, timeout=120,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for name, port in self.ports.items():
            self._watchers[name] = psycopg.connect(
                host=self.host, port=port, dbname="app", autocommit=True, **self._superuser)
        self._watchers["primary"].execute("CHECKPOINT")
        target = self._watchers["primary"].execute("SELECT pg_current_wal_flush_lsn()").fetchone()[0]
        for name in ("replica1", "replica2"):
            self._wait_for(name, target)

    def create_databases(self, names: list) -> None:
        for name in names:
            self._watchers["primary"].execute(f'CREATE DATABASE "{name}" OWNER app')
        for name in ("replica1", "replica2"):
            self._wait_for(name, self._watchers["primary"].execute("SELECT pg_current_wal_flush_lsn()").fetchone()[0])

    def _wait_for(self, name: str, lsn: str) -> None:
        for _ in range(600):
            query = "SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn"
            if self._watchers[name].execute(query, (lsn,)).fetchone()[0]:
                return
            time.sleep(0.05)
        raise RuntimeError(f"{name} does not catch up")

    def reads_by_server(self) -> dict:
        """Index scans of pgbench's table that each server has counted; backends report about once a second."""
        query = "SELECT idx_scan FROM pg_stat_user_tables WHERE relname = 'pgbench_accounts'"
        return {name: watcher.execute(query).fetchone()[0] for name, watcher in self._watchers.items()}
