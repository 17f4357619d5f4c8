#include "routing/function_body.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace pgsteer::routing {
namespace {

using What = Kept::What;

TEST(FunctionBody, SaysWhatItsWordsMayKeep) {
    const struct {
        std::string_view text;
        What keeps;
    } rows[] = {
        {"", What::nothing},
        {"SELECT 1", What::nothing},
        {"BEGIN UPDATE t SET a = 1; RETURN; END", What::nothing},
        {"BEGIN UPDATE t SET\n set_config = 1; END", What::nothing},
        {"-- set_config('a', 'b', false)\nSELECT 1", What::nothing},
        {"/* SET a = 1 */ SELECT 1", What::nothing},
        {"SELECT set_config('a', $1, false)", What::settings},
        {"SELECT set_config('a', $1, true)", What::names},
        {"SELECT pg_catalog.SET_CONFIG('a', coalesce(x, ''), TRUE)", What::names},
        {"SELECT set_config('a', $1, is_local)", What::settings},
        {"SELECT set_config('a', $1, not true)", What::settings},
        {"SELECT set_config('a', $1, true), set_config('b', $1, false)", What::settings},
        {"BEGIN SET LOCAL a.b = 'x'; END", What::names},
        {"BEGIN SET a.b = 'x'; END", What::settings},
        {"BEGIN IF x THEN SET work_mem = '1MB'; END IF; END", What::settings},
        {"BEGIN EXECUTE 'SET ROLE joe'; END", What::settings},
        {"BEGIN EXECUTE format('RESET %I', x); END", What::settings},
        {"BEGIN SET CONSTRAINTS ALL DEFERRED; END", What::nothing},
        {"BEGIN PERFORM setseed(0.5); END", What::state},
        {"BEGIN LOAD 'x'; END", What::state},
        {"GD['x'] = 1", What::state},
        {"$_SHARED{x} = 1;", What::state},
    };
    for (const auto& row : rows) EXPECT_EQ(read_body(row.text).keeps, row.keeps) << row.text;
}

TEST(FunctionBody, NamesWhatItMayCall) {
    EXPECT_THAT(
        read_body("SELECT f(1), app.g(), lower('h(2)'), count(*) FROM t WHERE a IN (1)").calls,
        testing::IsSupersetOf({std::pair<std::string, std::string>{"", "f"},
                               std::pair<std::string, std::string>{"app", "g"},
                               std::pair<std::string, std::string>{"", "h"}}));
    EXPECT_THAT(read_body("SELECT app.lower(1), pg_catalog.upper('x')").calls,
                testing::ElementsAre(std::pair<std::string, std::string>{"app", "lower"}))
        << "not the built-in one";
    std::string many;
    for (int i = 0; i < 10'000; ++i) many += "f" + std::to_string(i) + "() ";
    EXPECT_LE(read_body(many).calls.size(), 256U);
}

TEST(FunctionBody, NamesWhatItMayWriteTo) {
    using Name = std::pair<std::string, std::string>;
    EXPECT_THAT(
        read_body("INSERT INTO app.A VALUES (1); UPDATE ONLY b SET x = 1; DELETE FROM c;"
                  " EXECUTE 'MERGE INTO \"The D\"'; TRUNCATE TABLE e, x.\"f\"; COPY g FROM 'x';"
                  " INSERT INTO h VALUES (1) ON CONFLICT DO UPDATE SET x = 1;"
                  " SELECT 1 FROM i FOR UPDATE OF i")
            .writes,
        testing::ElementsAre(Name{"app", "a"}, Name{"", "b"}, Name{"", "c"}, Name{"", "d"},
                             Name{"", "e"}, Name{"x", "f"}, Name{"", "g"}, Name{"", "h"}));
    EXPECT_EQ(read_body("UPDATE pg_settings SET setting = $1").keeps, What::settings);
}

TEST(FunctionBody, SpellsNamesAsTheyAreFoundInIt) {
    EXPECT_EQ(spelled_in_body("Set_Tenant"), "set_tenant");
    EXPECT_EQ(spelled_in_body("The D"), "d");
    EXPECT_EQ(spelled_in_body("a$b"), "b");
    EXPECT_EQ(spelled_in_body("$"), "");
}

}  // namespace
}  // namespace pgsteer::routing
