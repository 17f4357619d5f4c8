#include "routing/classify.hpp"

#include <gtest/gtest.h>

#include <algorithm>

namespace pgsteer::routing {
namespace {

struct Emptied {
    std::string sql;
    std::string database;  // empty: none
};

class EmptiesDatabase : public testing::TestWithParam<Emptied> {};

TEST_P(EmptiesDatabase, NamesIt) {
    const auto statement = classify(GetParam().sql);
    std::string database;
    for (const auto& effect : statement.effects)
        if (effect.kind == Effect::Kind::empties_database) database = effect.name;
    EXPECT_EQ(database, GetParam().database) << GetParam().sql;
    EXPECT_EQ(statement.access, Access::write);
    if (!database.empty()) {
        EXPECT_EQ(statement.catalog_change, CatalogChange::certain) << "looked for in these only";
    }
}

INSTANTIATE_TEST_SUITE_P(
    Statements,
    EmptiesDatabase,
    testing::Values(Emptied{"DROP DATABASE Shop", "shop"},
                    Emptied{"DROP DATABASE IF EXISTS \"My Shop\"", "My Shop"},
                    Emptied{"DROP DATABASE \"a\"\"b\" WITH (FORCE)", "a\"b"},
                    Emptied{"/* c */ drop database if exists shop (force);", "shop"},
                    Emptied{"ALTER DATABASE shop RENAME TO store", "shop"},
                    Emptied{"ALTER DATABASE \"Shop\" SET TABLESPACE fast", "Shop"},
                    Emptied{"CREATE DATABASE a TEMPLATE shop", "shop"},
                    Emptied{"CREATE DATABASE a WITH OWNER = b TEMPLATE = shop", "shop"},
                    Emptied{"CREATE DATABASE a TEMPLATE \"My Shop\" ENCODING 'UTF8'", "My Shop"},
                    Emptied{"CREATE DATABASE a", "template1"},
                    Emptied{"CREATE DATABASE a TEMPLATE DEFAULT", "template1"},
                    Emptied{"CREATE DATABASE a OWNER b", "template1"},
                    Emptied{"ALTER DATABASE shop SET work_mem = '1MB'", ""},
                    Emptied{"ALTER DATABASE shop CONNECTION LIMIT 3", ""},
                    Emptied{"ALTER DATABASE shop OWNER TO b", ""},
                    Emptied{"ALTER TABLE shop RENAME TO store", ""},
                    Emptied{"DROP TABLE shop", ""}));

TEST(ChangesLogins, WhateverNewSessionsBeginWithOrAreRefusedFor) {
    const auto changes = [](std::string_view sql) {
        const auto statement = classify(sql);
        return std::any_of(
            statement.effects.begin(), statement.effects.end(),
            [](const auto& effect) { return effect.kind == Effect::Kind::changes_logins; });
    };
    for (const char* sql :
         {"ALTER ROLE a SET search_path = b", "ALTER USER a RESET ALL",
          "ALTER ROLE ALL SET jit = off", "ALTER ROLE a IN DATABASE b SET timezone = 'UTC'",
          "ALTER DATABASE a SET timezone TO 'UTC'", "ALTER DATABASE a RESET timezone",
          "ALTER ROLE a NOLOGIN", "ALTER USER a PASSWORD 'x'", "ALTER ROLE a RENAME TO b",
          "ALTER USER a RENAME TO b", "DROP ROLE a", "DROP USER IF EXISTS a",
          "ALTER DATABASE a ALLOW_CONNECTIONS false", "ALTER DATABASE a RENAME TO b",
          "REVOKE CONNECT ON DATABASE a FROM public", "SELECT 1; ALTER ROLE a SET jit = off"})
        EXPECT_TRUE(changes(sql)) << sql;
    for (const char* sql :
         {"SET search_path = a", "CREATE ROLE a", "GRANT CONNECT ON DATABASE a TO b",
          "ALTER TABLE a RENAME TO b", "REVOKE SELECT ON a FROM b", "ALTER DATABASE a OWNER TO b",
          "DROP TABLE a"})
        EXPECT_FALSE(changes(sql)) << sql;
}

}  // namespace
}  // namespace pgsteer::routing
