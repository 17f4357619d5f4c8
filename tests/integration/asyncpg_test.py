"""asyncpg: binary, Parse + Describe + Flush before Bind, its own statement cache, an event loop."""

import asyncio
import io

import asyncpg
import pytest

from support.cluster import new_marker
from support.waiting import SLOWDOWN


async def connect(target):
    return await asyncpg.connect(host=target.host, port=target.port, user=target.user,
                                 password=target.password, database=target.dbname,
                                 timeout=20 * SLOWDOWN)


def run(target, body):
    """body(connection) in an event loop, bounded in time."""
    async def session():
        connection = await connect(target)
        try:
            return await body(connection)
        finally:
            await connection.close(timeout=10)
    return asyncio.run(asyncio.wait_for(session(), 60 * SLOWDOWN))


@pytest.mark.core
def test_reads_run_on_a_replica_and_writes_on_the_primary(target, table):
    write, read = new_marker(), new_marker()

    async def body(connection):
        await connection.execute(f"INSERT INTO {table} VALUES ($1, $2) /* {write} */", 1, "one")
        for _ in range(100):
            assert await connection.fetchval(f"SELECT body FROM {table} /* {read} */") == "one"
            await asyncio.sleep(0.01)
            if not target.direct and set(target.cluster.where_ran(read)) - {"primary"}:
                break
    run(target, body)
    target.expect_primary(write)
    if not target.direct:
        assert set(target.cluster.where_ran(read)) - {"primary"}


def test_parameters_of_many_types_come_back(target):
    given = (7, 2 ** 40, 1.5, "text ' \" \\ ü€", b"\x00\xff", None, True, [1, 2, 3])

    async def body(connection):
        return await connection.fetchrow(
            "SELECT $1::int, $2::int8, $3::float8, $4::text, $5::bytea, $6::text, $7::bool,"
            " $8::int[]", *given)
    assert tuple(run(target, body)) == given


@pytest.mark.core
def test_transaction_with_error_and_savepoint(target, table):
    async def body(connection):
        async with connection.transaction():
            await connection.execute(f"INSERT INTO {table} VALUES (1)")
            with pytest.raises(asyncpg.UniqueViolationError):
                async with connection.transaction():
                    await connection.execute(f"INSERT INTO {table} VALUES (1)")
            await connection.execute(f"INSERT INTO {table} VALUES (2)")
        with pytest.raises(asyncpg.DivisionByZeroError):
            async with connection.transaction():
                await connection.execute(f"INSERT INTO {table} VALUES (3)")
                await connection.fetchval("SELECT 1 / $1::int", 0)
        return await connection.fetch(f"SELECT id FROM {table} ORDER BY id")
    assert [row["id"] for row in run(target, body)] == [1, 2]


def test_read_only_transaction_on_a_replica(target, table):
    marker = new_marker()

    async def body(connection):
        async with connection.transaction(readonly=True):
            await connection.fetch(f"SELECT * FROM {table} /* {marker} */")
            with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
                await connection.execute(f"INSERT INTO {table} VALUES (1)")
    run(target, body)
    target.expect_replica(marker)


@pytest.mark.core
def test_a_prepared_statement_runs_twenty_times_wherever_it_goes(target, table):
    async def body(connection):
        insert = await connection.prepare(f"INSERT INTO {table} VALUES ($1, $2)")
        select = await connection.prepare(f"SELECT body FROM {table} WHERE id = $1")
        for number in range(20):
            await insert.fetch(number, f"row {number}")
            assert await select.fetchval(number) == f"row {number}"
        await asyncio.to_thread(target.cluster.wait_until_replayed)  # from here on replicas may have them
        for number in range(20):
            assert await select.fetchval(number) == f"row {number}"
    run(target, body)


def test_eight_megabytes_of_bytea_in_and_out(target, table):
    big = bytes(range(256)) * (8 * 4096)

    async def body(connection):
        await connection.execute(f"INSERT INTO {table} VALUES (1, NULL, $1)", big)
        return await connection.fetchval(f"SELECT data FROM {table}")
    assert run(target, body) == big


@pytest.mark.core
def test_twenty_thousand_rows(target):
    marker = new_marker()

    async def body(connection):
        return await connection.fetch(f"SELECT generate_series(1, 20000) AS n /* {marker} */")
    assert [row["n"] for row in run(target, body)] == list(range(1, 20001))
    target.expect_replica(marker)


@pytest.mark.core
def test_copy_in_and_out(target, table):
    rows = [(number, f"line {number}") for number in range(20000)]

    async def body(connection):
        await connection.copy_records_to_table(table, records=rows, columns=["id", "body"])
        out = io.BytesIO()
        await connection.copy_from_query(f"SELECT id, body FROM {table} ORDER BY id", output=out)
        return out.getvalue().decode()
    assert run(target, body) == "".join(f"{number}\t{text}\n" for number, text in rows)


def test_cursor(target):
    async def body(connection):
        async with connection.transaction():
            numbers = [row["n"] async for row in connection.cursor(
                "SELECT n FROM generate_series(1, 1000) n", prefetch=50)]
            cursor = await connection.cursor("SELECT n FROM generate_series(1, 100) n")
            await cursor.forward(10)
            return numbers, (await cursor.fetchrow())["n"]
    assert run(target, body) == (list(range(1, 1001)), 11)


@pytest.mark.core
def test_listen_and_notify(target):
    async def body(connection):
        arrived = asyncio.Queue()
        await connection.add_listener("asyncpg_channel", lambda *args: arrived.put_nowait(args[3]))
        await connection.fetchval("SELECT 1")
        sender = await connect(target)
        await sender.execute("SELECT pg_notify('asyncpg_channel', 'payload')")
        await sender.close()
        # Nothing is sent meanwhile: it has to come by itself.
        return await asyncio.wait_for(arrived.get(), 10 * SLOWDOWN)
    assert run(target, body) == "payload"


def test_set_and_show(target):
    async def body(connection):
        await connection.execute("SET work_mem = '7MB'")
        shown = await connection.fetchval("SHOW work_mem")
        read = await connection.fetchval("SELECT current_setting('work_mem')")
        await connection.reset()
        return shown, read, await connection.fetchval("SHOW work_mem")
    assert run(target, body) == ("7MB", "7MB", "4MB")


def test_temporary_tables(target):
    async def body(connection):
        await connection.execute("CREATE TEMP TABLE scratch AS SELECT generate_series(1, 10) AS n")
        return await connection.fetchval("SELECT sum(n) FROM scratch")
    assert run(target, body) == 55


@pytest.mark.core
def test_cancel_of_pg_sleep(target):
    async def body(connection):
        with pytest.raises(asyncio.TimeoutError):  # asyncpg sends a CancelRequest
            await connection.fetchval("SELECT pg_sleep(30)", timeout=0.5)
        return await connection.fetchval("SELECT 1")
    assert run(target, body) == 1


@pytest.mark.core
def test_a_pool_of_connections_under_concurrency(target, table):
    async def work():
        async with asyncpg.create_pool(host=target.host, port=target.port, user=target.user,
                                       password=target.password, database=target.dbname,
                                       min_size=2, max_size=8) as pool:
            async def one(number):
                async with pool.acquire() as connection:
                    await connection.execute(f"INSERT INTO {table} VALUES ($1)", number)
                    return await connection.fetchval(
                        f"SELECT count(*) FROM {table} WHERE id = $1", number)
            return await asyncio.gather(*(one(number) for number in range(200)))
    assert asyncio.run(asyncio.wait_for(work(), 60 * SLOWDOWN)) == [1] * 200
