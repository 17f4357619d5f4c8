// The client's bytes, as far as no server has got them yet: see Batcher.
#include "proxy/session/client_session.hpp"
#include "proxy/shared/surroundings.hpp"

#include <fmt/format.h>

namespace pgsteer::proxy {

routing::StatementPtr ClientSession::classify(std::string_view sql) const {
    return parameter_view_.can_classify() ? worker_.classify(sql) : nullptr;
}

Batch ClientSession::parse_batch(wire::Bytes bytes) const {
    return read_batch(bytes, [this](std::string_view sql) { return classify(sql); });
}

Batcher::Step ClientSession::next_step() {
    return batcher_.next([this](std::string_view sql) { return classify(sql); });
}

// The next message has a length or a type that none has. What ends the session comes behind the
// answers to all that was sent before.
awaitable<void> ClientSession::end_at_violation() {
    co_await answered();
    if (closing_) co_return;
    if (const auto type = batcher_.unknown_type(); type != 0)
        co_return die(ProxyErrc::unknown_message,
                      fmt::format("invalid frontend message type {}", type));
    die(ProxyErrc::bad_length, "invalid message length");
}

// Passes on the rest of a message that is too large to be kept.
void ClientSession::stream_on() {
    batcher_.stream([this](wire::Bytes bytes) {
        if (const auto& lease = side(streamed_to_).lease) lease->stream.write(bytes);
    });
}

// To the server that is being talked to. Where nothing is in flight a server ignores them: they
// follow a copy that has failed. PostgreSQL docs, "COPY Operations".
void ClientSession::copy_on() {
    const bool is_data = batcher_.copy_type() == wire::frontend::kCopyData;
    const bool passes_on = !requests_.empty() && !running_again_;
    if (passes_on) {
        streamed_to_ = requests_.back().slot;
        auto& target = side(streamed_to_);
        if (target.lease && is_data)
            target.lease->replies.copy_data_sent();
        else if (target.lease)
            target.lease->replies.push({.what = Expect::copy_end});
    }
    batcher_.begin_copy(passes_on);
    stream_on();
}

// A server waits for copy data: it accepts nothing else, whatever comes.
bool ClientSession::is_copying_in() const {
    if (requests_.empty()) return false;
    const auto& lease = side(requests_.back().slot).lease;
    return lease && lease->replies.copy_open();
}

}  // namespace pgsteer::proxy
