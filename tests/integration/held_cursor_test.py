"""Cursors WITH HOLD, which outlive their transaction, and notifications of a session's own: as straight from the server."""

import pytest

from support import raw, wire_client
from support.beside import Recorder, same_as_direct

pytestmark = pytest.mark.core


@pytest.fixture
def beside(target, cluster):
    cluster.primary.sql("CREATE TABLE held (n int); INSERT INTO held SELECT generate_series(1, 5);"
                        "CREATE TABLE noted (n int); ALTER TABLE held OWNER TO app; ALTER TABLE noted OWNER TO app")
    cluster.wait_until_replayed()
    target.wait_until_known("held")
    target.wait_until_known("noted")

    def before(dsn):
        cluster.primary.sql("TRUNCATE noted")
        return dsn

    def run(script):
        direct = target.dsn(port=cluster.primary.port)
        return same_as_direct(script, direct, target.dsn(), before)

    yield run
    cluster.primary.sql("DROP TABLE held, noted")


BEGINS = ["BEGIN READ ONLY", "BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY", "BEGIN", None]
DECLARE = "DECLARE c CURSOR WITH HOLD FOR SELECT n FROM held ORDER BY n"


@pytest.mark.parametrize("reads_first", [False, True])
@pytest.mark.parametrize("begin", BEGINS)
def test_a_session_goes_on_while_its_cursor_is_open(beside, begin, reads_first):
    def script(session):
        if begin:
            session.query(begin)
        if reads_first:
            session.query("SELECT count(*) FROM held")
        session.query(DECLARE)
        session.query("FETCH 1 FROM c")
        if begin:
            session.query("COMMIT")
        for number in range(40):
            session.query(f"INSERT INTO noted VALUES ({number})")
            session.query("SELECT count(*) FROM noted")
            session.say(raw.parse("", "SELECT max(n) FROM noted"), raw.bind("", ""), raw.execute(""), raw.SYNC)
            if number % 10 == 0:
                session.query("FETCH 1 FROM c")
        session.query("CLOSE c")
        session.query("FETCH 1 FROM c")
        session.query("SELECT count(*) FROM noted")

    beside(script)


@pytest.mark.parametrize("begin", ["BEGIN READ ONLY", "BEGIN"])
def test_it_is_read_in_later_transactions(beside, begin):
    def script(session):
        session.query("BEGIN READ ONLY")
        session.query(DECLARE)
        session.query("COMMIT")
        session.query(begin)
        session.query("SELECT count(*) FROM held")
        session.query("FETCH 2 FROM c")
        session.query("COMMIT")
        session.query("BEGIN")
        session.query("INSERT INTO noted VALUES (1)")
        session.query("FETCH 2 FROM c")
        session.query("ROLLBACK")
        session.query("FETCH 2 FROM c")
        session.query("CLOSE ALL")
        session.query("SELECT count(*) FROM noted")

    beside(script)


def test_it_is_never_closed(beside, target):
    """The next session on the connection knows nothing of it."""
    def script(session):
        session.query("BEGIN READ ONLY")
        session.query(DECLARE)
        session.query("COMMIT")

    def again(session):
        session.query("FETCH 1 FROM c")
        session.query(DECLARE)
        session.query("FETCH 1 FROM c")

    for _ in range(3):
        beside(script)
        beside(again)


def test_notifications_of_its_own_come_from_the_process_it_was_told_of(target, cluster):
    def heard_by(port):
        with wire_client.log_in("127.0.0.1", port, "app", "app", "app") as session, \
                wire_client.log_in("127.0.0.1", cluster.primary.port, "app", "app", "app") as other:
            recorder = Recorder(session, False)
            recorder.query("LISTEN notes")
            own = recorder.query("NOTIFY notes, 'mine'")
            own += recorder.say(raw.parse("", "SELECT pg_notify('notes', 'and mine')"), raw.bind("", ""),
                                raw.execute(""), raw.SYNC)
            assert raw.kinds(own).count("A") == 2
            other.send(raw.query("NOTIFY notes, 'theirs'"))
            other.read_until_ready()
            theirs = session.read()
            names = {session.key[0].to_bytes(4, "big"): "own", other.key[0].to_bytes(4, "big"): "other"}
            return [(kind, names[body[:4]], body[4:]) for kind, body in [*own, theirs] if kind == "A"]

    assert heard_by(target.port) == heard_by(cluster.primary.port)
