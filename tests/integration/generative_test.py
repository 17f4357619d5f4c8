"""Random statements, once on the primary and once through pgsteer with two replicas: the same results, and never
an error that only a replica gives. Each side has a schema of its own, so that writes stay comparable, and no statistics:
how often nextval() is called below a LIMIT depends on the plan."""

import random

import psycopg
import pytest

from support.session import connect

TABLES = """
    CREATE SCHEMA {s};
    CREATE TABLE {s}.a (id int PRIMARY KEY, n int, body text) WITH (autovacuum_enabled = off);
    CREATE TABLE {s}.b (id int PRIMARY KEY, a_id int, x numeric) WITH (autovacuum_enabled = off);
    CREATE UNLOGGED TABLE {s}.u (id int PRIMARY KEY, n int) WITH (autovacuum_enabled = off);
    INSERT INTO {s}.a SELECT i, i % 7, 'row ' || i % 5 FROM generate_series(1, 40) i;
    INSERT INTO {s}.b SELECT i, i % 40, i * 1.5 FROM generate_series(1, 60) i;
    INSERT INTO {s}.u SELECT i, i FROM generate_series(1, 10) i;
    CREATE SEQUENCE {s}.s;
    CREATE TABLE {s}.log (n int) WITH (autovacuum_enabled = off);
    CREATE FUNCTION {s}.reads(int) RETURNS int LANGUAGE sql STABLE AS 'SELECT max(n) + $1 FROM {s}.a';
    CREATE FUNCTION {s}.twice(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1 * 2';
    CREATE FUNCTION {s}.writes(int) RETURNS int LANGUAGE sql VOLATILE AS
        'INSERT INTO {s}.log VALUES ($1); SELECT $1';
    CREATE VIEW {s}.v AS SELECT id, n, {s}.twice(n) AS m FROM {s}.a;
    CREATE VIEW {s}.w AS SELECT id, {s}.writes(n) AS m FROM {s}.a WHERE id < 4;
    GRANT USAGE ON SCHEMA {s} TO app;
    GRANT ALL ON ALL TABLES IN SCHEMA {s} TO app; GRANT ALL ON ALL SEQUENCES IN SCHEMA {s} TO app;
"""


class Grammar:
    """Statements with {s} where the schema goes. `depth` bounds how far they nest."""

    def __init__(self, seed):
        self._random = random.Random(seed)

    def _one(self, *choices):
        return self._random.choice(choices)

    def _number(self):
        return str(self._random.randint(-3, 45))

    def statement(self):
        kind = self._random.random()
        if kind < 0.62:
            return self._select(2)
        if kind < 0.70:
            return self._with()
        return self._write()

    def _value(self, depth):
        """An int expression over the columns id and n."""
        if depth == 0:
            return self._one("id", "n", self._number())
        inner = self._value(depth - 1)
        return self._one(
            inner, f"({inner} + {self._value(depth - 1)})", f"abs({inner})", f"coalesce({inner}, 0)",
            f"CASE WHEN {self._condition(depth - 1)} THEN {inner} ELSE {self._number()} END",
            f"{{s}}.reads({inner})", f"{{s}}.twice({inner})", f"{{s}}.writes({inner})",
            f"(SELECT max({inner}) FROM {{s}}.b)" if "n" not in inner.replace("CASE WHEN", "") else inner,
            f"length('text {self._number()}'::text)", f"nullif({inner}, 3)", f"greatest({inner}, 1)",
            f"nextval('{{s}}.s')::int * 0", f"({inner} % 5)")

    def _condition(self, depth):
        if depth <= 0:
            return f"{self._one('id', 'n')} {self._one('=', '<', '>', '<>', '<=')} {self._number()}"
        return self._one(
            f"{self._value(depth - 1)} {self._one('=', '<', '>=')} {self._value(depth - 1)}",
            f"({self._condition(depth - 1)} {self._one('AND', 'OR')} {self._condition(depth - 1)})",
            f"NOT {self._condition(depth - 1)}", f"id IN ({self._number()}, {self._number()}, {self._number()})",
            f"id BETWEEN {self._number()} AND {self._number()}", f"EXISTS (SELECT 1 FROM {{s}}.b WHERE a_id = id)",
            f"n = ANY (ARRAY[{self._number()}, {self._number()}])", "n IS NOT NULL")

    def _source(self, depth):
        if depth > 0 and self._random.random() < 0.3:
            return f"(SELECT id, n FROM {self._source(depth - 1)} WHERE {self._condition(1)}) AS q"
        return self._one("{s}.a", "{s}.a", "{s}.v", "{s}.u", "ONLY {s}.a",
                         "(SELECT id, m AS n FROM {s}.w) AS w",
                         "(SELECT b.id, a_id AS n FROM {s}.b JOIN {s}.a ON a.id = b.a_id) AS j",
                         "(VALUES (1, 2), (3, 4)) AS c (id, n)", "generate_series(1, 5) AS g (id), LATERAL (SELECT g.id AS n) l")

    def _select(self, depth):
        source = self._source(depth)
        shape = self._random.random()
        if shape < 0.25:
            text = f"SELECT {self._one('count(*)', 'sum(n)', 'max(id)', 'min(n)', f'sum({self._value(1)})')} FROM {source}"
            text += f" WHERE {self._condition(depth)}"
        elif shape < 0.4:
            text = f"SELECT n, count(*) FROM {source} WHERE {self._condition(1)} GROUP BY n HAVING count(*) > 0 ORDER BY n"
        elif shape < 0.5:
            text = f"SELECT id, row_number() OVER (ORDER BY id) FROM {source} WHERE {self._condition(1)} ORDER BY id"
        else:
            text = f"SELECT id, {self._value(depth)} FROM {source} WHERE {self._condition(depth)} ORDER BY id, 2 LIMIT 7"
        if self._random.random() < 0.1:
            text = f"SELECT * FROM ({text}) AS outside"
        if self._random.random() < 0.05 and "{s}.a" == source:
            text += " FOR UPDATE" if "count" not in text and "GROUP" not in text and "OVER" not in text else ""
        return text

    def _with(self):
        body = self._one(
            self._select(1), f"INSERT INTO {{s}}.log VALUES ({self._number()}) RETURNING n",
            f"UPDATE {{s}}.a SET n = n + 1 WHERE {self._condition(0)} RETURNING id",
            f"DELETE FROM {{s}}.log WHERE n = {self._number()} RETURNING n")
        return f"WITH w AS ({body}) SELECT count(*) FROM w"

    def _write(self):
        number = self._number()
        return self._one(
            f"INSERT INTO {{s}}.a VALUES ({number}, {self._number()}, 'new') ON CONFLICT (id) DO UPDATE SET n = excluded.n",
            f"INSERT INTO {{s}}.log SELECT {self._value(1)} FROM {{s}}.a WHERE {self._condition(1)}",
            f"UPDATE {{s}}.a SET n = {self._value(1)} WHERE {self._condition(1)}",
            f"UPDATE {{s}}.b SET x = x + 1 WHERE id = {number}", f"DELETE FROM {{s}}.log WHERE n > {number}",
            f"UPDATE {{s}}.u SET n = {number}", f"SELECT {{s}}.writes({number})", "SELECT nextval('{s}.s')",
            "SELECT last_value FROM {s}.s", "TABLE {s}.s", f"SELECT id FROM {{s}}.a WHERE id = {number} FOR SHARE",
            "BEGIN; " + f"UPDATE {{s}}.a SET n = {number} WHERE id = 1" + "; COMMIT",
            f"SET work_mem = '{self._random.randint(1, 9)}MB'", "SELECT count(*) FROM {s}.log",
            f"SELECT 1; UPDATE {{s}}.b SET x = {number} WHERE id = 2", f"SELECT {number} / (id - id) FROM {{s}}.a")


def outcome(session, text, prepare):
    """Rows as text, sorted where their order is open; or the SQLSTATE."""
    try:
        cursor = session.execute(text, prepare=prepare and ";" not in text)
        rows = []
        while True:
            rows += [repr(row) for row in cursor.fetchall()] if cursor.description else [cursor.statusmessage]
            if not cursor.nextset():
                break
        return sorted(rows)
    except psycopg.Error as error:
        assert not session.closed, f"{text}: {error}"
        if session.info.transaction_status != psycopg.pq.TransactionStatus.IDLE:
            session.rollback()
        return [f"error {error.sqlstate}"]


@pytest.mark.parametrize("seed", [1, 2])
def test_random_statements_give_the_same_results(make_proxy, cluster, full, seed):
    for schema in ("generated_direct", "generated_proxied"):
        cluster.primary.sql(f"DROP SCHEMA IF EXISTS {schema} CASCADE")
        cluster.primary.sql(TABLES.replace("{s}", schema))
    cluster.wait_until_replayed()
    # Knows what there is from the beginning. However slow a replica is, a read outside of a transaction waits for it.
    proxy = make_proxy({"routing": {"freshness_wait": "20s"}})
    grammar = Grammar(seed)
    choice = random.Random(-seed)
    count = 10_000 if full else 750
    errors = 0
    scans = {server.name: 0 for server in cluster.replicas}
    try:
        with connect(proxy) as proxied, \
                connect(cluster.primary) as direct:
            for number in range(count):
                text = grammar.statement()
                prepare = choice.random() < 0.3
                expected = outcome(direct, text.replace("{s}", "generated_direct"), prepare)
                got = outcome(proxied, text.replace("{s}", "generated_proxied"), prepare)
                assert got == expected, f"statement {number} of seed {seed}: {text}\n{got[:5]}\n{expected[:5]}"
                errors += expected[0].startswith("error") if expected else 0
        for server in cluster.replicas:
            scans[server.name] = len(server.statements("generated_proxied"))
        print(f"{count} statements, {errors} of them errors on both sides; on replicas: {scans}")
        assert errors < count / 2, "most statements are wrong: the test shows little"
        assert sum(scans.values()) > count / 10
    finally:
        for schema in ("generated_direct", "generated_proxied"):
            cluster.primary.sql(f"DROP SCHEMA {schema} CASCADE")
