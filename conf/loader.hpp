// Loads a configuration from YAML text or a file. All problems are reported at once.
#pragma once

#include "conf/config.hpp"

#include <string>
#include <string_view>
#include <vector>

namespace pgsteer::conf {

// One problem, printed as "file:line:col: key.path: message" (line and column from 1; a problem of
// the whole file, such as "cannot be read", has line 0 and prints as "file: message").
struct Problem {
    std::string file;
    int line = 0;
    int column = 0;
    std::string key_path;
    std::string message;
    [[nodiscard]] std::string text() const;
};

// Either a configuration or a non-empty list of problems, in order of line.
struct Loaded {
    Config config;
    std::vector<Problem> problems;
    [[nodiscard]] bool ok() const { return problems.empty(); }
};

[[nodiscard]] Loaded load_file(const std::string& path);
// `file` names the text in messages. Relative paths in it (password_file) start at `directory`.
[[nodiscard]] Loaded load_text(std::string_view yaml,
                               const std::string& file,
                               const std::string& directory);

// Rules that span several keys (unique names, at most one server of role primary, ...), also for a
// configuration that was not made from YAML. An empty list: nothing to object to.
[[nodiscard]] std::vector<std::string> validate(const Config& config);

}  // namespace pgsteer::conf
