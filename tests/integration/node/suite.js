// node's pg through pgsteer. Prints "ok NAME" or "not ok NAME: why" for each case; node_test.py
// reads that, and finds the markers in the servers' logs.
'use strict';

const assert = require('node:assert/strict');
const { pipeline } = require('node:stream/promises');
const { Readable } = require('node:stream');
const { Client, Pool } = require('pg');
const Cursor = require('pg-cursor');
const copy = require('pg-copy-streams');

const prefix = process.env.MARKER;
const marker = (name) => `/* ${prefix}_${name} */`;
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const table = `node_${prefix}`;

const cases = {
    async read_on_replica(client) {
        const { rows } = await client.query(`SELECT 1 AS one ${marker('read')}`);
        assert.deepEqual(rows, [{ one: 1 }]);
    },

    async write_on_primary(client) {
        await client.query(`INSERT INTO ${table} VALUES ($1, $2) ${marker('write')}`, [1, 'one']);
        const { rows } = await client.query(`SELECT body FROM ${table} WHERE id = $1`, [1]);
        assert.deepEqual(rows, [{ body: 'one' }]);
    },

    async parameters(client) {
        const given = [7, '1099511627776', 1.5, "text ' \" \\ ü€", Buffer.from([0, 255]), null, true, [1, 2]];
        const { rows } = await client.query({
            text: 'SELECT $1::int, $2::int8, $3::float8, $4::text, $5::bytea, $6::text, $7::bool, $8::int[]',
            values: given,
            rowMode: 'array',
        });
        assert.deepEqual(rows, [given]);
    },

    async transaction_with_error_and_savepoint(client) {
        await client.query('BEGIN');
        await client.query(`INSERT INTO ${table} VALUES (10)`);
        await client.query('SAVEPOINT s');
        await assert.rejects(client.query(`INSERT INTO ${table} VALUES (10)`), { code: '23505' });
        await assert.rejects(client.query('SELECT 1'), { code: '25P02' });
        await client.query('ROLLBACK TO s');
        await client.query(`INSERT INTO ${table} VALUES (11) ${marker('transaction')}`);
        await client.query('COMMIT');
        const { rows } = await client.query(`SELECT id FROM ${table} WHERE id IN (10, 11) ORDER BY id`);
        assert.deepEqual(rows, [{ id: 10 }, { id: 11 }]);
    },

    async prepared_twenty_times(client) {
        const insert = { name: 'insert', text: `INSERT INTO ${table} VALUES ($1, $2)` };
        const select = { name: 'select', text: `SELECT body FROM ${table} WHERE id = $1` };
        for (let n = 100; n < 120; n++) {
            await client.query({ ...insert, values: [n, `row ${n}`] });
            const { rows } = await client.query({ ...select, values: [n] });
            assert.deepEqual(rows, [{ body: `row ${n}` }]);
        }
        await pause(200);
        for (let n = 100; n < 120; n++) {
            const { rows } = await client.query({ ...select, values: [n] });
            assert.deepEqual(rows, [{ body: `row ${n}` }]);
        }
    },

    async bytea_of_8_mb(client) {
        const big = Buffer.alloc(8 << 20, 0xab);
        await client.query(`INSERT INTO ${table} (id, data) VALUES (200, $1)`, [big]);
        const { rows } = await client.query(`SELECT data FROM ${table} WHERE id = 200`);
        assert.ok(big.equals(rows[0].data));
    },

    async twenty_thousand_rows(client) {
        const { rows } = await client.query(`SELECT n FROM generate_series(1, 20000) n ${marker('rows')}`);
        assert.equal(rows.length, 20000);
        rows.forEach((row, index) => assert.equal(row.n, index + 1));
    },

    async copy_both_ways(client) {
        const lines = Array.from({ length: 20000 }, (_, n) => `${n + 1000}\tline ${n}\n`);
        await pipeline(Readable.from(lines), client.query(copy.from(`COPY ${table} (id, body) FROM STDIN`)));
        const chunks = [];
        const out = client.query(copy.to(
            `COPY (SELECT id, body FROM ${table} WHERE id >= 1000 ORDER BY id) TO STDOUT`));
        for await (const chunk of out) chunks.push(chunk);
        assert.equal(Buffer.concat(chunks).toString(), lines.join(''));
    },

    async cursor_by_portions(client) {
        await client.query('BEGIN');
        const cursor = client.query(new Cursor('SELECT n FROM generate_series(1, 1000) n'));
        const seen = [];
        for (;;) {
            const rows = await cursor.read(100);
            if (rows.length === 0) break;
            seen.push(...rows.map((row) => row.n));
        }
        await cursor.close();
        await client.query('COMMIT');
        assert.deepEqual(seen, Array.from({ length: 1000 }, (_, n) => n + 1));
    },

    async listen_and_notify(client) {
        await client.query('LISTEN node_channel');
        await client.query('SELECT 1');
        const arrived = new Promise((resolve) => client.once('notification', resolve));
        const sender = new Client();
        await sender.connect();
        await sender.query("SELECT pg_notify('node_channel', 'payload')");
        await sender.end();
        assert.equal((await arrived).payload, 'payload');
    },

    async set_and_show(client) {
        await client.query("SET work_mem = '7MB'");
        assert.equal((await client.query('SHOW work_mem')).rows[0].work_mem, '7MB');
        const { rows } = await client.query("SELECT current_setting('work_mem') AS it");
        assert.equal(rows[0].it, '7MB');
    },

    async temporary_tables(client) {
        await client.query('CREATE TEMP TABLE scratch AS SELECT generate_series(1, 10) AS n');
        const { rows } = await client.query('SELECT sum(n)::int AS total FROM scratch');
        assert.deepEqual(rows, [{ total: 55 }]);
    },

    async cancel_of_pg_sleep(client) {
        const started = Date.now();
        // What a cancel request is made of is private in pg, but its only way to ask for one.
        setTimeout(() => {
            const canceller = new Client();
            canceller.processID = client.processID;
            canceller.secretKey = client.secretKey;
            canceller.connection.on('connect', () =>
                canceller.connection.cancel(client.processID, client.secretKey));
            canceller.connection.on('error', () => {});
            canceller.connection.connect(client.port, client.host);
        }, 500);
        await assert.rejects(client.query('SELECT pg_sleep(30)'), { code: '57014' });
        assert.ok(Date.now() - started < 20000);
        assert.equal((await client.query('SELECT 1 AS one')).rows[0].one, 1);
    },

    async pool_under_concurrency() {
        const pool = new Pool({ max: 8 });
        const one = async (n) => {
            await pool.query(`INSERT INTO ${table} VALUES ($1)`, [n]);
            return (await pool.query('SELECT $1::int AS n', [n])).rows[0].n;
        };
        const numbers = Array.from({ length: 200 }, (_, n) => n + 100000);
        assert.deepEqual(await Promise.all(numbers.map(one)), numbers);
        await pool.end();
    },

    async queued_queries(client) {
        const answers = await Promise.all(
            Array.from({ length: 100 }, (_, n) => client.query('SELECT $1::int AS n', [n])));
        answers.forEach((answer, n) => assert.equal(answer.rows[0].n, n));
    },
};

async function main() {
    const owner = new Client();
    await owner.connect();
    await owner.query(`CREATE TABLE ${table} (id int PRIMARY KEY, body text, data bytea)`);
    for (const [name, body] of Object.entries(cases)) {
        const client = new Client();
        let timer;
        try {
            await client.connect();
            const late = new Promise((_, reject) => {
                timer = setTimeout(() => reject(new Error('took too long')), 60000);
            });
            await Promise.race([body(client), late]);
            console.log(`ok ${name}`);
        } catch (error) {
            console.log(`not ok ${name}: ${String(error.stack).replace(/\n/g, ' | ')}`);
        } finally {
            clearTimeout(timer);
            client.end().catch(() => {});
        }
    }
    await owner.query(`DROP TABLE ${table}`);
    await owner.end();
    process.exit(0);
}

main().catch((error) => {
    console.log(`not ok main: ${error.stack}`);
    process.exit(1);
});
