// What the columns of a row say.
#pragma once

#include "health/pg_client.hpp"

#include <optional>
#include <string>
#include <vector>

namespace pgsteer::health {

using Row = std::vector<std::optional<std::string>>;

inline std::string text(const Row& row, std::size_t column) {
    return column < row.size() && row[column] ? *row[column] : std::string{};
}
inline bool is_true(const Row& row, std::size_t column) { return text(row, column) == "t"; }

}  // namespace pgsteer::health
