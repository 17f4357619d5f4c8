#include "proxy/io/input_buffer.hpp"

#include <algorithm>
#include <cstring>

namespace pgsteer::proxy {

void InputBuffer::move_to(std::size_t capacity) {
    const std::size_t unread = size();
    auto larger = std::make_unique_for_overwrite<std::uint8_t[]>(capacity);
    std::memcpy(larger.get(), base() + begin_, unread);
    heap_ = std::move(larger);
    capacity_ = capacity;
    begin_ = 0;
    end_ = unread;
}

std::span<std::uint8_t> InputBuffer::prepare() {
    if (empty()) begin_ = end_ = 0;
    const std::size_t room = capacity_ - end_;
    if (room < wanted_) {
        const std::size_t needed = size() + wanted_;
        if (needed > capacity_) {
            move_to(std::max(needed, std::min(2 * capacity_, needed + kReadBytes)));
        } else {
            std::memmove(base(), base() + begin_, size());
            end_ -= begin_;
            begin_ = 0;
        }
    }
    offered_ = std::min(capacity_ - end_, kReadBytes);
    return {base() + end_, offered_};
}

bool InputBuffer::commit(std::size_t count) {
    end_ += count;
    const bool filled = count == offered_;
    if (filled) {
        wanted_ = std::min(wanted_ * 4, kReadBytes);
    } else if (count < wanted_ / 8) {
        wanted_ = std::max(wanted_ / 2, kInlineBytes);
    }
    return filled;
}

void InputBuffer::consume(std::size_t count) { begin_ += count; }

void InputBuffer::rest() {
    if (!empty()) return;
    begin_ = end_ = 0;
    wanted_ = kInlineBytes;
    heap_.reset();
    capacity_ = kInlineBytes;
}

}  // namespace pgsteer::proxy
