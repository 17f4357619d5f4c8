"""A pgsteer process: configuration, start, readiness, what it says about itself, stop."""

import copy
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import urllib.error
import urllib.request

from support.cluster import ROOT, Cluster
from support.ports import PortLeases
from support.waiting import SLOWDOWN, until

USERS = [
    {"name": "app", "password": "app"},
    {"name": "load", "password": "load"},
    {"name": "other", "password": "other"},
    {"name": "md5_user", "password": "md5"},
    {"name": "clear_user", "password": "clear"},
    {"name": "trust_user", "password": "trust"},
    {"name": "repl", "password": "repl"},
]


def find_binary() -> str:
    """PGSTEER_BINARY, or the newest build."""
    named = os.environ.get("PGSTEER_BINARY")
    if named:
        return named
    builds = [os.path.join(ROOT, "build", preset, "proxy", "pgsteer")
              for preset in ("dev", "release", "asan", "tsan")]
    found = [path for path in builds if os.access(path, os.X_OK)]
    if not found:
        raise RuntimeError("pgsteer is not built; set PGSTEER_BINARY, or run tests/run")
    return max(found, key=os.path.getmtime)


def merged(base: dict, changes: dict) -> dict:
    """`base` with `changes`; mappings are merged, everything else is replaced."""
    result = copy.deepcopy(base)
    for key, value in changes.items():
        if isinstance(value, dict) and isinstance(result.get(key), dict):
            result[key] = merged(result[key], value)
        else:
            result[key] = value
    return result


class Pgsteer:
    """One running pgsteer before `cluster`. `changes` are merged into the usual configuration."""

    def __init__(self, cluster: Cluster, changes=None, leases=None, replicas=None, wait=True):
        self._leases = leases or PortLeases()
        self._stopped = False
        self.host = "127.0.0.1"
        self.port = self._leases.take()
        self.admin_port = self._leases.take()
        self.folder = tempfile.mkdtemp(prefix="pgsteer-proxy-")
        servers = [cluster.primary, *(cluster.replicas if replicas is None else replicas)]
        base = {
            "listen": {"address": self.host, "port": self.port, "login_timeout": "2m"},  # machines may be slow
            "admin": {"address": self.host, "port": self.admin_port},
            "workers": 2,
            "shutdown_timeout": "10s",
            "servers": [{"name": server.name, "host": server.host, "port": server.port}
                        for server in servers],
            "databases": [{"name": "app"}, {"name": "postgres"}],
            "health": {"user": "pgsteer", "password": "pgsteer", "database": "postgres",
                       "interval": "200ms",
                       # A machine without time for three probes is no trouble of the tests'; who tests that sets it.
                       "timeout": f"{5 * SLOWDOWN:g}s"},
            "pool": {"size": 120},
            "auth": {"users": USERS},
        }
        self.config = merged(base, changes or {})
        self.config_file = os.path.join(self.folder, "pgsteer.yaml")
        self.log_file = os.path.join(self.folder, "pgsteer.log")
        # JSON is YAML.
        with open(self.config_file, "w", encoding="utf-8") as file:
            json.dump(self.config, file, indent=1)
        self.start(wait)

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        self.stop(check=kind is None)

    # --- process

    def start(self, wait=True) -> None:
        environment = dict(os.environ)
        # A finding must be seen: in the log, and as an exit status of its own.
        environment.setdefault("ASAN_OPTIONS", "exitcode=99:detect_leaks=1")
        environment.setdefault("UBSAN_OPTIONS", "print_stacktrace=1")
        environment.setdefault("TSAN_OPTIONS", "exitcode=99:halt_on_error=0")
        with open(self.log_file, "ab") as log:
            self.process = subprocess.Popen(
                [find_binary(), "--config", self.config_file], stdin=subprocess.DEVNULL,
                stdout=log, stderr=subprocess.STDOUT, env=environment, cwd="/")
        if wait:
            try:
                self.wait_until_ready()
            except BaseException:
                self.process.kill()
                self.process.wait()
                raise

    def wait_until_ready(self) -> None:
        """Until there is a primary, every replica has been seen to be healthy, and what can be read of the databases that the
        configuration names is read: until then reads run on the primary."""
        def ready():
            if self.process.poll() is not None:
                raise AssertionError(f"pgsteer ended at start:\n{self.log_tail()}")
            return self.http_status("/readyz") == 200
        try:
            until(ready, "pgsteer is ready", 20)
            until(lambda: all(state == "HEALTHY" for state in self.states().values()),
                  "every server is HEALTHY", 20)
            until(lambda: all(catalog["loaded"] or catalog["last_error"] for catalog in self.status()["catalogs"]),
                  "every catalog is read", 20)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.log_tail()}") from None

    def stop(self, check=True) -> None:
        """SIGTERM, then SIGKILL; a bad exit or a sanitizer's finding is an error."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(60 * SLOWDOWN)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
                if check:
                    raise AssertionError(f"pgsteer ignored SIGTERM\n{self.log_tail()}") from None
        if self._stopped:
            return
        self._stopped = True
        for port in (self.port, self.admin_port):
            self._leases.give_back(port)
        if check:
            self.check_health()
            assert self.process.returncode == 0, (
                f"pgsteer ended with {self.process.returncode}\n{self.log_tail()}")
        shutil.rmtree(self.folder, ignore_errors=True)

    def check_health(self) -> None:
        """Fails if a sanitizer has complained or the process has died."""
        finding = re.search(r"(ERROR: \w+Sanitizer|WARNING: ThreadSanitizer|runtime error:)",
                            self.log())
        assert not finding, self.log()[finding.start():][:6000]
        assert self.process.poll() in (None, 0), (
            f"pgsteer died with {self.process.returncode}\n{self.log_tail()}")

    def log(self) -> str:
        with open(self.log_file, encoding="utf-8", errors="replace") as file:
            return file.read()

    def log_tail(self, lines=40) -> str:
        return "\n".join(self.log().splitlines()[-lines:])

    def rss_kib(self) -> int:
        with open(f"/proc/{self.process.pid}/status", encoding="ascii") as file:
            return int(re.search(r"VmRSS:\s+(\d+) kB", file.read())[1])

    def cpu_seconds(self) -> float:
        with open(f"/proc/{self.process.pid}/stat", encoding="ascii", errors="replace") as file:
            fields = file.read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    # --- what it says about itself (never the proof of where a statement ran)

    def http(self, path: str) -> str:
        with urllib.request.urlopen(self._url(path), timeout=30 * SLOWDOWN) as response:
            return response.read().decode()

    def http_status(self, path: str) -> int:
        """0 if nobody answers."""
        try:
            with urllib.request.urlopen(self._url(path), timeout=5 * SLOWDOWN) as response:
                return response.status
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return 0

    def _url(self, path: str) -> str:
        return f"http://{self.host}:{self.admin_port}{path}"

    def status(self) -> dict:
        return json.loads(self.http("/status"))

    def states(self) -> dict:
        """Server name -> HEALTHY, DEGRADED, UNHEALTHY or UNKNOWN."""
        return {server["name"]: server["status"].upper() for server in self.status()["servers"]}

    def metric(self, name: str, **labels) -> float:
        """The sum of all samples of `name` that carry these labels."""
        total, found = 0.0, False
        for line in self.http("/metrics").splitlines():
            match = re.fullmatch(r"(\w+)(?:\{(.*)\})? (\S+)", line)
            if not match or match[1] != name:
                continue
            pairs = dict(re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', match[2] or ""))
            if all(pairs.get(key) == value for key, value in labels.items()):
                total, found = total + float(match[3]), True
        assert found, f"no metric {name} with {labels}"
        return total

    def wait_for_state(self, server: str, state: str, timeout=15) -> None:
        until(lambda: self.states()[server] == state, f"{server} is {state}", timeout)
