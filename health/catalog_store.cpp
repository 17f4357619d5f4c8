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

}  // namespace pgsteer::health
