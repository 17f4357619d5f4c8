// From the client's bytes to batches: frames messages, collects what belongs to one request, and
// passes on in pieces what is too large to be kept.
#include "proxy/session/batch.hpp"
#include "proxy/session/client_session.hpp"
#include "proxy/wire/header.hpp"
#include "proxy/wire/message_types.hpp"
#include "proxy/worker.hpp"

#include <fmt/format.h>

namespace pgsteer::proxy {

namespace {

bool ends_request(std::uint8_t type) {
    return type == wire::frontend::kSync || type == wire::frontend::kQuery ||
           type == wire::frontend::kFunctionCall;
}

// 0: there is no such message. A password is none any more: the login is over.
std::uint32_t max_body(std::uint8_t type) {
    return type == wire::frontend::kPassword ? 0 : wire::max_frontend_body(type);
}

bool is_read_whole(std::uint8_t type) {
    switch (type) {
        case wire::frontend::kFunctionCall:
        case wire::frontend::kCopyData:
            return false;
        default:
            return true;
    }
}

}  // namespace

// What ends the session comes behind the answers to all that was sent before.
ClientSession::Step ClientSession::violation() const {
    return batch_.items.empty() ? Step::violation : Step::dispatch;
}

// The next message has a length or a type that none has.
awaitable<void> ClientSession::end_at_violation() {
    co_await answered();
    if (closing_) co_return;
    const auto header = wire::peek_header(in_.data(), wire::kMaxLargeBody);
    if (header && *header && max_body((*header)->type) == 0)
        co_return die(ProxyErrc::unknown_message,
                      fmt::format("invalid frontend message type {}", (*header)->type));
    die(ProxyErrc::bad_length, "invalid message length");
}

ClientSession::Step ClientSession::next_step() {
    if (streamed_ > 0) return in_.empty() ? Step::need_more : Step::stream;
    for (;;) {
        const auto rest = in_.data().subspan(batch_.bytes);
        const auto header = wire::peek_header(rest, wire::kMaxLargeBody);
        if (!header) return violation();
        if (!*header) return batch_.bytes >= kMaxBatchBytes ? Step::dispatch : Step::need_more;
        const auto [type, body_size] = **header;
        const auto limit = max_body(type);
        if (limit == 0 || body_size > limit) return violation();

        const auto message_bytes = (*header)->message_bytes();
        const bool is_whole = rest.size() >= message_bytes;
        if (!is_whole && is_read_whole(type) && message_bytes <= kMaxWholeMessage)
            return batch_.bytes >= kMaxBatchBytes ? Step::dispatch : Step::need_more;
        if (type == wire::frontend::kTerminate) return Step::terminate;

        if (skipping_ != Skipping::no && !batch_.items.empty()) {  // collected before the error
            in_.consume(batch_.bytes);
            batch_.clear();
            continue;
        }
        if (skipping_ == Skipping::for_server && type == wire::frontend::kSync)
            skipping_ = Skipping::no;
        if (skipping_ != Skipping::no) {
            const auto dropped = std::min(rest.size(), message_bytes);
            in_.consume(dropped);
            streamed_ = message_bytes - dropped;
            stream_dropped_ = true;
            skip_or_answer_sync(type);
            if (streamed_ > 0) return Step::need_more;
            continue;
        }
        if (type == wire::frontend::kCopyData || type == wire::frontend::kCopyDone ||
            type == wire::frontend::kCopyFail)
            return batch_.items.empty() ? Step::copy : Step::dispatch;

        if (const auto step = collect(rest, type, message_bytes); step != Step::stream) return step;
    }
}

// Adds the message at the front of `rest` to the batch. Returns Step::stream to go on,
// Step::dispatch when the batch has to be sent, Step::need_more when its names have not arrived.
ClientSession::Step ClientSession::collect(const wire::Bytes& rest,
                                           std::uint8_t type,
                                           std::size_t message_bytes) {
    auto read = read_item(in_.data(), batch_.bytes, type, message_bytes);
    if (!read) read = malformed_item(batch_.bytes, type, message_bytes);
    if (!*read) return batch_.items.empty() ? Step::need_more : Step::dispatch;
    auto& [item, sql, has_sql] = **read;
    if (has_sql && parameter_view_.can_classify()) item.statement = worker_.classify(sql);
    batch_.bytes += message_bytes;
    batch_.items.push_back(std::move(item));
    batch_.ends = ends_request(type);
    const bool incomplete = rest.size() < message_bytes;
    const bool full = batch_.bytes >= kMaxBatchBytes;
    return incomplete || full || batch_.ends || type == wire::frontend::kFlush ? Step::dispatch
                                                                               : Step::stream;
}

Batch ClientSession::parse_batch(wire::Bytes bytes) const {
    Batch batch;
    while (batch.bytes < bytes.size()) {
        const auto header = wire::peek_header(bytes.subspan(batch.bytes), wire::kMaxLargeBody);
        if (!header || !*header) break;
        const auto type = (*header)->type;
        const auto message_bytes = (*header)->message_bytes();
        auto read = read_item(bytes, batch.bytes, type, message_bytes);
        if (!read) read = malformed_item(batch.bytes, type, message_bytes);
        if (!*read) break;
        auto& [item, sql, has_sql] = **read;
        if (has_sql && parameter_view_.can_classify()) item.statement = worker_.classify(sql);
        batch.ends = ends_request(type);
        batch.bytes = item.end;
        batch.items.push_back(std::move(item));
    }
    return batch;
}

// The server will not see this Sync: it is answered here.
void ClientSession::skip_or_answer_sync(std::uint8_t type) {
    if (type != wire::frontend::kSync) return;
    skipping_ = Skipping::no;
    send_ready();
}

// Passes on the rest of a message that is too large to be kept.
void ClientSession::stream_on() {
    const auto count = std::min(streamed_, in_.size());
    if (const auto& lease = side(streamed_to_).lease; lease && !stream_dropped_)
        lease->stream.write(in_.data().first(count));
    in_.consume(count);
    streamed_ -= count;
}

// CopyData, CopyDone, CopyFail: to the server that is being talked to. Where nothing is in flight a
// server ignores them: they follow a copy that has failed. PostgreSQL docs, "COPY Operations".
void ClientSession::copy_on() {
    const auto header = **wire::peek_header(in_.data(), wire::kMaxLargeBody);
    streamed_ = header.message_bytes();
    stream_dropped_ = requests_.empty() || running_again_;
    if (!stream_dropped_) {
        streamed_to_ = requests_.back().slot;
        auto& target = side(streamed_to_);
        if (target.lease && header.type == wire::frontend::kCopyData)
            target.lease->replies.copy_data_sent();
        else if (target.lease)
            target.lease->replies.push({.what = Expect::copy_end});
    }
    stream_on();
}

// A server waits for copy data: it accepts nothing else, whatever comes.
bool ClientSession::is_copying_in() const {
    if (requests_.empty()) return false;
    const auto& lease = side(requests_.back().slot).lease;
    return lease && lease->replies.copy_open();
}

}  // namespace pgsteer::proxy
