// A queue in one piece of memory. Pure.
#pragma once

#include <algorithm>
#include <cstddef>
#include <utility>
#include <vector>

namespace pgsteer::proxy {

// Its room is used again once half of it was taken from the front, so that an element costs no
// allocation of its own, and iterators are pointers. What was taken is destroyed then, or when
// nothing is left. Iterators and references are valid until anything is added or taken away.
template <class T>
class Fifo {
public:
    using iterator = T*;
    using const_iterator = const T*;

    [[nodiscard]] bool empty() const { return head_ == items_.size(); }
    [[nodiscard]] std::size_t size() const { return items_.size() - head_; }
    [[nodiscard]] T& front() { return items_[head_]; }
    [[nodiscard]] const T& front() const { return items_[head_]; }
    [[nodiscard]] iterator begin() { return items_.data() + head_; }
    [[nodiscard]] iterator end() { return items_.data() + items_.size(); }
    [[nodiscard]] const_iterator begin() const { return items_.data() + head_; }
    [[nodiscard]] const_iterator end() const { return items_.data() + items_.size(); }

    T& emplace_back() {
        if (items_.size() == items_.capacity()) reserve(1);
        return items_.emplace_back();
    }
    void pop_front() {
        ++head_;
        if (empty()) rest();
    }
    void erase(iterator first, iterator last) {
        items_.erase(place(first), place(last));
        if (empty()) rest();
    }
    void erase(iterator one) { erase(one, one + 1); }
    void swap(Fifo& other) noexcept {
        items_.swap(other.items_);
        std::swap(head_, other.head_);
    }
    // As many more are about to come.
    void reserve(std::size_t more) {
        if (items_.capacity() - items_.size() >= more) return;
        if (head_ >= size()) erase_taken();
        const auto needed = items_.size() + more;
        if (items_.capacity() < needed) items_.reserve(std::max(needed, 2 * items_.capacity()));
    }

private:
    static constexpr std::size_t kKept = 8;  // elements, of memory, while it is empty

    auto place(iterator at) { return items_.begin() + (at - items_.data()); }
    void erase_taken() {
        items_.erase(items_.begin(), place(begin()));
        head_ = 0;
    }
    void rest() {
        items_.clear();
        head_ = 0;
        if (items_.capacity() > kKept) give_back();
    }
    [[gnu::noinline]] void give_back() { items_.shrink_to_fit(); }

    std::vector<T> items_;  // from head_ on
    std::size_t head_ = 0;
};

}  // namespace pgsteer::proxy
