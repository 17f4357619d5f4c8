#include "routing/builtins.hpp"

#include <gtest/gtest.h>

#include <string_view>

namespace pgsteer::routing {
namespace {

TEST(Builtins, FunctionsAreOfOneKind) {
    for (const std::string_view name :
         {"abs", "zeroblob", "array_agg", "xpath_exists", "random", "pg_sleep", "int4"})
        EXPECT_EQ(builtin_function(name).kind,
                  name == "zeroblob" ? BuiltinKind::unknown : BuiltinKind::harmless)
            << name;
    for (const std::string_view name :
         {"nextval", "setval", "pg_notify", "query_to_xml", "ts_rewrite", "set_config"})
        EXPECT_EQ(builtin_function(name).kind, BuiltinKind::effect) << name;
    for (const std::string_view name : {"setseed", "pg_replication_origin_session_setup"})
        EXPECT_EQ(builtin_function(name).kind, BuiltinKind::state) << name;
    for (const std::string_view name :
         {"currval", "pg_backend_pid", "pg_stat_get_activity", "current_setting", "system_user",
          "pg_relation_size", "pg_table_size", "pg_indexes_size", "pg_total_relation_size",
          "pg_database_size", "pg_tablespace_size", "pg_get_aios", "pg_get_shmem_allocations_numa",
          "pg_stat_get_io", "pg_get_sequence_data"})
        EXPECT_EQ(builtin_function(name).kind, BuiltinKind::server_local) << name;
    for (const std::string_view name : {"", "a", "Abs", "nextval2", "zzz", "~", "\xff"})
        EXPECT_EQ(builtin_function(name).kind, BuiltinKind::unknown) << name;
}

TEST(Builtins, WhatHasEffectsSaysWhichKind) {
    EXPECT_EQ(builtin_function("nextval").why, "sequence");
    EXPECT_EQ(builtin_function("pg_advisory_lock").why, "advisory lock");
    EXPECT_EQ(builtin_function("abs").why, "");
}

TEST(Builtins, OperatorsAndTypes) {
    for (const std::string_view name : {"+", "=", "<>", "~~", "!~~*", "->>", "@>", "||/", "?-|"})
        EXPECT_TRUE(is_builtin_operator(name)) << name;
    for (const std::string_view name : {"", "+++", "<->>", "=>", "a"})
        EXPECT_FALSE(is_builtin_operator(name)) << name;
    for (const std::string_view name :
         {"int4", "_int4", "text", "timestamptz", "jsonb", "regclass", "bpchar"})
        EXPECT_TRUE(is_builtin_type(name)) << name;
    for (const std::string_view name : {"", "integer", "pg_class", "hstore", "trigger", "Text"})
        EXPECT_FALSE(is_builtin_type(name)) << name;
}

TEST(Builtins, RelationsThatShowOneServer) {
    for (const std::string_view name :
         {"pg_stat_activity", "pg_statio_all_tables", "pg_locks", "pg_settings",
          "pg_replication_slots", "pg_sequences", "pg_stat_statements", "pg_aios",
          "pg_shmem_allocations_numa", "pg_wait_events"})
        EXPECT_TRUE(is_server_local_relation(name)) << name;
    for (const std::string_view name :
         {"pg_class", "pg_stats", "pg_statistic", "pg_stats_ext", "pg_roles", "t", ""})
        EXPECT_FALSE(is_server_local_relation(name)) << name;
}

}  // namespace
}  // namespace pgsteer::routing
