// What of a client's messages goes to a server in one go. Pure.
#pragma once

#include "proxy/errors.hpp"
#include "proxy/wire/bytes.hpp"
#include "proxy/wire/message_types.hpp"
#include "routing/statement_cache.hpp"

#include <optional>
#include <string_view>
#include <vector>

namespace pgsteer::proxy {

// Messages that routing must understand are read whole up to this size; larger ones go to the
// primary unread.
inline constexpr std::size_t kMaxWholeMessage = 132 * 1024;

// A batch is sent on when it has grown to this, complete or not.
inline constexpr std::size_t kMaxBatchBytes = 64 * 1024;

// The type of an item that no decoder understands; its own is in `target`.
inline constexpr std::uint8_t kMalformed = 0;

// Messages of the client in one go: one Query, or extended messages up to Sync, Flush or a limit.
// Offsets are counted from the batch's first byte, so that they hold while the input buffer moves;
// no message has 2 GiB.
struct BatchItem {
    std::uint8_t type = 0;
    std::uint8_t target = 0;  // Describe, Close: 'S' or 'P'; see kMalformed
    bool limited = false;     // Execute: with a limit of rows, so that the portal may go on later
    std::uint32_t begin = 0;
    std::uint32_t end = 0;      // behind the message, also where it has not arrived in full
    std::uint32_t name_at = 0;  // Parse, Bind, Describe S, Close S: statement; Execute: portal
    std::uint32_t name_size = 0;
    std::uint32_t portal_at = 0;  // Bind
    std::uint32_t portal_size = 0;
    std::uint32_t function = 0;  // FunctionCall: its OID; 0: cut short, an error of the server's
    routing::StatementPtr statement = nullptr;  // Parse, Query: classified; null: too large to be
};

struct Batch {
    std::vector<BatchItem> items;
    std::size_t bytes = 0;  // of all items
    bool ends = false;      // Sync, Query or FunctionCall: the request is complete
    void clear() {
        constexpr std::size_t kKept = 64;  // items, for the next batch
        items.clear();
        if (items.capacity() > kKept) items.shrink_to_fit();
        bytes = 0;
        ends = false;
    }
};

// A batch with its bytes. Both outlive it.
struct WholeBatch {
    const Batch& batch;
    wire::Bytes bytes;
};

// Whether a message of the client completes a request.
[[nodiscard]] constexpr bool ends_batch(std::uint8_t type) {
    return type == wire::frontend::kSync || type == wire::frontend::kQuery ||
           type == wire::frontend::kFunctionCall;
}

// Also a malformed one.
inline bool is_sync(const BatchItem& item) {
    return (item.type == kMalformed ? item.target : item.type) == wire::frontend::kSync;
}

inline std::string_view name_of(const BatchItem& item, wire::Bytes batch) {
    return wire::as_text(batch.subspan(item.name_at, item.name_size));
}
inline std::string_view portal_of(const BatchItem& item, wire::Bytes batch) {
    return wire::as_text(batch.subspan(item.portal_at, item.portal_size));
}

// What routing needs to know of one frontend message, into a fresh `item` (whose statement is its
// caller's), and the SQL of a Query or Parse into `sql`: nullopt if there is none, or the message
// is not whole. `whole` starts at the batch's first byte, the message at `at`; it has
// `message_bytes`, of which the end may be missing. Errors: protocol_violation and those of the
// decoders.
enum class Names : std::uint8_t { are_there, are_still_to_come };
Result<Names> read_item(wire::Bytes whole,
                        std::size_t at,
                        std::uint8_t type,
                        std::size_t message_bytes,
                        BatchItem& item,
                        std::optional<std::string_view>& sql);

// For what read_item has an error: the message is sent on, and the server says what is wrong with
// it.
BatchItem malformed_item(std::size_t at, std::uint8_t type, std::size_t message_bytes);

}  // namespace pgsteer::proxy
