#pragma once

#include "proxy/wire/bytes.hpp"

#include <cstdint>
#include <memory>
#include <span>

namespace pgsteer::proxy {

// Bytes received and not yet consumed, contiguous. Grows up to what its reads fill. One that rests
// owns no memory, so that an idle connection costs none: small blocks are lent by the thread in
// turn. To be used on one thread.
class InputBuffer {
public:
    static constexpr std::size_t kSmallBytes = 1024;
    static constexpr std::size_t kReadBytes = 64 * 1024;  // the most that one read asks for

    InputBuffer() = default;
    ~InputBuffer() { give_back(); }
    InputBuffer(const InputBuffer&) = delete;
    InputBuffer& operator=(const InputBuffer&) = delete;

    [[nodiscard]] wire::Bytes data() const { return {memory_.get() + begin_, end_ - begin_}; }
    // The same bytes, to be changed in place.
    [[nodiscard]] std::span<std::uint8_t> unread() {
        return {memory_.get() + begin_, end_ - begin_};
    }
    [[nodiscard]] std::size_t size() const { return end_ - begin_; }
    [[nodiscard]] bool empty() const { return begin_ == end_; }

    // Room for the next read, at least one byte. Views into data() are invalid afterwards.
    std::span<std::uint8_t> prepare();
    // `count` bytes were read into prepare()'s room. True if the room was filled: more may be
    // waiting.
    bool commit(std::size_t count);
    void consume(std::size_t count);
    // Until the next prepare(): gives the memory back if nothing is unread. Cheap for small blocks.
    void rest() {
        if (empty() && memory_) give_back();
    }

private:
    void give_back();
    void move_to(std::size_t capacity);

    std::size_t begin_ = 0;
    std::size_t end_ = 0;
    std::size_t capacity_ = 0;
    std::size_t offered_ = 0;
    std::size_t wanted_ = kSmallBytes;  // room that the last reads could use
    std::unique_ptr<std::uint8_t[]> memory_;
};

}  // namespace pgsteer::proxy
