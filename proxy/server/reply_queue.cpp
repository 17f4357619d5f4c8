#include "proxy/server/reply_queue.hpp"

#include "proxy/wire/frontend.hpp"

#include <algorithm>
#include <utility>

namespace pgsteer::proxy {

namespace {

MessageKind kind_of(Expect what) {
    switch (what) {
        case Expect::query:
            return MessageKind::query;
        case Expect::function_call:
            return MessageKind::function_call;
        case Expect::sync:
            return MessageKind::sync;
        default:
            return MessageKind::extended;
    }
}

}  // namespace

bool ReplyQueue::push(Expected expected) {
    auto* const entry = add(expected.what);
    if (entry == nullptr) return false;
    expected.holder = entry->holder;
    expected.behind_data = entry->behind_data;
    expected.doubtful = entry->doubtful;
    if (expected.on_server.number == 0 && expected.what != Expect::copy_end)
        expected.on_server = ledger_.names().send(kind_of(expected.what));
    *entry = std::move(expected);
    return true;
}

// ReadyForQuery to a Sync in doubt may have been the answer to any Sync right behind it: from here
// on those are in doubt.
void ReplyQueue::pop() {
    const auto& front = queue_.front();
    const bool was_doubtful = front.doubtful;
    if (ends_request(front.what)) {
        ledger_.skipped(front.on_server);  // what is not told by now will not be
    } else {
        ledger_.completed(front.on_server);
    }
    queue_.pop_front();
    pass_copy_ends();
    if (queue_.empty() && std::exchange(has_memory_, false)) Lending<Queue>::take_back(queue_);
    if (!was_doubtful) return;
    --doubtful_;
    for (auto& entry : queue_) {
        if (entry.what == Expect::copy_end) continue;
        if (entry.what != Expect::sync) break;
        doubtful_ += entry.doubtful ? 0 : 1;
        entry.doubtful = true;
    }
}

UnansweredEnds ReplyQueue::erase_from(Queue::iterator begin, Queue::iterator end, Ignores ignores) {
    UnansweredEnds ends;
    std::size_t place = 0;
    for (auto entry = queue_.begin(); entry != end; ++entry) {
        if (entry->internal || !ends_request(entry->what)) continue;
        if (entry >= begin && ignores(*entry)) {
            ends.push_back(place);
            doubtful_ -= entry->doubtful ? 1 : 0;
        }
        ++place;
    }
    queue_.erase(std::remove_if(begin, end, ignores), end);
    return ends;
}

namespace {

template <class Iterator>
Iterator end_of_syncs(Iterator begin, Iterator end) {
    return std::find_if(begin, end,
                        [](const Expected& entry) { return entry.what != Expect::sync; });
}

}  // namespace

UnansweredEnds ReplyQueue::copy_in_started() {
    if (queue_.empty()) return {};
    const auto first = queue_.begin() + 1;
    const auto end = end_of_syncs(first, queue_.end());
    copying_ = true;
    copy_open_ = end == queue_.end();
    for (auto entry = first; entry != end; ++entry) {
        if (entry->what != Expect::sync || !entry->behind_data || entry->doubtful) continue;
        entry->doubtful = true;
        ++doubtful_;
    }
    return erase_from(first, end, [](const Expected& entry) {
        return entry.what == Expect::sync && !entry.doubtful;
    });
}

UnansweredEnds ReplyQueue::copy_in_completed() {
    if (!copying_ || queue_.empty()) return {};
    copying_ = copy_open_ = false;
    const auto first = queue_.begin() + 1;
    const auto end = end_of_syncs(first, queue_.end());
    auto ends = erase_from(first, end, [](const Expected& entry) { return entry.doubtful; });
    const auto mark = queue_.begin() + 1;
    if (mark != queue_.end() && mark->what == Expect::copy_end) queue_.erase(mark);
    return ends;
}

UnansweredEnds ReplyQueue::settle_as_ignored() {
    auto ends = settle();
    skipping_ = front() == nullptr;
    return ends;
}

UnansweredEnds ReplyQueue::settle() {
    if (copying_ || !in_doubt()) return {};
    const auto end = std::find_if(queue_.begin(), queue_.end(), [](const Expected& entry) {
        return !entry.doubtful && entry.what != Expect::copy_end;
    });
    return erase_from(queue_.begin(), end, [](const Expected&) { return true; });
}

void add_own_sync(ReplyQueue& replies, wire::Buffer& out) {
    wire::encode_sync(out);
    replies.push({.what = Expect::sync, .internal = true});
}

bool owes_only_questions(const ReplyQueue& replies) {
    return std::all_of(
        replies.entries().begin(), replies.entries().end(), [](const Expected& entry) {
            return entry.internal && entry.what == Expect::query &&
                   (entry.purpose == Purpose::sample || entry.purpose == Purpose::transaction);
        });
}

bool skips_to_own_sync(const ReplyQueue& replies) {
    const auto& entries = replies.entries();
    const auto sync = std::find_if(entries.begin(), entries.end(), [](const Expected& entry) {
        return entry.what == Expect::sync;
    });
    return sync != entries.end() && sync->internal;
}

SentMessage first_of_client(const ReplyQueue& replies) {
    const auto& entries = replies.entries();
    const auto first = std::find_if(entries.begin(), entries.end(),
                                    [](const Expected& entry) { return !entry.internal; });
    return first == entries.end() ? SentMessage{} : first->of_client;
}

}  // namespace pgsteer::proxy
