#include "proxy/session/reply_queue.hpp"

#include <algorithm>

namespace pgsteer::proxy {

bool ReplyQueue::push(Expected expected) {
    if (skipping_) {
        if (expected.what != Expect::sync) return false;
        skipping_ = false;
    }
    if (expected.what == Expect::query) ++queries_;
    queue_.push_back(std::move(expected));
    return true;
}

int ReplyQueue::only_questions() const {
    const bool all = std::all_of(queue_.begin(), queue_.end(), [](const Expected& entry) {
        return entry.internal && entry.what == Expect::query &&
               (entry.purpose == Purpose::sample || entry.purpose == Purpose::transaction);
    });
    return all ? static_cast<int>(queue_.size()) : 0;
}

bool ReplyQueue::skips_to_own_sync() const {
    const auto sync = std::find_if(queue_.begin(), queue_.end(), [](const Expected& entry) {
        return entry.what == Expect::sync;
    });
    return sync != queue_.end() && sync->internal;
}

Expected* ReplyQueue::front() {
    while (!queue_.empty() && queue_.front().what == Expect::copy_end) queue_.pop_front();
    return queue_.empty() ? nullptr : &queue_.front();
}

void ReplyQueue::copy_in_started() {
    if (queue_.empty()) return;
    auto after = queue_.begin() + 1;
    const auto end = std::find_if(
        after, queue_.end(), [](const Expected& entry) { return entry.what == Expect::copy_end; });
    queue_.erase(std::remove_if(after, end,
                                [](const Expected& entry) { return entry.what == Expect::sync; }),
                 end);
}

}  // namespace pgsteer::proxy
