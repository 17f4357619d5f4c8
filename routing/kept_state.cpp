#include "routing/kept_state.hpp"

#include <algorithm>
#include <array>

namespace pgsteer::routing {
namespace {

struct Member {
    std::string_view function;
    std::string_view extension;
    Kept::What what = Kept::What::state;
};

constexpr bool before(const Member& a, const Member& b) { return a.function < b.function; }

// Only what sets something is here: what asks for it is VOLATILE, or follows the session anyway
// once it is pinned (show_limit(), plvdate.isbizday()).
constexpr auto kMembers = [] {
    auto members = std::to_array<Member>({
        {"dblink_connect", "dblink"},
        {"dblink_connect_u", "dblink"},
        {"dblink_open", "dblink"},
        {"dblink_send_query", "dblink"},
        {"hll_set_defaults", "hll"},
        {"hll_set_max_sparse", "hll"},
        {"hll_set_output_version", "hll"},
        {"hypopg_create_index", "hypopg"},
        {"hypopg_drop_index", "hypopg"},
        {"hypopg_hide_index", "hypopg"},
        {"hypopg_reset", "hypopg"},
        {"hypopg_reset_index", "hypopg"},
        {"hypopg_unhide_all_indexes", "hypopg"},
        {"hypopg_unhide_index", "hypopg"},
        {"icu_set_default_locale", "icu_ext"},
        {"isn_weak", "isn"},
        // dbms_output, dbms_sql, dbms_pipe, dbms_alert
        {"disable", "orafce"},
        {"enable", "orafce"},
        {"new_line", "orafce"},
        {"open_cursor", "orafce"},
        {"pack_message", "orafce"},
        {"put", "orafce"},
        {"put_line", "orafce"},
        {"register", "orafce"},
        {"serveroutput", "orafce"},
        // dbms_random: IMMUTABLE
        {"initialize", "orafce"},
        {"seed", "orafce"},
        {"terminate", "orafce"},
        // plvdate, plvsubst, oracle, utl_file
        {"default_holidays", "orafce"},
        {"fopen", "orafce"},
        {"include_start", "orafce"},
        {"noinclude_start", "orafce"},
        {"set_nls_sort", "orafce"},
        {"set_nonbizday", "orafce"},
        {"setsubst", "orafce"},
        {"unset_nonbizday", "orafce"},
        {"unuse_easter", "orafce"},
        {"unuse_great_friday", "orafce"},
        {"use_easter", "orafce"},
        {"use_great_friday", "orafce"},
        // a setting like any other; the function is VOLATILE, what looks at it STABLE
        {"set_limit", "pg_trgm", Kept::What::resettable},
        {"randinit", "pgmp"},
        {"randinit_lc_2exp", "pgmp"},
        {"randinit_lc_2exp_size", "pgmp"},
        {"randinit_mt", "pgmp"},
        {"randseed", "pgmp"},
        {"plpgsql_check_pragma", "plpgsql_check"},
        {"plpgsql_check_profiler", "plpgsql_check"},
        {"plpgsql_check_tracer", "plpgsql_check"},
        {"sepgsql_setcon", "sepgsql"},
        {"unit_reset", "unit"},
    });
    std::sort(members.begin(), members.end(), before);
    return members;
}();

auto of_name(std::string_view function) {
    return std::equal_range(kMembers.begin(), kMembers.end(), Member{function, {}}, before);
}

// pg_proc.dat: lo_open to lo_tell, lo_unlink, lo_create, lo_truncate, and those of 64 bits.
constexpr std::array<std::uint32_t, 13> kLargeObjectCalls{715, 952, 953,  954,  955,  956, 957,
                                                          958, 964, 1004, 3170, 3171, 3172};

}  // namespace

Kept kept_by_call(std::uint32_t oid) {
    if (std::find(kLargeObjectCalls.begin(), kLargeObjectCalls.end(), oid) !=
        kLargeObjectCalls.end())
        return {};
    return {Kept::What::state, "FunctionCall"};
}

Kept::What kept_by_member(std::string_view extension, std::string_view function) {
    if (extension.empty()) return Kept::What::nothing;
    const auto [first, last] = of_name(function);
    const auto found = std::find_if(
        first, last, [&](const Member& member) { return member.extension == extension; });
    return found != last ? found->what : Kept::What::nothing;
}

Kept::What kept_by_name(std::string_view function) {
    auto most = Kept::What::nothing;
    const auto [first, last] = of_name(function);
    for (auto member = first; member != last; ++member) most = std::max(most, member->what);
    return most;
}

}  // namespace pgsteer::routing
