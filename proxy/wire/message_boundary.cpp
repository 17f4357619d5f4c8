#include "proxy/wire/message_boundary.hpp"

#include <algorithm>

namespace pgsteer::proxy::wire {

void MessageBoundary::passed(Bytes bytes) {
    while (!bytes.empty() && !lost_) {
        if (body_bytes_ > 0) {
            const auto count = std::min<std::uint64_t>(body_bytes_, bytes.size());
            body_bytes_ -= count;
            bytes = bytes.subspan(static_cast<std::size_t>(count));
            continue;
        }
        header_[header_bytes_++] = bytes.front();
        bytes = bytes.subspan(1);
        if (header_bytes_ < header_.size()) continue;
        header_bytes_ = 0;
        const auto header = peek_header(Bytes{header_}, UINT32_MAX);
        lost_ = !header;
        if (header && *header) body_bytes_ = (*header)->body_size;
    }
}

}  // namespace pgsteer::proxy::wire
