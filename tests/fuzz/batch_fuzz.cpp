// The bytes of a logged-in client, framed and read as a session does: received one byte at a time
// they must give the same messages, and the same end, as received all at once.
#include "proxy/session/batcher.hpp"
#include "proxy/wire/message_types.hpp"

#include <cstdlib>
#include <cstring>
#include <sanitizer/asan_interface.h>
#include <string>
#include <vector>

using namespace pgsteer::proxy;

namespace {

void require(bool truth) {
    if (!truth) std::abort();
}

// One message of a batch, in places of all that was received.
struct Seen {
    std::uint8_t type = 0;
    std::uint8_t target = 0;
    std::size_t begin = 0;
    std::size_t end = 0;
    std::string name;
    std::string portal;
    bool limited = false;
    bool operator==(const Seen&) const = default;
};

// What has not arrived yet must not be touched.
class Arrivals {
public:
    ~Arrivals() { allow(); }
    void receive(InputBuffer& in, wire::Bytes bytes) {
        allow();
        while (!bytes.empty()) {
            const auto room = in.prepare();
            const auto count = std::min(room.size(), bytes.size());
            std::memcpy(room.data(), bytes.data(), count);
            in.commit(count);
            bytes = bytes.subspan(count);
            rest_ = room.subspan(count);
        }
        ASAN_POISON_MEMORY_REGION(rest_.data(), rest_.size());
    }
    void allow() { ASAN_UNPOISON_MEMORY_REGION(rest_.data(), rest_.size()); }

private:
    std::span<std::uint8_t> rest_;
};

class Reader {
public:
    void receive(wire::Bytes bytes) {
        arrivals_.receive(in_, bytes);
        while (!stopped && step()) {
        }
    }

    std::vector<Seen> seen;
    std::vector<std::string> texts;
    std::string sent;  // all that a server gets
    bool stopped = false;
    std::uint8_t unknown_type = 0;
    std::size_t unread() const { return in_.size(); }

private:
    bool step() {
        using Step = Batcher::Step;
        const auto next = batcher_.next([this](std::string_view sql) {
            texts.emplace_back(sql);
            return pgsteer::routing::StatementPtr{};
        });
        switch (next) {
            case Step::need_more:
                return false;
            case Step::dispatch:
                note_batch();
                sent += wire::as_text(batcher_.bytes());
                batcher_.consume(true);
                return true;
            case Step::copy:
                require(batcher_.is_between_messages());
                batcher_.begin_copy(true);
                stream();
                return true;
            case Step::stream:
                stream();
                return true;
            case Step::skipped_sync:
                require(false);
                return false;
            case Step::terminate:
            case Step::violation:
                unknown_type = batcher_.unknown_type();
                stopped = true;
                return false;
        }
        return false;
    }

    void stream() {
        batcher_.stream([this](wire::Bytes bytes) { sent += wire::as_text(bytes); });
    }

    void note_batch() {
        const auto& batch = batcher_.batch();
        const auto bytes = batcher_.bytes();
        require(!batch.items.empty() && batch.items.back().end == batch.bytes);
        std::size_t at = 0;
        for (const auto& item : batch.items) {
            require(item.begin == at && item.end > at);
            at = item.end;
            require(item.name_at + item.name_size <= std::min<std::size_t>(bytes.size(), item.end));
            require(item.portal_at + item.portal_size <=
                    std::min<std::size_t>(bytes.size(), item.end));
            Seen one{item.type,
                     item.target,
                     sent.size() + item.begin,
                     sent.size() + item.end,
                     std::string{name_of(item, bytes)},
                     std::string{portal_of(item, bytes)},
                     item.limited};
            require(one.name.find('\0') == std::string::npos);
            require(one.portal.find('\0') == std::string::npos);
            seen.push_back(std::move(one));
        }
        for (std::size_t i = 0; i + 1 < batch.items.size(); ++i)
            require(!ends_batch(batch.items[i].type) && !is_sync(batch.items[i]));
    }

    InputBuffer in_;
    Batcher batcher_{in_};
    Arrivals arrivals_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    Reader at_once;
    at_once.receive({data, size});
    Reader growing;
    for (std::size_t received = 0; received < size && !growing.stopped; ++received)
        growing.receive({data + received, 1});

    require(at_once.stopped == growing.stopped);
    require(at_once.unknown_type == growing.unknown_type);
    require(at_once.seen == growing.seen);
    require(at_once.texts == growing.texts);
    require(at_once.sent == growing.sent);
    require(std::string_view{reinterpret_cast<const char*>(data), size}.starts_with(at_once.sent));
    return 0;
}
