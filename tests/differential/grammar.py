"""Random scripts. Everything comes from the seed.

What PostgreSQL itself does not do the same way twice is left out: rows without ORDER BY, time, process ids, and sessions
that wait for each other (each writes rows of its own; DDL runs while nobody else is in a transaction).
"""

import random

from differential.script import Script

_BROKEN = [["raw", "z", ""], ["raw", "p", "00"], ["raw", "P", "00"], ["raw", "D", "585800"], ["raw", "C", "7800"],
           ["raw", "E", ""], ["raw", "S", "00"], ["raw", "Q", "41"], ["raw", "H", "00"], ["raw", "B", "0000"]]


class Texts:
    """SQL of one session. `number` makes its rows and channels its own."""

    def __init__(self, rng: random.Random, number: int, sessions: int, apart: bool):
        self._rng = rng
        self._n = number
        self._alone = sessions == 1
        self._t = f"own{number}" if apart else "t"
        self._channel = f"ch{number}" if apart else "ch"
        self._apart = apart

    def any(self, kind=None) -> str:
        makers = [self.read, self.write, self.control, self.setting, self.cursor, self.prepared, self.failing,
                  self.several, self.notification, self.lock]
        weights = [10, 5, 6, 4, 3, 2, 4, 2, 2, 1]
        return (kind or self._rng.choices(makers, weights)[0])()

    def _one(self, *choices):
        return self._rng.choice(choices)

    def _key(self):
        return self._n + 1 + 3 * self._rng.randrange(2 if self._apart else 4)

    def any_key(self):
        return self._key()

    def _new(self):
        return 20 + self._n + 3 * self._rng.randrange(2)

    def read(self) -> str:
        t, n = self._t, self._rng.randrange(12)
        return self._one(
            "SELECT 7", "SELECT 'a', NULL::int", "VALUES (1), (2)", f"SELECT k, v FROM {t} WHERE k < {n} ORDER BY k",
            f"SELECT count(*), sum(v) FROM {t}", f"SELECT * FROM {t} ORDER BY k LIMIT 3", f"SELECT v FROM {t} WHERE k = $1",
            f"SELECT k FROM {t} WHERE k < $1 ORDER BY k", "SELECT $1::text, $2::int + 1", "SELECT twice($1)",
            "SELECT i FROM generate_series(1, 5) i", "SELECT i, repeat('y', 500) FROM generate_series(1, 30) i",
            "SELECT repeat('x', 1000) FROM generate_series(1, 100)", "SELECT '2024-03-01 12:00+00'::timestamptz",
            "SELECT m FROM moods ORDER BY k", "SELECT m FROM moods WHERE m = $1", "SELECT 1.5::float8 / 3", "SELECT '\\x41'::bytea",
            "SELECT reads(5), twice(3)" if not self._apart else "SELECT twice(3)", "SELECT k, v FROM seen ORDER BY k"
            if not self._apart else "SELECT 8", "SELECT changing(2)", "SELECT notes('x')", "SELECT lies(3)", "SELECT k FROM u ORDER BY k",
            "SELECT * FROM moving ORDER BY k", "SELECT k, w FROM moving ORDER BY k", "SELECT v FROM moving WHERE k = $1",
            "SHOW work_mem", "SHOW search_path", "SHOW TimeZone", "SHOW transaction_isolation", "SHOW transaction_read_only",
            "SELECT current_setting('work_mem'), nullif(current_setting('my.x', true), '')",
            "SELECT now() = now()", "EXPLAIN (COSTS OFF) SELECT 1", f"SELECT k FROM {t} WHERE k = {self._key()} FOR UPDATE",
            f"COPY (SELECT k, v FROM {t} ORDER BY k) TO STDOUT", "SELECT count(*) FROM late" if self._alone else "SELECT 9",
            "SELECT k FROM tmp ORDER BY k", "", "-- nothing", "SELECT 1 AS a, 2 AS b -- end", "TABLE moods")

    def write(self) -> str:
        t, new, n = self._t, self._new(), self._rng.randrange(90)
        columns = "(k, v)"
        return self._one(
            f"INSERT INTO {t} {columns} VALUES ({new}, {n})", f"INSERT INTO {t} {columns} VALUES ({new}, {n}) RETURNING v",
            f"INSERT INTO {t} {columns} VALUES ({new}, {n}) ON CONFLICT (k) DO UPDATE SET v = excluded.v",
            f"UPDATE {t} SET v = v + 1 WHERE k = {self._key()}", f"UPDATE {t} SET v = {n} WHERE k = {self._key()} RETURNING k, v",
            f"DELETE FROM {t} WHERE k = {new}", f"DELETE FROM {t} WHERE k = {self._key()}",
            f"INSERT INTO {t} {columns} VALUES ({self._key()}, 0)", f"INSERT INTO log VALUES ({n})", "INSERT INTO log VALUES ($1)",
            f"WITH w AS (INSERT INTO log VALUES ({n}) RETURNING n) SELECT n FROM w", f"SELECT writes({n})", "SELECT writes($1)",
            "SELECT nextval('s')" if not self._apart else "SELECT writes(1)", "SELECT currval('s')" if self._alone else "SELECT 1",
            f"INSERT INTO late VALUES ({n}, {self._n * 10})", f"UPDATE u SET v = {n} WHERE k = {self._n + 1}",
            "DO $$ BEGIN INSERT INTO log VALUES (5); END $$", "DO $$ BEGIN RAISE NOTICE 'hello'; END $$",
            "CREATE TEMP TABLE tmp (k int)", "INSERT INTO tmp VALUES (1), (2)", "DROP TABLE tmp", "DROP TABLE IF EXISTS tmp",
            "CREATE TEMP TABLE IF NOT EXISTS tmp (k int) ON COMMIT DELETE ROWS")

    def control(self) -> str:
        name = self._one("a", "b")
        return self._one(
            *["BEGIN"] * 6, "BEGIN READ ONLY", "BEGIN READ ONLY", "START TRANSACTION", "BEGIN ISOLATION LEVEL REPEATABLE READ",
            "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", *(["BEGIN ISOLATION LEVEL SERIALIZABLE"] if self._alone else []),
            "BEGIN READ WRITE", *["COMMIT"] * 5, *["ROLLBACK"] * 4, "END", "ABORT", "COMMIT AND CHAIN", f"SAVEPOINT {name}", f"SAVEPOINT {name}",
            f"RELEASE {name}", f"ROLLBACK TO {name}", f"ROLLBACK TO SAVEPOINT {name}", "SET TRANSACTION READ ONLY",
            "SET TRANSACTION READ WRITE", "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ", "PREPARE TRANSACTION 'x'",
            "COMMIT PREPARED 'x'", "SET CONSTRAINTS ALL IMMEDIATE")

    def setting(self) -> str:
        n = self._rng.randrange(3)
        return self._one(
            f"SET work_mem = '{64 + n}kB'", f"SET LOCAL work_mem = '{70 + n}kB'", "RESET work_mem", "RESET ALL",
            "SET search_path TO other", "SET search_path TO other, public", "RESET search_path", "SET LOCAL search_path TO other",
            "SET TimeZone TO 'Asia/Tokyo'", "SET LOCAL TimeZone TO 'UTC'", "RESET TimeZone", "SET DateStyle TO 'German'",
            f"SET application_name TO 'name {n}'", "SET bytea_output TO 'escape'", "SET extra_float_digits TO 0",
            "SET client_min_messages TO 'warning'", f"SET my.x = '{n}'", f"SET LOCAL my.x = '{n}'", "RESET my.x",
            f"SELECT set_config('my.x', '{n}', false)", f"SELECT set_config('work_mem', '{80 + n}kB', true)",
            "SELECT set_config('TimeZone', $1, false)", "SET default_transaction_read_only TO on", "SET default_transaction_read_only TO off",
            "SET nosuch = 1", "SET work_mem = 'x'", "SET client_encoding TO 'LATIN1'", "SET client_encoding TO 'UTF8'",
            "SET standard_conforming_strings TO off", "SET ROLE app", "RESET ROLE", "DISCARD ALL", "DISCARD TEMP", "DISCARD PLANS",
            "DEALLOCATE ALL", "SET statement_timeout TO '60s'", "SET plan_cache_mode TO force_generic_plan")

    def cursor(self) -> str:
        name = self._one("c", "c", "p1")
        return self._one(
            f"DECLARE {name} CURSOR FOR SELECT k FROM {self._t} ORDER BY k", f"DECLARE {name} CURSOR FOR SELECT i FROM generate_series(1, 9) i",
            f"DECLARE {name} SCROLL CURSOR WITH HOLD FOR SELECT k FROM {self._t} ORDER BY k", f"FETCH 2 FROM {name}", f"FETCH ALL {name}",
            f"FETCH 2 FROM {name}", f"MOVE 1 IN {name}", f"FETCH BACKWARD 1 FROM {name}", f"CLOSE {name}", "CLOSE ALL")

    def prepared(self) -> str:
        name = self._one("s1", "s2", "q")
        return self._one(
            f"PREPARE {name} AS SELECT count(*) FROM {self._t}", f"PREPARE {name} (int) AS SELECT v FROM {self._t} WHERE k = $1",
            f"PREPARE {name} (int) AS INSERT INTO log VALUES ($1)", f"PREPARE {name} AS SELECT 1 FROM nosuch", f"EXECUTE {name}",
            f"EXECUTE {name} (1)", f"EXECUTE {name} (2)", f"DEALLOCATE {name}", f"EXPLAIN (COSTS OFF) EXECUTE {name}")

    def failing(self) -> str:
        return self._one(
            "SELECT 1/0", f"SELECT 10 / (k - {self._n + 2}) FROM {self._t} ORDER BY k", "SELECT * FROM nosuch", f"SELECT nosuch FROM {self._t}",
            "SELECT nosuch(1)", "SELEC 1", "SELECT 'x'::int", "INSERT INTO nosuch VALUES (1)", f"INSERT INTO {self._t} (k) VALUES (NULL)",
            "SELECT 10 / (50 - i), repeat('z', 2000) FROM generate_series(1, 60) i", "SELECT 'sad'::mood, 'cross'::mood",
            "SELECT 10 / (4 - i) FROM generate_series(1, 9) i", "DO $$ BEGIN RAISE EXCEPTION 'no' USING errcode = 'P0042'; END $$",
            "COPY nosuch FROM STDIN", "SELECT FROM", "CREATE TABLE nosuch.x (k int)")

    def several(self) -> str:
        parts = [self.any(self._one(self.read, self.write, self.control, self.failing, self.setting))
                 for _ in range(self._rng.randint(2, 3))]
        return "; ".join(part for part in parts if "COPY" not in part and "--" not in part and "$1" not in part and "$2" not in part)

    def notification(self) -> str:
        return self._one(f"LISTEN {self._channel}", f"LISTEN {self._channel}", f"NOTIFY {self._channel}, 'a'",
                         f"NOTIFY {self._channel}, 'b'", f"SELECT pg_notify('{self._channel}', 'c')", f"UNLISTEN {self._channel}", "UNLISTEN *")

    def lock(self) -> str:
        return self._one(f"SELECT pg_try_advisory_lock({100 + self._n})", f"SELECT pg_advisory_unlock({100 + self._n})",
                         f"SELECT pg_advisory_xact_lock({200 + self._n})", "SELECT pg_advisory_unlock_all()")

    def ddl(self) -> str:
        return self._one(
            "ALTER TABLE moving ADD COLUMN x int DEFAULT 7", "ALTER TABLE moving DROP COLUMN w", "ALTER TABLE moving ALTER COLUMN v TYPE bigint",
            "DROP TABLE moving", "CREATE TABLE moving (k int PRIMARY KEY, v text, w text)", "ALTER TABLE moving RENAME COLUMN w TO y",
            "TRUNCATE moving", "INSERT INTO moving SELECT 9, 9, 'w'", "DROP FUNCTION changing(int)",
            "CREATE OR REPLACE FUNCTION changing(int) RETURNS int LANGUAGE sql STABLE AS 'SELECT $1 + 2'",
            "CREATE OR REPLACE FUNCTION changing(int) RETURNS int LANGUAGE sql VOLATILE AS 'INSERT INTO log VALUES ($1); SELECT $1 + 3'",
            "CREATE OR REPLACE VIEW seen AS SELECT k, v FROM t WHERE k < 3", "DROP VIEW seen", "ALTER TYPE mood ADD VALUE IF NOT EXISTS 'cross'",
            "ALTER TABLE moving RENAME TO moved", "ALTER TABLE moved RENAME TO moving", "CREATE TABLE other.moving AS SELECT 1 AS k",
            "CREATE INDEX ON moving (v)", "ALTER TABLE other.t RENAME COLUMN v TO vv")

    def reshaping(self) -> str:
        """DDL by which a statement of shaped() returns other columns, or those that it had."""
        return self._one(
            "ALTER TABLE moving ADD COLUMN x int DEFAULT 7", "ALTER TABLE moving DROP COLUMN x", "ALTER TABLE moving DROP COLUMN IF EXISTS x",
            "ALTER TABLE moving ALTER COLUMN v TYPE bigint", "ALTER TABLE moving ALTER COLUMN v TYPE int",
            "ALTER TABLE moving RENAME COLUMN w TO y", "ALTER TABLE moving RENAME COLUMN y TO w")

    def shaped(self) -> str:
        return self._one("SELECT * FROM moving ORDER BY k", "SELECT * FROM moving WHERE k = 1", "SELECT * FROM moving WHERE k = $1",
                         "SELECT m.* FROM moving m WHERE k < 3 ORDER BY k", f"UPDATE moving SET k = k WHERE k = {self._n + 1} RETURNING *")

    def copy_in(self) -> tuple:
        """(statement, lines of data that fit)"""
        new = self._new()
        return self._one(
            ("COPY log FROM STDIN", ["1\n", "2\n3\n"]), (f"COPY {self._t} (k, v) FROM STDIN", [f"{new}\t1\n", f"{new + 30}\t2\n"]),
            (f"COPY {self._t} (k, v) FROM STDIN", [f"{self._key()}\t1\n"]), ("COPY log FROM STDIN WITH (FORMAT csv)", ["4\n"]))


class Speech:
    """What one session says: lists of messages that belong together."""

    def __init__(self, rng: random.Random, texts: Texts, wildness: float):
        self._rng = rng
        self.texts = texts
        self._wildness = wildness
        self._known = {}  # statement name -> how many parameters
        self._describes = rng.choice([0, 0.5, 1])  # statements of shaped()

    def phrase(self) -> list:
        if self._rng.random() < self._wildness:
            return self._wild()
        return self._rng.choices([self._simple, self._extended, self._again, self._portal, self._copy, self._call, self._pipeline],
                                 [8, 8, 4, 3, 2, 1, 4])[0]()

    def ddl(self, text=None) -> list:
        text = text or self.texts.ddl()
        return [["Q", text]] if self._rng.random() < 0.7 else [["P", "", text], ["B", "", "", [], 0], ["E", "", 0], ["S"]]

    def shaped(self) -> list:
        """Statements whose columns change, prepared, described or not, and executed again in all places."""
        kind = self._rng.choices([self._prepare_shaped, self._use_shaped, self._describe_shaped, self._use_in_block, self.phrase],
                                 [4, 8, 2, 4, 2])[0]
        return kind()

    def _prepare_shaped(self) -> list:
        name = self._statement()
        result = [["C", "S", name], self._parse(name, self.texts.shaped())]
        result += [["D", "S", name]] if self._rng.random() < self._describes else []
        return result + (self._use_shaped(name) if self._rng.random() < 0.6 else [["S"]])

    def _use_shaped(self, name=None) -> list:
        portal, before = self._portal_name(), []
        if name is None and self._rng.random() < 0.3:
            before = [["Q", f"UPDATE t SET v = 1 WHERE k = {self.texts.any_key()}"]]
        result = [*before, self._bind(portal, name), ["E", portal, 0]]
        result[-1:-1] = [["D", "P", portal]] if self._rng.random() < self._describes / 2 else []
        return result + self._rng.choices([[["S"]], [["H"], ["S"]], [["H"]], []], [8, 1, 1, 0.5])[0]

    def _describe_shaped(self) -> list:
        return [["D", "S", self._statement()], ["S"]] if self._rng.random() < self._describes else self._use_shaped()

    def _use_in_block(self) -> list:
        begin = self._rng.choice([[["Q", "BEGIN"]], [["Q", "BEGIN READ ONLY"]], [["Q", "BEGIN"], ["Q", "INSERT INTO log VALUES (3)"]]])
        return [*begin, *self._use_shaped(), *self._use_shaped(), ["S"], ["Q", self._rng.choice(["COMMIT", "ROLLBACK"])]]

    def _statement(self) -> str:
        return self._rng.choice(["", "", "s1", "s2"])

    def _portal_name(self) -> str:
        return self._rng.choice(["", "", "", "p1", "c"])

    def _parse(self, name=None, text=None) -> list:
        name = self._statement() if name is None else name
        text = self.texts.any() if text is None else text
        self._known[name] = 2 if "$2" in text else 1 if "$1" in text else 0
        types = [25] if "set_config" in text else [23] if "$1" in text and self._rng.random() < 0.2 and "mood" not in text and "$2" not in text else []
        return ["P", name, text, *(types if "$1" in text else [])]

    def _bind(self, portal=None, statement=None) -> list:
        statement = self._statement() if statement is None else statement
        count = self._known.get(statement, 0) if self._rng.random() < 0.96 else self._rng.randrange(3)
        values = [self._rng.choice(["1", "2", "3", "5", None, "bad"] if self._rng.random() < 0.3 else ["1", "2", "4"]) for _ in range(count)]
        return ["B", self._portal_name() if portal is None else portal, statement, values, int(self._rng.random() < 0.1)]

    def _end(self) -> list:
        return self._rng.choices([[["S"]], [["H"]], [], [["S"], ["S"]], [["H"], ["S"]]], [12, 3, 2, 0.5, 1])[0]

    def _simple(self) -> list:
        return [["Q", self.texts.any()]]

    def _extended(self) -> list:
        name, portal = self._statement(), self._portal_name()
        result = [["C", "S", name]] if name and self._rng.random() < 0.6 else []
        result.append(self._parse(name))
        if self._rng.random() < 0.2:
            result.append(["D", "S", name])
            result += self._rng.choice([[], [["H"]], [["S"]]])
        result.append(self._bind(portal, name))
        result += [["D", "P", portal]] if self._rng.random() < 0.5 else []
        result.append(["E", portal, 0])
        result += [["C", "P", portal]] if self._rng.random() < 0.15 else []
        return result + self._end()

    def _again(self) -> list:
        """A statement that was prepared before, perhaps closed or replaced behind it."""
        name, portal = self._statement(), self._portal_name()
        result = [self._bind(portal, name), ["E", portal, 0]]
        result[1:1] = [["D", "P", portal]] if self._rng.random() < 0.3 else []
        result += self._rng.choices([[], [["C", "S", name]], [self._parse(name)], [["C", "P", portal]]], [6, 2, 2, 1])[0]
        return result + self._end()

    def _portal(self) -> list:
        """A portal that is executed in parts."""
        portal = self._portal_name()
        result = [self._parse(""), self._bind(portal, "")]
        for _ in range(self._rng.randint(1, 3)):
            result.append(["E", portal, self._rng.choice([1, 2, 2, 0])])
            result += self._rng.choices([[], [["H"]], [["S"]]], [4, 2, 1])[0]
        return result + self._end()

    def _copy(self) -> list:
        text, lines = self.texts.copy_in()
        data = [["d", line] for line in lines]
        if self._rng.random() < 0.25:
            data.insert(self._rng.randrange(len(data) + 1), ["d", "bad\tx\n"])
        end = self._rng.choices([[["c"]], [["f", "no more"]], []], [8, 2, 1])[0]
        if self._rng.random() < 0.5:
            return [["Q", text], *data, *self._rng.choices([[], [["S"]], [["H"]]], [5, 1, 1])[0], *end]
        begin = [["P", "", text], ["B", "", "", [], 0], *self._rng.choice([[], [["D", "P", ""]]]), ["E", "", 0]]
        return [*begin, *self._rng.choice([[], [["S"]], [["S"]], [["H"]]]), *data, *end, ["S"]]

    def _call(self) -> list:
        oid, arguments = self._rng.choice([(177, ["3", "4"]), (154, ["3", "0"]), (871, ["abc"]), (999999, []), (177, ["3"]), (1299, ["x"]),
                                           (177, ["x", "1"])])
        return [["F", oid, arguments]]

    def _pipeline(self) -> list:
        result = []
        for _ in range(self._rng.randint(2, 5)):
            kind = self._rng.choices([self._simple, self._extended, self._again, self._portal], [2, 6, 4, 1])[0]
            result += kind()
        return result

    def _wild(self) -> list:
        return [self._any_message() for _ in range(self._rng.randint(2, 8))]

    def _any_message(self) -> list:
        kind = self._rng.choices("PBEDCHSQFdcf", [6, 7, 7, 3, 3, 2, 5, 4, 1, 0.7, 0.5, 0.3])[0]
        return {
            "P": self._parse, "B": self._bind, "E": lambda: ["E", self._portal_name(), self._rng.choice([0, 0, 0, 1, 2])],
            "D": lambda: self._named("D"), "C": lambda: self._named("C"), "H": lambda: ["H"], "S": lambda: ["S"],
            "Q": lambda: ["Q", self.texts.any()], "F": lambda: self._call()[0], "d": lambda: ["d", self._rng.choice(["1\n", "bad\n"])],
            "c": lambda: ["c"], "f": lambda: ["f", "wild"]}[kind]()

    def _named(self, kind: str) -> list:
        if self._rng.random() < 0.5:
            return [kind, "S", self._statement()]
        return [kind, "P", self._portal_name()]


def make(seed: int, exchange=True) -> Script:
    """`exchange`: sessions may look at each other's work (the level of consistency allows it)."""
    rng = random.Random(seed)
    sessions = rng.choices([1, 2, 3], [5, 3, 2])[0]
    apart = sessions > 1 and (not exchange or rng.random() < 0.3)
    wildness = rng.choice([0, 0.1, 0.4])
    speeches = [Speech(rng, Texts(rng, number, sessions, apart), wildness) for number in range(sessions)]
    with_ddl, with_pauses = not apart and rng.random() < 0.25, rng.random() < 0.3
    reshapes = not apart and rng.random() < 0.15
    steps = []
    for _ in range(rng.randint(3, 14)):
        if with_pauses and rng.random() < 0.25:
            steps.append({rng.choice(["pause", "pause", "resume"]): rng.randrange(2)})
        number = rng.randrange(sessions)
        if reshapes:
            if rng.random() < 0.35:
                steps.append({"on": number, "send": speeches[number].ddl(speeches[number].texts.reshaping()), "alone": True})
            else:
                steps += _steps(rng, number, speeches[number].shaped(), sessions)
        elif with_ddl and rng.random() < 0.3:
            steps.append({"on": number, "send": speeches[number].ddl(), "alone": True})
        else:
            steps += _steps(rng, number, speeches[number].phrase(), sessions)
    if rng.random() < 0.02:
        steps.append({"on": rng.randrange(sessions), "send": [rng.choice(_BROKEN)]})
    return Script(sessions, steps, apart, seed)


def _steps(rng: random.Random, number: int, messages: list, sessions: int) -> list:
    """The phrase in one step, or in several."""
    parts = [messages]
    if len(messages) > 1 and rng.random() < 0.25:
        place = rng.randrange(1, len(messages))
        parts = [messages[:place], messages[place:]]
    elif rng.random() < 0.07:
        parts = [[message] for message in messages]
    steps = [{"on": number, "send": part, "wait": rng.random() < 0.8} for part in parts]
    for step in steps:
        if rng.random() < 0.25:
            step["cuts"] = [[rng.randrange(400), rng.choice([0, 0, 1, 3])] for _ in range(rng.randint(1, 3))]
        if sessions == 1 and rng.random() < 0.05:
            step["keep"] = rng.randint(1, 12)
    return steps
