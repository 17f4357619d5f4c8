"""Replicas whose own configuration differs from the primary's: their sessions answer as the primary would."""

import re

import psycopg
import pytest

from support import raw
from support.beside import comparable, until_read_on_a_replica
from support.cluster import new_marker
from support.proxy import Pgsteer
from support.session import connect, dsn
from support.waiting import until
from support.wire_client import log_in

# What the replicas' postgresql.conf says; the primary has what initdb has made.
REPLICAS = {
    "array_nulls": "off", "backslash_quote": "off", "bytea_output": "escape", "client_encoding": "latin1",
    "client_min_messages": "error", "DateStyle": "German, DMY", "default_text_search_config": "pg_catalog.german",
    "escape_string_warning": "off", "exit_on_error": "on", "extra_float_digits": "-10",
    "gin_fuzzy_search_limit": "7", "IntervalStyle": "sql_standard", "lc_messages": "POSIX",
    "lc_monetary": "POSIX", "lc_numeric": "POSIX", "lc_time": "POSIX", "lo_compat_privileges": "on",
    "quote_all_identifiers": "on", "restrict_nonsystem_relation_kind": "view", "row_security": "off",
    "search_path": "elsewhere, public", "standard_conforming_strings": "off", "TimeZone": "Asia/Tokyo",
    "timezone_abbreviations": "India", "transform_null_equals": "on", "xmlbinary": "hex", "xmloption": "document",
}
FOR_SUPERUSERS = {"lc_messages", "lo_compat_privileges"}
# Reads that answer otherwise under each of them.
READS = {
    "array_nulls": "SELECT ('{1,NULL}'::text[])[2] IS NULL",
    "backslash_quote": r"SELECT E'it\'s'",
    "bytea_output": r"SELECT '\x00ff41'::bytea",
    "client_encoding": "SELECT chr(8364) || 'uro'",
    "client_min_messages": "SELECT to_tsquery('the')",
    "DateStyle": "SELECT date '2020-02-01', '03/04/2020'::date - date '2020-01-01'",
    "default_text_search_config": "SELECT to_tsvector('the running of walks')",
    "escape_string_warning": r"SELECT 'a\b'",
    "exit_on_error": "SELECT 1/(length('x') - 1)",
    "extra_float_digits": "SELECT 0.1::float8 + 0.2::float8",
    "IntervalStyle": "SELECT interval '1 day 2 hours'",
    "quote_all_identifiers": "SELECT quote_ident('plain')",
    "row_security": "SELECT n FROM conf.secured",
    "search_path": "SELECT n FROM twice",
    "standard_conforming_strings": r"SELECT length('a\\b')",
    "TimeZone": "SELECT timestamptz '2020-01-01 00:00+00'",
    "timezone_abbreviations": "SELECT timestamptz '2020-01-01 00:00 IST' = timestamptz '2020-01-01 00:00+02'",
    "transform_null_equals": "SELECT (NULL::int = NULL) IS NULL",
    "xmlbinary": r"SELECT xmlelement(name a, '\x00ff'::bytea)",
    "xmloption": "SELECT 'no document'::xml",
}


def known(session) -> dict:
    """As pg_settings spells them: what the table names and this version has."""
    names = {row[0].lower() for row in session.execute("SELECT name FROM pg_settings")}
    return {name: setting for name, setting in REPLICAS.items() if name.lower() in names}


def configure(servers, settings) -> None:
    """In force, for the sessions that begin from now on, when this returns."""
    for server in servers:
        with server.connect() as session:
            for name in known(session).keys() & settings.keys():
                quote = "" if name == "search_path" else "'"
                session.execute(f"ALTER SYSTEM SET {name} = {quote}{settings[name]}{quote}")
        server.sql("SELECT pg_reload_conf()")


def unconfigure(server) -> None:
    with server.connect() as session:
        for name in known(session):
            session.execute(f"ALTER SYSTEM RESET {name}")
    server.sql("SELECT pg_reload_conf()")


@pytest.fixture(scope="module", autouse=True)
def _servers(cluster):
    cluster.primary.sql("""
        CREATE SCHEMA conf; CREATE SCHEMA elsewhere; GRANT USAGE ON SCHEMA conf, elsewhere TO PUBLIC;
        CREATE TABLE public.twice AS SELECT 'public' AS n; CREATE TABLE elsewhere.twice AS SELECT 'elsewhere' AS n;
        CREATE TABLE conf.secured AS SELECT generate_series(1, 3) AS n;
        ALTER TABLE conf.secured ENABLE ROW LEVEL SECURITY; CREATE POLICY odd ON conf.secured USING (n % 2 = 1);
        GRANT SELECT ON public.twice, elsewhere.twice, conf.secured TO PUBLIC;
        CREATE ROLE configured LOGIN PASSWORD 'configured'; CREATE ROLE owner SUPERUSER LOGIN PASSWORD 'owner'""")
    cluster.wait_until_replayed()
    configure(cluster.replicas, REPLICAS)
    yield
    for server in cluster.servers:
        unconfigure(server)
    cluster.primary.sql("DROP SCHEMA conf, elsewhere CASCADE; DROP TABLE twice; DROP ROLE configured; DROP ROLE owner")


CHANGES = {"auth": {"users": [{"name": name, "password": name} for name in ("app", "configured", "owner")]}}


@pytest.fixture(scope="module")
def proxy(cluster, leases):
    with Pgsteer(cluster, CHANGES, leases=leases) as running:
        until_read_on_a_replica(dsn(running), "SELECT n FROM conf.secured", "SELECT n FROM twice")
        yield running


def login_of(session) -> dict:
    return {name: value for name, value in session.parameters.items()
            if name not in ("in_hot_standby", "default_transaction_read_only", "is_superuser")}


class Session:
    """A session that notes what it was told."""

    def __init__(self, where, user="app", **parameters):
        self.marker = new_marker()
        self.raw = log_in(where.host, where.port, user, user, "app", **parameters)
        self.heard = [login_of(self.raw)]

    def say(self, *messages: bytes) -> None:
        self.raw.send(*messages)
        self.heard.append([comparable(message) for message in self.raw.read_until_ready()])

    def read(self, text: str) -> None:
        self.say(raw.query(f"{text} /* {self.marker} */"))

    def read_extended(self, text: str) -> None:
        self.say(raw.parse("", f"{text} /* {self.marker} */"), raw.bind("", ""), raw.describe("P", ""),
                 raw.execute(""), raw.SYNC)

    def read_all(self) -> None:
        for text in READS.values():
            self.read(text)
            self.read_extended(text)


@pytest.fixture
def beside(cluster, proxy):
    """beside(script, user, **startup): the same straight and through pgsteer, where its reads ran on replicas;
    with `mostly` but for those that cannot."""
    def run(script, user="app", mostly=False, **parameters):
        heard = []
        for where in (cluster.primary, proxy):
            session = Session(where, user, **parameters)
            with session.raw:
                script(session)
            heard.append(session.heard)
        for step, (straight, through) in enumerate(zip(*heard)):
            assert through == straight, f"step {step}:\n direct  {straight}\n through {through}"
        where = cluster.where_ran(session.marker)
        on_primary = where.pop("primary", 0)
        assert on_primary < sum(where.values()) if mostly else where and not on_primary, (on_primary, where)
    return run


# --- what sessions are answered

@pytest.mark.core
def test_reads_answer_as_on_the_primary(beside):
    beside(Session.read_all)


def test_each_of_these_reads_tells_the_difference(cluster):
    """Or the test above would prove nothing."""
    replica = cluster.replicas[0]
    heard = {}
    for where in (cluster.primary, replica):
        for name, text in READS.items():
            session = Session(where)
            with session.raw:
                try:
                    session.read(text)
                except EOFError:
                    session.heard.append("the session has ended")
            heard.setdefault(name, []).append(session.heard[1])
    alike = {name for name, (one, other) in heard.items() if one == other}
    with replica.connect() as session:
        assert not alike & known(session).keys() - {"escape_string_warning"}  # needs another setting with it


@pytest.mark.core
@pytest.mark.parametrize("statement", ["RESET {}", "SET {} TO DEFAULT", "SET LOCAL {} TO DEFAULT"])
def test_what_is_reset_is_the_primarys(beside, statement):
    def script(session):
        for name, text in READS.items():
            value = REPLICAS[name] if name == "search_path" else f"'{REPLICAS[name]}'"
            if name in ("client_encoding", "exit_on_error"):
                continue  # what the client can read; what it lives on with
            session.say(raw.query(f"SET {name} TO {value}"))
            if "LOCAL" in statement:
                session.say(raw.query("BEGIN READ ONLY"))
            session.say(raw.query(statement.format(name)))
            session.read(text)
            if "LOCAL" in statement:
                session.say(raw.query("ROLLBACK"))
                session.say(raw.query(f"RESET {name}"))
            session.read(text)
    beside(script, mostly=True)  # not where strings are read otherwise


@pytest.mark.core
@pytest.mark.parametrize("statement", ["RESET ALL", "DISCARD ALL"])
def test_what_is_reset_at_once_is_the_primarys(beside, statement):
    def script(session):
        session.say(raw.query("SET TimeZone TO 'Asia/Tokyo'; SET DateStyle TO 'SQL, DMY'"))
        session.read_all()
        session.say(raw.query(statement))
        session.read_all()
    beside(script)


@pytest.mark.core
def test_show_says_what_holds(beside):
    def script(session):
        session.read("SELECT 1")
        for name in sorted(REPLICAS.keys() - FOR_SUPERUSERS):
            session.say(raw.query(f"SHOW {name}"))
    beside(script)


@pytest.mark.parametrize("startup", [
    {"TimeZone": "America/New_York", "extra_float_digits": "2"},
    {"options": "-c timezone=America/New_York -c bytea_output=escape -c search_path=elsewhere,\\ public"},
    {"options": "--intervalstyle=iso_8601", "timezone": "UTC"},
    {"DateStyle": "ISO"}, {"datestyle": "DMY"}, {"options": "-c DateStyle=German"}, {"options": "-e"},
    {"client_encoding": "UTF8", "search_path": "conf, elsewhere"},
])
def test_what_the_client_brings_along_wins(beside, startup):
    def script(session):
        session.read_all()
        session.say(raw.query("SET DateStyle TO 'Postgres'; SET TimeZone TO 'UTC'; SET bytea_output TO 'hex'"))
        session.read_all()
        session.say(raw.query("RESET ALL"))
        session.read_all()
    beside(script, **startup)


@pytest.mark.core
@pytest.mark.parametrize("scope, undo", [
    ("ROLE configured", "ALTER ROLE configured RESET ALL"),
    ("ROLE configured IN DATABASE app", "ALTER ROLE configured IN DATABASE app RESET ALL"),
    ("DATABASE app", "ALTER DATABASE app RESET ALL"), ("ROLE ALL", "ALTER ROLE ALL RESET ALL"),
])
def test_what_is_set_for_roles_and_databases_wins(beside, cluster, proxy, scope, undo):
    with connect(proxy, user="owner") as owner:
        for setting in ("TimeZone = 'Australia/Sydney'", "bytea_output = 'escape'", "lc_messages = 'C'",
                        "search_path = 'elsewhere'"):
            owner.execute(f"ALTER {scope} SET {setting}")
        try:
            cluster.wait_until_replayed()
            beside(Session.read_all, "configured")
        finally:
            owner.execute(undo)
    cluster.wait_until_replayed()
    beside(Session.read_all, "configured")


# --- changes

def value(session, name) -> str:
    return session.execute(f"SELECT current_setting('{name}')").fetchone()[0]


def ran_on_a_replica(session) -> bool:
    return "role=replica" in session.execute("SHOW pgsteer.last_route").fetchone()[0]


@pytest.mark.core
def test_a_change_on_the_primary_is_followed(cluster, proxy):
    """By new sessions and by those that are there, as direct; but not by what a client has set."""
    with connect(proxy) as session, connect(proxy) as other, connect(proxy) as busy:
        other.execute("SET TimeZone TO 'UTC'")
        busy.execute("BEGIN READ ONLY")
        for held in (session, other, busy):
            held.execute("SELECT n FROM twice")
            assert ran_on_a_replica(held)
        began_with = value(busy, "bytea_output")
        try:
            configure([cluster.primary], {"TimeZone": "Europe/Paris", "bytea_output": "escape"})

            def is_followed():
                with connect(proxy) as fresh:
                    return all((value(one, "TimeZone"), value(one, "bytea_output")) == ("Europe/Paris", "escape") and
                               ran_on_a_replica(one) for one in (session, fresh))
            until(is_followed, "sessions on replicas have the new values")
            assert session.info.parameter_status("TimeZone") == "Europe/Paris"
            assert other.info.parameter_status("TimeZone") == "UTC"
            assert value(other, "TimeZone") == "UTC" and ran_on_a_replica(other)
            assert value(busy, "bytea_output") == began_with
            busy.execute("COMMIT")
            until(lambda: value(busy, "bytea_output") == "escape" and ran_on_a_replica(busy), "after its end")
        finally:
            unconfigure(cluster.primary)
        until(lambda: value(session, "bytea_output") == "hex" and ran_on_a_replica(session), "and back")


@pytest.mark.core
def test_a_change_on_a_replica_is_not(cluster, proxy):
    settings = {row[0]: row[1] for row in cluster.primary.sql("SELECT name, setting FROM pg_settings")}
    with connect(proxy) as session:
        session.execute("SELECT n FROM twice")
        assert ran_on_a_replica(session)
        try:
            configure(cluster.replicas, {"lc_time": "C", "bytea_output": "hex", "IntervalStyle": "postgres_verbose"})
            for _ in range(20):
                until(lambda: value(session, "IntervalStyle") == settings["IntervalStyle"] and
                      ran_on_a_replica(session), "another connection is used")
                with connect(proxy) as fresh:
                    for name in ("bytea_output", "IntervalStyle", "lc_time"):
                        assert value(fresh, name) == settings[name]
        finally:
            configure(cluster.replicas, REPLICAS)


def test_a_new_primary_decides(hurt, make_proxy):
    """What was a replica, and is configured otherwise, is the primary: sessions get its values everywhere."""
    proxy = make_proxy(CHANGES)
    former, coming = hurt.primary, hurt.replicas[0]
    for replica, settings in zip(hurt.replicas, [{"bytea_output": "escape"}, {"lc_time": "POSIX"}]):
        unconfigure(replica)
        configure([replica], settings)
    try:
        with connect(proxy) as session:
            session.execute("SELECT n FROM twice")
            assert value(session, "bytea_output") == "hex" and ran_on_a_replica(session)
        hurt.switch_over(coming)

        def is_followed():
            try:
                with connect(proxy) as fresh:
                    return value(fresh, "bytea_output") == "escape" and ran_on_a_replica(fresh)
            except psycopg.Error:
                return False
        until(is_followed, "the new primary's values", 60)
    finally:
        hurt.heal()
        hurt.switch_over(former)
        configure(hurt.replicas, REPLICAS)


# --- what is seen of it

def shown(proxy, server) -> dict:
    [found] = [one["settings"] for one in proxy.status()["servers"] if one["name"] == server]
    return {setting["name"]: setting for setting in found}


@pytest.mark.core
def test_what_cannot_be_set_is_told(cluster, make_proxy):
    """In /status and the metrics as long as it is so, and once in the log."""
    proxy = make_proxy(CHANGES)
    assert shown(proxy, "primary") == {} and proxy.metric("pgsteer_server_unequal_settings") == 0
    for name in cluster.replicas:
        until_settings_are_known(proxy, name.name)
    with connect(proxy, user="owner") as owner:  # who may set it
        owner.execute("SELECT n FROM twice")
    for replica in cluster.replicas:
        settings = shown(proxy, replica.name)
        for name in FOR_SUPERUSERS:
            expected = {"name": name, "primary": cluster.primary.value(f"SHOW {name}"), "replica": REPLICAS[name],
                        "sessions_get": "replica", "database": "app", "user": "app"}
            assert settings[name] == expected
            told = [line for line in proxy.log().splitlines()
                    if "answers so" in line and replica.name in line and name in line]
            assert len(told) == 1, told
        assert settings["TimeZone"]["sessions_get"] == "primary"
        assert {name for name, one in settings.items() if one["sessions_get"] == "replica"} == FOR_SUPERUSERS
        assert proxy.metric("pgsteer_server_unequal_settings", server=replica.name) == len(FOR_SUPERUSERS)
    assert proxy.metric("pgsteer_server_unequal_settings", server="primary") == 0
    try:
        configure(cluster.replicas, {"lo_compat_privileges": "off"})
        for replica in cluster.replicas:
            until(lambda name=replica.name: "lo_compat_privileges" not in shown(proxy, name), "it is mended")
    finally:
        configure(cluster.replicas, REPLICAS)


def until_settings_are_known(proxy, server) -> None:
    def is_known():
        with connect(proxy) as one, connect(proxy) as other:
            for session in (one, other):
                session.execute("SELECT n FROM twice")
        return shown(proxy, server)
    until(is_known, f"a session has been on {server}")


@pytest.mark.core
def test_nothing_is_asked_where_nothing_differs(cluster, make_proxy):
    """One question for a database, user and primary, and no login that is given up."""
    for server in cluster.replicas:
        unconfigure(server)
    try:
        proxy = make_proxy({**CHANGES, "workers": 1})
        cluster.forget_logs()
        with connect(proxy) as one, connect(proxy, application_name="another") as other:
            for session in (one, other):
                session.execute("SELECT n FROM twice")
        asked = re.findall(r"statement: (.*current_setting\('array_nulls', true\))", cluster.primary.log())
        assert len(asked) == 1, asked
        assert all(shown(proxy, server.name) == {} for server in cluster.servers)
    finally:
        configure(cluster.replicas, REPLICAS)
