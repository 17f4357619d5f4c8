// One statement at least of every kind in PostgreSQL 15's grammar that can only be a write, and a
// check that no kind is missing.
#include "routing/classify.hpp"
#include "routing/parse_tree.hpp"

#include <gtest/gtest.h>

#include <set>
#include <string>
#include <string_view>

namespace pgsteer::routing {
namespace {

constexpr std::string_view kWrites[] = {
    "INSERT INTO t VALUES (1)",
    "INSERT INTO t DEFAULT VALUES RETURNING *",
    "INSERT INTO t SELECT * FROM u ON CONFLICT (a) DO UPDATE SET a = EXCLUDED.a WHERE t.b",
    "WITH a AS (SELECT 1) INSERT INTO t TABLE a",
    "UPDATE t SET a = 1, (b, c) = (SELECT 2, 3) FROM u WHERE t.x = u.x",
    "UPDATE t SET a = 1 WHERE CURRENT OF c",
    "DELETE FROM t USING u WHERE t.x = u.x",
    "MERGE INTO t USING u ON t.a = u.a WHEN MATCHED THEN DELETE WHEN NOT MATCHED THEN INSERT "
    "VALUES (1)",
    "TRUNCATE t, u RESTART IDENTITY CASCADE",
    "CALL p(1)",
    "DO $$ BEGIN PERFORM 1; END $$",
    "LISTEN c",
    "NOTIFY c",
    "NOTIFY c, 'payload'",
    "LOCK TABLE t IN SHARE MODE",
    "CHECKPOINT",
    "LOAD 'auto_explain'",
    "VACUUM",
    "VACUUM (FULL, ANALYZE) t",
    "ANALYZE t (a)",
    "CLUSTER t USING i",
    "REINDEX TABLE t",
    "REFRESH MATERIALIZED VIEW CONCURRENTLY v",
    "CREATE TABLE t (a int PRIMARY KEY, b text DEFAULT 'x' CHECK (b <> ''), FOREIGN KEY (a) "
    "REFERENCES u)",
    "CREATE TABLE t PARTITION OF u FOR VALUES FROM (1) TO (2)",
    "CREATE TABLE t (LIKE u INCLUDING ALL)",
    "CREATE TABLE t AS SELECT 1",
    "CREATE TABLE t AS EXECUTE p",
    "CREATE UNLOGGED TABLE t ()",
    "CREATE FOREIGN TABLE t (a int) SERVER s",
    "CREATE VIEW v AS SELECT 1",
    "CREATE MATERIALIZED VIEW v AS SELECT 1",
    "CREATE UNIQUE INDEX i ON t USING btree (lower(a) DESC) INCLUDE (b) WHERE c",
    "CREATE SEQUENCE s START 1",
    "ALTER SEQUENCE s RESTART",
    "CREATE STATISTICS s ON a, b FROM t",
    "ALTER STATISTICS s SET STATISTICS 10",
    "CREATE FUNCTION f(a int DEFAULT 1) RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1; END",
    "CREATE FUNCTION f() RETURNS int RETURN 1",
    "CREATE PROCEDURE p() LANGUAGE sql AS 'SELECT 1'",
    "ALTER FUNCTION f(int) STABLE",
    "CREATE AGGREGATE a (int) (SFUNC = f, STYPE = int)",
    "CREATE OPERATOR + (LEFTARG = int, RIGHTARG = int, FUNCTION = f)",
    "ALTER OPERATOR + (int, int) SET (RESTRICT = f)",
    "CREATE OPERATOR CLASS c FOR TYPE int USING btree AS OPERATOR 1 <",
    "CREATE OPERATOR FAMILY f USING btree",
    "ALTER OPERATOR FAMILY f USING btree ADD OPERATOR 1 < (int, int)",
    "CREATE TYPE t AS (a int)",
    "CREATE TYPE t AS ENUM ('a', 'b')",
    "CREATE TYPE t AS RANGE (SUBTYPE = int)",
    "CREATE TYPE t",
    "ALTER TYPE t ADD VALUE 'c'",
    "ALTER TYPE t SET (SEND = f)",
    "CREATE DOMAIN d AS int CHECK (VALUE > 0)",
    "ALTER DOMAIN d DROP CONSTRAINT c",
    "CREATE COLLATION c (LOCALE = 'de')",
    "ALTER COLLATION c REFRESH VERSION",
    "CREATE CONVERSION c FOR 'UTF8' TO 'LATIN1' FROM f",
    "CREATE CAST (int AS text) WITH FUNCTION f(int)",
    "CREATE TRANSFORM FOR int LANGUAGE l (FROM SQL WITH FUNCTION f(internal))",
    "CREATE ACCESS METHOD m TYPE INDEX HANDLER h",
    "CREATE LANGUAGE l HANDLER h",
    "CREATE TRIGGER r AFTER INSERT ON t FOR EACH ROW EXECUTE FUNCTION f()",
    "CREATE EVENT TRIGGER r ON ddl_command_start EXECUTE FUNCTION f()",
    "ALTER EVENT TRIGGER r DISABLE",
    "CREATE RULE r AS ON INSERT TO t DO INSTEAD (DELETE FROM u; SELECT 1)",
    "CREATE POLICY p ON t USING (true)",
    "ALTER POLICY p ON t USING (false)",
    "CREATE SCHEMA s CREATE TABLE t () CREATE VIEW v AS SELECT 1",
    "CREATE EXTENSION e",
    "ALTER EXTENSION e UPDATE",
    "ALTER EXTENSION e ADD TABLE t",
    "CREATE FOREIGN DATA WRAPPER w",
    "ALTER FOREIGN DATA WRAPPER w NO HANDLER",
    "CREATE SERVER s FOREIGN DATA WRAPPER w",
    "ALTER SERVER s OPTIONS (a '1')",
    "CREATE USER MAPPING FOR u SERVER s",
    "ALTER USER MAPPING FOR u SERVER s OPTIONS (a '1')",
    "DROP USER MAPPING FOR u SERVER s",
    "IMPORT FOREIGN SCHEMA a FROM SERVER s INTO b",
    "CREATE PUBLICATION p FOR TABLE t (a) WHERE (b > 1)",
    "ALTER PUBLICATION p ADD TABLES IN SCHEMA s",
    "CREATE SUBSCRIPTION s CONNECTION 'c' PUBLICATION p",
    "ALTER SUBSCRIPTION s DISABLE",
    "DROP SUBSCRIPTION s",
    "CREATE TABLESPACE s LOCATION '/tmp'",
    "ALTER TABLESPACE s SET (random_page_cost = 1)",
    "ALTER TABLE ALL IN TABLESPACE a SET TABLESPACE b",
    "DROP TABLESPACE s",
    "CREATE DATABASE d",
    "ALTER DATABASE d CONNECTION LIMIT 5",
    "ALTER DATABASE d SET a = 1",
    "ALTER DATABASE d REFRESH COLLATION VERSION",
    "DROP DATABASE d",
    "CREATE ROLE r LOGIN PASSWORD 'x'",
    "ALTER ROLE r NOLOGIN",
    "ALTER ROLE r SET a = 1",
    "ALTER ROLE r SET search_path TO a, b",
    "DROP ROLE r",
    "GRANT SELECT ON t TO r",
    "GRANT r TO u",
    "REVOKE ALL ON SCHEMA s FROM r",
    "ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO r",
    "DROP OWNED BY r",
    "REASSIGN OWNED BY r TO u",
    "ALTER TABLE t ADD COLUMN a int DEFAULT nextval('s')",
    "ALTER TABLE t REPLICA IDENTITY FULL",
    "ALTER TABLE t ATTACH PARTITION u FOR VALUES IN (1, 2)",
    "ALTER TABLE t RENAME TO u",
    "ALTER TABLE t SET SCHEMA s",
    "ALTER TABLE t OWNER TO r",
    "ALTER FUNCTION f() OWNER TO r",
    "ALTER FUNCTION f() DEPENDS ON EXTENSION e",
    "ALTER INDEX i SET (fillfactor = 70)",
    "ALTER VIEW v ALTER a SET DEFAULT 1",
    "DROP TABLE IF EXISTS t CASCADE",
    "DROP FUNCTION f(int)",
    "COMMENT ON TABLE t IS 'x'",
    "SECURITY LABEL ON TABLE t IS 'x'",
    "ALTER TEXT SEARCH CONFIGURATION c ADD MAPPING FOR word WITH d",
    "ALTER TEXT SEARCH DICTIONARY d (a = 1)",
    "CREATE TEXT SEARCH CONFIGURATION c (COPY = d)",
    "ALTER SYSTEM SET a = 1",
    "ALTER SYSTEM RESET ALL",
};

constexpr std::string_view kOthers[] = {
    "SELECT 1",
    "BEGIN",
    "SET a = 1",
    "SHOW a",
    "EXPLAIN SELECT 1",
    "COPY t TO STDOUT",
    "DISCARD ALL",
    "PREPARE p AS SELECT 1",
    "EXECUTE p",
    "DEALLOCATE p",
    "DECLARE c CURSOR FOR SELECT 1",
    "FETCH c",
    "CLOSE c",
    "UNLISTEN c",
    "SET CONSTRAINTS ALL DEFERRED",
};

TEST(ClassifyKinds, EveryOtherKindOfStatementIsAWrite) {
    for (const std::string_view sql : kWrites) {
        const Statement statement = classify(sql);
        EXPECT_EQ(statement.access, Access::write) << sql;
        EXPECT_EQ(statement.reason, Reason::write) << sql << "\n" << statement.detail;
        EXPECT_TRUE(statement.raises_floor) << sql;
    }
}

TEST(ClassifyKinds, ARequestThatBeginsWithAReadIsAWriteIfAnyOfThemFollows) {
    for (const std::string_view sql : kWrites)
        EXPECT_EQ(classify("SELECT 1; " + std::string{sql}).access, Access::write) << sql;
}

void note(std::set<std::string>& seen, std::string_view sql) {
    const ParseTree tree = parse(std::string{sql});
    ASSERT_TRUE(tree.root) << sql;
    const Message* statement = inside(tree.root->stmts[0]->stmt);
    ASSERT_NE(statement, nullptr) << sql;
    seen.insert(statement->descriptor->short_name);
}

TEST(ClassifyKinds, NoneIsMissingHere) {
    // Made by the server's later stages, or parts of another statement.
    std::set<std::string> seen{"RawStmt", "SetOperationStmt", "ReturnStmt", "PLAssignStmt",
                               "ReplicaIdentityStmt"};
    for (const std::string_view sql : kWrites) note(seen, sql);
    for (const std::string_view sql : kOthers) note(seen, sql);
    const Descriptor& node = pg_query__node__descriptor;
    for (unsigned i = 0; i < node.n_fields; ++i) {
        const auto* kind = static_cast<const Descriptor*>(node.fields[i].descriptor);
        const std::string name = kind->short_name;
        if (name.ends_with("Stmt")) {
            EXPECT_TRUE(seen.contains(name)) << name;
        }
    }
}

}  // namespace
}  // namespace pgsteer::routing
