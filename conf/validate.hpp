// Rules that span several keys, with the keys they are about; validate() in loader.hpp is the same
// as plain text.
#pragma once

#include "conf/config.hpp"

#include <string>
#include <string_view>
#include <vector>

namespace pgsteer::conf {

struct Finding {
    std::string key_path;  // to which the message belongs
    std::string message;
    std::vector<std::string> other_paths;  // the rule says nothing if one of these was unreadable
};

[[nodiscard]] std::vector<Finding> find_conflicts(const Config& config);

// "" if `text` is a verifier as PostgreSQL stores it for SCRAM-SHA-256, else why it is not; never
// repeats any part of it.
[[nodiscard]] std::string verifier_error(std::string_view text);

}  // namespace pgsteer::conf
