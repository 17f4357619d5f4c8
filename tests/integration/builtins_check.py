#!/usr/bin/python3
"""Compares routing/builtins_*.inc with the catalog of a running server.

    tests/integration/builtins_check.py "host=/tmp port=5432 dbname=postgres user=postgres"

Fails if a name counts as harmless that the server has as VOLATILE and nobody reviewed, or as a
function that takes or returns `internal`; if a volatile built-in is on no list and could be called
from SQL; or if an operator or type of ours is backed by something volatile. Names that only another
major version has are fine.
"""
import pathlib
import re
import sys

import psycopg2

ROUTING = pathlib.Path(__file__).resolve().parents[2] / "routing"

# VOLATILE, and harmless all the same: they leave nothing behind.
HARMLESS_THOUGH_VOLATILE = set("""
    clock_timestamp current_query gen_random_uuid pg_column_compression pg_database_size pg_indexes_size
    pg_partition_ancestors pg_partition_tree pg_relation_size pg_sleep pg_sleep_for pg_sleep_until
    pg_table_size pg_tablespace_size pg_total_relation_size random random_normal timeofday uuidv4 uuidv7
    array_sample array_shuffle
""".split())


def strings(name):
    text = (ROUTING / name).read_text()
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("//")]
    return set(re.findall(r'"([^"]+)",', "\n".join(lines)))


def special():
    text = (ROUTING / "builtins_special.inc").read_text()
    return set(re.findall(r'PGSTEER_(?:EFFECT|LOCAL)\("([^"]+)"', text))


def column(cursor, sql):
    cursor.execute(sql)
    return {row[0] for row in cursor.fetchall()}


def main():
    harmless = strings("builtins_harmless.inc")
    on_primary = special()
    operators = {name.replace("?\\?", "??") for name in strings("builtins_operators.inc")}
    types = strings("builtins_types.inc")

    connection = psycopg2.connect(sys.argv[1])
    cursor = connection.cursor()
    catalog = "pronamespace = 'pg_catalog'::regnamespace"
    functions = column(cursor, f"SELECT proname FROM pg_proc WHERE {catalog}")
    volatile = column(cursor, f"SELECT proname FROM pg_proc WHERE {catalog} AND provolatile = 'v'")
    # What SQL text cannot call, or has no reason to: triggers, handlers, type and index support.
    inner = column(cursor, f"""
        SELECT proname FROM pg_proc WHERE {catalog} GROUP BY proname
        HAVING bool_and('internal'::regtype = ANY (proargtypes) OR 'cstring'::regtype = ANY (proargtypes)
            OR prorettype IN ('internal'::regtype, 'cstring'::regtype, 'trigger'::regtype, 'event_trigger'::regtype,
                              'index_am_handler'::regtype, 'table_am_handler'::regtype, 'tsm_handler'::regtype,
                              'language_handler'::regtype, 'fdw_handler'::regtype)
            OR proname ~ '(_validator|_inline_handler|recv|send)$')""")
    bad_operators = column(cursor, """
        SELECT o.oprname FROM pg_operator o JOIN pg_proc p ON p.oid = o.oprcode
        WHERE o.oprnamespace = 'pg_catalog'::regnamespace AND p.provolatile = 'v'""")
    bad_types = column(cursor, """
        SELECT t.typname FROM pg_type t JOIN pg_proc p ON p.oid IN (t.typinput, t.typoutput)
        WHERE t.typnamespace = 'pg_catalog'::regnamespace AND p.provolatile = 'v'""")
    server_types = column(cursor, "SELECT typname FROM pg_type WHERE typnamespace = 'pg_catalog'::regnamespace")

    problems = {
        "harmless and on the primary at once": harmless & on_primary,
        "harmless, but VOLATILE on the server": (harmless & volatile) - HARMLESS_THOUGH_VOLATILE,
        "VOLATILE and on no list": volatile - harmless - on_primary - inner,
        "operators with a VOLATILE function": operators & bad_operators,
        "types with VOLATILE input or output": types & bad_types,
        "types that the server does not have": types - server_types,
    }
    for what, names in problems.items():
        for name in sorted(names):
            print(f"{what}: {name}")
    unlisted = functions - harmless - on_primary - inner
    print(f"{len(functions)} functions on the server: {len(functions & harmless)} harmless, "
          f"{len(functions & on_primary)} on the primary, {len(functions & inner - harmless - on_primary)} internal, "
          f"{len(unlisted)} unknown (primary): {' '.join(sorted(unlisted))}")
    return 1 if any(problems.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
