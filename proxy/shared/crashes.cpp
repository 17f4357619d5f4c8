#include "proxy/shared/crashes.hpp"

#include <algorithm>

namespace pgsteer::proxy {

using routing::TimePoint;

namespace {

TimePoint::rep ticks(TimePoint time) { return time.time_since_epoch().count(); }

}  // namespace

Crashes::Crashes(std::size_t servers) : noticed_at_(servers) {
    for (auto& at : noticed_at_) at.store(ticks(routing::kNever));
}

void Crashes::noticed(routing::ServerId server, TimePoint now) {
    noticed_at_[server.index].store(ticks(now));
}

bool Crashes::has_crashed_since(routing::ServerId server, TimePoint then) const {
    return noticed_at_[server.index].load() >= ticks(then);
}

int Crashes::crashed(const routing::StatementKey& statement, TimePoint now) {
    if (statement == routing::StatementKey{}) return 1;
    const std::lock_guard lock{mutex_};
    std::erase_if(culprits_,
                  [&](const Culprit& culprit) { return now - culprit.last >= kRemembered; });
    const auto known = std::ranges::find(culprits_, statement, &Culprit::statement);
    Culprit latest{statement, 1, now};
    if (known != culprits_.end()) {
        latest.crashes += known->crashes;
        culprits_.erase(known);
    } else if (culprits_.size() == kMaxStatements) {
        culprits_.erase(culprits_.begin());
    }
    culprits_.push_back(latest);
    refused_ = std::ranges::any_of(
        culprits_, [](const Culprit& culprit) { return culprit.crashes > kTolerated; });
    return latest.crashes;
}

bool Crashes::is_listed(const routing::StatementKey& statement, TimePoint now) const {
    const std::lock_guard lock{mutex_};
    const auto known = std::ranges::find(culprits_, statement, &Culprit::statement);
    return known != culprits_.end() && known->crashes > kTolerated &&
           now - known->last < kRemembered;
}

}  // namespace pgsteer::proxy
