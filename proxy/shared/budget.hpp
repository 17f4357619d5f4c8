#pragma once

#include "routing/topology.hpp"

#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <string>

namespace pgsteer::proxy {

// How many connections exist to one (server, database, user), over all workers. Thread-safe.
class Budget {
public:
    explicit Budget(int limit) : limit_{limit} {}
    [[nodiscard]] bool try_take();
    void give_back() { used_.fetch_sub(1, std::memory_order_acq_rel); }
    [[nodiscard]] int used() const { return used_.load(std::memory_order_relaxed); }
    [[nodiscard]] bool is_spent() const { return used() >= limit_.load(std::memory_order_relaxed); }
    // Places beyond a lower limit are not taken away: they end as they are given back.
    void set_limit(int limit) { limit_.store(limit, std::memory_order_relaxed); }

    // Sessions that wait for one, over all workers.
    std::atomic<int> waiting{0};

private:
    std::atomic<int> limit_;
    std::atomic<int> used_{0};
};

struct BudgetKey {
    routing::ServerId server;
    std::string database;
    std::string user;
    auto operator<=>(const BudgetKey&) const = default;
};

// All budgets. Thread-safe; workers ask once per key and keep the pointer.
class Budgets {
public:
    explicit Budgets(int limit) : limit_{limit} {}
    void set_limit(int limit);  // of all, from now on
    std::shared_ptr<Budget> of(const BudgetKey& key);
    void forget_unused();  // those that no worker has asked for, or has kept
    [[nodiscard]] std::size_t size() const;

private:
    mutable std::mutex mutex_;
    int limit_;
    std::map<BudgetKey, std::shared_ptr<Budget>> budgets_;
};

}  // namespace pgsteer::proxy
