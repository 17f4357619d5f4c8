// Reads a list of objects although some of them cannot be read.
#pragma once

#include "health/pg_client.hpp"

#include <boost/asio/awaitable.hpp>

#include <utility>
#include <vector>

namespace pgsteer::health {

// A part that the server refuses is halved, down to the single objects that it refuses: `k` of
// those among `n` cost about 2 * k * log2(n) queries. Any other error ends it and is returned.
// read(first, count): awaitable<PgRows>; on_refused(index).
template <class Read, class OnRefused>
boost::asio::awaitable<PgError> read_in_parts(std::size_t count, Read read, OnRefused on_refused) {
    std::vector<std::pair<std::size_t, std::size_t>> parts;  // first and count, next at the end
    if (count > 0) parts.emplace_back(0, count);
    while (!parts.empty()) {
        const auto [first, size] = parts.back();
        parts.pop_back();
        const PgRows rows = co_await read(first, size);
        if (!rows.error) continue;
        if (rows.error.kind != PgError::Kind::rejected) co_return rows.error;
        if (size == 1) {
            on_refused(first);
            continue;
        }
        const std::size_t half = size / 2;
        parts.emplace_back(first + half, size - half);
        parts.emplace_back(first, half);
    }
    co_return PgError{};
}

}  // namespace pgsteer::health
