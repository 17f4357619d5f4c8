#include "proxy/shared/budget.hpp"

namespace pgsteer::proxy {

bool Budget::try_take() {
    int used = used_.load(std::memory_order_relaxed);
    while (used < limit_.load(std::memory_order_relaxed)) {
        if (used_.compare_exchange_weak(used, used + 1, std::memory_order_acq_rel)) return true;
    }
    return false;
}

std::shared_ptr<Budget> Budgets::of(const BudgetKey& key) {
    const std::lock_guard lock{mutex_};
    auto& budget = budgets_[key];
    if (!budget) budget = std::make_shared<Budget>(limit_);
    return budget;
}

void Budgets::set_limit(int limit) {
    const std::lock_guard lock{mutex_};
    limit_ = limit;
    for (const auto& [key, budget] : budgets_) budget->set_limit(limit);
}

// Nobody takes a new pointer while the mutex is held, so a count of one will not rise.
void Budgets::forget_unused() {
    const std::lock_guard lock{mutex_};
    std::erase_if(budgets_, [](const auto& entry) { return entry.second.use_count() == 1; });
}

std::size_t Budgets::size() const {
    const std::lock_guard lock{mutex_};
    return budgets_.size();
}

}  // namespace pgsteer::proxy
