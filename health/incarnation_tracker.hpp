// Tells one run of a server from the next. Pure.
#pragma once

#include "routing/topology.hpp"

#include <cstdint>

namespace pgsteer::health {

// Positions of different runs must not be compared: a standby that was killed and started again
// accepts connections before it is where it had been.
class IncarnationTracker {
public:
    // What a full probe saw. timeline 0: not known this time, the former one is kept. Returns true
    // if this is another incarnation than before. A postmaster survives the crash of a server
    // process and starts all others anew, the checkpointer among them: positions do not survive it.
    // checkpointer_start_us 0: not known.
    bool observe(std::int64_t postmaster_start_us,
                 std::uint64_t system_identifier,
                 std::uint32_t timeline,
                 routing::Lsn position,
                 std::int64_t checkpointer_start_us = 0);
    // What a cheap probe saw, over a connection that has stood since the last full one.
    bool observe(routing::Lsn position);

    [[nodiscard]] const routing::Incarnation& incarnation() const { return incarnation_; }
    [[nodiscard]] routing::Lsn position() const { return position_; }

private:
    routing::Incarnation incarnation_;
    routing::Lsn position_;
    std::int64_t checkpointer_start_us_ = 0;
};

}  // namespace pgsteer::health
