#include "proxy/pool/budget.hpp"

namespace pgsteer::proxy {

bool Budget::try_take() {
    int used = used_.load(std::memory_order_relaxed);
    while (used < limit_) {
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

}  // namespace pgsteer::proxy
