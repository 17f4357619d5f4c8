#include "proxy/pool/login_back_off.hpp"

#include <algorithm>

namespace pgsteer::proxy {

using routing::TimePoint;

LoginBackOff::Advice LoginBackOff::advise(const BudgetKey& login, TimePoint now) {
    if (count_.load(std::memory_order_acquire) == 0) return Advice::try_it;
    const std::lock_guard lock{mutex_};
    const auto entry = logins_.find(login);
    if (entry == logins_.end() || entry->second.is_accepted()) return Advice::try_it;
    State& state = entry->second;
    state.wanted_at = now;
    if (now < state.next_try) return Advice::refused;
    state.next_try = now + state.delay;  // whatever becomes of this attempt
    return Advice::due;
}

bool LoginBackOff::refused(const BudgetKey& login,
                           std::string_view sqlstate,
                           std::string_view error,
                           TimePoint now) {
    const std::lock_guard lock{mutex_};
    auto entry = logins_.find(login);
    const bool is_new = entry == logins_.end();
    if (is_new) {
        if (logins_.size() >= kMaxLogins) make_room();
        entry = logins_.emplace(login, State{}).first;
        entry->second.since = now;
        count_.store(logins_.size(), std::memory_order_release);
    }
    State& state = entry->second;
    const bool is_news = is_new || state.sqlstate != sqlstate;
    state.delay = is_new ? kFirstDelay : std::min(state.delay * 2, kLastDelay);
    state.next_try = now + state.delay;
    state.wanted_at = now;
    state.accepted_at = routing::kNever;
    state.sqlstate = sqlstate;
    state.error = error.substr(0, kMaxErrorBytes);
    ++state.refusals;
    return is_news;
}

void LoginBackOff::accepted(const BudgetKey& login, TimePoint now) {
    const std::lock_guard lock{mutex_};
    if (known_.size() < kMaxLogins) known_.emplace(login.database, login.user);
    const auto entry = logins_.find(login);
    if (entry != logins_.end() && !entry->second.is_accepted()) entry->second.accepted_at = now;
}

std::vector<BudgetKey> LoginBackOff::settle(TimePoint now) {
    std::vector<BudgetKey> settled;
    if (count_.load(std::memory_order_acquire) == 0) return settled;
    const std::lock_guard lock{mutex_};
    std::erase_if(logins_, [&](const auto& entry) {
        const State& state = entry.second;
        if (!state.is_accepted()) return now - state.wanted_at > kForgotten;
        if (now - state.accepted_at < kSettled) return false;
        settled.push_back(entry.first);
        return true;
    });
    count_.store(logins_.size(), std::memory_order_release);
    return settled;
}

void LoginBackOff::try_all_again() {
    const std::lock_guard lock{mutex_};
    for (auto& [login, state] : logins_) {
        state.next_try = TimePoint{};
        state.delay = kFirstDelay;
    }
}

std::vector<health::RefusedLogin> LoginBackOff::report(TimePoint now) const {
    std::vector<health::RefusedLogin> report;
    const std::lock_guard lock{mutex_};
    for (const auto& [login, state] : logins_) {
        if (state.is_accepted()) continue;
        report.push_back({login.server, login.database, login.user, state.sqlstate, state.error,
                          std::chrono::duration<double>(now - state.since).count(), state.refusals,
                          known_.contains({login.database, login.user})});
    }
    return report;
}

void LoginBackOff::make_room() {
    const auto oldest =
        std::min_element(logins_.begin(), logins_.end(), [](const auto& left, const auto& right) {
            return left.second.wanted_at < right.second.wanted_at;
        });
    logins_.erase(oldest);
}

}  // namespace pgsteer::proxy
