// From the client's bytes to batches: frames messages, collects what belongs to one request, and
// leaves out what its server would skip. Pure.
#pragma once

#include "proxy/io/input_buffer.hpp"
#include "proxy/io/lending.hpp"
#include "proxy/session/batch.hpp"
#include "proxy/wire/header.hpp"

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

namespace pgsteer::proxy {

// After an error the server ignores all messages up to the Sync of its request, and so do we.
enum class Skipping : std::uint8_t {
    no,
    for_server,  // it has said so, and will answer the Sync
    for_us,      // we have answered the error, or have ended the request: the Sync is answered here
};

// What one client has sent since its login and nobody has got yet. next() says what is to be done;
// that is done before it is called again. Worker-local.
class Batcher {
public:
    enum class Step : std::uint8_t {
        need_more,     // nothing, or only a batch that is not complete: batch() may be sent on
        dispatch,      // send batch(), then consume() it
        stream,        // pass on what stream() gives
        copy,          // begin_copy()
        skipped_sync,  // a Sync that no server will see is to be answered
        terminate,     // the client leaves
        violation,     // see unknown_type(); the session cannot go on
    };

    // `in` outlives it. Only what is behind a step is consumed from it.
    explicit Batcher(InputBuffer& in) : in_{in} {}
    Batcher(const Batcher&) = delete;
    Batcher& operator=(const Batcher&) = delete;

    // `classify(sql)` gives the StatementPtr of a Query or Parse, null where it cannot be known.
    template <class Classify>
    [[nodiscard]] Step next(Classify&& classify);

    // --- Step::dispatch ---
    [[nodiscard]] const Batch& batch() const { return batch_; }
    // As much as has arrived of it. Valid until the next bytes are received.
    [[nodiscard]] wire::Bytes bytes() const {
        return in_.data().first(std::min(batch_.bytes, in_.size()));
    }
    // It has been sent, or answered. What is still to come of its last message is passed on, or
    // thrown away.
    void consume(bool passes_on);
    // Its request has failed while it waited: nothing of it counts but a Sync, which stays.
    void skip_batch();

    // --- Step::stream: a message too large to be kept ---
    // Calls write(bytes) with what has arrived of it, but where it is thrown away.
    template <class Write>
    void stream(Write&& write);

    // --- Step::copy: CopyData, CopyDone or CopyFail ---
    [[nodiscard]] std::uint8_t copy_type() const;
    // Goes on with stream().
    void begin_copy(bool passes_on);

    // --- Step::violation ---
    // The type of a message that there is not, or 0: its length is none that it can have.
    [[nodiscard]] std::uint8_t unknown_type() const;

    // --- any time ---
    // Until the next bytes: takes no memory if it has nothing.
    void rest();
    [[nodiscard]] Skipping skipping() const { return skipping_; }
    void skip(Skipping how) { skipping_ = how; }
    // Neither a batch nor a message has begun.
    [[nodiscard]] bool is_between_messages() const {
        return batch_.items.empty() && streamed_ == 0;
    }

private:
    struct Message {
        Step step = Step::need_more;  // with goes_on: of no meaning
        bool goes_on = false;         // it is one for the batch
        std::uint8_t type = 0;
        std::size_t bytes = 0;
    };
    [[nodiscard]] Message look();
    [[nodiscard]] bool skips(const Message& message);
    // A violation comes behind what was collected.
    [[nodiscard]] Step violation() const {
        return batch_.items.empty() ? Step::violation : Step::dispatch;
    }

    InputBuffer& in_;
    Batch batch_;
    std::size_t streamed_ = 0;  // bytes of the current message still to be passed on
    bool passes_on_ = false;    // and not thrown away
    Skipping skipping_ = Skipping::no;
};

// Adds the message at batch.bytes of `whole` to the batch. False: its names have not arrived yet.
template <class Classify>
bool add_message(Batch& batch,
                 wire::Bytes whole,
                 std::uint8_t type,
                 std::size_t message_bytes,
                 Classify&& classify) {
    auto& item = batch.items.emplace_back();
    std::optional<std::string_view> sql;
    const auto names = read_item(whole, batch.bytes, type, message_bytes, item, sql);
    if (names && *names == Names::are_still_to_come) {
        batch.items.pop_back();
        return false;
    }
    if (!names)
        item = malformed_item(batch.bytes, type, message_bytes);
    else if (sql)
        item.statement = classify(*sql);
    batch.bytes += message_bytes;
    batch.ends = ends_batch(type);
    return true;
}

// Of messages that were collected before.
template <class Classify>
Batch read_batch(wire::Bytes bytes, Classify&& classify) {
    Batch batch;
    while (batch.bytes < bytes.size()) {
        const auto header = wire::peek_header(bytes.subspan(batch.bytes), wire::kMaxLargeBody);
        if (!header || !*header ||
            !add_message(batch, bytes, (*header)->type, (*header)->message_bytes(), classify))
            break;
    }
    return batch;
}

template <class Classify>
Batcher::Step Batcher::next(Classify&& classify) {
    for (;;) {
        const auto message = look();
        if (!message.goes_on) return message.step;
        if (batch_.items.capacity() == 0) Lending<std::vector<BatchItem>>::lend(batch_.items);
        if (!add_message(batch_, in_.data(), message.type, message.bytes, classify))
            return batch_.items.empty() ? Step::need_more : Step::dispatch;
        const bool is_full = batch_.bytes >= kMaxBatchBytes;
        const bool is_incomplete = batch_.bytes > in_.size();
        if (is_incomplete || is_full || batch_.ends || message.type == wire::frontend::kFlush)
            return Step::dispatch;
    }
}

template <class Write>
void Batcher::stream(Write&& write) {
    const auto count = std::min(streamed_, in_.size());
    if (passes_on_) write(in_.data().first(count));
    in_.consume(count);
    streamed_ -= count;
}

}  // namespace pgsteer::proxy
