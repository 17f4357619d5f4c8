#include "proxy/session/freshness.hpp"

namespace pgsteer::proxy {

void Freshness::primary_request_ended(bool wrote, bool failed, routing::TransactionStatus status) {
    wrote_ = wrote_ || wrote;
    if (status != routing::TransactionStatus::idle) return;
    if (wrote_) unflushed_ = rolled_back_ || failed;
    wrote_ = rolled_back_ = false;
}

void Freshness::replica_has_answered(routing::ServerId replica, routing::TimePoint at) {
    floor_.replica_seen = at;
    floor_.covers_replica = false;
    if (floor_.last_replica != replica) floor_.proven_incarnation = 0;
    floor_.last_replica = replica;
}

bool Freshness::is_sample_worthwhile() {
    ++unread_samples_;
    return unread_samples_ <= kUnreadSamples || unread_samples_ % kEveryUnread == 0;
}

void Freshness::sampled(routing::WalPosition position, routing::TimePoint asked_at) {
    floor_.primary_position = position;
    floor_.covers_replica = asked_at >= floor_.replica_seen;
}

void Freshness::proven(routing::ServerId replica,
                       std::uint64_t run,
                       routing::WalPosition position) {
    const auto& wanted = floor_.primary_position;
    if (wanted.timeline != position.timeline || wanted.lsn > position.lsn) return;
    floor_.last_replica = replica;
    floor_.proven_incarnation = run;
}

}  // namespace pgsteer::proxy
