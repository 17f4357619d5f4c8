// Which bytes of the servers' answers may go to the client now, and which are held back because the
// answer may still have to be fetched from another server. Pure: it writes by a function it is
// given.
#pragma once

#include "proxy/wire/bytes.hpp"

#include <cstddef>
#include <optional>
#include <span>
#include <vector>

namespace pgsteer::proxy {

// A turn: start(), forward() for each message of the buffer, release(), hold_rest(). Worker-local.
class Outbox {
public:
    // --- one buffer of a server's messages, by their places in it; ascending ---

    // `data` stays where it is until the turn ends.
    void start(wire::Bytes data) {
        data_ = data;
        pieces_.clear();
        released_ = 0;
    }
    void forward(std::size_t begin, std::size_t end) {
        if (begin == end) return;
        if (!pieces_.empty() &&
            pieces_.back().data() + pieces_.back().size() == data_.data() + begin)
            pieces_.back() = {pieces_.back().data(), pieces_.back().size() + end - begin};
        else
            pieces_.push_back(data_.subspan(begin, end - begin));
    }
    // What came from there on is nobody's answer; nor is what was held, if that is all of the
    // buffer.
    void take_back(std::size_t from);
    // `message` comes behind what was forwarded so far; all of that is held.
    void hold_with(wire::Bytes message);

    // Calls write(span of Bytes), at most once, with all that is held and what was forwarded up to
    // `end`. hold_rest() holds the rest. False: something else was sent before in its place.
    template <class Write>
    [[nodiscard]] bool release(std::size_t end, Write&& write);
    [[nodiscard]] bool has_rest() const { return released_ < pieces_.size(); }
    void hold_rest();

    // --- what is held ---

    [[nodiscard]] std::size_t held_bytes() const { return held_.size(); }
    // What of it goes to the client; forget_held() follows. nullopt: as above.
    [[nodiscard]] std::optional<wire::Bytes> release_held();
    void forget_held() { wire::Buffer{}.swap(held_); }

    // --- an answer that comes again ---

    // The client has had this of it: it is left out. Empty: nothing.
    void expect_again(wire::Buffer prefix) { repeated_ = std::move(prefix); }
    // An error comes where the first answer may have gone on: what is equal so far is left out.
    void error_comes() { ends_in_error_ = !repeated_.empty(); }

private:
    std::size_t cut(std::size_t end);
    bool put_held_first();
    bool leave_out_repeated();

    wire::Bytes data_;
    std::vector<wire::Bytes> pieces_;  // of data_; neighbours are one
    std::size_t released_ = 0;         // pieces
    wire::Buffer held_;
    wire::Buffer repeated_;
    bool ends_in_error_ = false;
};

template <class Write>
bool Outbox::release(std::size_t end, Write&& write) {
    released_ = cut(end);
    if (released_ == 0) return true;
    const bool is_plain = held_.empty() && repeated_.empty();
    if (!is_plain && !put_held_first()) return false;
    write(std::span<const wire::Bytes>{pieces_}.first(released_));
    if (!is_plain) forget_held();
    return true;
}

}  // namespace pgsteer::proxy
