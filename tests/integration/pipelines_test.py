"""Requests that are open for several packets, what begins transactions in them, and what a transaction on a replica is told:
as on a direct connection. Scripts are written as differential/by_hand.py says."""

import pytest

from differential.by_hand import Case, Stage, parameters

pytestmark = pytest.mark.core


READ = '"select v from {t} where k = 1"'
ON_REPLICA = '"select v from {t} where k = 1 {r}"'
CHANGE = '! "update {t} set v = 99 where k = 1"'
RR = "begin isolation level repeatable read"
SERIALIZABLE = '"set transaction isolation level serializable"'
KNOWN = f"P s3 {ON_REPLICA} B s3 E S"

# Nothing of pgsteer's own runs between a client's BEGIN and its first statement.
BEGUN = [
    Case("a snapshot is the first query's", f'P "{RR}" B E H | {CHANGE} P {READ} B E S | Q "commit"'),
    Case("a snapshot is the first query's, behind the Sync", f'P "{RR}" B E H | S | {CHANGE} P {READ} B E S | Q "commit"'),
    Case("a snapshot is the first query's, Sync at once", f'P "{RR}" B E S | {CHANGE} P {READ} B E S | Q "commit"'),
    Case("a snapshot is the first query's, nothing flushed", f'P "{RR}" B E | {CHANGE} P {READ} B E S | Q "commit"'),
    Case("a snapshot is the first query's, by Query", f'Q "{RR}" | {CHANGE} Q {READ} | Q "commit"'),
    Case("a snapshot is the first query's, by name", f'P s1 "{RR}" S | B s1 E H | {CHANGE} Q {READ} S | Q "commit"'),
    Case("a snapshot is the first query's, behind a savepoint",
         f'P "{RR}" B E H | P "savepoint a" B E H | {CHANGE} P {READ} B E S | Q "commit"'),
    Case("a snapshot is the first query's, behind a write",
         f'Q "update {{t}} set v = 1" | P "{RR}" B E H | {CHANGE} P {READ} B E S | Q "commit"'),
    Case("a snapshot is the first query's, behind a write in flight",
         f'Q "update {{t}} set v = 1" P "{RR}" B E H | {CHANGE} P {READ} B E S | Q "commit"'),
    Case("a snapshot is the first query's, behind a flushed write",
         f'P "update {{t}} set v = 1" B E H | S | P "{RR}" B E H | S | {CHANGE} P {READ} B E S | Q "commit"'),
    Case("a snapshot is the first query's, serializable",
         f'P "begin isolation level serializable" B E H | S | {CHANGE} P {READ} B E S | Q "commit"'),
    Case("a snapshot is the first query's, read only", f'P "{RR} read only" B E H | {CHANGE} P {READ} B E S | Q "commit"'),
    Case("a snapshot is the first query's, on a replica",
         f'P "{RR} read only" B E S | {CHANGE} P {ON_REPLICA} B E S | Q "commit"'),
    Case("a snapshot is the first query's, set later",
         f'P "begin" B E S | P "set transaction isolation level repeatable read" B E S | {CHANGE} Q {READ} | '
         'Q "commit"'),
    Case("a later query has the snapshot of the first",
         f'P "{RR}" B E P {READ} B E H | {CHANGE} P {READ} B E S | Q "commit"'),
    Case("without a level each query has its own",
         f'P "begin" B E H | {CHANGE} P {READ} B E S | {CHANGE} Q {READ} | Q "commit"'),
    Case("SET TRANSACTION behind a Flush",
         f'P "{RR}" B E H | P {SERIALIZABLE} B E S | Q "show transaction_isolation" | Q "commit"'),
    Case("SET TRANSACTION behind a Flush and a Sync", f'P "{RR}" B E H | S | Q {SERIALIZABLE} | Q "commit"'),
    Case("SET TRANSACTION behind a Sync", f'P "{RR}" B E S | P {SERIALIZABLE} B E S | Q "commit"'),
    Case("SET TRANSACTION by Query in the open request", f'P "{RR}" B E H | Q {SERIALIZABLE} S | Q "commit"'),
    Case("SET TRANSACTION behind a BEGIN without a level", f'P "begin" B E H | P {SERIALIZABLE} B E S | Q "commit"'),
    Case("SET TRANSACTION behind a BEGIN without a level, by Query", f'P "begin" B E H | Q {SERIALIZABLE} S | Q "commit"'),
    Case("SET TRANSACTION behind a BEGIN in three packets", f'P "{RR}" H | B E H | S | Q {SERIALIZABLE} | Q "commit"'),
    Case("SET TRANSACTION behind a BEGIN behind a write",
         f'P "update {{t}} set v = 0" B E S P "{RR}" B E H | S | Q {SERIALIZABLE} | Q "commit"'),
    Case("SET TRANSACTION behind a BEGIN behind a COMMIT",
         f'P "commit" B E P "{RR}" B E H | S | Q {SERIALIZABLE} | Q "commit"'),
    Case("SET TRANSACTION of a read only one",
         f'P "begin read only" B E H | P {SERIALIZABLE} B E S | Q {READ} | Q "commit"'),
    Case("SET TRANSACTION READ ONLY",
         f'P "{RR}" B E H | S | Q "set transaction read only" | Q "show transaction_read_only" | Q "commit"'),
    Case("SET TRANSACTION too late", f'P "{RR}" B E P {READ} B E H | P {SERIALIZABLE} B E S | Q "commit"'),
    Case("a statement that the replica knows", f'{KNOWN} | P "{RR}" B E B s3 E S | Q "commit"'),
    Case("a statement that the replica knows, serializable",
         f'{KNOWN} | P "begin isolation level serializable" B E B s3 E S | Q "commit"'),
    Case("a statement that the replica knows, read write", f'{KNOWN} | P "begin read write" B E B s3 E S | Q "commit"'),
    Case("a statement that the replica knows, no level", f'{KNOWN} | P "begin" B E B s3 E S | Q "commit"'),
    Case("a statement that the replica knows, a level in the same batch",
         f'{KNOWN} | P "begin" B E P {SERIALIZABLE} B E B s3 E S | Q "commit"'),
    Case("a statement that the replica knows, described", f'{KNOWN} | P "{RR}" B E Ds s3 S | Q "commit"'),
    Case("a statement that the replica knows, in part", f'{KNOWN} | P "{RR}" B E B c s3 E c 1 S | E c S | Q "commit"'),
    Case("a statement that the replica knows, two packets", f'{KNOWN} | P "{RR}" B E H | B s3 E S | Q "commit"'),
    Case("a statement that the replica knows, two requests", f'{KNOWN} | P "{RR}" B E S B s3 E S | Q "commit"'),
    Case("a statement that the replica knows, behind a Query", f'{KNOWN} | Q "{RR}" B s3 E S | Q "commit"'),
    Case("a statement that the replica knows, and COMMIT", f'{KNOWN} | P "{RR}" B E B s3 E P "commit" B E S'),
    Case("a statement that the replica knows, and a write",
         f'{KNOWN} | P "{RR}" B E B s3 E P "update {{t}} set v = 0" B E B s3 E S | Q "commit"'),
    Case("a statement that the replica knows, behind a write",
         f'{KNOWN} | P "update {{t}} set v = 3" B E S P "{RR}" B E B s3 E S | Q "commit"'),
    Case("a statement that the replica knows, by SQL's EXECUTE",
         f'{KNOWN} | P "{RR}" B E P "execute s3" B E S | Q "commit"'),
    Case("a statement that SQL has prepared on the replica",
         f'Q "prepare s3 as select v from {{t}} where k = 1" | Q "execute s3 {{r}}" | P "{RR}" B E B s3 E S | '
         'Q "commit"'),
    Case("BEGIN by name, and a statement that the replica knows", f'P s4 "{RR}" S {KNOWN} | B s4 E B s3 E S | Q "commit"'),
    Case("BEGIN by name, and the unnamed statement", f'P s4 "{RR}" S | P {ON_REPLICA} B E S | B s4 E B E S | Q "commit"'),
    Case("a setting before it",
         f'Q "set work_mem = \'1MB\'" | {KNOWN} | P "set work_mem = \'2MB\'" B E S P "{RR}" B E B s3 E S | Q "commit"'),
    Case("a setting of the replica's before it",
         f'P "select 1 {{r}}" B E S | P "select set_config(\'my.x\', \'y\', false)" B E S P "{RR}" B E '
         'P "select current_setting(\'my.x\')" B E S | Q "commit"'),
]

# A request that has been open on a replica goes to the primary.
BIG_READ = '"select k from {t} order by k {r}"'
UPDATE = 'P "update {t} set v = 0" B E'
MOVED = [
    Case("BEGIN with a level, by Query", f'P {ON_REPLICA} B E H | Q "{RR}" S | Q "commit"'),
    Case("BEGIN with a level", f'P {ON_REPLICA} B E H | P "{RR}" B E S | Q "commit"'),
    Case("BEGIN and SET TRANSACTION",
         f'P {ON_REPLICA} B E H | P "begin" B E P "set transaction isolation level repeatable read" B E S | '
         'Q "commit"'),
    Case("BEGIN without a level", f'P {ON_REPLICA} B E H | P "begin" B E S | Q {READ} | Q "commit"'),
    Case("BEGIN with a level behind a Parse", f'P "select 1" H | P "{RR}" B E S | Q "rollback"'),
    Case("what must be alone", f'P {ON_REPLICA} B E H | P "commit prepared \'x\'" B E S'),
    Case("EXECUTE by Query behind a Parse", f'P s1 {ON_REPLICA} B s1 E S | P s3 "update {{t}} set v = 0" Q "execute s1" S'),
    Case("EXECUTE by Query", f'P s2 {ON_REPLICA} B s2 E S | P {ON_REPLICA} B E H | P "commit" B E Q "execute s2" S'),
    Case("a portal of SET", f'P "set local work_mem = \'1MB\'" B c - E c P {READ} B E H | {UPDATE} E c S'),
    Case("a portal of SET, bound", f'P "set local work_mem = \'1MB\'" B c - P {READ} B E H | {UPDATE} B c - S'),
    Case("a portal goes on, then a write",
         'P "select k from {t} order by k" B c - E c 2 H | E c 1 P "set local timezone to \'UTC\'" B E S'),
    Case("a portal goes on behind a write", f'P {BIG_READ} B c - E c 2 H | {UPDATE} E c S'),
    Case("a portal goes on behind a flushed write", f'P {BIG_READ} B c - E c 2 H | {UPDATE} H | E c 1 S'),
    Case("a portal goes on behind SHOW", f'P {BIG_READ} B c - E c 2 H | P "show work_mem" B E E c S'),
    Case("a portal was executed to its end", f'P {BIG_READ} B c - E c H | {UPDATE} E c S'),
    Case("a portal was bound", f'P "select k from {{t}} order by k" B c - H | {UPDATE} H | E c S'),
    Case("a portal of a name",
         f'P s1 "select k from {{t}} order by k" B c s1 H | {UPDATE} H | E c 2 H | E c S'),
    Case("two portals", f'P s1 {BIG_READ} B c s1 B d s1 E c 2 H | {UPDATE} E d 1 E c S'),
    Case("a portal with parameters",
         f'P s1 "select k from {{t}} where k > $1 order by k" B c s1(2) H | {UPDATE} E c S'),
    Case("the unnamed portal",
         f'P "select k from {{t}} order by k" B H | P s1 "update {{t}} set v = 0" B d s1 E d E S'),
    Case("the unnamed portal, in part",
         f'P {BIG_READ} B E - 2 H | P s1 "update {{t}} set v = 0" B d s1 E d E - 2 S'),
    Case("the unnamed portal, to its end",
         f'P {BIG_READ} B E H | P s1 "update {{t}} set v = 0" B d s1 E d E S'),
    Case("the unnamed portal behind a Parse", f'P {BIG_READ} B E - 2 H | P "update {{t}} set v = 0" H | E S'),
    Case("the unnamed portal, bound again", f'P {BIG_READ} B E - 2 H | {UPDATE} E S'),
    Case("described", f'P "select k from {{t}}" B c - H | {UPDATE} Dp c S'),
    Case("closed", f'P {BIG_READ} B c - E c 2 H | {UPDATE} Cp c S'),
    Case("closed, and executed", f'P {BIG_READ} B c - E c 2 H | {UPDATE} Cp c E c S'),
    Case("closed, and bound again", f'P {BIG_READ} B c - E c 2 H | {UPDATE} Cp c B c - S'),
    Case("bound again", 'P "select 1" B c - H | P "update {t} set v = 0" B c - E c S'),
    Case("bound again when it was executed",
         'P "select 1 {r}" B c - E c H | P "update {t} set v = 0" B c - E c S'),
    Case("behind a Sync", f'P {BIG_READ} B c - E c 2 S | {UPDATE} E c S'),
    Case("behind a Query that writes", f'P {BIG_READ} B c - E c 2 H | Q "update {{t}} set v = 0" E c S'),
    Case("behind a Query that reads", f'P {BIG_READ} B c - E c 2 H | Q "select 2" E c S'),
    Case("behind a Query that begins",
         f'P {BIG_READ} B c - E c 2 H | Q "begin" E c S | Q "rollback"'),
    Case("behind BEGIN", f'P {BIG_READ} B c - E c 2 H | P "begin" B E E c 1 S | E c S | Q "rollback"'),
    Case("behind a flushed BEGIN",
         f'P {BIG_READ} B c - E c 2 H | P "begin" B E H | E c 1 S | E c S | '
         'Q "rollback"'),
    Case("behind a write that fails",
         f'P {BIG_READ} B c - E c 2 H | P "insert into {{t}} values (1, 1)" B E E c S | E c S'),
    Case("statements of the open request", f'P s1 {ON_REPLICA} B s1 E H | {UPDATE} H | B s1 E S'),
    Case("a portal of a transaction",
         'Q "begin" | P "select k from {t} order by k" B c - E c 2 S | Q "update {t} set v = 0" | E c 1 S | E c S | '
         'Q "rollback"'),
    Case("a portal of a read only transaction that listens",
         f'Q "begin read only" | P {BIG_READ} B c - E c 2 S | Q "listen a" | E c 1 S | Q "rollback"'),
    Case("a portal of a read only transaction that listens, flushed",
         f'Q "begin read only" | P {BIG_READ} B c - E c 2 H | P "listen a" B E S | E c 1 S | '
         'Q "rollback"'),
]

# A cursor is a portal of the session's.
CURSOR = "declare c cursor with hold for select k from {t}"
BESIDE_CURSORS = [
    Case("a portal of its name", f'Q "{CURSOR}" | P {READ} B c - E c S | Q "close c"'),
    Case("a portal of its name, pipelined", f'P "{CURSOR}" B E S P {READ} B c - E c S | Q "close c"'),
    Case("a portal of its name, its transaction in flight",
         f'Q "begin" P "{CURSOR}" B E S Q "commit" P {READ} B c - E c S | Q "close c"'),
    Case("a portal of its name, behind CLOSE", f'Q "{CURSOR}" | Q "close c" | P {ON_REPLICA} B c - E c S'),
    Case("a portal of another name", f'Q "{CURSOR}" | P {READ} B d - E d S | P "fetch all c" B E S | Q "close c"'),
]

# A portal that was executed to its end is a portal, whoever has answered.
OF_BEGIN = [
    *(case for begin in ("begin", "begin read only", "start transaction") for case in (
        Case(f"{begin}: again", f'P "{begin}" B E S | E S | Q "rollback"'),
        Case(f"{begin}: described", f'P "{begin}" B E S | Dp S | Q "rollback"'),
        Case(f"{begin}: closed", f'P "{begin}" B E S | Cp S | E S | Q "rollback"'),
        Case(f"{begin}: twice in one request", f'P "{begin}" B E E S | Q "rollback"'),
        Case(f"{begin}: again, flushed", f'P "{begin}" B E H | E S | Q "rollback"'),
        Case(f"{begin}: with a limit of rows", f'P "{begin}" B E - 1 S | E - 2 E - 2 S | Q "rollback"'),
        Case(f"{begin}: by name", f'P "{begin}" B c - E c S | E c S | Q "rollback"'),
        Case(f"{begin}: by name, the name again", f'P "{begin}" B c - E c S | P "select 1" B c - S | Q "rollback"'))),
    Case("behind a read", f'P "begin" B E S | Q {READ} | E S | Q "rollback"'),
    Case("behind a read on a replica", f'P "begin read only" B E S | Q {ON_REPLICA} | E S | Q "rollback"'),
    Case("behind another portal", f'P "begin" B E S | P {READ} B E S | E S | Q "rollback"'),
    Case("behind a write", 'P "begin" B E S | Q "update {t} set v = 0" | E S | Q "rollback"'),
    Case("behind its COMMIT", 'P "begin" B E S | Q "commit" | E S'),
    Case("behind its failure", 'P "begin" B E S | Q "select 1/0" | E S | Q "rollback"'),
    Case("of SAVEPOINT", 'Q "begin" | P "savepoint a" B c - E c S | E c S | Q "rollback"'),
    Case("of SAVEPOINT, unnamed", 'Q "begin" | P "savepoint a" B E S | E S | Q "rollback"'),
    Case("of SET TRANSACTION", 'Q "begin" | P "set transaction read only" B c - E c S | E c S | Q "rollback"'),
    Case("of SET TRANSACTION, unnamed", 'Q "begin" | P "set transaction read only" B E S | E S | Q "rollback"'),
    Case("of SET LOCAL, unnamed",
         'Q "begin" | P "set local work_mem = \'1MB\'" B E S | E S | Q "rollback"'),
    Case("of COMMIT AND CHAIN, unnamed", 'Q "begin" | P "commit and chain" B E S | E S | Q "rollback"'),
]

SNAPSHOT = f'Q "{RR} read only" | Q {ON_REPLICA}'
READ_ONLY = f'Q "begin read only" | Q {ON_REPLICA}'
SET, SHOW = "set default_transaction_read_only = on", 'Q "show default_transaction_read_only"'
REPORTED = [
    Case("set in a snapshot", f'{SNAPSHOT} | Q "{SET}" | Q "rollback" | {SHOW}'),
    Case("set in a snapshot by Parse", f'{SNAPSHOT} | P "{SET}" B E S | Q "rollback" | {SHOW}'),
    Case("set in a snapshot by set_config",
         f'{SNAPSHOT} | Q "select set_config(\'default_transaction_read_only\', \'on\', false)" | '
         'Q "rollback"'),
    Case("set in a snapshot, locally",
         f'{SNAPSHOT} | Q "set local default_transaction_read_only = on" | Q "commit" | {SHOW}'),
    Case("set in a snapshot, locally by set_config",
         f'{SNAPSHOT} | Q "select set_config(\'default_transaction_read_only\', \'on\', true)" | '
         f'Q "commit" | {SHOW}'),
    Case("set in a snapshot, and rolled back to a savepoint",
         f'{SNAPSHOT} | Q "savepoint a" | Q "{SET}" | Q "rollback to a" | Q "commit" | {SHOW}'),
    Case("set in a snapshot, behind a failure",
         f'{SNAPSHOT} | Q "savepoint a" | Q "{SET}" | Q "select 1/0" | Q "rollback" | {SHOW}'),
    Case("set and reset in a snapshot",
         f'{SNAPSHOT} | Q "{SET}" | Q "reset default_transaction_read_only" | Q "commit" | {SHOW}'),
    Case("set in a snapshot with another statement",
         f'{SNAPSHOT} | Q "{SET}; select 1" | Q "rollback" | {SHOW}'),
    Case("reset in a snapshot",
         f'Q "{SET}" | Q "{RR}" | Q {ON_REPLICA} | Q "set local default_transaction_read_only = off" | '
         f'Q "commit" | {SHOW}'),
    Case("another setting in a snapshot",
         f'{SNAPSHOT} | Q "set local application_name = \'other\'" | Q "commit" | Q "show application_name"'),
    Case("set in a read only transaction", f'{READ_ONLY} | Q "{SET}" | Q "commit" | {SHOW}'),
    Case("set in a read only transaction before it reads",
         f'Q "begin read only" | Q "{SET}" | Q {READ} | Q "commit" | {SHOW}'),
    Case("set in a read only transaction by Parse", f'{READ_ONLY} | P "{SET}" B E S | Q "commit" | {SHOW}'),
    Case("set in a read only transaction, rolled back", f'{READ_ONLY} | Q "{SET}" | Q "rollback" | {SHOW}'),
    Case("set in a read only transaction, locally",
         f'{READ_ONLY} | Q "set local default_transaction_read_only = on" | Q "commit" | {SHOW}'),
    Case("set in a read only transaction, rolled back to a savepoint",
         f'{READ_ONLY} | Q "savepoint a" | Q "{SET}" | Q "rollback to a" | Q "commit" | {SHOW}'),
    Case("SET SESSION CHARACTERISTICS in a read only transaction",
         f'{READ_ONLY} | Q "set session characteristics as transaction read only" | Q "rollback" | {SHOW}'),
    Case("set in a transaction that reads", f'Q "begin" | Q {READ} | Q "{SET}" | Q "commit" | {SHOW}'),
    Case("off in a transaction that is read only by it",
         f'Q "{SET}" | Q "begin" | Q {ON_REPLICA} | Q "set default_transaction_read_only = off" | Q "commit" | {SHOW}'),
    Case("off locally in a transaction that is read only by it",
         f'Q "{SET}" | Q "begin" | Q {ON_REPLICA} | Q "set local default_transaction_read_only = off" | '
         f'Q "commit" | {SHOW}'),
    Case("reset outside of a transaction",
         f'Q "{SET}" | Q {ON_REPLICA} | Q "reset default_transaction_read_only" | {SHOW}'),
    Case("DISCARD ALL", f'Q "{SET}" | Q {ON_REPLICA} | Q "discard all" | {SHOW}'),
]

HEARD = 'Q "notify a" | Q "unlisten a"'
LISTENING = [
    Case("LISTEN in a snapshot", f'{SNAPSHOT} | Q "listen a" | Q "commit" | {HEARD}'),
    Case("LISTEN in a snapshot by Parse", f'{SNAPSHOT} | P "listen a" B E S | Q "commit" | {HEARD}'),
    Case("LISTEN in a snapshot, in one packet",
         f'Q "{RR} read only" Q {ON_REPLICA} Q "listen a" Q "commit" | {HEARD}'),
    Case("LISTEN in a snapshot, in one batch",
         f'Q "{RR} read only" | P {READ} B E P "listen a" B E S | Q "commit" | {HEARD}'),
    Case("LISTEN in a snapshot, rolled back", f'{SNAPSHOT} | Q "listen a" | Q "rollback" | {HEARD}'),
    Case("LISTEN in a snapshot, rolled back to a savepoint",
         f'{SNAPSHOT} | Q "savepoint a" | Q "listen a" | Q "rollback to a" | Q "commit" | {HEARD}'),
    Case("LISTEN in a snapshot beside a portal",
         f'Q "{RR} read only" | P {BIG_READ} B c - E c 2 S | Q "listen a" | E c 2 S | Q "commit" | {HEARD}'),
    Case("LISTEN in a snapshot, and a read",
         f'{SNAPSHOT} | Q "listen a" | {CHANGE} Q {READ} | Q "commit" | {HEARD}'),
    Case("LISTEN in a snapshot before it reads", f'Q "{RR} read only" | Q "listen a" | Q {READ} | Q "commit" | {HEARD}'),
    Case("NOTIFY in a snapshot", f'Q "listen a" | {SNAPSHOT} | Q "notify a" | Q "commit" | {HEARD}'),
    Case("UNLISTEN in a snapshot", f'Q "listen a" | {SNAPSHOT} | Q "unlisten a" | Q "commit" | {HEARD}'),
    Case("UNLISTEN * in a snapshot", f'Q "listen a" | {SNAPSHOT} | Q "unlisten *" | Q "commit" | {HEARD}'),
    Case("NOTIFY with a payload", f'Q "listen a" | {SNAPSHOT} | Q "notify a, \'it\'\'s\'" Q "notify a" | Q "commit" | {HEARD}'),
    Case("all of them, in their order",
         f'{SNAPSHOT} | Q "listen a" | Q "unlisten a" | Q "listen b" | Q "notify b, \'1\'" | Q "unlisten *" | Q "listen a" | '
         f'Q "commit" | Q "notify b" | {HEARD}'),
    Case("savepoints", f'{SNAPSHOT} | Q "listen a" | Q "savepoint x" | Q "unlisten a" | Q "savepoint y" | Q "listen b" | '
         f'Q "release y" | Q "rollback to x" | Q "commit" | Q "notify b" | {HEARD}'),
    Case("by name, described", f'P s1 "listen a" Ds s1 S | {SNAPSHOT} | B s1 Dp E S | B s1 E S | Q "commit" | {HEARD}'),
    Case("by Parse, described, COMMIT by Parse",
         f'{SNAPSHOT} | P "listen a" Ds B Dp E S | P "commit" B Dp E S | {HEARD}'),
    Case("COMMIT AND CHAIN", f'{SNAPSHOT} | Q "listen a" | Q "commit and chain" | Q "rollback" | {HEARD}'),
    Case("in a transaction that has failed", f'{SNAPSHOT} | Q "select 1/0" | Q "listen a" | Q "commit" | {HEARD}'),
    Case("in a transaction that fails later", f'{SNAPSHOT} | Q "listen a" | Q "select 1/0" | Q "commit" | {HEARD}'),
    Case("in a transaction that fails and goes on",
         f'{SNAPSHOT} | Q "listen a" | Q "savepoint x" | Q "listen b" | Q "select 1/0" | Q "rollback to x" | Q "commit" | '
         f'Q "notify b" | {HEARD}'),
    Case("END, in one packet", f'{SNAPSHOT} | Q "listen a" Q "notify a" Q {READ} Q "end" | {HEARD}'),
    Case("COMMIT with another statement", f'{SNAPSHOT} | Q "listen a" | Q "select 1; commit" | {HEARD}'),
    Case("a cursor beside it", f'Q "begin read only" | Q "declare c cursor for select k from {{t}} order by k" | Q "fetch 2 c" | '
         f'Q "listen a" | Q "fetch 1 c" | Q "commit" | {HEARD}'),
    Case("no name", f'{SNAPSHOT} | Q "listen" | Q "commit" | {HEARD}'),
    Case("UNLISTEN in a snapshot, rolled back", f'Q "listen a" | {SNAPSHOT} | Q "unlisten a" | Q "rollback" | {HEARD}'),
    Case("UNLISTEN in a snapshot of what was not listened to", f'{SNAPSHOT} | Q "unlisten a" | Q "commit" | {HEARD}'),
    Case("UNLISTEN in a read only transaction", f'Q "listen a" | {READ_ONLY} | Q "unlisten a" | Q "commit" | {HEARD}'),
    Case("LISTEN in a read only transaction", f'{READ_ONLY} | Q "listen a" | Q "commit" | {HEARD}'),
    Case("LISTEN in a read only transaction, flushed",
         f'{READ_ONLY} | P "listen a" B E H | P {READ} B E S | Q "commit" | {HEARD}'),
    Case("NOTIFY in a read only transaction", f'Q "listen a" | {READ_ONLY} | Q "notify a" | Q "commit" | {HEARD}'),
    Case("LISTEN in a transaction that reads", f'Q "begin" | Q {READ} | Q "listen a" | Q "commit" | {HEARD}'),
]

CASES = {"begun": BEGUN, "moved": MOVED, "portal": OF_BEGIN, "beside": BESIDE_CURSORS, "reported": REPORTED,
         "listening": LISTENING}


@pytest.fixture(scope="module")
def stage(cluster, leases):
    with Stage(cluster, leases, [case for cases in CASES.values() for case in cases]) as running:
        yield running


@pytest.mark.parametrize("case, way", parameters(CASES))
def test_as_direct(stage, case, way):
    stage.check(case, way)
