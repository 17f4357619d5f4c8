#pragma once

#include <cstddef>
#include <deque>
#include <string>
#include <unordered_map>
#include <utility>

namespace pgsteer::proxy {

// Remembers values by keys that clients can invent: bounded in bytes, the oldest goes first. For
// one thread.
template <class Value>
class BoundedMap {
public:
    explicit BoundedMap(std::size_t most_bytes) : most_bytes_{most_bytes} {}

    // Null: not known (any more). Valid until the next put() or clear().
    [[nodiscard]] const Value* find(const std::string& key) const {
        const auto known = values_.find(key);
        return known == values_.end() ? nullptr : &known->second.first;
    }

    // `bytes`: of what the value holds beside itself. One that is too large alone is not kept.
    void put(const std::string& key, Value value, std::size_t bytes) {
        erase(key);
        bytes += 2 * key.size() + kEntryBytes;
        if (bytes > most_bytes_) return;
        while (bytes_ + bytes > most_bytes_) erase(std::string{order_.front()});
        values_.try_emplace(key, std::move(value), bytes);
        order_.push_back(key);
        bytes_ += bytes;
    }

    void clear() {
        values_.clear();
        order_.clear();
        bytes_ = 0;
    }

    [[nodiscard]] std::size_t size() const { return values_.size(); }
    [[nodiscard]] std::size_t bytes() const { return bytes_; }

private:
    static constexpr std::size_t kEntryBytes = sizeof(Value) + 160;  // with its nodes

    void erase(const std::string& key) {
        const auto known = values_.find(key);
        if (known == values_.end()) return;
        bytes_ -= known->second.second;
        values_.erase(known);
        if (order_.front() == key)
            order_.pop_front();
        else
            std::erase(order_, key);  // rare: put again
    }

    const std::size_t most_bytes_;
    std::size_t bytes_ = 0;
    std::unordered_map<std::string, std::pair<Value, std::size_t>> values_;
    std::deque<std::string> order_;  // oldest first
};

}  // namespace pgsteer::proxy
