// A blog on Sequelize: managed transactions on a pool of connections, several writers at the same time.
//
//     node sequelize_app.js migrate|work
//
// It connects as libpq's variables say. Each writer knows what it has published, and fails when the database tells
// anything else.
'use strict';

const assert = require('node:assert/strict');
const { DataTypes, Op, Sequelize, UniqueConstraintError } = require('sequelize');

const WRITERS = 3;
const ROUNDS = 30;
const READS_A_ROUND = 6;
const topics = ['art', 'music', 'science'];

const env = process.env;
const sequelize = new Sequelize(env.PGDATABASE, env.PGUSER, env.PGPASSWORD, {
    dialect: 'postgres', host: env.PGHOST, port: env.PGPORT, logging: false, pool: { max: 5, min: 2 },
});

const Topic = sequelize.define('topic', {
    name: { type: DataTypes.STRING, primaryKey: true },
}, { tableName: 'sequelize_topic', timestamps: false });

const Writer = sequelize.define('writer', {
    name: { type: DataTypes.STRING, allowNull: false, unique: true },
    readers: { type: DataTypes.INTEGER, allowNull: false, defaultValue: 0 },
}, { tableName: 'sequelize_writer' });

const Post = sequelize.define('post', {
    title: { type: DataTypes.STRING, allowNull: false, unique: true },
    likes: { type: DataTypes.INTEGER, allowNull: false, defaultValue: 0 },
}, { tableName: 'sequelize_post' });

Writer.hasMany(Post);
Post.belongsTo(Writer);
Topic.hasMany(Post);
Post.belongsTo(Topic);

class Desk {
    constructor(number) {
        this.name = `writer ${number}`;
        this.posts = new Map(); // title -> likes, as they have to be
        this.readers = 0;
    }

    async work() {
        const writer = await sequelize.transaction((transaction) =>
            Writer.create({ name: this.name }, { transaction }));
        this.id = writer.id;
        for (let round = 0; round < ROUNDS; round++) {
            await this.write(round);
            await this.checkPosts();
            for (let n = 0; n < READS_A_ROUND; n++) {
                await this.checkPage();
                await this.checkOne(round, n);
                await this.checkSearch(round);
            }
            await this.checkTopics();
        }
    }

    // --- writing

    async write(round) {
        await this.publish(`${this.name}, ${round}`, topics[round % topics.length]);
        await this.checkPosts();
        switch (round % 5) {
        case 1: return this.like(`${this.name}, ${round - 1}`);
        case 2: return this.changeOfMind();
        case 3: return this.publishTwice(round);
        default: return this.meetReader();
        }
    }

    async publish(title, topicName) {
        await sequelize.transaction(async (transaction) => {
            const writer = await Writer.findByPk(this.id, { transaction });
            await writer.createPost({ title, topicName }, { transaction });
        });
        this.posts.set(title, 0);
    }

    /** Reads, changes, saves. */
    async like(title) {
        await sequelize.transaction(async (transaction) => {
            const post = await Post.findOne({ where: { title }, lock: transaction.LOCK.UPDATE, transaction });
            assert.equal(post.likes, this.posts.get(title));
            post.likes += 1;
            await post.save({ transaction });
        });
        this.posts.set(title, this.posts.get(title) + 1);
    }

    async meetReader() {
        await sequelize.transaction((transaction) =>
            Writer.increment('readers', { where: { id: this.id }, transaction }));
        this.readers += 1;
    }

    async changeOfMind() {
        const failed = sequelize.transaction(async (transaction) => {
            await Post.create({ title: `${this.name}, never`, writerId: this.id }, { transaction });
            const count = await Post.count({ where: { writerId: this.id }, transaction });
            assert.equal(count, this.posts.size + 1);
            throw new RangeError('not good enough');
        });
        await assert.rejects(failed, RangeError);
    }

    /** The second of the same title fails, and the transaction inside with it (a savepoint). */
    async publishTwice(round) {
        const title = `${this.name}, extra ${round}`;
        await sequelize.transaction(async (transaction) => {
            await Post.create({ title, writerId: this.id }, { transaction });
            const again = sequelize.transaction({ transaction }, (inner) =>
                Post.create({ title, writerId: this.id }, { transaction: inner }));
            await assert.rejects(again, UniqueConstraintError);
        });
        this.posts.set(title, 0);
    }

    // --- reading

    async checkPosts() {
        await sequelize.transaction(async (transaction) => {
            const writer = await Writer.findByPk(this.id, { include: Post, transaction });
            assert.equal(writer.readers, this.readers);
            assert.deepEqual(new Map(writer.posts.sort((a, b) => a.id - b.id).map((post) => [post.title, post.likes])),
                this.posts);
        });
    }

    async checkPage() {
        await sequelize.transaction(async (transaction) => {
            const { count, rows } = await Post.findAndCountAll({
                where: { writerId: this.id }, include: [Writer, Topic], order: [['id', 'DESC']], limit: 5, transaction,
            });
            assert.equal(count, this.posts.size);
            assert.deepEqual(rows.map((post) => post.title), [...this.posts.keys()].reverse().slice(0, 5));
            assert.ok(rows.every((post) => post.writer.name === this.name));
        });
    }

    async checkOne(round, n) {
        const title = `${this.name}, ${(round * n) % (round + 1)}`;
        await sequelize.transaction(async (transaction) => {
            const { id } = await Post.findOne({ where: { title }, attributes: ['id'], transaction });
            const post = await Post.findByPk(id, { transaction });
            assert.equal(post.likes, this.posts.get(title));
            const writer = await post.getWriter({ transaction });
            assert.equal(writer.readers, this.readers);
        });
    }

    async checkSearch(round) {
        const found = await sequelize.transaction((transaction) => Post.findAll({
            where: { title: { [Op.like]: `${this.name}, ${round}%` } }, order: ['id'], transaction,
        }));
        assert.deepEqual(found.map((post) => post.title),
            [...this.posts.keys()].filter((title) => title.startsWith(`${this.name}, ${round}`)));
    }

    /** Without a transaction. */
    async checkTopics() {
        const found = await Topic.findAll({ order: ['name'] });
        assert.deepEqual(found.map((topic) => topic.name), topics);
        assert.ok(await Topic.findByPk(topics[0]));
    }
}

async function migrate() {
    await sequelize.sync();
    await Topic.bulkCreate(topics.map((name) => ({ name })));
}

async function work() {
    const desks = Array.from({ length: WRITERS }, (_, number) => new Desk(number));
    await Promise.all(desks.map((desk) => desk.work()));
    await sequelize.transaction(async (transaction) => {
        const count = desks.reduce((sum, desk) => sum + desk.posts.size, 0);
        assert.equal(await Post.count({ transaction }), count);
    });
}

(process.argv[2] === 'migrate' ? migrate : work)()
    .then(() => sequelize.close())
    .catch((error) => {
        console.error(error);
        process.exit(1);
    });
