"""A statement that crashes its server process takes one server down, and is not carried to the next. Ended by a signal
here: as the postmaster sees it, a process that was killed has crashed."""

import os
import signal
import threading

import psycopg
import pytest

from support.cluster import new_marker, send_signal
from support.session import connect
from support.waiting import SLOWDOWN, until

CHECKPOINTER = "SELECT backend_start FROM pg_stat_activity WHERE backend_type = 'checkpointer'"


class Statement(threading.Thread):
    """Sleeps on some server until its process is ended; then `error` tells how."""

    def __init__(self, proxy, in_transaction=False):
        super().__init__(daemon=True)
        self.marker = new_marker()
        self.error = None
        self._in_transaction = in_transaction
        self._session = connect(proxy)
        self.start()

    def run(self):
        try:
            if self._in_transaction:
                self._session.execute("BEGIN READ ONLY")
            self._session.execute(f"SELECT pg_sleep(600) /* {self.marker} */")
        except psycopg.Error as error:
            self.error = error
        self._session.close()

    def where(self, cluster, without=None):
        """(server, pid), or None as long as it runs nowhere, the server `without` left out."""
        half = len(self.marker) // 2  # the logs are searched for the whole
        for server in cluster.servers:
            if server is without or not _answers(server):
                continue
            pid = server.value("SELECT max(pid) FROM pg_stat_activity WHERE state = 'active' AND query LIKE "
                               f"'SELECT pg_sleep(600)%' || '{self.marker[:half]}' || '{self.marker[half:]}' || '%'")
            if pid is not None:
                return server, pid
        return None

    def crash(self, cluster):
        """Ends its process, until that is what ended it: another's crash may have been first, and it goes on elsewhere.
        Returns the server that had it last."""
        last = None

        def is_over():
            nonlocal last
            if found := self.where(cluster):
                last, pid = found
                send_signal(pid, signal.SIGKILL)
            self.join(0.2)
            return not self.is_alive()
        until(is_over, "it runs, and crashes", 30)
        return last


def _answers(server):
    try:
        return server.value("SELECT true")
    except psycopg.Error:
        return False


class Bystander(threading.Thread):
    """Reads in autocommit all the time."""

    def __init__(self, proxy):
        super().__init__(daemon=True)
        self.is_over = False
        self.reads, self.failed = 0, []
        self._session = connect(proxy)
        self.start()

    def run(self):
        while not self.is_over:
            try:
                self._session.execute("SELECT count(*) FROM pg_class")
                self.reads += 1
            except psycopg.Error as error:
                self.failed.append(repr(error))
                return
        self._session.close()


@pytest.fixture
def bystanders(hurt, make_proxy):
    proxy = make_proxy()
    running = [Bystander(proxy) for _ in range(8)]
    yield proxy, running
    for bystander in running:
        bystander.is_over = True
    for bystander in running:
        bystander.join(30 * SLOWDOWN)
    assert not sum((bystander.failed for bystander in running), [])


@pytest.mark.core
@pytest.mark.parametrize("in_transaction", [False, True])
def test_only_its_own_server_has_to_recover(hurt, bystanders, in_transaction):
    proxy, running = bystanders
    before = {server: server.value(CHECKPOINTER) for server in hurt.servers}
    statement = Statement(proxy, in_transaction)
    crashed = statement.crash(hurt)
    until(lambda: _answers(crashed), "the server has recovered", 30)
    assert crashed is not hurt.primary
    assert statement.error is not None and statement.error.sqlstate == "08006", statement.error
    assert "not run again" in statement.error.diag.message_hint
    assert hurt.where_ran(statement.marker) == {crashed.name: 1}
    assert {server for server in hurt.servers if server.value(CHECKPOINTER) != before[server]} == {crashed}
    assert proxy.metric("pgsteer_errors_total", error="server_process_crashed") == 1
    reads = [bystander.reads for bystander in running]
    until(lambda: all(bystander.reads > count or bystander.failed for bystander, count in zip(running, reads)),
          "bystanders go on")


def test_a_statement_that_has_crashed_two_is_refused(hurt, make_proxy):
    proxy = make_proxy()
    before = {server: server.value(CHECKPOINTER) for server in hurt.servers}
    statements = [Statement(proxy) for _ in range(2)]  # on one server or on two, where the second goes on elsewhere
    crashed = [statement.crash(hurt) for statement in statements]
    assert [statement.error.sqlstate for statement in statements] == ["08006"] * 2
    for _ in range(3):
        refused = Statement(proxy)
        refused.join(30 * SLOWDOWN)
        assert refused.error is not None and refused.error.sqlstate == "08006", refused.error
        assert "a minute" in refused.error.diag.message_primary
        assert not hurt.where_ran(refused.marker)
    until(lambda: all(_answers(server) for server in hurt.servers), "all have recovered", 30)
    assert {server for server in hurt.servers if server.value(CHECKPOINTER) != before[server]} == set(crashed)
    assert proxy.metric("pgsteer_errors_total", error="statement_crashes") == 3
    assert proxy.log().count("a statement has crashed its server process") == 2
    with connect(proxy) as session:
        assert session.execute("SELECT 7").fetchone() == (7,)


def test_a_server_that_is_gone_altogether_is_no_crash(hurt, make_proxy):
    """Then a read goes on elsewhere, as ever."""
    proxy = make_proxy()
    statement = Statement(proxy)
    server, _ = until(lambda: statement.where(hurt), "it runs")
    server.kill()
    elsewhere, pid = until(lambda: statement.where(hurt, without=server), "it runs elsewhere", 30)
    elsewhere.sql("SELECT pg_terminate_backend(%s)", pid)
    assert "crashed" not in proxy.log()


def test_reads_do_not_go_back_across_a_crash(hurt, make_proxy):
    """A crashed standby recovers behind where it was. Here it stays there: what was committed last, it replays an hour
    later. pg_postmaster_start_time() tells nothing of it."""
    replica = hurt.replicas[0]
    # Whoever truncates a system catalog locks it until a commit that the standby will not replay: nobody could log in.
    hurt.primary.set("autovacuum", "off")
    hurt.primary.sql("CREATE TABLE crash_reads (n int); ALTER TABLE crash_reads OWNER TO app;"
                     "INSERT INTO crash_reads VALUES (0)")
    hurt.wait_until_replayed()
    proxy = make_proxy(replicas=[replica])
    try:
        with connect(proxy) as session:
            read = "SELECT n FROM crash_reads"
            until(lambda: session.execute(read).fetchone() and _is_on(session, replica), "reads are on the replica")
            hurt.primary.sql("CHECKPOINT")
            hurt.wait_until_replayed()
            replica.sql("CHECKPOINT")
            for n in range(1, 4):
                session.execute("UPDATE crash_reads SET n = %s", (n,))
                until(lambda: session.execute(read).fetchone() == (n,) and _is_on(session, replica), "the replica has it")
            started = replica.value("SELECT pg_postmaster_start_time()")
            replica.set("recovery_min_apply_delay", "1h")
            victim = replica.value("SELECT pid FROM pg_stat_activity WHERE application_name = 'pgsteer-health'")
            os.kill(victim, signal.SIGKILL)
            for _ in range(200):
                assert session.execute(read).fetchone() == (3,)
            until(lambda: _answers(replica), "the replica has recovered", 30)
            assert replica.value("SELECT pg_postmaster_start_time()") == started
            for _ in range(200):
                assert session.execute(read).fetchone() == (3,)
    finally:
        hurt.heal()
        hurt.primary.sql("ALTER SYSTEM RESET autovacuum")
        hurt.primary.sql("SELECT pg_reload_conf(); DROP TABLE crash_reads")


def _is_on(session, server):
    return f"server={server.name} " in session.execute("SHOW pgsteer.last_route").fetchone()[0] + " "
