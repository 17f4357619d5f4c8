#pragma once

#include "proxy/errors.hpp"
#include "proxy/session/request.hpp"

#include <optional>

namespace pgsteer::proxy {

// Messages that routing must understand are read whole up to this size; larger ones go to the
// primary unread.
inline constexpr std::size_t kMaxWholeMessage = 132 * 1024;

// A batch is sent on when it has grown to this, complete or not.
inline constexpr std::size_t kMaxBatchBytes = 64 * 1024;

// What routing needs to know of one frontend message. `whole` starts at the batch's first byte, the
// message at `at`; it has `message_bytes`, of which the end may be missing. The SQL of a Query or
// Parse is in `sql`, empty if the message is not whole. nullopt: its names have not arrived yet.
// Errors: protocol_violation and those of the decoders.
struct ReadItem {
    BatchItem item;
    std::string_view sql;
    bool has_sql = false;
};
Result<std::optional<ReadItem>> read_item(wire::Bytes whole,
                                          std::size_t at,
                                          std::uint8_t type,
                                          std::size_t message_bytes);

// For what read_item has an error: the message is sent on, and the server says what is wrong with
// it.
ReadItem malformed_item(std::size_t at, std::uint8_t type, std::size_t message_bytes);

}  // namespace pgsteer::proxy
