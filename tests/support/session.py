"""How most tests connect, what they run, and where that ran.

app to app, a user's password being its name, in autocommit. Where: as the servers' logs have it.
"""

import psycopg

from support.cluster import new_marker

_OF_THE_DRIVER = ("autocommit", "cursor_factory", "prepare_threshold")


def dsn(where, **changes) -> str:
    """`where` has a host and a port."""
    parts = {"host": where.host, "port": where.port, "user": "app", "dbname": "app", "connect_timeout": 30, **changes}
    return psycopg.conninfo.make_conninfo(**{"password": parts["user"], **parts})


def connect(where, **options):
    """`options` are libpq's, but for a few of the driver's."""
    driver = {name: options.pop(name) for name in _OF_THE_DRIVER if name in options}
    return psycopg.connect(dsn(where, **options), **{"autocommit": True, **driver})


def run(cluster, session, sql, *parameters) -> tuple:
    """Its rows, without any its tag; and the names of the servers on which it ran.

    The marker by which it is found is in front: what is behind the text stays its end.
    """
    marker = new_marker()
    cursor = session.execute(f"/* {marker} */ {sql}", parameters or None)
    answer = cursor.fetchall() if cursor.description else cursor.statusmessage
    return answer, set(cluster.where_ran(marker))


def ran_on(cluster, session, sql, *parameters) -> set:
    """The names of the servers on which it ran: one that failed on a replica runs again on the primary."""
    return run(cluster, session, sql, *parameters)[1]


def on_replicas(servers) -> bool:
    """On one or more, and not on the primary."""
    return bool(servers) and "primary" not in servers


def roles(servers) -> set:
    """Of servers by name: primary, replica."""
    return {name.rstrip("0123456789") for name in servers}
