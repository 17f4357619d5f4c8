"""SQL that means something else under another setting: what one takes for a literal is a write for the server."""

import psycopg
import pytest

from support import session as sessions
from support.session import on_replicas, ran_on
from support.waiting import until

# A backslash in front of a quote: with standard_conforming_strings the INSERT is inside of a literal.
WITH_BACKSLASH = r"SELECT '\' AS a, '; INSERT INTO encoded VALUES (1); SELECT ' AS b --'"
# The second byte of each of these is a backslash. Read byte by byte, the literal ends only in the comment.
ENCODINGS = {"SJIS": "ソ", "BIG5": "功", "GBK": "誠", "GB18030": "誠"}
WITH_TRAIL_BYTE = "SELECT E'{}'; INSERT INTO encoded VALUES (1); -- '"


@pytest.fixture(autouse=True)
def table(cluster):
    cluster.primary.sql("CREATE TABLE encoded (n int); ALTER TABLE encoded OWNER TO app")
    cluster.wait_until_replayed()
    yield cluster
    cluster.primary.sql("DROP TABLE encoded")


def connect(target, **options):
    """Each text as it is: by a simple Query, with its parameters in it."""
    return sessions.connect(target, prepare_threshold=None, cursor_factory=psycopg.ClientCursor, **options)


def is_offloaded(cluster, session):
    return on_replicas(ran_on(cluster, session, "SELECT 1"))


def rows(cluster):
    return cluster.primary.value("SELECT count(*) FROM encoded")


@pytest.mark.parametrize("how", ["startup", "SET", "set_config"])
def test_without_standard_conforming_strings_nothing_is_taken_for_a_read(target, cluster, how):
    options = {"options": "-c standard_conforming_strings=off"} if how == "startup" else {}
    with connect(target, **options) as session:
        if how != "startup":
            assert is_offloaded(cluster, session)
        if how == "SET":
            session.execute("SET standard_conforming_strings = off")
        elif how == "set_config":
            session.execute("SELECT set_config('standard_conforming_strings', 'off', false)")
        assert ran_on(cluster, session, WITH_BACKSLASH) == {"primary"}
        assert rows(cluster) == 1
        session.execute("SET standard_conforming_strings = on")
        if how != "startup":  # else every text so far may have made any setting
            session.execute("DISCARD ALL")
            until(lambda: is_offloaded(cluster, session), "its reads go to a replica again")
        session.execute(WITH_BACKSLASH)
        assert rows(cluster) == 1  # now it is one SELECT of two literals


@pytest.mark.parametrize("encoding", sorted(ENCODINGS))
@pytest.mark.parametrize("how", ["startup", "SET"])
def test_bytes_of_a_character_are_not_taken_for_quotes(target, cluster, encoding, how):
    statement = WITH_TRAIL_BYTE.format(ENCODINGS[encoding])
    with connect(target, **({"client_encoding": encoding} if how == "startup" else {})) as session:
        if how == "SET":
            assert is_offloaded(cluster, session)
            session.execute(f"SET client_encoding = '{encoding}'")
        # Sent in the encoding, as the driver does: the server says what it understood.
        assert session.execute(f"SELECT length('{ENCODINGS[encoding]}')").fetchone() == (1,)
        assert ran_on(cluster, session, statement) == {"primary"}
        assert rows(cluster) == 1
        session.execute("SET client_encoding = 'UTF8'")
        if how != "startup":
            session.execute("DISCARD ALL")
            until(lambda: is_offloaded(cluster, session), "its reads go to a replica again")
