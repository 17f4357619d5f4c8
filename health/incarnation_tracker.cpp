#include "health/incarnation_tracker.hpp"

namespace pgsteer::health {

bool IncarnationTracker::observe(std::int64_t postmaster_start_us,
                                 std::uint64_t system_identifier,
                                 std::uint32_t timeline,
                                 routing::Lsn position,
                                 std::int64_t checkpointer_start_us) {
    const bool has_crashed = checkpointer_start_us != 0 && checkpointer_start_us_ != 0 &&
                             checkpointer_start_us != checkpointer_start_us_;
    if (checkpointer_start_us != 0) checkpointer_start_us_ = checkpointer_start_us;
    const bool same_run = incarnation_.number != 0 && !has_crashed &&
                          incarnation_.postmaster_start_us == postmaster_start_us &&
                          incarnation_.system_identifier == system_identifier;
    if (same_run && timeline == 0) timeline = incarnation_.timeline;
    const bool same_timeline = incarnation_.timeline == timeline || incarnation_.timeline == 0;
    const bool same = same_run && same_timeline && position >= position_;
    incarnation_ = {incarnation_.number + (same ? 0 : 1), postmaster_start_us, system_identifier,
                    timeline};
    position_ = position;
    return !same;
}

bool IncarnationTracker::observe(routing::Lsn position) {
    const bool same = position >= position_;
    if (!same) ++incarnation_.number;
    position_ = position;
    return !same;
}

}  // namespace pgsteer::health
