"""Names of prepared statements: what a name means at the end of a script, and what each message of it is answered, is the
same as on a direct connection. Scripts are written as differential/by_hand.py says."""

import pytest

from differential.by_hand import DIRECT, WAYS, Case, Deviation, Stage, compare_sides, names_of, parameters, parse

pytestmark = pytest.mark.core

MADE_ANEW = "when the catalog has been read again a statement of whose columns the client knows nothing is made anew"
STALE = "0A000 of what was prepared again between two changes, where the client's own has the result that it had"

# What fails is skipped up to its Sync: names are what the messages before have made of them. Those that deviate
# now and then do so by where a read behind the write goes.
FAILING_BATCHES = [
    Case("an open one that would move, and its Sync",
         'P s1 "select 1/0" B s1 H P s2 "set local timezone to \'UTC\'" S P "select 2" B E S'),
    Case("an open one that would write, and its Sync",
         'P s1 "select 1/0" B s1 H P s2 "update {t} set v = 0" S P "select 2" B E S'),
    Case("two replace a name", 'P s1 "select 1" S | E x Cs s1 P s1 "select 2" S E x Cs s1 P s1 "select 3" S B s1 E S'),
    Case("two replace a name, one by one",
         'P s1 "select 1" S | E x Cs s1 P s1 "select 2" S | E x Cs s1 P s1 "select 3" S | B s1 E S'),
    Case("three replace a name",
         'P s1 "select 1" S | E x Cs s1 P s1 "select 2" S E x Cs s1 P s1 "select 3" S E x Cs s1 P s1 "select 4" S '
         'B s1 E S'),
    Case("one replaces a name", 'P s1 "select 1" S | E x Cs s1 P s1 "select 2" S B s1 E S | B s1 E S'),
    Case("two close a name", 'P s1 "select 1" S | E x Cs s1 S E x Cs s1 S B s1 E S'),
    Case("one closes, one makes", 'P s1 "select 1" S | E x Cs s1 S E x P s1 "select 2" S B s1 E S'),
    Case("one makes, one closes", 'E x P s1 "select 1" S E x Cs s1 S B s1 E S'),
    Case("two make a name", 'E x P s1 "select 1" S E x P s1 "select 2" S B s1 E S'),
    Case("two make a name, then it is made", 'E x P s1 "select 1" S E x P s1 "select 2" S P s1 "select 3" B s1 E S'),
    Case("two replace the unnamed one", 'P "select 1" S | E x P "select 2" S E x P "select 3" S B E S'),
    Case("one closes the unnamed one", 'P "select 1" S | E x Cs S E x P "select 2" S B E S'),
    Case("two make the unnamed one", 'E x P "select 1" S E x P "select 2" S B E S'),
    Case("the unnamed one and a name",
         'P "select 1" P s1 "select 2" S | E x P "select 3" Cs s1 S E x P s1 "select 4" P "select 5" S '
         'B E B s1 E S'),
    Case("two names change places",
         'P s1 "select 1" P s2 "select 2" S | E x Cs s1 Cs s2 P s1 "select 20" S E x Cs s2 P s2 "select 10" Cs s1 S '
         'B s1 E B s2 E S'),
    Case("a good one between them",
         'P s1 "select 1" S | E x Cs s1 P s1 "select 2" S Cs s1 P s1 "select 3" S E x Cs s1 P s1 "select 4" S '
         'B s1 E S'),
    Case("a good one closes between them", 'P s1 "select 1" S | E x Cs s1 S Cs s1 S E x P s1 "select 2" S B s1 E S'),
    Case("they fail behind what they replace",
         'P s1 "select 1" S | Cs s1 P s1 "select 2" E x Cs s1 S Cs s1 P s1 "select 3" E x Cs s1 P s1 "select 4" S '
         'B s1 E S'),
    Case("they fail in their Parse",
         'P s1 "select 1" S | Cs s1 P s1 "select nosuch" S P s1 "select nosuch" Cs s1 S B s1 E S'),
    Case("a name in use", 'P s1 "select 1" S | P s1 "select 2" Cs s1 S P s1 "select 3" Cs s1 S B s1 E S'),
    Case("a name in use, closed and made",
         'P s1 "select 1" S | P s1 "select 2" Cs s1 P s1 "select 3" S E x Cs s1 S B s1 E S P s1 "select 4" S'),
    Case("a name in use, behind a write",
         'P s1 "select 1 {r}" B s1 E S | Q "update {t} set v = 0" P s1 "select 2" Cs s1 S P s1 "select 3" S | '
         'Q "begin" Q "update {t} set v = 0" | B s1 E S | Q "rollback"'),
    Case("a name in use, behind a write, then read",
         'P s1 "select 1 {r}" B s1 E S | Q "update {t} set v = 0" P s1 "select 2" Cs s1 S P s1 "select 3" S | '
         'B s1 E S'),
    Case("a name in use, behind a write, closed and made",
         'P s1 "select 1 {r}" B s1 E S | Q "update {t} set v = 0" P s1 "select 2" Cs s1 P s1 "select 3" S | '
         'Q "begin" Q "update {t} set v = 0" | B s1 E S | Q "rollback"'),
    Case("a name in use, behind a write, closed and made, and again",
         'P s1 "select 1 {r}" B s1 E S | Q "update {t} set v = 0" P s1 "select 2" Cs s1 P s1 "select 3" S E x Cs s1 S '
         'B s1 E S P s1 "select 4" S | Q "begin" Q "update {t} set v = 0" | B s1 E S | Q "rollback"'),
    Case("a name in use, with a write by name",
         'P s1 "select 1 {r}" B s1 E S | P s2 "update {t} set v = 0" B s2 E P s1 "select 2" S P s1 "select 3" Cs s1 S '
         'B s2 E B s1 E S'),
    Case("a name in use, behind a write by name, closed and made",
         'P s1 "select 1 {r}" B s1 E S | P s2 "update {t} set v = 0" B s2 E S P s1 "select 2" Cs s1 P s1 "select 3" S '
         'B s2 E B s1 E S'),
    Case("a name in use in a transaction that has failed",
         'P s1 "select 1 {r}" B s1 E S | Q "begin" Q "update {t} set v = 0" Q "select 1/0" | P s1 "select 2" S Cs s1 S | '
         'Q "rollback" | Q "begin" Q "update {t} set v = 0" | B s1 E S | Q "rollback"'),
    Case("behind a write",
         'P s1 "select 1 {r}" B s1 E S | P "insert into {t} values (10, 1)" B E S E x Cs s1 P s1 "select 2" S '
         'E x Cs s1 P s1 "select 3" S B s1 E S | B s1 E S'),
    Case("behind a Query that writes",
         'P s1 "select 1 {r}" B s1 E S | Q "insert into {t} values (10, 1)" E x Cs s1 P s1 "select 2" S E x Cs s1 S '
         'B s1 E S'),
    Case("before a write",
         'P s1 "select 1 {r}" B s1 E S | E x Cs s1 P s1 "select 2" S E x Cs s1 P s1 "select 3" S '
         'Q "insert into {t} values (10, 1)" B s1 E S | B s1 E S'),
    Case("writes by name",
         'P s1 "insert into {t} values (10, 1)" P s2 "select 2 {r}" B s2 E S | E x Cs s1 '
         'P s1 "insert into {t} values (11, 1)" S E x Cs s1 Cs s2 P s1 "delete from {t}" S B s1 E B s2 E S'),
    Case("in a transaction",
         'P s1 "select 1 {r}" B s1 E S | Q "begin" Q "insert into {t} values (10, 1)" E x Cs s1 S E x '
         'P s1 "select 2" S Q "rollback" B s1 E S'),
    Case("in a transaction that has failed",
         'P s1 "select 1 {r}" B s1 E S | Q "begin" Q "select 1/0" Cs s1 P s1 "select 2" S P s1 "select 3" Cs s1 S '
         'Q "rollback" B s1 E S'),
    Case("DEALLOCATE is skipped",
         'P s1 "select 1 {r}" B s1 E S | E x P "deallocate s1" B E S E x Cs s1 P s1 "select 2" S B s1 E S'),
    Case("DEALLOCATE ALL is skipped",
         'P s1 "select 1 {r}" B s1 E S | E x P "deallocate all" B E S E x P s1 "select 2" S B s1 E S'),
    Case("DISCARD ALL is skipped",
         'P s1 "select 1 {r}" B s1 E S | E x Q "discard all" S E x P s1 "select 2" S B s1 E S'),
    Case("DEALLOCATE in the middle",
         'P s1 "select 1 {r}" B s1 E S | E x Cs s1 P s1 "select 2" S Q "deallocate s1" E x P s1 "select 3" S B s1 E S '
         'P s1 "select 4" B s1 E S'),
    Case("DEALLOCATE ALL in the middle",
         'P s1 "select 1 {r}" B s1 E S | E x Cs s1 P s1 "select 2" S Q "deallocate all" E x P s1 "select 3" S B s1 E S '
         'P s1 "select 4" B s1 E S'),
    Case("DISCARD ALL in the middle",
         'P s1 "select 1 {r}" B s1 E S | E x Cs s1 P s1 "select 2" S Q "discard all" E x P s1 "select 3" S B s1 E S'),
    Case("SQL's PREPARE is skipped",
         'E x Q "prepare s1 as select 1" S E x Q "prepare s1 as select 2" S B s1 E S Q "execute s1"'),
    Case("SQL's PREPARE fails",
         'P s1 "select 1 {r}" B s1 E S | Q "prepare s1 as select 2" E x Cs s1 S Q "prepare s1 as select 3" '
         'B s1 E S'),
    Case("closed and made again behind a write",
         'P s1 "select 1 {r}" B s1 E S | P "insert into {t} values (10, 1)" B E Cs s1 P s1 "select 2" B s1 E S | '
         'B s1 E S'),
    Case("closed and made again behind a write in flight",
         'P s1 "select 1 {r}" B s1 E S | Q "insert into {t} values (10, 1)" Cs s1 P s1 "select 2" B s1 E S Cs s1 '
         'P s1 "select 3" B s1 E S'),
    Case("closed and made again behind a flushed write",
         'P s1 "select 1 {r}" B s1 E S | P "insert into {t} values (10, 1)" B E H | Cs s1 P s1 "select 2" B s1 E H | '
         'Cs s1 P s1 "select 3" B s1 E S'),
    Case("closed behind a write, made behind another",
         'P s1 "select 1 {r}" B s1 E S | P "insert into {t} values (10, 1)" B E Cs s1 S '
         'P "insert into {t} values (11, 1)" B E P s1 "select 2" B s1 E S | B s1 E S'),
    Case("closed and made again behind a write that fails",
         'P s1 "select 1 {r}" B s1 E S | P "insert into {t} values (1, 1)" B E Cs s1 P s1 "select 2" S B s1 E S '
         'P "insert into {t} values (1, 1)" B E Cs s1 S B s1 E S'),
]

REPLACED_NAMES = [
    Case("a name that was flushed", 'P s1 "select 1" H | P s1 "select 2" S'),
    Case("a name that was flushed, and used", 'P s1 "select 1" H | P s1 "select 2" S | B s1 E S'),
    Case("a name that was flushed and executed", 'P s1 "select 1 {r}" B s1 E H | P s1 "select 2" S | B s1 E S'),
    Case("a name that was not flushed", 'P s1 "select 1" | P s1 "select 2" S | B s1 E S'),
    Case("a name in one packet", 'P s1 "select 1" P s1 "select 2" S | B s1 E S'),
    Case("a name in one packet, two requests", 'P s1 "select 1" S P s1 "select 2" S B s1 E S'),
    Case("a name in another request", 'P s1 "select 1" S | P s1 "select 2" S | B s1 E S'),
    Case("a name that is closed between", 'P s1 "select 1" H | Cs s1 P s1 "select 2" B s1 E S'),
    Case("a name that is closed, then made twice",
         'P s1 "select 1" S | Cs s1 H | P s1 "select 2" H | P s1 "select 3" S | B s1 E S'),
    Case("a read by a write", 'P s1 "select 1" H | P s1 "insert into {t} values (10, 1)" B s1 E S'),
    Case("a write by a read", 'P s1 "insert into {t} values (10, 1)" H | P s1 "select 1" B s1 E S'),
    Case("a write that was executed by a read",
         'P s1 "insert into {t} values (10, 1)" B s1 E H | P s1 "select 1" B s1 E S'),
    Case("behind a write", 'P "insert into {t} values (10, 1)" B E P s1 "select 1" H | P s1 "select 2" S | B s1 E S'),
    Case("SQL's PREPARE of what was flushed", 'P s1 "select 1" H | Q "prepare s1 as select 2" S | B s1 E S'),
    Case("SQL's PREPARE of what was flushed on a replica",
         'P s1 "select 1 {r}" B s1 E H | P s2 "show work_mem" Q "prepare s1 as select 2" S | B s1 E S'),
    Case("SQL's PREPARE of a name in use", 'P s1 "select 1" S | Q "prepare s1 as select 2" | B s1 E S'),
    Case("what SQL has prepared", 'Q "prepare s1 as select 1" | P s1 "select 2" S | B s1 E S'),
    Case("what SQL has prepared in this request", 'P "prepare s1 as select 1" B E H | P s1 "select 2" S | B s1 E S'),
    Case("on a replica, in a transaction",
         'Q "begin read only" | P s1 "select 1 {r}" B s1 E H | P s1 "select 2" S | Q "rollback" | B s1 E S'),
    Case("in a transaction that writes",
         'Q "begin" Q "insert into {t} values (10, 1)" | P s1 "select 1 {p}" B s1 E H | P s1 "select 2" S | '
         'Q "rollback" | B s1 E S'),
]

UNNAMED_BEHIND_A_QUERY = [
    Case("a Query that reads", 'P "select 1" S | Q "select 2 {r}" | B E S'),
    Case("a Query that reads, in one packet", 'P "select 1" S Q "select 2" B E S'),
    Case("a Query that writes", 'P "select 1" S | Q "insert into {t} values (10, 1)" | B E S'),
    Case("a write behind a Query that reads", 'P "insert into {t} values (10, 1)" S | Q "select 2 {r}" | B E S'),
    Case("executed before", 'P "select 1 {r}" B E S | Q "select 2" | B E S'),
    Case("an empty Query", 'P "select 1" S | Q "" | B E S'),
    Case("a Query that fails", 'P "select 1" S | Q "select 1/0" | B E S'),
    Case("a Query that is no SQL", 'P "select 1" S | Q "selec" | B E S'),
    Case("two statements in a Query", 'P "select 1" S | Q "select 2; select 3" | B E S'),
    Case("a Query that sets", 'P "select 1" S | Q "set work_mem = \'1MB\'" | B E S'),
    Case("BEGIN", 'P "select 1" S | Q "begin" | B E S'),
    Case("BEGIN READ ONLY", 'P "select 1" S | Q "begin read only" | B E S | Q "commit"'),
    Case("COMMIT", 'Q "begin" | P "select 1" S | Q "commit" | B E S'),
    Case("in a transaction", 'Q "begin" | P "select 1" S | Q "select 2" | B E S'),
    Case("without a Sync before it", 'P "select 1" H | Q "select 2" | B E S'),
    Case("described", 'P "select 1" S | Q "select 2" | Ds S'),
    Case("made anew", 'P "select 1" S | Q "select 2" | P "select 3" B E S'),
    Case("made anew, but skipped", 'P "select 1" S | Q "select 2" | E x P "select 3" S | B E S'),
    Case("a named one lives on", 'P s1 "select 1 {r}" B s1 E S | Q "select 2" | B s1 E S'),
    Case("a skipped Query leaves it alive", 'P "select 1" S | E x Q "select 2" S | B E S'),
    Case("of another server", 'P "select v from {t} where k = 1 {r}" B E S | Q "update {t} set v = 0" | B E S'),
    Case("DEALLOCATE ALL by Execute", 'P "select 1 {r}" B E S | P s2 "deallocate all" S | B s2 E S | B E S'),
    Case("DISCARD ALL", 'P "select 1" P s1 "select 2" S | Q "discard all" | B E S | B s1 E S'),
    Case("DEALLOCATE ALL", 'P "select 1" P s1 "select 2" S | Q "deallocate all" | B E S | B s1 E S'),
]

LONG_NAMES = [
    Case("63 bytes", 'P {63} "select 1 {r}" B {63} E S | P {63} "select 2" S'),
    Case("64 made, 63 bound", 'P {64} "select 1" S | B {63} E S'),
    Case("63 made, 64 bound", 'P {63} "select 1" S | B {64} E S'),
    Case("64 made, 70 bound", 'P {64} "select 1" S | B {70} E S'),
    Case("64 made, 64 bound", 'P {64} "select 1 {r}" B {64} E S | B {64} E S'),
    Case("63 made, 70 made", 'P {63} "select 1" S | P {70} "select 2" S | B {63} E S'),
    Case("64 made, 70 made in one packet", 'P {64} "select 1" S P {70} "select 2" S B {64} E S'),
    Case("64 made, 63 closed", 'P {64} "select 1" S | Cs {63} S | B {64} E S'),
    Case("63 made, 70 closed and made", 'P {63} "select 1" S | Cs {70} P {70} "select 2" B {63} E S'),
    Case("63 made, 64 described", 'P {63} "select 1" S | Ds {64} S'),
    Case("64 made, executed by SQL", 'P {64} "select 1" S | Q "execute {63}" | Q "execute {64}"'),
    Case("64 prepared by SQL, 63 bound", 'Q "prepare {64} as select 1" | B {63} E S | B {64} E S'),
    Case("64 deallocated", 'P {63} "select 1" S | Q "deallocate {64}" | B {63} E S'),
    Case("64 made, 63 deallocated", 'P {64} "select 1" S | Q "deallocate {63}" | B {64} E S | P {64} "select 2" S'),
    Case("on the replica, then on the primary",
         'P {64} "select v from {t} where k = 1 {r}" B {63} E S | Q "begin" Q "update {t} set v = 0" | B {70} E S | '
         'Q "rollback"'),
    Case("a portal of 64", 'Q "begin read only" | P s1 "select 1 {r}" B {64} s1 S | E {63} S | B {70} s1 S | Q "rollback"'),
]

READ = '"select v from {t} where k = 1 {r}"'
EXECUTED_INSIDE = [
    Case("EXPLAIN EXECUTE", f'P s1 {READ} B s1 E S | Q "explain (costs off) execute s1"'),
    Case("EXPLAIN EXECUTE, only parsed",
         'P s1 "select v from {t} where k = 1" S | Q "explain (costs off) execute s1"'),
    Case("EXPLAIN EXECUTE of what was described, as a checker of queries sends it",
         'P sqlx_s_1 "select v from {t} where k = $1" Ds sqlx_s_1 S | '
         'Q "explain (verbose, costs off, format json) execute sqlx_s_1(null)"'),
    Case("EXPLAIN EXECUTE by Parse", f'P s1 {READ} B s1 E S | P "explain (costs off) execute s1" B Dp E S'),
    Case("EXPLAIN ANALYZE EXECUTE",
         f'P s1 {READ} B s1 E S | '
         'Q "explain (analyze, costs off, timing off, summary off, buffers off) execute s1"'),
    Case("EXPLAIN EXECUTE of a write", 'P s1 "delete from {t}" S | Q "explain (costs off) execute s1"'),
    Case("EXPLAIN EXECUTE behind a write",
         f'P s1 {READ} B s1 E S | Q "update {{t}} set v = 0" | Q "explain (costs off) execute s1"'),
    Case("EXPLAIN EXECUTE in flight behind a write",
         f'P s1 {READ} B s1 E S | Q "update {{t}} set v = 0" Q "explain (costs off) execute s1"'),
    Case("EXPLAIN EXECUTE in a transaction",
         f'P s1 {READ} B s1 E S | Q "begin" Q "update {{t}} set v = 0" | Q "explain (costs off) execute s1" | '
         'Q "rollback"'),
    Case("EXPLAIN EXECUTE in a transaction that reads",
         f'P s1 {READ} B s1 E S | Q "begin read only" | B s1 E S | Q "explain (costs off) execute s1" | '
         'Q "rollback"'),
    Case("EXPLAIN EXECUTE in a pipeline", f'P s1 {READ} B s1 E S Q "explain (costs off) execute s1" B s1 E S'),
    Case("EXPLAIN EXECUTE of what SQL prepared",
         'Q "prepare s1 as select v from {t} where k = 1" | Q "execute s1" | Q "explain (costs off) execute s1"'),
    Case("EXPLAIN EXECUTE of what is closed", f'P s1 {READ} B s1 E S | Cs s1 S | Q "explain (costs off) execute s1"'),
    Case("EXPLAIN EXECUTE behind DEALLOCATE ALL",
         f'P s1 {READ} B s1 E S | Q "deallocate all" | Q "explain (costs off) execute s1"'),
    Case("CREATE TABLE AS EXECUTE",
         f'P s1 {READ} B s1 E S | Q "create table {{t}}_copy as execute s1" | Q "select v from {{t}}_copy"'),
    Case("CREATE TABLE AS EXECUTE by Parse",
         f'P s1 {READ} B s1 E S | P "create table {{t}}_copy as execute s1" B E S'),
    Case("CREATE TEMP TABLE AS EXECUTE",
         f'P s1 {READ} B s1 E S | Q "create temp table copied as execute s1" | Q "select v from copied"'),
    Case("CREATE TABLE AS EXECUTE of what SQL prepared",
         'Q "prepare s1 as select v from {t} where k = 1" | Q "execute s1 {r}" | '
         'Q "create table {t}_copy as execute s1"'),
    Case("EXPLAIN CREATE TABLE AS EXECUTE",
         f'P s1 {READ} B s1 E S | Q "explain (costs off) create table copied as execute s1"'),
    Case("an expression as argument", 'P s1 "select $1::int {r}" B s1(5) E S | Q "execute s1(1 + 1)"'),
    Case("a function as argument", 'P s1 "select $1::int {r}" B s1(5) E S | Q "execute s1(length(\'four\'))"'),
    Case("an expression as argument by Parse",
         'P s1 "select $1::int {r}" B s1(5) E S | P "execute s1(1 + 1)" B E S'),
    Case("an expression as argument behind a write",
         'P s1 "select $1::int {r}" B s1(5) E S | Q "update {t} set v = 0" Q "execute s1(1 + 1)"'),
    Case("an expression as argument, prepared by SQL",
         'Q "prepare s1(int) as select $1" | Q "execute s1(5) {r}" | Q "execute s1(1 + 1)" | Q "execute s1(6)"'),
    Case("with another statement behind it", f'P s1 {READ} B s1 E S | Q "execute s1; select 2"'),
    Case("with another statement before it", f'P s1 {READ} B s1 E S | Q "select 2; execute s1"'),
    Case("twice", f'P s1 {READ} B s1 E S | Q "execute s1; execute s1"'),
    Case("two names", f'P s1 {READ} B s1 E P s2 "select 2" S | Q "execute s1; execute s2"'),
    Case("in a block of its own", f'P s1 {READ} B s1 E S | Q "begin; execute s1; commit"'),
    Case("with a write", f'P s1 {READ} B s1 E S | Q "update {{t}} set v = 0; execute s1"'),
    Case("with a DEALLOCATE", f'P s1 {READ} B s1 E S | Q "execute s1; deallocate s1" | B s1 E S'),
    Case("prepared, executed and deallocated", 'Q "prepare s1 as select 1; execute s1; deallocate s1" | Q "execute s1"'),
    Case("alone", f'P s1 {READ} B s1 E S | Q "execute s1" | P "execute s1" B E S'),
    Case("of nothing", 'Q "explain execute never" | Q "execute never(1 + 1)" | Q "execute never; select 2"'),
]

PREPARED_BEHIND_A_QUERY = [
    Case("PREPARE and EXECUTE", 'Q "select 5" Q "prepare s1 as select 1" Q "execute s1"'),
    Case("PREPARE and EXECUTE in two packets", 'Q "select 5" Q "prepare s1 as select 1" | Q "execute s1"'),
    Case("PREPARE and EXPLAIN EXECUTE",
         'Q "select 5" Q "prepare s1 as select 1" Q "explain (costs off) execute s1"'),
    Case("PREPARE and Bind", 'Q "select 5" Q "prepare s1 as select 1" B s1 E S'),
    Case("PREPARE and an expression", 'Q "select 5" Q "prepare s1(int) as select $1" Q "execute s1(1 + 1)"'),
    Case("PREPARE of a table",
         'Q "select v from {t} where k = 2" Q "prepare s1 as select v from {t} where k = 1" Q "execute s1"'),
    Case("PREPARE behind a write",
         'Q "update {t} set v = 0" Q "prepare s1 as select v from {t} where k = 1" Q "execute s1"'),
    Case("PREPARE between reads",
         'Q "select 5" Q "prepare s1 as select 1" Q "select 6" Q "execute s1" Q "select 7" '
         'Q "execute s1; select 2"'),
    Case("PREPARE, DEALLOCATE, PREPARE",
         'Q "select 5" Q "prepare s1 as select 1" Q "deallocate s1" Q "prepare s1 as select 2" Q "execute s1"'),
    Case("PREPARE that fails", 'Q "select 5" Q "prepare s1 as select nosuch" Q "execute s1"'),
    Case("PREPARE by Parse", 'Q "select 5" P "prepare s1 as select 1" B E S Q "execute s1" B s1 E S'),
    Case("Parse, EXECUTE with another statement", 'Q "select 5" P s1 "select 1" S Q "execute s1; select 2"'),
    Case("Parse, EXPLAIN EXECUTE", 'Q "select 5" P s1 "select 1" S Q "explain (costs off) execute s1"'),
]

ALL = '"select * from {t} where k = 1 {r}"'
ADD, DROP = '| ! "alter table {t} add x int" ~', '| ! "alter table {t} drop x" ~'
WRITE = '| Q "begin" Q "update {t} set v = 0" |'
AGAIN = 'Cs s1 P s1 "select * from {t} where k = 1" B s1 E S'
# A client that was never told of a statement's columns gets those of today where it is prepared once more, at `^`; straight from
# the server Bind and Describe are told (0A000) of a result that is another than at Parse.
HEALED = [
    Case("a column more", f'P s1 {ALL} B s1 E S {ADD} ^ s1 B s1 E S'),
    Case("a column more, then gone", f'P s1 {ALL} B s1 E S {ADD} ^ s1 B s1 E S {DROP} ^ s1 B s1 E S'),
    Case("a column more, only parsed", f'P s1 "select * from {{t}} where k = 1" S {ADD} ^ s1 B s1 E S'),
    Case("a column more, described", f'P s1 {ALL} B s1 E S {ADD} ^ s1 Ds s1 S'),
    Case("a column more, described and then gone",
         f'P s1 {ALL} B s1 E S {ADD} ^ s1 Ds s1 S {DROP} B s1 E S | Ds s1 S | Q "begin read only" | B s1 E S | Q "rollback" {ADD} B s1 E S'),
    Case("a column more, described on the primary, then gone",
         f'P s1 {ALL} B s1 E S {ADD} {WRITE} ^ s1 Ds s1 S | Q "rollback" {DROP} B s1 E S {WRITE} B s1 E S | Q "rollback"'),
    Case("a column more, on the replica, then on the primary",
         f'P s1 {ALL} B s1 E S {ADD} {WRITE} ^ s1 B s1 E S | Q "rollback"'),
    Case("a column more, on the primary, then on the replica",
         f'{WRITE[2:]} P s1 "select * from {{t}} where k = 1 {{p}}" B s1 E S | Q "commit" {ADD} ^ s1 B s1 E S'),
    Case("a column more, in a transaction of the replica",
         f'P s1 {ALL} B s1 E S {ADD} | Q "begin read only" | ^ s1 B s1 E S | Q "rollback"'),
    Case("a column for a while, on the primary in between",
         f'P s1 {ALL} B s1 E S {ADD} {WRITE} ^ s1 B s1 E S | Q "rollback" {DROP} ^ s1 B s1 E S {WRITE} B s1 E S | '
         'Q "rollback"', STALE),
    Case("a column for a while, on the replica in between",
         f'{WRITE[2:]} P s1 "select * from {{t}} where k = 1 {{p}}" B s1 E S | '
         f'Q "rollback" {ADD} ^ s1 B s1 E S {DROP} ^ s1 B s1 E S'),
    Case("made again, on replica and primary in turn",
         f'P s1 {ALL} B s1 E S {ADD} Cs s1 S | P s1 {ALL} B s1 E S | Q "update {{t}} set v = 0" B s1 E S | '
         f'B s1 E S {DROP} ^ s1 B s1 E S | Q "update {{t}} set v = 1" B s1 E S'),
    Case("in turn before and behind",
         f'P s1 {ALL} B s1 E S | Q "update {{t}} set v = 0" B s1 E S {ADD} ^ s1 B s1 E S | '
         'Q "update {t} set v = 0" B s1 E S'),
    Case("the unnamed one", f'P {ALL} B E S {ADD} ^ - B E S | P {ALL} B E S'),
    Case("the unnamed one, on the primary at last",
         f'P {ALL} B E S {ADD} ^ - P s2 "update {{t}} set v = 0" B s2 E B E S'),
    Case("another type",
         f'P s1 {ALL} B s1 E S | ! "alter table {{t}} alter v type bigint" ~ ^ s1 B s1 E S {WRITE} B s1 E S | '
         'Q "rollback"'),
    Case("by another client", f'P s1 {ALL} B s1 E S | & "alter table {{t}} add x int" ~ ^ s1 B s1 E S'),
    Case("by the session itself", f'P s1 {ALL} B s1 E S | Q "alter table {{t}} add x int" ^ s1 B s1 E S'),
    Case("by the session itself, in a transaction",
         f'P s1 {ALL} B s1 E S | Q "begin" Q "alter table {{t}} add x int" ^ s1 B s1 E S | Q "rollback" ^ s1 '
         'B s1 E S'),
    Case("EXECUTE in SQL",
         f'{WRITE[2:]} Q "prepare s1 as select * from {{t}} where k = 1" | Q "commit" | Q "execute s1 {{r}}" {ADD} Q "execute s1" | '
         'Q "deallocate s1"', MADE_ANEW, always=False),
    Case("EXECUTE in SQL, where it was prepared",
         f'{WRITE[2:]} Q "prepare s1 as select * from {{t}} where k = 1" | Q "commit" | Q "execute s1 {{r}}" {ADD} {WRITE} '
         'Q "execute s1" | Q "rollback" | Q "deallocate s1"'),
]
# A client that was told of them gets no others, ever: 0A000 comes where it comes directly.
DESCRIBED = f'P s1 {ALL} Ds s1 B s1 E S'
ON_PRIMARY = 'P s1 "select * from {t} where k = 1 {p}"'
TOLD = [
    *(case for how, known in (("", DESCRIBED), ("by its portal: ", f'P s1 {ALL} B s1 Dp E S'),
                              ("in parts: ", f'P s1 {ALL} H | Ds s1 H | B s1 H | Dp E S'),
                              ("named portal: ", f'P s1 {ALL} B c s1 Dp c E c S')) for case in (
        Case(f"{how}nothing changes", f'{known} {WRITE} B s1 E S | Q "rollback" | Q "update {{t}} set v = 0" B s1 E S'),
        Case(f"{how}a column more", f'{known} {ADD} B s1 E S'),
        Case(f"{how}a column more, twice", f'{known} {ADD} B s1 E S | B s1 E S'),
        Case(f"{how}a column more, then gone", f'{known} {ADD} B s1 E S {DROP} B s1 E S'),
        Case(f"{how}a column more, described", f'{known} {ADD} Ds s1 S'),
        Case(f"{how}a column more, on the replica, then on the primary", f'{known} {ADD} {WRITE} B s1 E S | Q "rollback"'),
        Case(f"{how}a column for a while, on the primary in between",
             f'{known} {ADD} {WRITE} B s1 E S | Q "rollback" {DROP} B s1 E S {WRITE} B s1 E S | Q "rollback"'),
        Case(f"{how}a column for a while, a Bind on the primary that fails in between",
             f'{known} {ADD} {WRITE} B s1(1) E S | Q "rollback" {DROP} {WRITE} B s1 E S | Q "rollback"'),
        Case(f"{how}a column for a while, known on both",
             f'{known} {WRITE} B s1 E S | Q "rollback" {ADD} {WRITE} B s1 E S | Q "rollback" {DROP} B s1 E S {WRITE} B s1 E S | '
             'Q "rollback"'))),
    Case("a column more, only parsed and described", f'P s1 "select * from {{t}} where k = 1" Ds s1 S {ADD} B s1 E S'),
    Case("a column more, on the primary, then on the replica",
         f'{WRITE[2:]} {ON_PRIMARY} Ds s1 B s1 E S | Q "commit" {ADD} B s1 E S'),
    Case("a column more, on the primary, described on the replica",
         f'{WRITE[2:]} {ON_PRIMARY} Ds s1 B s1 E S | Q "commit" {ADD} Ds s1 S'),
    Case("a column more, in a transaction of the replica",
         f'{DESCRIBED} {ADD} | Q "begin read only" | B s1 E S | Q "select 1" | Q "rollback"'),
    Case("a column more, in a transaction of the replica that has read",
         f'{DESCRIBED} {ADD} | Q "begin read only" | Q "select 1 {{r}}" | B s1 E S | Q "select 1" | Q "rollback"'),
    Case("a column more, in a snapshot of the replica",
         f'{DESCRIBED} {ADD} | Q "begin isolation level repeatable read read only" | B s1 E S | Q "select 1" | Q "rollback"'),
    Case("a column for a while, on the replica in between",
         f'{WRITE[2:]} {ON_PRIMARY} Ds s1 B s1 E S | Q "rollback" {ADD} B s1 E S {DROP} B s1 E S'),
    Case("a column for a while, a Bind on the replica that fails in between",
         f'{WRITE[2:]} {ON_PRIMARY} Ds s1 B s1 E S | Q "rollback" {ADD} Q "begin read only" | Q "select 1 {{r}}" | '
         f'B s1(1) E S | Q "rollback" {DROP} Q "begin isolation level repeatable read read only" | Q "select 1" | '
         'B s1 E S | Q "commit"'),
    Case("made again, on replica and primary in turn",
         f'{DESCRIBED} {ADD} Cs s1 S | {DESCRIBED} | Q "update {{t}} set v = 0" B s1 E S | '
         f'B s1 E S {DROP} B s1 E S | Q "update {{t}} set v = 1" B s1 E S'),
    Case("made again, and not described", f'{DESCRIBED} {ADD} Cs s1 P s1 {ALL} S | B s1 E S {WRITE} B s1 E S | Q "rollback"'),
    Case("in turn before and behind",
         f'{DESCRIBED} | Q "update {{t}} set v = 0" B s1 E S {ADD} B s1 E S | Q "update {{t}} set v = 0" B s1 E S'),
    Case("the unnamed one", f'P {ALL} Ds B E S {ADD} B E S | P {ALL} B E S'),
    Case("the unnamed one, on the primary at last",
         f'P {ALL} Ds B E S {ADD} P s2 "update {{t}} set v = 0" B s2 E B E S'),
    Case("another type",
         f'{DESCRIBED} | ! "alter table {{t}} alter v type bigint" ~ B s1 E S {WRITE} B s1 E S | Q "rollback"'),
    Case("another name", f'{DESCRIBED} | ! "alter table {{t}} rename v to w" ~ B s1 E S {WRITE} B s1 E S | Q "rollback"'),
    Case("another modifier",
         'P s1 "select k::numeric(5, 1) as k, x from {t} limit 0" S | ! "alter table {t} add x varchar(5)" ~ '
         'P s1 "select x from {t} where k = 1 {r}" Ds s1 B s1 E S | ! "alter table {t} alter x type varchar(6)" ~ '
         f'{WRITE} B s1 E S | Q "rollback"'),
    Case("gone", f'{DESCRIBED} | ! "drop table {{t}}" {WRITE.replace("update {t} set v = 0", "select 1")} B s1 E S | Q "rollback" | '
         f'! "create table {{t}} (k int primary key, v int)"'),
    Case("gone, in one packet with others",
         f'{DESCRIBED} | Q "begin" Q "drop table {{t}}" | P "select 5" B E B s1 E S | Q "rollback"'),
    Case("gone, flushed", f'{DESCRIBED} | Q "begin" Q "drop table {{t}}" | P "select 5" B E H | B s1 E H | B s1 E S | Q "rollback"'),
    Case("by another client", f'{DESCRIBED} | & "alter table {{t}} add x int" ~ B s1 E S'),
    Case("by the session itself", f'{DESCRIBED} | Q "alter table {{t}} add x int" | B s1 E S'),
    Case("by the session itself, in a transaction",
         f'{DESCRIBED} | Q "begin" Q "alter table {{t}} add x int" | B s1 E S | Q "rollback" | B s1 E S'),
    Case("by the session itself, in a transaction, behind a savepoint",
         f'{DESCRIBED} | Q "begin" Q "alter table {{t}} add x int" | Q "savepoint a" | B s1 E S | Q "rollback to a" | '
         'P "select 1" B E S | Q "rollback" | B s1 E S'),
    Case("by the session itself, in one request",
         f'{DESCRIBED} | P "alter table {{t}} add x int" B E B s1 E P "select 1" B E S | B s1 E S'),
    Case("by the session itself, flushed",
         f'{DESCRIBED} | P "alter table {{t}} add x int" B E H | B s1 E H | P "select 1" B E S | B s1 E S'),
    Case("by the session itself, in one packet",
         f'{DESCRIBED} | Q "alter table {{t}} add x int" B s1 E S P "select 1" B E S B s1 E S'),
    Case("a wrong number of parameters first", f'{DESCRIBED} {ADD} {WRITE} B s1(1) E S | Q "rollback"'),
    Case("a portal that is there first",
         f'{DESCRIBED} {ADD} {WRITE} P "select 1" B c - S | B c s1 E c S | Q "rollback"'),
    Case("in the middle of a request",
         f'{DESCRIBED} {ADD} {WRITE} P "select 1" B E P "update {{t}} set v = 7" B E B s1 E P "select 2" B E S | Q "rollback"'),
    Case("in the middle of a request of its own",
         f'{DESCRIBED} {ADD} | P "update {{t}} set v = 7" B E B s1 E P "select 2" B E S P "select 3" B E S'),
    Case("in an open request", f'{DESCRIBED} {ADD} | P "update {{t}} set v = 7" B E H | B s1 E H | P "select 2" B E S'),
    Case("in an open request, and it fits",
         f'{DESCRIBED} | P "update {{t}} set v = 7" B E H | B s1 E H | P "select 2" B E S'),
    Case("in an open request on the replica", f'{DESCRIBED} | P "select 5 {{r}}" B E H {ADD} B s1 E H | P "select 2" B E S'),
    Case("what SQL has prepared", 'Q "prepare s1 as select * from {t} where k = 1" | Ds s1 S | Q "execute s1 {r}" '
         f'{WRITE} B s1 E S | Q "rollback" {ADD} {WRITE} B s1 E S | Q "rollback"'),
    Case("no columns", 'P s1 "update {t} set v = 1 where k = 2" Ds s1 B s1 E S | Q "begin read only" | Q "select 1 {r}" | '
         f'Q "rollback" {ADD} B s1 E S'),
    Case("RETURNING", f'P s1 "update {{t}} set v = 1 where k = 2 returning *" Ds s1 B s1 E S {ADD} B s1 E S'),
    Case("with parameters",
         'P s1 "select * from {t} where k = $1 {r}" Ds s1 B s1(1) E S ' + f'{WRITE} B s1(2) E S | Q "rollback" {ADD} {WRITE} B s1(2) E S | '
         'Q "rollback"'),
    Case("two statements", f'{DESCRIBED} | P s2 "select v from {{t}} where k = 1" Ds s2 B s2 E S {ADD} '
         f'{WRITE} B s2 E B s1 E B s2 E S | Q "rollback" {WRITE} B s2 E S | Q "rollback"'),
    Case("a search_path of the transaction's own",
         'Q "create schema {t}s create table {t} (k int, v int, x int)" | Q "begin" Q "set local search_path to {t}s" | '
         'P s1 "select * from {t}" Ds s1 B s1 E S | Q "update {t} set v = 0" | B s1 E S | Q "rollback" | B s1 E S'),
]
# What is prepared a second time, for another server, has to be what the client has prepared: 0A000 comes where it comes
# directly, and nowhere else.
NOT_TOLD = [
    Case("made again behind its use on both",
         f'P s1 {ALL} B s1 E S {WRITE} B s1 E S | Q "rollback" {ADD} {AGAIN} {WRITE} B s1 E S | Q "rollback"'),
    Case("made again by another text",
         f'P s1 {ALL} B s1 E S | Q "update {{t}} set v = 0" B s1 E S {ADD} Cs s1 '
         'P s1 "select x from {t} where k = 1" B s1 E S | Q "update {t} set x = 0" B s1 E S'),
    Case("made again by another text behind SQL's own DEALLOCATE",
         f'P s1 {ALL} B s1 E S {WRITE} B s1 E S | Q "rollback" {ADD} Q "deallocate s1" | '
         f'P s1 {ALL} B s1 E S {WRITE} B s1 E S | Q "rollback"'),
    Case("made again behind DEALLOCATE ALL",
         f'P s1 {ALL} B s1 E S | Q "update {{t}} set v = 0" B s1 E S {ADD} Q "deallocate all" | '
         f'P s1 {ALL} B s1 E S {WRITE} B s1 E S | Q "rollback"'),
    Case("made again behind DISCARD ALL",
         f'P s1 {ALL} B s1 E S | Q "update {{t}} set v = 0" B s1 E S {ADD} Q "discard all" | '
         f'P s1 {ALL} B s1 E S {WRITE} B s1 E S | Q "rollback"'),
    Case("made again in a batch behind one that failed",
         f'P s1 {ALL} B s1 E S {ADD} E x {AGAIN} | {AGAIN} {WRITE} B s1 E S | Q "rollback"'),
    Case("made again, by another client",
         f'P s1 {ALL} B s1 E S {WRITE} B s1 E S | Q "rollback" | & "alter table {{t}} add x int" ~ {AGAIN} {WRITE} '
         'B s1 E S | Q "rollback"'),
    Case("made again in a transaction with DDL that is rolled back, and once more",
         f'P s1 {ALL} B s1 E S | Q "begin" Q "alter table {{t}} add x int" | {AGAIN} | Q "rollback" | '
         f'{AGAIN} {WRITE} B s1 E S | Q "rollback"'),
    Case("EXECUTE in SQL of what was made again",
         'Q "prepare s1 as select * from {t} where k = 1" | Q "execute s1 {r}" ' + f'{ADD} Q "deallocate s1" | '
         f'Q "prepare s1 as select * from {{t}} where k = 1" | Q "execute s1" {WRITE} Q "execute s1" | Q "rollback"'),
    Case("columns by name",
         f'P s1 "select k, v from {{t}} where k = 1 {{r}}" B s1 E S {ADD} B s1 E S {WRITE} B s1 E S | Q "rollback"'),
    Case("another type and back, made again in between",
         f'P s1 {ALL} B s1 E S | ! "alter table {{t}} alter v type bigint" ~ {AGAIN} {WRITE} B s1 E S | Q "rollback" | '
         f'! "alter table {{t}} alter v type int" ~ {AGAIN} {WRITE} B s1 E S | Q "rollback"'),
    Case("a column for a while, a Bind on the primary that fails in between",
         f'P s1 {ALL} B s1 E S {ADD} {WRITE} B s1(1) E S | Q "rollback" {DROP} {WRITE} B s1 E S | Q "rollback"'),
    Case("a column for a while, a Bind on the replica that fails in between",
         f'{WRITE[2:]} P s1 "select * from {{t}} where k = 1 {{p}}" B s1 E S | '
         f'Q "rollback" {ADD} Q "begin read only" | Q "select 1 {{r}}" | '
         f'B s1(1) E S | Q "rollback" {DROP} Q "begin isolation level repeatable read read only" | Q "select 1" | '
         'B s1 E S | Q "commit"'),
    Case("a column for a while, a Parse of the name in between",
         f'P s1 {ALL} B s1 E S {ADD} {WRITE} P s1 "select 2" S | Q "rollback" {DROP} {WRITE} B s1 E S | Q "rollback"'),
    Case("a column for a while, skipped in between",
         f'P s1 {ALL} B s1 E S {ADD} {WRITE} E x B s1 E S | Q "rollback" {DROP} {WRITE} B s1 E S | Q "rollback"'),
    Case("a column for a while, SQL's own PREPARE of the name in between",
         f'P s1 {ALL} B s1 E S {ADD} Q "prepare s1 as select 2" {DROP} {WRITE} B s1 E S | Q "rollback"'),
    Case("a column in a transaction that is rolled back, a Bind in it that fails",
         f'P s1 {ALL} B s1 E S | Q "begin" Q "alter table {{t}} add x int" | B s1(1) S | '
         f'Q "rollback" {WRITE} B s1 E S | Q "rollback"'),
    Case("a column in a transaction that is rolled back, executed in it no more",
         f'P s1 {ALL} B s1 E S | Q "begin" Q "alter table {{t}} add x int" Q "rollback" {WRITE} B s1 E S | '
         'Q "rollback"'),
]

CASES = {"failing batches": FAILING_BATCHES, "replaced": REPLACED_NAMES, "unnamed": UNNAMED_BEHIND_A_QUERY, "long": LONG_NAMES,
         "inside": EXECUTED_INSIDE, "pipelined": PREPARED_BEHIND_A_QUERY, "healed": HEALED, "told": TOLD, "not told": NOT_TOLD}

# The same script on both sides of a pair would be answered the same: what differs has to be seen.
DIFFERENT = {
    "rows": ('Q "select 1"', 'Q "select 2"'),
    "rows of Execute": ('P "select 1" B E S', 'P "select 2" B E S'),
    "types of messages": ('P "select 1" S', 'P "select 1" Ds S'),
    "names of columns": ('Q "select 1 as a"', 'Q "select 1 as b"'),
    "SQLSTATE": ('Q "select 1/0"', 'Q "select nosuch"'),
    "text of an error": ('Q "select nosuch"', 'Q "select nosuck"'),
    "an error or not": ('E x S', 'S'),
    "notices": ('Q "commit"', 'Q "begin; commit"'),
    "command tags": ('Q "begin"', 'Q "start transaction"'),
    "transaction status": ('Q "begin" Q "select 1/0"', 'Q "savepoint a" Q "select 1/0"'),
    "ReadyForQuery": ('S', 'S S'),
    "settings": ('Q "set application_name = \'a\'"', 'Q "set application_name = \'b\'"'),
    "notifications": ('Q "listen a; notify a"', 'Q "listen a; notify b"'),
    "tables": ('Q "update {t} set v = 0"', 'Q "update {t} set v = 1"'),
    "what a name means": ('P s1 "select 1" S', 'P s1 "select 2" S'),
    "what SQL's name means": ('Q "prepare s1 as select 1"', 'Q "prepare s1 as select 2"'),
    "what the unnamed statement means": ('P "select 1" S', 'P "select 2" S'),
}
PAIRS = {name: (Case(name, one), Case(name, other)) for name, (one, other) in DIFFERENT.items()}
A_WRITE = Case("a write, said to run on a replica", 'Q "update {t} set v = 0 where k = 1 {r}"')


@pytest.fixture(scope="module")
def stage(cluster, leases):
    cases = [case for cases in [*CASES.values(), *PAIRS.values(), [A_WRITE]] for case in cases]
    with Stage(cluster, leases, cases) as running:
        yield running


@pytest.mark.parametrize("case, way", parameters(CASES))
def test_as_direct(stage, case, way):
    stage.check(case, way)


@pytest.mark.parametrize("name", PAIRS)
def test_what_differs_is_seen(stage, name):
    one, other = (stage.play(case, DIRECT) for case in PAIRS[name])
    compare_sides(PAIRS[name][0], one, one)
    with pytest.raises(Deviation):
        compare_sides(PAIRS[name][0], one, other)


def test_what_runs_elsewhere_is_seen(stage):
    with pytest.raises(AssertionError) as found:
        stage.check(A_WRITE, WAYS[0])
    assert found.type is AssertionError


def test_letters():
    assert parse('P s1 "select 1" P "x" B B s1(1,2) B c s1 B c - Ds Dp c E E c 2 E - 1 Cs s1 Cp H | S ! "y" Q "z"') == [
        [["P", "s1", "select 1"], ["P", "", "x"], ["B", "", "", []], ["B", "", "s1", ["1", "2"]], ["B", "c", "s1", []],
         ["B", "c", "", []], ["D", "S", ""], ["D", "P", "c"], ["E", "", 0], ["E", "c", 2], ["E", "", 1], ["C", "S", "s1"],
         ["C", "P", ""], ["H"]],
        [["S"]], ("!", "y"), [["Q", "z"]]]
    assert names_of(parse('P s2 "x" P "prepare s3 as x" | Q "prepare s1 as x; prepare s2 as x"')) == ["s2", "s3", "s1", ""]
