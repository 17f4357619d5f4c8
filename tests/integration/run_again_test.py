"""What runs again on the primary runs as it was sent at first: names mean what they meant then, whatever the request
itself, or those in flight behind it, have made of them."""

import pytest

from support import raw
from support.beside import same_as_direct
from support.proxy import Pgsteer
from support.waiting import until

pytestmark = pytest.mark.core

S, H, E = raw.SYNC, raw.FLUSH, raw.execute("")
# Reads on a replica, where it fails as in a conflict with recovery; on the primary it does what it says.
AGAIN = "SELECT again({})"


@pytest.fixture(scope="module")
def own_proxy(cluster, leases):
    cluster.primary.sql(
        "CREATE FUNCTION again(n int) RETURNS int STABLE LANGUAGE plpgsql AS $$ BEGIN IF pg_is_in_recovery() THEN "
        "RAISE EXCEPTION 'try again' USING ERRCODE = '40001'; END IF; RETURN n; END $$")
    cluster.wait_until_replayed()
    with Pgsteer(cluster, leases=leases) as proxy:
        yield proxy
    cluster.primary.sql("DROP FUNCTION again(int)")


def dsn_of(port):
    return f"host=127.0.0.1 port={port} user=app password=app dbname=app"


@pytest.fixture
def beside(own_proxy, cluster):
    def retried():
        lines = own_proxy.http("/metrics").splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith("pgsteer_requests_retried_total{"))

    def run(script, times=1):
        def is_read_on_a_replica():
            before = retried()
            with raw.log_in(dsn_of(own_proxy.port)) as session:
                session.send(raw.query(AGAIN.format(0)))
                session.read_until_ready()
            return retried() > before

        until(is_read_on_a_replica, "the function is known, and runs again on the primary")
        before = retried()
        heard = same_as_direct(script, dsn_of(cluster.primary.port), dsn_of(own_proxy.port))
        assert retried() - before >= times
        own_proxy.check_health()
        return heard

    return run


def rows(heard):
    return [raw.values(body)[0] for messages in heard for kind, body in messages if kind == "D"]


def parse(name, number):
    return raw.parse(name, AGAIN.format(number))


def bind(name, portal=""):
    return raw.bind(portal, name)


# Each is sent behind Parse s1 (1) and Parse '' (2), answered before; then the names are tried.
BATCHES = {
    "close": [bind("s1"), E, raw.close("S", "s1"), S],
    "close first": [bind("s1"), raw.close("S", "s1"), E, S],
    "another text for the unnamed": [bind(""), E, parse("", 12), S],
    "another text for the unnamed, and used": [bind(""), E, parse("", 12), bind(""), E, S],
    "another text between bind and execute": [bind("", "p"), parse("", 12), raw.execute("p"), S],
    "another text for a name": [bind("s1"), E, raw.close("S", "s1"), parse("s1", 11), S],
    "another text for a name, and used": [bind("s1"), E, raw.close("S", "s1"), parse("s1", 11), bind("s1"), E, S],
    "used when closed": [bind("s1"), E, raw.close("S", "s1"), bind("s1"), E, S],
    "a name of its own": [parse("s2", 3), bind("s2"), E, raw.close("S", "s2"), S],
    "a name of its own stays": [parse("s2", 3), bind("s2"), E, S],
    "a name of its own twice": [parse("s2", 3), bind("s2"), E, raw.close("S", "s2"), parse("s2", 4), bind("s2"), E, S],
    "a name in use": [bind("s1"), E, parse("s1", 11), S],
    "describe": [raw.describe("S", "s1"), bind("s1"), E, raw.close("S", "s1"), S],
    "portals": [bind("s1", "p"), bind("", "q"), raw.close("S", "s1"), raw.close("S", ""), raw.execute("q"),
                raw.close("P", "q"), raw.execute("p"), S],
    "closed unnamed": [bind(""), E, raw.close("S", ""), S],
    # The error is remembered with the text of the first read, which is no other test's.
    "an error at the end": [raw.parse("s2", "SELECT again(3) AS other"), bind("s2"), E, raw.close("S", "s1"),
                            raw.parse("", "SELECT nosuch"), S],
}


@pytest.mark.parametrize("batch", BATCHES)
def test_names_mean_what_they_meant_at_first(beside, batch):
    def script(session):
        session.say(parse("s1", 1), S)
        session.say(parse("", 2), S)
        session.say(*BATCHES[batch])
        try_names(session)

    beside(script)


def try_names(session):
    for name in ("s1", "", "s2"):
        session.say(bind(name), E, S)
    session.say(parse("s1", 21), S)
    session.say(bind("s1"), E, S)


def test_in_parts(beside):
    """Bound in a part that was answered, run and closed in the next."""
    def script(session):
        session.say(parse("s1", 1), S)
        session.session.send(bind("s1"), H)
        session.hear_until("2")
        session.session.send(raw.describe("P", ""), H)
        session.hear_until("T")
        session.say(E, raw.close("S", "s1"), parse("s1", 11), bind("s1"), E, S)
        try_names(session)

    assert rows(beside(script))[:2] == [b"1", b"11"]


PIPELINES = {
    "close": [[raw.close("S", "s1"), S], [bind("s1"), E, S]],
    "replace": [[raw.close("S", "s1"), S], [parse("s1", 11), S], [bind("s1"), E, S], [raw.close("S", "s1"), S]],
    "unnamed": [[parse("", 12), S], [bind(""), E, S], [parse("", 13), bind(""), E, S]],
    "new": [[parse("s2", 3), S], [bind("s2"), E, S], [raw.close("S", "s2"), parse("s2", 4), S]],
    "deallocate": [[raw.query("DEALLOCATE s1")], [parse("s1", 11), bind("s1"), E, S]],
    "deallocate all": [[raw.query("DEALLOCATE ALL")], [parse("s1", 11), bind("s1"), E, S]],
    "prepare": [[raw.query("DEALLOCATE s1")], [raw.query(f"PREPARE s1 AS {AGAIN.format(11)}")], [raw.query("EXECUTE s1")]],
}


@pytest.mark.parametrize("pipeline", PIPELINES)
@pytest.mark.parametrize("by", ["parse", "prepare"])
def test_a_pipeline_of_requests_runs_again(beside, pipeline, by):
    def script(session):
        session.say(parse("s1", 1) + S if by == "parse" else raw.query(f"PREPARE s1 AS {AGAIN.format(1)}"))
        session.say(parse("", 2), S)
        requests = PIPELINES[pipeline]
        session.say(bind("s1"), E, S, *(part for request in requests for part in request), ready=1 + len(requests))
        try_names(session)

    beside(script)


def test_in_a_transaction(beside):
    def script(session):
        session.say(parse("s1", 1), S)
        session.query("BEGIN READ ONLY")
        session.query("SELECT 5")
        session.say(bind("s1"), E, raw.close("S", "s1"), parse("s1", 11), S)
        session.say(bind("s1"), E, S)
        session.query("COMMIT")
        try_names(session)

    beside(script)


def test_execute_and_deallocate_in_sql(beside):
    def script(session):
        session.query(f"PREPARE s1 AS {AGAIN.format(1)}")
        session.query("EXECUTE s1")
        session.query("EXECUTE s1; DEALLOCATE s1")
        session.query("EXECUTE s1")
        try_names(session)

    beside(script)


def test_a_sync_waits_for_what_runs_again(cluster, leases):
    """It ends an open request of a transaction that has left its replica, and of which no server has anything yet."""
    with Pgsteer(cluster, {"pool": {"size": 1, "acquire_timeout": "30s"}}, leases=leases) as proxy:
        dsn = dsn_of(proxy.port)
        with raw.log_in(dsn, timeout=60):
            pass  # what the servers report to such a session is known from now on
        with raw.log_in(dsn, timeout=60) as holder, raw.log_in(dsn, timeout=60) as client:
            holder.send(raw.query("BEGIN; SELECT pg_current_xact_id()"))
            holder.read_until_ready()
            client.send(raw.query("BEGIN READ ONLY"))
            client.read_until_ready()
            client.send(raw.parse("", "SELECT 'a'::int"), raw.bind("", ""), E, H)
            until(lambda: proxy.metric("pgsteer_pool_waiting") == 1, "it waits for the primary")
            client.send(S)
            client.send(raw.query("SELECT 1"))
            holder.socket.close()  # makes room
            # Parse is answered with the error, then come the Sync and the Query, in the failed transaction.
            assert raw.kinds(client.read_until_ready()) == "EZ"
            assert raw.kinds(client.read_until_ready()) == "EZ"
