"""Consistency levels, bounds, tokens and waiting, each where a replica that is late would show a miss."""

import contextlib
import threading
import time

import psycopg
import pytest

from support.cluster import new_marker
from support.session import connect, on_replicas, ran_on
from support.waiting import until


@pytest.fixture
def table(hurt):
    hurt.primary.sql("CREATE TABLE levels (id int PRIMARY KEY, n bigint); INSERT INTO levels VALUES (1, 0);"
                     "ALTER TABLE levels OWNER TO app")
    hurt.wait_until_replayed()
    yield hurt
    hurt.heal()
    hurt.primary.sql("DROP TABLE levels")


@pytest.fixture
def make_late_proxy(make_proxy, table):
    """make_proxy(); then both replicas show what the primary has committed until now, and later commits when catch_up()
    is called. In this order: of a replica that was never up to date with it a pgsteer knows nothing.
    """
    def make(*args, **options):
        proxy = make_proxy(*args, **options)
        for replica in table.replicas:
            replica.pause_replay()
        return proxy
    return make


def catch_up(cluster, proxy):
    """The replicas show all that is committed now, and not what is later; pgsteer knows that they do."""
    for replica in cluster.replicas:
        replica.resume_replay()
    cluster.wait_until_replayed()
    since = time.monotonic()
    until(lambda: all(proxy.metric("pgsteer_server_staleness_seconds", server=replica.name) < time.monotonic() - since
                      for replica in cluster.replicas), "pgsteer knows it")
    for replica in cluster.replicas:
        replica.pause_replay()


def write(session, n):
    session.execute("UPDATE levels SET n = %s WHERE id = 1", (n,))


READ = "SELECT n FROM levels WHERE id = 1"


def read(session, comment=""):
    return session.execute(f"{READ} {comment}").fetchone()[0]


def test_eventual_misses_what_the_levels_above_it_do_not(make_late_proxy, table):
    proxy = make_late_proxy()
    with connect(proxy) as writer, connect(proxy) as reader:
        write(writer, 1)
        assert read(reader, "/* pgsteer: consistency=eventual */") == 0
        assert read(reader) == 0, "another session's write: not promised by level session"
        assert read(reader, "/* pgsteer: consistency=global */") == 1
        write(writer, 2)
        assert read(reader, "/* pgsteer: consistency=strict */") == 2
        assert read(writer) == 2


def test_strict_sees_what_was_written_past_the_proxy(make_late_proxy, table):
    proxy = make_late_proxy({"routing": {"consistency": "strict"}})
    with connect(proxy) as reader:
        table.primary.sql("UPDATE levels SET n = 3 WHERE id = 1")
        assert read(reader) == 3


def test_strict_reads_reach_replicas_that_keep_up(make_proxy, table):
    """They wait for a probe that was sent later, of the primary and of a replica."""
    proxy = make_proxy({"routing": {"consistency": "strict", "freshness_wait": "20s"}})
    with connect(proxy) as reader:
        places = [ran_on(table, reader, READ) for _ in range(20)]
    assert all(on_replicas(place) for place in places), places


@pytest.mark.parametrize("how", ["set", "options", "comment", "user", "database", "config"])
def test_the_level_can_be_set_everywhere(make_late_proxy, table, how):
    changes = {"user": {"auth": {"users": [{"name": "app", "password": "app", "consistency": "global"}]}},
               "database": {"databases": [{"name": "app", "consistency": "global"}]},
               "config": {"routing": {"consistency": "global"}}}.get(how, {})
    proxy = make_late_proxy(changes)
    options = {"options": "-c pgsteer.consistency=global"} if how == "options" else {}
    with connect(proxy) as writer, connect(proxy, **options) as reader:
        if how == "set":
            reader.execute("SET pgsteer.consistency = 'global'")
            assert reader.execute("SHOW pgsteer.consistency").fetchone()[0] == "global"
        write(writer, 4)
        assert read(reader, "/* pgsteer: consistency=global */" if how == "comment" else "") == 4
        if how == "set":
            reader.execute("RESET pgsteer.consistency")
            catch_up(table, proxy)  # what the reader saw on the primary is on the replicas
            write(writer, 5)
            assert read(reader) == 4


def test_a_level_set_in_a_transaction_that_is_rolled_back_is_not_set(make_late_proxy, table):
    proxy = make_late_proxy()
    with connect(proxy) as writer, connect(proxy) as reader:
        reader.execute("BEGIN")
        reader.execute("SET pgsteer.consistency = 'global'")
        reader.execute("ROLLBACK")
        catch_up(table, proxy)  # the reader's own floor is passed
        write(writer, 6)
        assert read(reader) == 0


def test_max_staleness_bounds_what_eventual_reads_miss(make_late_proxy, table):
    proxy = make_late_proxy({"routing": {"consistency": "eventual"}})
    with connect(proxy) as writer, connect(proxy) as reader:
        write(writer, 7)
        until(lambda: all(proxy.metric("pgsteer_server_staleness_seconds", server=replica.name) > 0.6
                          for replica in table.replicas), "the replicas have been behind for longer than the bound")
        assert read(reader) == 0
        assert read(reader, "/* pgsteer: max_staleness=500ms */") == 7
        assert read(reader, "/* pgsteer: max_staleness=1h */") == 0
        reader.execute("SET pgsteer.max_staleness = '500ms'")
        assert read(reader) == 7


def test_a_token_carries_a_write_to_another_session(make_late_proxy, table):
    proxy = make_late_proxy({"routing": {"consistency": "eventual"}})
    with connect(proxy) as writer, connect(proxy) as reader:
        write(writer, 8)
        token = writer.execute("SHOW pgsteer.lsn").fetchone()[0]
        timeline, lsn = token.split("/", 1)
        assert int(timeline) >= 1 and "/" in lsn
        assert read(reader) == 0
        assert read(reader, f"/* pgsteer: min_lsn={token} */") == 8
        reader.execute(f"SET pgsteer.min_lsn = '{token}'")
        assert read(reader) == 8
        catch_up(table, proxy)
        until(lambda: on_replicas(ran_on(table, reader, READ)), "a replica has replayed the token")
        reader.execute(f"SET pgsteer.min_lsn = '{int(timeline) + 1}/{lsn}'")
        assert ran_on(table, reader, READ) == {"primary"}, "a token of another timeline proves nothing here"


def test_the_position_is_shown_to_prepared_statements_too(proxy):
    with connect(proxy) as session:
        first = session.execute("SHOW pgsteer.lsn", prepare=True).fetchone()[0]
        second = session.execute("SHOW pgsteer.lsn", prepare=True).fetchone()[0]
        assert first.count("/") == 2 and second.count("/") == 2


def test_a_read_behind_a_write_waits_for_a_replica_if_it_may(make_proxy, table):
    """Commits are shown by these replicas a moment later: the wait ends then, however long it may be."""
    shares = {}
    for wait in ("0ms", "20s"):
        proxy = make_proxy({"routing": {"freshness_wait": wait}})
        with connect(proxy) as session:
            on_replica = 0
            for n in range(40):
                write(session, n)
                on_replica += on_replicas(ran_on(table, session, READ))
                assert read(session) == n
        shares[wait] = on_replica
    print(f"reads right behind a write that ran on replicas, of 40: {shares}")
    assert shares["20s"] == 40


def test_waiting_ends_at_the_primary(make_late_proxy, table):
    proxy = make_late_proxy({"routing": {"freshness_wait": "30ms"}})
    with connect(proxy) as session:
        write(session, 9)
        assert "primary" in ran_on(table, session, READ)  # replicas may have been asked, in vain
        assert all(replica.value("SELECT n FROM levels") == 0 for replica in table.replicas), "it waited for a replica"


@pytest.mark.parametrize("sql, text", [
    ("SET pgsteer.consistency = 'most'", 'invalid value for parameter "pgsteer.consistency": "most"'),
    ("SET pgsteer.max_staleness = 'soon'", 'invalid value for parameter "pgsteer.max_staleness"'),
    ("SET pgsteer.min_lsn = '16/B374D848'", 'invalid value for parameter "pgsteer.min_lsn"'),
    ("SET pgsteer.colour = 'red'", 'unrecognized configuration parameter "pgsteer.colour"'),
    ("SET pgsteer.lsn = '1/0/0'", 'parameter "pgsteer.lsn" cannot be changed')])
@pytest.mark.core
def test_bad_values_are_refused(proxy, sql, text):
    with connect(proxy) as session:
        for prepare in (False, True):
            with pytest.raises(psycopg.errors.InvalidParameterValue) as info:
                session.execute(sql, prepare=prepare)
            assert text in str(info.value)
        assert session.execute("SELECT 1").fetchone() == (1,)


def test_a_bad_value_at_login_is_refused(proxy):
    with pytest.raises(psycopg.OperationalError) as info:
        connect(proxy, options="-c pgsteer.consistency=most")
    assert 'invalid value for parameter "pgsteer.consistency"' in str(info.value)


@pytest.mark.core
def test_the_last_route_is_told(proxy, cluster):
    with connect(proxy) as session:
        session.execute("SELECT 1")
        route = session.execute("SHOW pgsteer.last_route").fetchone()[0]
        assert "role=replica" in route and "reason=" in route and "staleness=" in route
        session.execute("CREATE TABLE IF NOT EXISTS levels_told (n int)")
        assert session.execute("SHOW pgsteer.last_route").fetchone()[0] == "server=primary role=primary reason=write"
        session.execute("DROP TABLE levels_told")


def test_explain_is_a_notice_for_every_request(proxy):
    notices = []
    with connect(proxy) as session:
        session.add_notice_handler(lambda diagnostic: notices.append(diagnostic.message_primary))
        session.execute("SET pgsteer.explain = on")
        session.execute("SELECT 1")
        session.execute("SELECT pg_backend_pid()")
        session.execute("SET pgsteer.explain = off")
        before = len(notices)
        session.execute("SELECT 1")
        assert len(notices) == before
    assert any("replica" in notice and "reason" in notice for notice in notices), notices
    assert any(notice == "pgsteer: primary primary, reason server_local" for notice in notices), notices


def test_what_is_sampled_is_never_part_of_a_transaction(proxy, cluster):
    """COMMIT AND CHAIN, BEGIN in a text, COPY FROM: nothing of ours gets into the client's transactions."""
    with connect(proxy) as session:
        session.execute("CREATE TABLE IF NOT EXISTS levels_in (n int)")
        session.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        session.execute("COMMIT AND CHAIN")
        session.execute("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE")  # an error behind any query
        session.execute("COMMIT")
        session.execute("INSERT INTO levels_in VALUES (1)")
        session.execute("COMMIT; BEGIN")
        session.execute("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE")
        session.execute("ROLLBACK")
        with session.cursor().copy("COPY levels_in FROM STDIN") as copy:
            copy.write("2\n3\n")
        assert session.execute("SELECT count(*) FROM levels_in").fetchone()[0] == 3
        session.execute("DROP TABLE levels_in")


def test_default_isolation_does_not_make_verified_reads_stale(make_proxy, table):
    """The snapshot of a REPEATABLE READ transaction must not be older than the position that was told."""
    proxy = make_proxy({"routing": {"freshness_wait": "20ms"}})
    with connect(proxy, options="-c default_transaction_isolation=repeatable\\ read") as session:
        for n in range(200):
            write(session, n)
            assert read(session) == n


def test_read_only_transactions_stay_on_the_primary_if_told_so(make_proxy, cluster):
    proxy = make_proxy({"routing": {"transactions": "primary"}})
    with connect(proxy) as session:
        marker = new_marker()
        session.execute("BEGIN READ ONLY")
        session.execute(f"SELECT 1 /* {marker} */")
        session.execute("COMMIT")
        assert set(cluster.where_ran(marker)) == {"primary"}


def test_connections_of_short_sessions_that_write_are_used_again(make_proxy, cluster):
    """The position that is asked for behind a write may come when the client has gone already."""
    proxy = make_proxy()
    with connect(proxy) as session:
        session.execute("CREATE TABLE IF NOT EXISTS levels_short (n int)")
    before = proxy.metric("pgsteer_server_connections_opened_total", server="primary")
    for n in range(60):
        with connect(proxy) as session:
            session.execute("INSERT INTO levels_short VALUES (%s)", (n,))
    opened = proxy.metric("pgsteer_server_connections_opened_total", server="primary") - before
    assert cluster.primary.value("SELECT count(*) FROM levels_short") == 60
    cluster.primary.sql("DROP TABLE levels_short")
    print(f"{opened:.0f} server connections for 60 sessions")
    assert opened <= 12, "a session may come before the connection of the last one is clean again"


def test_a_statement_is_prepared_once_while_a_replica_catches_up(make_proxy, table):
    """It is sent to the same replica again and again until that has replayed what the session wrote."""
    proxy = make_proxy({"routing": {"freshness_wait": "5s"}}, replicas=[table.replicas[0]])
    with connect(proxy) as session:
        write(session, 1)
        read(session)
        for n in range(2, 6):
            table.replicas[0].pause_replay()
            write(session, n)
            timer = threading.Timer(0.2, table.replicas[0].resume_replay)
            timer.start()
            assert session.execute(f"SELECT n, {n} FROM levels WHERE id = 1", prepare=True).fetchone() == (n, n)
            timer.join()


# --- primary_read_limit ---

class HeldReads:
    """`count` reads for which no replica is fresh enough, running on the primary until end()."""

    def __init__(self, cluster, proxy, count):
        self._primary = cluster.primary
        self._proxy = proxy
        self._marker = new_marker()
        self._threads = [threading.Thread(target=self._run) for _ in range(count)]
        for thread in self._threads:
            thread.start()
        until(lambda: len(self._pids()) == count, f"{count} reads run")

    def end(self):
        for pid in self._pids():
            self._primary.sql(f"SELECT pg_cancel_backend({pid})")
        for thread in self._threads:
            thread.join()

    def _run(self):
        with connect(self._proxy) as session:
            write(session, 1)
            with contextlib.suppress(psycopg.errors.QueryCanceled):  # by end()
                session.execute(f"SELECT n, pg_sleep(60) FROM levels WHERE id = 1 /* {self._marker} */")

    def _pids(self):
        return [pid for pid, in self._primary.sql(
            "SELECT pid FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND query LIKE %s", f"%{self._marker}%")]


def limited(make, **routing):
    return make({"routing": {"primary_read_limit": 2, "freshness_wait_max": "300ms", **routing}})


def test_reads_beyond_the_limit_fail_with_a_hint(make_late_proxy, table):
    proxy = limited(make_late_proxy)
    with connect(proxy) as session:
        write(session, 1)
        held = HeldReads(table, proxy, 2)
        start = time.monotonic()
        with pytest.raises(psycopg.errors.CannotConnectNow) as caught:
            read(session)
        assert time.monotonic() - start >= 0.3
        assert "eventual" in caught.value.diag.message_hint
        assert session.info.transaction_status == psycopg.pq.TransactionStatus.IDLE
        write(session, 2)
        assert read(session, "/* pgsteer: consistency=eventual */") is not None
        assert ran_on(table, session, "SELECT n FROM levels WHERE id = 1 /* pgsteer: primary */") == {"primary"}
        held.end()
        assert read(session) == 2


def test_reads_beyond_the_limit_wait_for_a_place(make_late_proxy, table):
    proxy = limited(make_late_proxy, freshness_wait_max="20s")
    with connect(proxy) as session:
        write(session, 1)
        held = HeldReads(table, proxy, 2)
        threading.Timer(0.7, held.end).start()  # the read waits by then
        assert read(session) == 1
        held.end()


def test_eventual_takes_the_least_stale_replica(make_proxy, table):
    proxy = make_proxy({"routing": {"primary_read_limit": 1, "freshness_wait_max": "100ms", "consistency": "eventual",
                                    "degraded_reads": False},
                        "servers": [{"name": server.name, "host": server.host, "port": server.port, "max_lag": "500ms"}
                                    for server in (table.primary, *table.replicas)]})
    for replica in table.replicas:
        replica.pause_replay()
    with connect(proxy) as session:
        write(session, 1)
        for name in "replica1", "replica2":
            proxy.wait_for_state(name, "DEGRADED")
        assert ran_on(table, session, READ) == {"primary"}
        held = HeldReads(table, proxy, 1)
        assert on_replicas(ran_on(table, session, READ))
        session.execute("SELECT 1")
        assert "reason=stale_replica" in session.execute("SHOW pgsteer.last_route").fetchone()[0]
        held.end()
