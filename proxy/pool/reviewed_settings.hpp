// The settings that decide what a session is answered, and that each server's own configuration may
// give another value: replica_settings.md says of each what it changes. Pure.
#pragma once

#include "proxy/wire/startup.hpp"

#include <array>
#include <bitset>
#include <compare>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace pgsteer::proxy {

// In the order in which they are set: the first decides how names in others are spelled.
inline constexpr std::array<std::string_view, 27> kReviewedSettings{
    "quote_all_identifiers",
    "array_nulls",
    "backslash_quote",
    "bytea_output",
    "client_encoding",
    "client_min_messages",
    "DateStyle",
    "default_text_search_config",
    "escape_string_warning",
    "exit_on_error",
    "extra_float_digits",
    "gin_fuzzy_search_limit",
    "IntervalStyle",
    "lc_messages",
    "lc_monetary",
    "lc_numeric",
    "lc_time",
    "lo_compat_privileges",
    "restrict_nonsystem_relation_kind",
    "row_security",
    "search_path",
    "standard_conforming_strings",
    "TimeZone",
    "timezone_abbreviations",
    "transform_null_equals",
    "xmlbinary",
    "xmloption",
};

// By their places in kReviewedSettings. A value that is not there: this version has no such
// setting.
using SettingSet = std::bitset<kReviewedSettings.size()>;
using SettingValues = std::array<std::optional<std::string>, kReviewedSettings.size()>;

// The values in force, as so many columns of a SELECT.
std::string reviewed_columns();
// `row`: what that SELECT has answered.
SettingValues setting_values(const std::vector<std::optional<std::string>>& row);

// Where the replica's value is another one.
SettingSet differing(const SettingValues& primary, const SettingValues& replica);

// Sessions that start with the same values, but for those that each of them brings along itself.
struct SessionKind {
    std::string database;
    std::string user;
    // What the startup packet says of DateStyle, as `options`: it may say half of it, and leave the
    // other half to the server.
    std::string date_style;
    auto operator<=>(const SessionKind&) const = default;
};
SessionKind kind_of_session(std::string database,
                            std::string user,
                            const wire::Parameters& parameters);

// The settings that a startup packet decides alone, whatever the server's are.
SettingSet brought_along(const wire::Parameters& parameters);

// The packet with these settings in front of its own, so that those win, as over the values of a
// server.
wire::Parameters with_settings(wire::Parameters parameters,
                               const SettingValues& values,
                               SettingSet chosen);

// SET ..., to see whether a server lets this session do so.
std::string set_statement(std::size_t setting, std::string_view value);

}  // namespace pgsteer::proxy
