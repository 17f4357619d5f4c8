// search_path: which schemas an unqualified name may be in. Pure.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace pgsteer::routing {

// pg_catalog is always in it, whether named or not.
struct SearchPath {
    bool is_known = false;  // false: any schema
    std::vector<std::string> schemas;

    [[nodiscard]] bool may_hold(std::string_view schema) const;
    bool operator==(const SearchPath&) const = default;
};

// The value of the setting as PostgreSQL shows it, such as `"$user", public`; "$user" stands for
// `role`. Not known if the value is no list of names, or if "$user" is in it and `role` is empty.
SearchPath parse_search_path(std::string_view value, std::string_view role);

// In double quotes, so that a list of it says what was meant.
std::string quote_identifier(std::string_view name);

// What -c name=value and --name=value in the startup option `options` make of a setting; nullopt:
// they do not name it. As in PostgreSQL: blanks end an argument, a backslash makes one part of it.
std::optional<std::string> setting_in_options(std::string_view options, std::string_view name);

}  // namespace pgsteer::routing
