#!/usr/bin/python3
"""Compares routing/builtins_*.inc with the catalog of a running server.

    tests/integration/builtins_check.py "host=/tmp port=5432 dbname=postgres user=postgres"

Fails if a function, view or table of pg_catalog is on no list of ours, so that whoever adds a server version reviews
what is new in it; if a name counts as harmless that the server has as VOLATILE and nobody reviewed; or if an operator or
type of ours is backed by something volatile. Names that only another major version has are fine.
"""
import pathlib
import re
import sys

import psycopg2

ROUTING = pathlib.Path(__file__).resolve().parents[2] / "routing"

# VOLATILE, and harmless all the same: they leave nothing behind.
HARMLESS_THOUGH_VOLATILE = set("""
    clock_timestamp current_query gen_random_uuid pg_column_compression pg_partition_ancestors pg_partition_tree pg_sleep
    pg_sleep_for pg_sleep_until random random_normal timeofday uuidv4 uuidv7 array_sample array_shuffle
""".split())
# PostgreSQL 13 and 14 have one of its overloads as VOLATILE.
HARMLESS_THOUGH_VOLATILE.add("timezone")

# Views whose answer comes from tables that are replicated, or from files that are the same everywhere. All others are
# on the list of is_server_local_relation().
REPLICATED_VIEWS = set("""
    pg_group pg_indexes pg_matviews pg_policies pg_publication_tables pg_roles pg_rules pg_seclabels pg_shadow pg_stats
    pg_stats_ext pg_stats_ext_exprs pg_tables pg_timezone_abbrevs pg_timezone_names pg_user pg_user_mappings pg_views
""".split())



def strings(name):
    text = (ROUTING / name).read_text()
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("//")]
    return set(re.findall(r'"([^"]+)",', "\n".join(lines)))


def special():
    text = (ROUTING / "builtins_special.inc").read_text()
    return set(re.findall(r'PGSTEER_(?:EFFECT|STATE|LOCAL)\("([^"]+)"', text))


def is_server_local(relation):
    """What routing/builtins.cpp says."""
    text = (ROUTING / "builtins.cpp").read_text()
    names = set(re.findall(r'"([^"]+)"', text.split("kLocalRelations")[1].split("});")[0]))
    prefixes = re.findall(r'name\.starts_with\("([^"]+)"\)', text)
    return relation in names or relation.startswith(tuple(prefixes))


def column(cursor, sql):
    cursor.execute(sql)
    return {row[0] for row in cursor.fetchall()}


def find_problems(dsn):
    """({what: names}, a line that sums up)."""
    harmless = strings("builtins_harmless.inc")
    on_primary = special()
    operators = {name.replace("?\\?", "??") for name in strings("builtins_operators.inc")}
    types = strings("builtins_types.inc")

    connection = psycopg2.connect(dsn)
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
    views = column(cursor, "SELECT relname FROM pg_class WHERE relnamespace = 'pg_catalog'::regnamespace AND relkind = 'v'")
    # A table of the catalog is replicated; one that is not would be on the list of local relations.
    unlogged = column(cursor, """
        SELECT relname FROM pg_class WHERE relnamespace = 'pg_catalog'::regnamespace AND relkind IN ('r', 'p', 'f', 'm')
        AND (relpersistence <> 'p' OR relkind <> 'r')""")
    is_newest_we_list = connection.server_version >= 140000  # multiranges

    problems = {
        "harmless and on the primary at once": harmless & on_primary,
        "harmless, but VOLATILE on the server": (harmless & volatile) - HARMLESS_THOUGH_VOLATILE,
        "functions that are on no list": functions - harmless - on_primary - inner - types,
        "VOLATILE and on no list": volatile - harmless - on_primary - inner,
        "views that are on no list": {name for name in views - REPLICATED_VIEWS if not is_server_local(name)},
        "views that are on both lists": {name for name in REPLICATED_VIEWS if is_server_local(name)},
        "tables that are not replicated": unlogged,
        "operators with a VOLATILE function": operators & bad_operators,
        "types with VOLATILE input or output": types & bad_types,
        "types that the server does not have": types - server_types if is_newest_we_list else set(),
    }
    summary = (f"{len(functions)} functions on the server: {len(functions & harmless)} harmless, "
               f"{len(functions & on_primary)} on the primary, {len(functions & inner - harmless - on_primary)} internal; "
               f"{len(views)} views")
    connection.close()
    return {what: sorted(names) for what, names in problems.items() if names}, summary


def main():
    problems, summary = find_problems(sys.argv[1])
    for what, names in problems.items():
        for name in names:
            print(f"{what}: {name}")
    print(summary)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
