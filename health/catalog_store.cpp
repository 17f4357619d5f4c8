#include "health/catalog_store.hpp"

#include <utility>

namespace pgsteer::health {

routing::CatalogPtr CatalogStore::load() const {
    const std::lock_guard lock{mutex_};
    return current_;
}

void CatalogStore::publish(routing::CatalogPtr next) {
    {
        const std::lock_guard lock{mutex_};
        current_.swap(next);
        names_.clear();
    }  // the last holder of the former one may be `next`: freed outside of the lock
    version_.fetch_add(1, std::memory_order_release);
}

std::uint64_t CatalogStore::ask() {
    const auto asked = asked_.fetch_add(1, std::memory_order_acq_rel) + 1;
    wake_();
    return asked;
}

void CatalogStore::ask_some_time() {
    if (!is_wanted_.exchange(true, std::memory_order_acq_rel)) wake_();
}

void CatalogStore::ask_about(std::string_view name) {
    bool is_first = false;
    {
        const std::lock_guard lock{mutex_};
        is_first =
            names_.size() < kMaxNames && names_.insert(std::hash<std::string_view>{}(name)).second;
    }
    if (is_first)
        ask();
    else
        ask_some_time();
}

}  // namespace pgsteer::health
