// The bytes of a logged-in client, framed and read as ClientSession does: received one byte at a
// time they must give the same messages, and the same end, as received all at once.
#include "proxy/session/batch.hpp"
#include "proxy/wire/header.hpp"
#include "proxy/wire/message_types.hpp"

#include <cstdlib>
#include <cstring>
#include <memory>
#include <sanitizer/asan_interface.h>
#include <vector>

using namespace pgsteer::proxy;
namespace frontend = pgsteer::proxy::wire::frontend;

namespace {

void require(bool truth) {
    if (!truth) std::abort();
}

bool may_be_read_in_part(std::uint8_t type) {
    return type == frontend::kBind || type == frontend::kFunctionCall;
}

bool is_copy(std::uint8_t type) {
    return type == frontend::kCopyData || type == frontend::kCopyDone ||
           type == frontend::kCopyFail;
}

// Reads on as far as the bytes received so far allow.
class Reader {
public:
    void receive(wire::Bytes all) {
        while (!stopped && at < all.size() && step(all)) {
        }
    }

    std::vector<ReadItem> items;
    std::size_t at =
        0;  // of the next message; beyond what was received if the last one is still coming
    bool stopped = false;  // by Terminate or an error
    error_code error;

private:
    bool stop(error_code why) {
        stopped = true;
        error = why;
        return false;
    }

    bool step(wire::Bytes all) {
        const auto rest = all.subspan(at);
        const auto header = wire::peek_header(rest, wire::kMaxLargeBody);
        if (!header) return stop(header.error());
        if (!*header) return false;
        const auto [type, body_size] = **header;
        const auto limit = wire::max_frontend_body(type);
        if (limit == 0) return stop(ProxyErrc::unknown_message);
        if (body_size > limit) return stop(ProxyErrc::bad_length);
        const auto message_bytes = (*header)->message_bytes();
        if (is_copy(type)) {
            at += message_bytes;
            return true;
        }
        if (rest.size() < message_bytes && !may_be_read_in_part(type) &&
            message_bytes <= kMaxWholeMessage)
            return false;
        if (type == frontend::kTerminate) return stop({});

        auto read = read_item(all, at, type, message_bytes);
        if (!read) return stop(read.error());
        if (!*read) return false;
        check(**read, all, message_bytes);
        items.push_back(std::move(**read));
        at += message_bytes;
        return true;
    }

    void check(const ReadItem& read, wire::Bytes all, std::size_t message_bytes) const {
        const auto& item = read.item;
        require(item.begin == at && item.end == at + message_bytes);
        require(item.name_at + item.name_size <= all.size() &&
                item.name_at + item.name_size <= item.end);
        require(item.portal_at + item.portal_size <= all.size() &&
                item.portal_at + item.portal_size <= item.end);
        require(!read.has_sql || (item.end <= all.size() && message_bytes <= kMaxWholeMessage));
        require(read.has_sql || read.sql.empty());
        require(name_of(item, all).find('\0') == std::string_view::npos);
        require(portal_of(item, all).find('\0') == std::string_view::npos);
    }
};

bool same(const ReadItem& a, const ReadItem& b) {
    return a.item.type == b.item.type && a.item.target == b.item.target &&
           a.item.begin == b.item.begin && a.item.end == b.item.end &&
           a.item.name_at == b.item.name_at && a.item.name_size == b.item.name_size &&
           a.item.portal_at == b.item.portal_at && a.item.portal_size == b.item.portal_size &&
           a.has_sql == b.has_sql && a.sql == b.sql;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::unique_ptr<std::uint8_t[]> copy{new std::uint8_t[size]};
    if (size > 0) std::memcpy(copy.get(), data, size);

    Reader at_once;
    at_once.receive({copy.get(), size});

    // What has not arrived yet must not be touched.
    Reader growing;
    ASAN_POISON_MEMORY_REGION(copy.get(), size);
    for (std::size_t received = 1; received <= size; ++received) {
        ASAN_UNPOISON_MEMORY_REGION(copy.get(), received);
        growing.receive({copy.get(), received});
    }

    require(at_once.stopped == growing.stopped);
    require(at_once.error == growing.error);
    require(at_once.at == growing.at);
    require(at_once.items.size() == growing.items.size());
    for (std::size_t i = 0; i < at_once.items.size(); ++i)
        require(same(at_once.items[i], growing.items[i]));
    return 0;
}
