// Lower case as PostgreSQL folds names of settings: ASCII letters only (guc_name_compare). Pure.
#pragma once

#include <string>
#include <string_view>

namespace pgsteer::routing {

inline char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

inline std::string lower(std::string_view text) {
    std::string result{text};
    for (char& c : result) c = lower(c);
    return result;
}

}  // namespace pgsteer::routing
