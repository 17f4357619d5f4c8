#include "routing/builtins.hpp"

#include <algorithm>
#include <array>

namespace pgsteer::routing {
namespace {

constexpr auto kHarmless = std::to_array<std::string_view>({
#include "routing/builtins_harmless.inc"
});
constexpr auto kTypes = std::to_array<std::string_view>({
#include "routing/builtins_types.inc"
});
constexpr auto kOperators = std::to_array<std::string_view>({
#include "routing/builtins_operators.inc"
});

struct Special {
    std::string_view name;
    Builtin what;
};

template <std::size_t size>
constexpr std::array<Special, size> by_name(std::array<Special, size> entries) {
    std::sort(entries.begin(), entries.end(),
              [](const Special& a, const Special& b) { return a.name < b.name; });
    return entries;
}

#define PGSTEER_EFFECT(name, why) Special{name, {BuiltinKind::effect, why}},
#define PGSTEER_STATE(name, why) Special{name, {BuiltinKind::state, why}},
#define PGSTEER_LOCAL(name, why) Special{name, {BuiltinKind::server_local, why}},
constexpr auto kSpecial = by_name(std::to_array<Special>({
#include "routing/builtins_special.inc"
}));
#undef PGSTEER_EFFECT
#undef PGSTEER_STATE
#undef PGSTEER_LOCAL

static_assert(std::is_sorted(kHarmless.begin(), kHarmless.end()));
static_assert(std::is_sorted(kTypes.begin(), kTypes.end()));
static_assert(std::is_sorted(kOperators.begin(), kOperators.end()));

template <std::size_t size>
bool contains(const std::array<std::string_view, size>& sorted, std::string_view name) {
    return std::binary_search(sorted.begin(), sorted.end(), name);
}

constexpr auto kLocalRelations = std::to_array<std::string_view>({
    "pg_aios",
    "pg_available_extension_versions",
    "pg_available_extensions",
    "pg_backend_memory_contexts",
    "pg_config",
    "pg_cursors",
    "pg_file_settings",
    "pg_hba_file_rules",
    "pg_ident_file_mappings",
    "pg_locks",
    "pg_prepared_statements",
    "pg_prepared_xacts",
    "pg_sequences",
    "pg_settings",
    "pg_shmem_allocations",
    "pg_shmem_allocations_numa",
    "pg_subscription_rel",
    "pg_wait_events",
});
static_assert(std::is_sorted(kLocalRelations.begin(), kLocalRelations.end()));

constexpr auto kSessionSettings = std::to_array<std::string_view>({
    "application_name",
    "bytea_output",
    "client_encoding",
    "datestyle",
    "extra_float_digits",
    "idle_in_transaction_session_timeout",
    "integer_datetimes",
    "intervalstyle",
    "lock_timeout",
    "max_identifier_length",
    "role",
    "search_path",
    "server_encoding",
    "server_version",
    "server_version_num",
    "standard_conforming_strings",
    "statement_timeout",
    "timezone",
    "work_mem",
    "xmloption",
});
static_assert(std::is_sorted(kSessionSettings.begin(), kSessionSettings.end()));

}  // namespace

Builtin builtin_function(std::string_view name) {
    const auto special = std::lower_bound(
        kSpecial.begin(), kSpecial.end(), name,
        [](const Special& entry, std::string_view wanted) { return entry.name < wanted; });
    if (special != kSpecial.end() && special->name == name) return special->what;
    if (contains(kHarmless, name) || contains(kTypes, name)) return {BuiltinKind::harmless, {}};
    return {};
}

bool takes_session_lock(std::string_view function) {
    return function == "pg_advisory_lock" || function == "pg_advisory_lock_shared" ||
           function == "pg_try_advisory_lock" || function == "pg_try_advisory_lock_shared";
}

bool is_builtin_operator(std::string_view name) { return contains(kOperators, name); }
bool is_builtin_type(std::string_view name) { return contains(kTypes, name); }

bool is_server_local_relation(std::string_view name) {
    return name.starts_with("pg_stat_") || name.starts_with("pg_statio_") ||
           name.starts_with("pg_replication_") || contains(kLocalRelations, name);
}

bool is_session_setting(std::string_view name) {
    return name.find('.') != std::string_view::npos || contains(kSessionSettings, name);
}

}  // namespace pgsteer::routing
