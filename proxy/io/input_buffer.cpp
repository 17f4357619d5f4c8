#include "proxy/io/input_buffer.hpp"

#include "proxy/io/lending.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

namespace pgsteer::proxy {

using SmallBlocks = Lending<std::unique_ptr<std::uint8_t[]>>;

void InputBuffer::give_back() {
    if (capacity_ == kSmallBytes) {
        SmallBlocks::take_back(memory_);
    } else {
        memory_.reset();
    }
    begin_ = end_ = capacity_ = 0;
}

void InputBuffer::move_to(std::size_t capacity) {
    const auto unread = data();
    const auto count = unread.size();
    std::unique_ptr<std::uint8_t[]> larger;
    if (capacity == kSmallBytes) SmallBlocks::lend(larger);
    if (!larger) larger = std::make_unique_for_overwrite<std::uint8_t[]>(capacity);
    if (memory_) {
        std::copy(unread.begin(), unread.end(), larger.get());
        give_back();
    }
    memory_ = std::move(larger);
    capacity_ = capacity;
    end_ = count;
}

std::span<std::uint8_t> InputBuffer::prepare() {
    if (empty()) begin_ = end_ = 0;
    const std::size_t room = capacity_ - end_;
    if (room < wanted_) {
        const std::size_t needed = size() + wanted_;
        if (needed > capacity_) {
            move_to(std::max(needed, std::min(2 * capacity_, needed + kReadBytes)));
        } else {
            std::memmove(memory_.get(), memory_.get() + begin_, size());
            end_ -= begin_;
            begin_ = 0;
        }
    }
    offered_ = std::min(capacity_ - end_, kReadBytes);
    return {memory_.get() + end_, offered_};
}

bool InputBuffer::commit(std::size_t count) {
    end_ += count;
    const bool filled = count == offered_;
    if (filled) {
        wanted_ = std::min(wanted_ * 4, kReadBytes);
    } else if (count < wanted_ / 8) {
        wanted_ = std::max(wanted_ / 2, kSmallBytes);
    }
    return filled;
}

void InputBuffer::consume(std::size_t count) { begin_ += count; }

}  // namespace pgsteer::proxy
