"""What is compared: how each proxy is configured, started and stopped. All listen on 127.0.0.1."""

import json
import os
import pwd
import resource
import shutil
import subprocess
import textwrap
import time
import urllib.request

import psycopg

MODES = ("simple", "extended", "prepared")


class Contender:
    """One way from pgbench to the servers. Subclasses write the configuration and name the command."""

    name = ""
    note = ""
    modes = MODES
    unprivileged = False     # the program refuses to run as root
    may_be_idle = True       # can take part in the measurement of memory

    def __init__(self, folder: str, leases, servers, idle_clients: int, pin=None):
        self.servers = servers
        self.idle_clients = idle_clients
        self.folder = os.path.join(folder, self.name.replace(" ", "-"))
        self.leases = leases
        self.port = leases.take()
        self._pin = pin
        self._process = None
        os.makedirs(self.folder, exist_ok=True)

    @property
    def pid(self):
        return self._process.pid if self._process else None

    def command(self) -> list:
        raise NotImplementedError

    def start(self) -> None:
        command = self.command()
        if self.unprivileged and os.getuid() == 0:
            owner = pwd.getpwnam("postgres")
            for folder, _, files in os.walk(self.folder):
                for path in (folder, *(os.path.join(folder, file) for file in files)):
                    os.chown(path, owner.pw_uid, owner.pw_gid)
            # setpriv replaces itself: the process id stays what it is.
            command = ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups", "--", *command]
        with open(self.log_file, "ab") as log:
            self._process = subprocess.Popen(
                command, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                preexec_fn=self._prepare_child)
        try:
            self.wait_until_ready()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        if not self._process:
            return
        self._process.terminate()
        try:
            self._process.wait(15)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    @property
    def log_file(self) -> str:
        return os.path.join(self.folder, "log")

    def write(self, name: str, text: str) -> str:
        path = os.path.join(self.folder, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(textwrap.dedent(text))
        return path

    def wait_until_ready(self) -> None:
        end = time.monotonic() + 30
        while True:
            try:
                with psycopg.connect(host="127.0.0.1", port=self.port, user="app", password="app", dbname="app",
                                     sslmode="disable", connect_timeout=5) as connection:
                    connection.execute("SELECT abalance FROM pgbench_accounts WHERE aid = 1")
                return
            except psycopg.Error as error:
                if time.monotonic() > end or self._process and self._process.poll() is not None:
                    raise RuntimeError(f"{self.name} does not work: {error}\n{self._log_tail()}") from error
                time.sleep(0.1)

    def _log_tail(self) -> str:
        with open(self.log_file, encoding="utf-8", errors="replace") as file:
            return file.read()[-2000:]

    def _prepare_child(self) -> None:
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        if self._pin is not None:
            os.sched_setaffinity(0, {self._pin})


class Direct(Contender):
    name = "direct"
    note = "no proxy, one replica"
    may_be_idle = False

    def start(self) -> None:
        self.leases.give_back(self.port)
        self.port = self.servers.ports["replica1"]


class HaProxy(Contender):
    name = "HAProxy"
    note = "TCP relay to one replica, 1 thread"

    def command(self) -> list:
        config = self.write("haproxy.cfg", f"""\
            global
                nbthread 1
                maxconn {2 * self.idle_clients + 500}
            defaults
                mode tcp
                timeout connect 5s
                timeout client 1h
                timeout server 1h
            listen postgresql
                bind 127.0.0.1:{self.port}
                server replica1 127.0.0.1:{self.servers.ports["replica1"]}
            """)
        return [_program("haproxy"), "-db", "-f", config]


class PgBouncer(Contender):
    unprivileged = True
    pool_mode = ""
    pool_size = 20

    def command(self) -> list:
        users = self.write("userlist.txt", '"app" "app"\n')
        config = self.write("pgbouncer.ini", f"""\
            [databases]
            app = host=127.0.0.1 port={self.servers.ports["replica1"]} dbname=app
            [pgbouncer]
            listen_addr = 127.0.0.1
            listen_port = {self.port}
            unix_socket_dir =
            auth_type = scram-sha-256
            auth_file = {users}
            pool_mode = {self.pool_mode}
            max_client_conn = {self.idle_clients + 100}
            default_pool_size = {self.pool_size}
            log_connections = 0
            log_disconnections = 0
            """)
        return [_program("pgbouncer"), config]


class PgBouncerSession(PgBouncer):
    name = "PgBouncer session"
    note = "pool_mode=session, one replica"
    pool_mode = "session"

    def command(self) -> list:
        self.pool_size = self.idle_clients + 20
        return super().command()


class PgBouncerTransaction(PgBouncer):
    name = "PgBouncer transaction"
    note = "pool_mode=transaction, one replica; 1.18 cannot run -M prepared in this mode"
    pool_mode = "transaction"
    modes = ("simple", "extended")


class Pgpool(Contender):
    name = "pgpool-II"
    note = "load balancing over primary and two replicas; a process for each client"
    unprivileged = True
    children = 32  # the default

    def command(self) -> list:
        nodes = "".join(
            f"backend_hostname{i} = '127.0.0.1'\nbackend_port{i} = {port}\nbackend_weight{i} = 1\n"
            for i, port in enumerate(self.servers.ports.values()))
        self.write("pool_passwd", "app:TEXTapp\npgsteer:TEXTpgsteer\n")
        hba = self.write("pool_hba.conf", "host all all 127.0.0.1/32 scram-sha-256\n")
        pcp = self.write("pcp.conf", "")
        config = self.write("pgpool.conf", f"""\
            backend_clustering_mode = 'streaming_replication'
            listen_addresses = '127.0.0.1'
            port = {self.port}
            unix_socket_directories = '{self.folder}'
            pcp_listen_addresses = '127.0.0.1'
            pcp_port = {self.leases.take()}
            pcp_socket_dir = '{self.folder}'
            pid_file_name = '{self.folder}/pgpool.pid'
            logdir = '{self.folder}'
            enable_pool_hba = on
            pool_passwd = 'pool_passwd'
            num_init_children = {self.children}
            load_balance_mode = on
            sr_check_user = 'pgsteer'
            sr_check_database = 'postgres'
            """)
        with open(config, "a", encoding="utf-8") as file:
            file.write(nodes)
        return [_program("pgpool"), "-n", "-f", config, "-a", hba, "-F", pcp]

    def prepare_for_idle_clients(self) -> None:
        self.children = self.idle_clients + 10


class Pgsteer(Contender):
    binary = ""
    replicas = ()
    routing = ""  # settings of that section, as in {freshness_wait: 5ms}

    def command(self) -> list:
        self._admin_port = self.leases.take()
        servers = "".join(f"- {{name: {name}, host: 127.0.0.1, port: {self.servers.ports[name]}}}\n"
                          for name in ("primary", *self.replicas))
        config = self.write("pgsteer.yaml", f"""\
            listen: {{address: 127.0.0.1, port: {self.port}}}
            admin: {{address: 127.0.0.1, port: {self._admin_port}}}
            workers: 1
            health: {{user: pgsteer, password: pgsteer}}
            pool: {{size: {self.idle_clients + 20}}}
            auth: {{users: [{{name: app, password: app}}]}}
            log: {{level: warning}}
            routing: {self.routing or "{}"}
            servers:
            """)
        with open(config, "a", encoding="utf-8") as file:
            file.write(servers)
        return [self.binary, "--config", config]

    def wait_until_ready(self) -> None:
        super().wait_until_ready()
        end = time.monotonic() + 30
        while time.monotonic() < end:
            states = [server["status"].upper() for server in self.status()["servers"]]
            if all(state == "HEALTHY" for state in states):
                return
            time.sleep(0.1)
        raise RuntimeError(f"{self.name}: servers are {states}")

    def status(self) -> dict:
        with urllib.request.urlopen(f"http://127.0.0.1:{self._admin_port}/status", timeout=5) as answer:
            return json.load(answer)

    def metrics(self) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self._admin_port}/metrics", timeout=5) as answer:
            return answer.read().decode()


class PgsteerOneReplica(Pgsteer):
    name = "pgsteer, 1 replica"
    note = "1 worker, SCRAM, every statement classified; primary and one replica"
    replicas = ("replica1",)


class PgsteerTwoReplicas(Pgsteer):
    name = "pgsteer, 2 replicas"
    note = "the same with two replicas"
    replicas = ("replica1", "replica2")


ALL = (Direct, HaProxy, PgBouncerSession, PgBouncerTransaction, Pgpool, PgsteerOneReplica, PgsteerTwoReplicas)


def versions() -> dict:
    """Of the programs that are compared, by the name of the program."""
    commands = {"haproxy": "-v", "pgbouncer": "--version", "pgpool": "--version"}
    found = {}
    for program, option in commands.items():
        output = subprocess.run([_program(program), option], check=False, capture_output=True, text=True, timeout=10)
        words = (output.stdout + output.stderr).split()
        found[program] = next((word.rstrip(",") for word in words if word[:1].isdigit()), "?")
    return found


def _program(name: str) -> str:
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    if not found:
        raise RuntimeError(f"{name} is not installed; deploy/install-packages bench installs it")
    return found
