#pragma once

#include "proxy/wire/bytes.hpp"

#include <array>
#include <cstdint>
#include <memory>
#include <span>

namespace pgsteer::proxy {

// Bytes received and not yet consumed, contiguous. Small reads land inside the object, so that an
// idle connection owns no heap memory; a busy one grows up to what its reads fill. Worker-local.
class InputBuffer {
public:
    static constexpr std::size_t kInlineBytes = 1024;
    static constexpr std::size_t kReadBytes = 64 * 1024;  // the most that one read asks for

    [[nodiscard]] wire::Bytes data() const { return {base() + begin_, end_ - begin_}; }
    // The same bytes, to be changed in place.
    [[nodiscard]] std::span<std::uint8_t> unread() { return {base() + begin_, end_ - begin_}; }
    [[nodiscard]] std::size_t size() const { return end_ - begin_; }
    [[nodiscard]] bool empty() const { return begin_ == end_; }

    // Room for the next read, at least one byte. Views into data() are invalid afterwards.
    std::span<std::uint8_t> prepare();
    // `count` bytes were read into prepare()'s room. True if the room was filled: more may be
    // waiting.
    bool commit(std::size_t count);
    void consume(std::size_t count);
    // Nothing is expected soon: gives the heap back if nothing is unread.
    void rest();

private:
    [[nodiscard]] const std::uint8_t* base() const { return heap_ ? heap_.get() : inline_.data(); }
    [[nodiscard]] std::uint8_t* base() { return heap_ ? heap_.get() : inline_.data(); }
    void move_to(std::size_t capacity);

    std::size_t begin_ = 0;
    std::size_t end_ = 0;
    std::size_t capacity_ = kInlineBytes;
    std::size_t offered_ = 0;
    std::size_t wanted_ = kInlineBytes;  // room that the last reads could use
    std::unique_ptr<std::uint8_t[]> heap_;
    std::array<std::uint8_t, kInlineBytes> inline_;
};

}  // namespace pgsteer::proxy
