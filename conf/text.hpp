// What reading a configuration needs to do with plain text: environment, small files, suggestions.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace pgsteer::conf {

// Either a value, or why the text is none (a phrase fit for the end of "key.path: ").
template <class T>
struct Parsed {
    std::optional<T> value;
    std::string error;
};

// `text` fit for a message: control bytes as \xNN, cut after 60 bytes.
[[nodiscard]] std::string printable(std::string_view text);

// Replaces ${NAME} by the environment variable NAME, once (what a variable holds is not looked at
// again), and $${ by a plain ${. An unset variable is an error, an empty one is not.
[[nodiscard]] Parsed<std::string> expand_environment(std::string_view text);

// The whole of a file, which may be a pipe. An error, to stand behind the file's name, if it
// cannot be read or holds more than `max_bytes`.
[[nodiscard]] Parsed<std::string> read_file(const std::string& path, std::size_t max_bytes);

// The candidate with the fewest typing errors from `word`, if that is few enough to be a slip.
[[nodiscard]] std::optional<std::string> nearest(std::string_view word,
                                                 std::span<const std::string> candidates);

}  // namespace pgsteer::conf
