"""How most tests connect: app to app, a user's password being its name, in autocommit."""

import psycopg


def dsn(where, **changes) -> str:
    """`where` has a host and a port."""
    parts = {"host": where.host, "port": where.port, "user": "app", "dbname": "app", "connect_timeout": 30, **changes}
    return psycopg.conninfo.make_conninfo(**{"password": parts["user"], **parts})


def connect(where, **options):
    return psycopg.connect(dsn(where, **options), autocommit=True)
