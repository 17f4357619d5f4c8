// Where a stream of messages that passes unread stands.
#pragma once

#include "proxy/wire/bytes.hpp"
#include "proxy/wire/header.hpp"

#include <array>
#include <cstdint>

namespace pgsteer::proxy::wire {

// Follows typed messages by their headers alone, however they are cut into pieces.
class MessageBoundary {
public:
    void passed(Bytes bytes);
    // Nothing of a message has passed without the rest of it: a message of one's own fits in here.
    // False for good after a length word below 4.
    [[nodiscard]] bool is_between_messages() const {
        return header_bytes_ == 0 && body_bytes_ == 0 && !lost_;
    }

private:
    std::array<std::uint8_t, kHeaderBytes> header_{};
    std::size_t header_bytes_ = 0;  // of header_ that have passed
    std::uint64_t body_bytes_ = 0;  // still to pass
    bool lost_ = false;
};

}  // namespace pgsteer::proxy::wire
