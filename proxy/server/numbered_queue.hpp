// A queue whose elements are found by the number that they were given. Pure.
#pragma once

#include "proxy/io/lending.hpp"

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace pgsteer::proxy {

// Numbers ascend from 1, and none is given twice. While there are a few at a time, nothing is
// allocated; while there is none, behind shrink(), it has no memory. References are valid until the
// next push() or shrink(). What is moved from holds nothing.
template <class T>
class NumberedQueue {
public:
    [[nodiscard]] bool empty() const { return head_ == items_.size(); }
    [[nodiscard]] std::uint64_t first() const { return first_; }
    [[nodiscard]] std::uint64_t end() const { return first_ + (items_.size() - head_); }
    // `number`: from first() to end().
    [[nodiscard]] T& operator[](std::uint64_t number) { return items_[head_ + (number - first_)]; }
    [[nodiscard]] const T& operator[](std::uint64_t number) const {
        return items_[head_ + (number - first_)];
    }
    T& push(T item) {
        if (items_.capacity() == 0) Lending<std::vector<T>>::lend(items_);
        return items_.emplace_back(std::move(item));
    }
    T pop() {
        ++first_;
        return std::move(items_[head_++]);
    }
    void clear() {
        first_ = end();
        head_ = items_.size();
        shrink();
    }
    // Gives back what pop() has left; after some of them.
    void shrink() {
        constexpr std::size_t kKept = 16;
        if (empty()) {
            head_ = 0;
            items_.clear();
            if (items_.capacity() > kKept) std::vector<T>{}.swap(items_);
            if (items_.capacity() > 0) Lending<std::vector<T>>::take_back(items_);
        } else if (head_ > kKept && head_ > items_.size() / 2) {
            items_.erase(items_.begin(), items_.begin() + static_cast<std::ptrdiff_t>(head_));
            head_ = 0;
        }
    }

private:
    std::vector<T> items_;  // from head_ on
    std::size_t head_ = 0;
    std::uint64_t first_ = 1;
};

}  // namespace pgsteer::proxy
