#include "proxy/shared/session_numbers.hpp"

namespace pgsteer::proxy {

namespace {

constexpr std::uint32_t kMask =
    (1U << (SessionNumbers::kWorkerBits + SessionNumbers::kSessionBits)) - 1;

// Newton's iteration: each step doubles the number of right low bits, of which an odd number is its
// own inverse in three.
std::uint32_t inverse_of(std::uint32_t odd) {
    std::uint32_t inverse = odd;
    for (int step = 0; step < 4; ++step) inverse *= 2 - odd * inverse;
    return inverse;
}

}  // namespace

SessionNumbers::SessionNumbers(std::uint64_t seed)
    : factor_{static_cast<std::uint32_t>(seed) | 1U},
      inverse_{inverse_of(factor_)},
      offset_{static_cast<std::uint32_t>(seed >> 32)} {}

std::uint32_t SessionNumbers::process_id(Owner owner) const {
    const auto number = owner.worker << kSessionBits | owner.session;
    return (number * factor_ + offset_) & kMask;
}

SessionNumbers::Owner SessionNumbers::owner(std::uint32_t process_id) const {
    const auto number = ((process_id - offset_) * inverse_) & kMask;
    return {number >> kSessionBits, number & kMaxSession};
}

}  // namespace pgsteer::proxy
