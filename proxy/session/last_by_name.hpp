// The last that was said of each name. Pure.
#pragma once

#include <boost/container/small_vector.hpp>

#include <algorithm>
#include <cstddef>
#include <optional>
#include <string_view>
#include <unordered_map>
#include <utility>

namespace pgsteer::proxy {

// Names are not copied. A few are searched one by one, many by their hash: none takes time that
// grows with how many there are.
template <class T>
class LastByName {
public:
    // Valid until the next put(); null: nothing was said of it.
    [[nodiscard]] T* find(std::string_view name) {
        if (recent_ < entries_.size() && entries_[recent_].first == name)
            return &entries_[recent_].second;
        return find_other(name);
    }
    T& put(std::string_view name, T value) {
        if (auto* const known = find(name)) return *known = std::move(value);
        recent_ = entries_.size();
        entries_.emplace_back(name, std::move(value));
        if (index_) {
            index_->emplace(name, entries_.size() - 1);
        } else if (entries_.size() > kSearched) {
            index_.emplace();
            for (std::size_t i = 0; i < entries_.size(); ++i) index_->emplace(entries_[i].first, i);
        }
        return entries_.back().second;
    }
    [[nodiscard]] auto begin() const { return entries_.begin(); }  // pairs of name and value
    [[nodiscard]] auto end() const { return entries_.end(); }

private:
    static constexpr std::size_t kSearched = 8;

    T* find_other(std::string_view name) {
        if (index_) {
            const auto found = index_->find(name);
            if (found == index_->end()) return nullptr;
            recent_ = found->second;
        } else {
            const auto found = std::find_if(entries_.begin(), entries_.end(),
                                            [&](const auto& entry) { return entry.first == name; });
            if (found == entries_.end()) return nullptr;
            recent_ = static_cast<std::size_t>(found - entries_.begin());
        }
        return &entries_[recent_].second;
    }

    boost::container::small_vector<std::pair<std::string_view, T>, 2> entries_;
    std::optional<std::unordered_map<std::string_view, std::size_t>> index_;  // above kSearched
    std::size_t recent_ = 0;  // entry: most messages ask for the same one again
};

}  // namespace pgsteer::proxy
