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

// As a string constant.
std::string quote_literal(std::string_view text);

}  // namespace pgsteer::routing
