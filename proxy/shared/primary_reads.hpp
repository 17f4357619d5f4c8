// Reads that run on the primary only because no replica could serve them: counted over all workers,
// so that lagging replicas do not put all of their load on the primary
// (routing.primary_read_limit).
#pragma once

#include <atomic>
#include <utility>

namespace pgsteer::proxy {

// The right to be one of them, as long as it lives. Move-only; any thread.
class PrimaryRead {
public:
    PrimaryRead() = default;
    PrimaryRead(PrimaryRead&& other) noexcept : count_{std::exchange(other.count_, nullptr)} {}
    PrimaryRead& operator=(PrimaryRead&& other) noexcept {
        std::swap(count_, other.count_);
        return *this;
    }
    ~PrimaryRead() {
        if (count_ != nullptr) count_->fetch_sub(1, std::memory_order_relaxed);
    }
    [[nodiscard]] explicit operator bool() const { return count_ != nullptr; }

    // False: there are `limit` of them.
    [[nodiscard]] bool take(std::atomic<int>& count, int limit) {
        if (count_ != nullptr) return true;
        if (count.fetch_add(1, std::memory_order_relaxed) >= limit) {
            count.fetch_sub(1, std::memory_order_relaxed);
            return false;
        }
        count_ = &count;
        return true;
    }

private:
    std::atomic<int>* count_ = nullptr;
};

}  // namespace pgsteer::proxy
