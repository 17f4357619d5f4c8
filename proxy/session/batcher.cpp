#include "proxy/session/batcher.hpp"

namespace pgsteer::proxy {

namespace frontend = wire::frontend;

namespace {

// 0: there is no such message. A password is none any more: the login is over.
std::uint32_t max_body(std::uint8_t type) {
    return type == frontend::kPassword ? 0 : wire::max_frontend_body(type);
}

bool is_read_whole(std::uint8_t type) {
    return type != frontend::kFunctionCall && type != frontend::kCopyData;
}

bool is_of_copy(std::uint8_t type) {
    return type == frontend::kCopyData || type == frontend::kCopyDone ||
           type == frontend::kCopyFail;
}

}  // namespace

void Batcher::rest() {
    auto& items = batch_.items;
    if (items.empty() && items.capacity() > 0)
        Lending<std::vector<BatchItem>>::take_back(items);  // few: see Batch::clear()
}

// The next message, and whether it is one for the batch. Called for each message of the client's.
Batcher::Message Batcher::look() {
    if (streamed_ > 0) return {in_.empty() ? Step::need_more : Step::stream};
    for (;;) {
        const auto rest = in_.data().subspan(batch_.bytes);
        const auto header = wire::peek_header(rest, wire::kMaxLargeBody);
        if (!header) return {violation()};
        const auto later = batch_.bytes >= kMaxBatchBytes ? Step::dispatch : Step::need_more;
        if (!*header) return {later};
        const auto [type, body_size] = **header;
        const auto limit = max_body(type);
        if (limit == 0 || body_size > limit) return {violation()};
        const auto message_bytes = (*header)->message_bytes();
        if (rest.size() < message_bytes && is_read_whole(type) && message_bytes <= kMaxWholeMessage)
            return {later};
        if (type == frontend::kTerminate) return {Step::terminate};
        const Message message{Step::need_more, true, type, message_bytes};
        if (skipping_ != Skipping::no && skips(message)) {
            if (type == frontend::kSync && skipping_ == Skipping::no) return {Step::skipped_sync};
            if (streamed_ > 0) return {Step::need_more};
            continue;
        }
        if (is_of_copy(type)) return {batch_.items.empty() ? Step::copy : Step::dispatch};
        return message;
    }
}

// Whether it, or what was collected before it, has been thrown away.
bool Batcher::skips(const Message& message) {
    if (!batch_.items.empty()) {  // collected before the error
        in_.consume(batch_.bytes);
        batch_.clear();
        return true;
    }
    const bool is_sync = message.type == frontend::kSync;
    const bool is_for_server = skipping_ == Skipping::for_server;
    if (is_sync) skipping_ = Skipping::no;
    if (is_sync && is_for_server) return false;
    const auto dropped = std::min(in_.size(), message.bytes);
    in_.consume(dropped);
    streamed_ = message.bytes - dropped;
    passes_on_ = false;
    return true;
}

void Batcher::consume(bool passes_on) {
    const auto arrived = bytes().size();
    streamed_ = batch_.bytes - arrived;
    passes_on_ = passes_on;
    in_.consume(arrived);
    batch_.clear();
}

void Batcher::skip_batch() {
    const auto& last = batch_.items.back();
    if (!is_sync(last)) return consume(false);
    in_.consume(last.begin);
    batch_.clear();
}

std::uint8_t Batcher::copy_type() const {
    return (*wire::peek_header(in_.data(), wire::kMaxLargeBody))->type;
}

void Batcher::begin_copy(bool passes_on) {
    streamed_ = (*wire::peek_header(in_.data(), wire::kMaxLargeBody))->message_bytes();
    passes_on_ = passes_on;
}

std::uint8_t Batcher::unknown_type() const {
    const auto header = wire::peek_header(in_.data(), wire::kMaxLargeBody);
    return header && *header && max_body((*header)->type) == 0 ? (*header)->type : 0;
}

}  // namespace pgsteer::proxy
