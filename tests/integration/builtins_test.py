"""What is built in: known in full, and answered by the primary where each server has an answer of its own."""

import pytest

import builtins_check

from support.session import connect


@pytest.mark.core
def test_every_function_and_view_of_this_server_is_on_a_list(cluster):
    """Fails with the first server version that has something new: review it, and put it on a list."""
    server = cluster.primary
    dsn = f"host={server.host} port={server.port} dbname=app user={cluster.env['SUPERUSER']} password={cluster.env['SUPERUSER_PASSWORD']}"
    problems, _ = builtins_check.find_problems(dsn)
    assert not problems


@pytest.mark.core
@pytest.mark.parametrize("size", [
    "pg_relation_size('sizes')", "pg_table_size('sizes')", "pg_total_relation_size('sizes')", "pg_indexes_size('sizes')",
    "pg_database_size('app')", "pg_tablespace_size('pg_default')"])
def test_sizes_are_the_primarys(target, cluster, size):
    """An unlogged table has no pages on a standby."""
    try:
        with connect(target) as session:
            session.execute("CREATE UNLOGGED TABLE sizes (n int PRIMARY KEY); INSERT INTO sizes SELECT generate_series(1, 10000)")
        cluster.wait_until_replayed()
        with connect(target) as session, cluster.primary.connect() as direct:
            read = f"SELECT {size}"
            direct.execute("VACUUM sizes")  # the maps of free space are made now, not meanwhile
            cluster.wait_until_replayed()
            assert [session.execute(read).fetchone() for _ in range(3)] == [direct.execute(read).fetchone()] * 3
    finally:
        cluster.primary.sql("DROP TABLE IF EXISTS sizes")
