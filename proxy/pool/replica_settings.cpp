#include "proxy/pool/replica_settings.hpp"

#include <algorithm>

namespace pgsteer::proxy {

using routing::ServerId;

ReplicaSettings::Start ReplicaSettings::start(const SessionKind& kind) const {
    const std::lock_guard lock{mutex_};
    const auto entry = kinds_.find(kind);
    if (entry == kinds_.end()) return {};
    auto start = entry->second.start;
    start.is_current = entry->second.generation == generation_;
    return start;
}

std::uint64_t ReplicaSettings::generation() const {
    const std::lock_guard lock{mutex_};
    return generation_;
}

bool ReplicaSettings::learn(const SessionKind& kind,
                            const SettingValues& values,
                            SettingSet known,
                            std::uint64_t generation) {
    const std::lock_guard lock{mutex_};
    if (generation != generation_) return false;  // asked before the change
    if (kinds_.size() >= kMaxKinds && !kinds_.contains(kind)) kinds_.erase(kinds_.begin());
    const auto [entry, is_new] = kinds_.try_emplace(kind);
    auto& [start, seen_in] = entry->second;
    bool is_other = !is_new && start.known.none();  // missed
    for (std::size_t i = 0; i < values.size(); ++i) {
        if (!known[i]) continue;
        is_other = is_other || (start.known[i] && start.values[i] != values[i]);
        start.values[i] = values[i];
    }
    start.known |= known;
    seen_in = generation;
    if (is_other) forget_replicas(kind);
    return is_other;
}

void ReplicaSettings::miss(const SessionKind& kind) {
    const std::lock_guard lock{mutex_};
    if (kinds_.size() < kMaxKinds) kinds_.try_emplace(kind);
}

std::vector<SessionKind> ReplicaSettings::outdated() const {
    const std::lock_guard lock{mutex_};
    std::vector<SessionKind> kinds;
    for (const auto& [kind, known] : kinds_)
        if (known.generation != generation_) kinds.push_back(kind);
    return kinds;
}

void ReplicaSettings::primary_has_changed() {
    const std::lock_guard lock{mutex_};
    ++generation_;
}

void ReplicaSettings::logins_have_changed() {
    const std::lock_guard lock{mutex_};
    ++generation_;
    kinds_.clear();
    found_.clear();
}

ReplicaSettings::Remedy ReplicaSettings::remedy(ServerId server, const SessionKind& kind) const {
    const std::lock_guard lock{mutex_};
    const auto entry = found_.find({server, kind});
    return entry == found_.end() ? Remedy{} : entry->second.remedy;
}

std::vector<health::SettingDifference> ReplicaSettings::found(ServerId server,
                                                              const SessionKind& kind,
                                                              const SettingValues& primary,
                                                              const SettingValues& replica,
                                                              Remedy remedy,
                                                              bool is_settled) {
    const std::lock_guard lock{mutex_};
    if (found_.size() >= kMaxRemedies && !found_.contains({server, kind}))
        found_.erase(found_.begin());
    auto& entry = found_[{server, kind}];
    entry.remedy.sent |= remedy.sent;
    entry.remedy.refused |= remedy.refused;
    std::vector<health::SettingDifference> news;
    for (std::size_t i = 0; is_settled && i < kReviewedSettings.size(); ++i) {
        if (!remedy.sent[i] && !remedy.refused[i]) continue;
        health::SettingDifference difference{server,
                                             std::string{kReviewedSettings[i]},
                                             primary[i].value_or(""),
                                             replica[i].value_or(""),
                                             kind.database,
                                             kind.user,
                                             remedy.sent[i]};
        if (is_news(difference)) news.push_back(difference);
        std::erase_if(entry.differences,
                      [&](const auto& former) { return former.setting == difference.setting; });
        entry.differences.push_back(std::move(difference));
    }
    return news;
}

bool ReplicaSettings::is_news(const health::SettingDifference& difference) {
    auto& told =
        told_[{difference.server, difference.setting + (difference.is_made_up ? "+" : "-")}];
    std::string values = difference.primary + '\0' + difference.replica;
    return std::exchange(told, values) != values;
}

void ReplicaSettings::forget(ServerId server, const SessionKind& kind) {
    const std::lock_guard lock{mutex_};
    found_.erase({server, kind});
}

void ReplicaSettings::forget(ServerId server) {
    const std::lock_guard lock{mutex_};
    std::erase_if(found_, [&](const auto& entry) { return entry.first.first == server; });
}

void ReplicaSettings::forget_replicas(const SessionKind& kind) {
    std::erase_if(found_, [&](const auto& entry) { return entry.first.second == kind; });
}

// Of several users the one counts whose sessions answer otherwise.
std::vector<health::SettingDifference> ReplicaSettings::report() const {
    const std::lock_guard lock{mutex_};
    std::map<std::pair<routing::ServerId, std::string>, health::SettingDifference> shown;
    for (const auto& [key, found] : found_) {
        for (const auto& difference : found.differences) {
            const auto [entry, is_new] =
                shown.try_emplace({difference.server, difference.setting}, difference);
            if (!is_new && entry->second.is_made_up && !difference.is_made_up)
                entry->second = difference;
        }
    }
    std::vector<health::SettingDifference> differences;
    for (auto& [key, difference] : shown) differences.push_back(std::move(difference));
    return differences;
}

}  // namespace pgsteer::proxy
