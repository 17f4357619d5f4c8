"""etcd and three Patroni members on loopback, in one temporary folder; ended by process id."""

import os
import pwd
import shlex
import shutil
import signal
import subprocess
import tempfile
import urllib.request
from glob import glob

import psycopg
import yaml

from support.cluster import as_owner, children_of, is_alive, running_postmaster, send_signal
from support.waiting import SLOWDOWN, until

BIN = sorted(glob("/usr/lib/postgresql/*/bin"), key=lambda path: int(path.split("/")[4]))[-1]
PASSWORD = "secret"
ROLES = [
    "CREATE ROLE pgsteer LOGIN REPLICATION PASSWORD 'pgsteer' IN ROLE pg_monitor",
    "CREATE ROLE app LOGIN PASSWORD 'app'",
    "CREATE DATABASE app OWNER app"]


class Member:
    """One Patroni and its PostgreSQL."""

    def __init__(self, cluster, name, port, rest_port):
        self.name, self.host, self.port, self.rest_port = name, "127.0.0.1", port, rest_port
        self.data = os.path.join(cluster.folder, name)
        self.log_file = os.path.join(cluster.folder, "log", f"{name}.log")
        self._patroni_log = os.path.join(cluster.folder, f"{name}.patroni.log")
        self._config = os.path.join(cluster.folder, f"{name}.yaml")
        self._patroni = self._stray = None
        with open(self._config, "w", encoding="utf-8") as file:
            yaml.safe_dump(self._settings(cluster), file)

    def _settings(self, cluster):
        login = {"username": "postgres", "password": PASSWORD}
        return {
            "scope": "failover", "name": self.name,
            "restapi": {"listen": f"127.0.0.1:{self.rest_port}", "connect_address": f"127.0.0.1:{self.rest_port}"},
            "etcd3": {"host": f"127.0.0.1:{cluster.etcd_port}"},
            "bootstrap": {
                # The shortest that Patroni takes.
                "dcs": {"ttl": 20, "loop_wait": 1, "retry_timeout": 3, "maximum_lag_on_failover": 1 << 30,
                        "postgresql": {"use_pg_rewind": True, "parameters": {
                            "wal_log_hints": "on", "max_connections": 150, "wal_keep_size": "512MB"}}},
                "initdb": [{"encoding": "UTF8"}, {"locale": "C.UTF-8"}, "no-sync"]},
            "postgresql": {
                "listen": f"127.0.0.1:{self.port}", "connect_address": f"127.0.0.1:{self.port}",
                "data_dir": self.data, "bin_dir": BIN, "pgpass": os.path.join(cluster.folder, f"{self.name}.pgpass"),
                "authentication": {"superuser": login, "rewind": login,
                                   "replication": {"username": "replicator", "password": PASSWORD}},
                "basebackup": [{"checkpoint": "fast"}, "no-sync"],
                "pg_hba": ["local all all trust", "host all,replication all 127.0.0.1/32 scram-sha-256"],
                "parameters": {
                    "unix_socket_directories": cluster.folder, "password_encryption": "scram-sha-256",
                    "fsync": "off", "logging_collector": "on", "log_directory": os.path.dirname(self.log_file),
                    "log_filename": os.path.basename(self.log_file), "log_rotation_size": 0, "log_rotation_age": 0,
                    "log_line_prefix": "%n [%p] app=%a ", "log_statement": "mod"}}}

    # --- processes

    def start(self):
        with open(self._patroni_log, "ab") as log:
            self._patroni = subprocess.Popen([*as_owner(), "patroni", self._config], stdin=subprocess.DEVNULL,
                                             stdout=log, stderr=log, cwd="/")

    def stop(self):
        """SIGTERM: Patroni stops its PostgreSQL, and gives up the leader key."""
        if self._patroni and self._patroni.poll() is None:
            self._patroni.terminate()
            try:
                self._patroni.wait(60 * SLOWDOWN)
            except subprocess.TimeoutExpired:
                self._patroni.kill()
                self._patroni.wait()
        self._kill_postgres()

    def kill(self):
        """kill -9 of both, as when the machine is lost."""
        if self._patroni:
            self._patroni.kill()
            self._patroni.wait()
        self._kill_postgres()

    def postmaster(self) -> int:
        return running_postmaster(self.data)

    def _kill_postgres(self):
        postmaster = self.postmaster()
        if postmaster:
            children = children_of(postmaster)
            for pid in (postmaster, *children):
                send_signal(pid, signal.SIGKILL)
            until(lambda: not any(is_alive(pid) for pid in (postmaster, *children)), f"{self.name} is gone", 20)
        stale = os.path.join(self.data, "postmaster.pid")
        if os.path.exists(stale):
            os.unlink(stale)

    def start_without_patroni(self):
        """As somebody might who does not know of the promotion: it is what it was, a primary."""
        with open(os.path.join(self.data, "postmaster.opts"), encoding="utf-8") as file:
            command = shlex.split(file.read())
        with open(self._patroni_log, "ab") as log:
            self._stray = subprocess.Popen([*as_owner(), *command], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                           cwd="/")

    def end_stray(self):
        if self._stray:
            self._stray.send_signal(signal.SIGINT)
            self._stray.wait(60 * SLOWDOWN)
            self._stray = None

    # --- what it says

    def connect(self, **options):
        return psycopg.connect(host=self.host, port=self.port, user="postgres", password=PASSWORD, autocommit=True,
                               connect_timeout=5, application_name="harness", **{"dbname": "postgres", **options})

    def sql(self, query, dbname="postgres"):
        with self.connect(dbname=dbname) as session:
            cursor = session.execute(query)
            return cursor.fetchall() if cursor.description else None

    def is_primary(self):
        """None: it does not answer."""
        try:
            return not self.sql("SELECT pg_is_in_recovery()")[0][0]
        except psycopg.Error:
            return None

    def streams(self) -> bool:
        try:
            return self.sql("SELECT count(*) FROM pg_stat_wal_receiver WHERE status = 'streaming'")[0][0] == 1
        except psycopg.Error:
            return False

    def writes(self) -> list:
        """When each INSERT of the load was begun here, by the server's own clock."""
        times = []
        with open(self.log_file, encoding="utf-8", errors="replace") as file:
            for line in file:
                if "INSERT INTO written" in line and "LOG:  " in line:
                    times.append(float(line.split(" ", 1)[0]))
        return times


class PatroniCluster:
    """What support.proxy.Pgsteer needs to know of servers, and what can happen to them."""

    def __init__(self, leases):
        self._leases, self._ports = leases, []
        self.folder = tempfile.mkdtemp(prefix="pgsteer-patroni-")
        os.chmod(self.folder, 0o755)
        os.mkdir(os.path.join(self.folder, "log"))
        self.etcd_port = self._port()
        self._etcd = self._start_etcd()
        self.servers = [Member(self, f"m{n}", self._port(), self._port()) for n in (1, 2, 3)]
        if os.getuid() == 0:
            owner = pwd.getpwnam("postgres")
            for path in (self.folder, os.path.join(self.folder, "log"), *glob(f"{self.folder}/*.yaml")):
                os.chown(path, owner.pw_uid, owner.pw_gid)
        try:
            self.servers[0].start()
            until(lambda: self.servers[0].is_primary(), "the first member is the primary", 60)
            for statement in ROLES:
                self.servers[0].sql(statement)
            for member in self.servers[1:]:
                member.start()
            self.wait_until_whole()
        except BaseException:
            self.stop()
            raise

    def _port(self):
        self._ports.append(self._leases.take())
        return self._ports[-1]

    def _start_etcd(self):
        peer, client = f"http://127.0.0.1:{self._port()}", f"http://127.0.0.1:{self.etcd_port}"
        with open(os.path.join(self.folder, "etcd.log"), "ab") as log:
            return subprocess.Popen(
                ["etcd", "--name", "one", "--data-dir", os.path.join(self.folder, "etcd"),
                 "--listen-client-urls", client, "--advertise-client-urls", client, "--listen-peer-urls", peer,
                 "--initial-advertise-peer-urls", peer, "--initial-cluster", f"one={peer}",
                 "--heartbeat-interval", "500", "--election-timeout", "5000"],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/")

    @property
    def primary(self) -> Member:
        return next(member for member in self.servers if member.is_primary())

    @property
    def replicas(self) -> list:
        return [member for member in self.servers if member.is_primary() is False]

    def wait_until_whole(self):
        """One primary, and two replicas that stream."""
        until(lambda: [member.is_primary() for member in self.servers].count(True) == 1
              and sum(member.streams() for member in self.servers) == 2, "two replicas stream", 120, 0.2)

    def switch_over(self, old: Member, new: Member):
        """What Patroni answers."""
        body = f'{{"leader": "{old.name}", "candidate": "{new.name}"}}'.encode()
        request = urllib.request.Request(f"http://127.0.0.1:{old.rest_port}/switchover", body,
                                         {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=60 * SLOWDOWN) as response:
            return response.read().decode()

    def stop(self):
        for member in getattr(self, "servers", []):
            member.end_stray()
            member.stop()
        self._etcd.terminate()
        self._etcd.wait(30)
        if os.environ.get("PGSTEER_KEEP"):
            print(f"kept: {self.folder}")
        else:
            shutil.rmtree(self.folder, ignore_errors=True)
        for port in self._ports:
            self._leases.give_back(port)
