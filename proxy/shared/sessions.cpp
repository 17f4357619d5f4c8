#include "proxy/shared/sessions.hpp"

#include <vector>

namespace pgsteer::proxy {

std::uint32_t Sessions::add(Member& session) {
    do {
        last_ = (last_ + 1) & SessionNumbers::kMaxSession;
    } while (process_id(last_) == 0 || sessions_.contains(last_));
    sessions_.emplace(last_, &session);
    return process_id(last_);
}

void Sessions::remove(const Member& session) {
    const auto entry = sessions_.find(numbers_.owner(session.process_id()).session);
    if (entry != sessions_.end() && entry->second == &session) sessions_.erase(entry);
}

void Sessions::cancel(const wire::CancelRequest& request) {
    const auto owner = numbers_.owner(request.process_id);
    if (owner.worker != worker_) return;
    const auto entry = sessions_.find(owner.session);
    if (entry != sessions_.end()) entry->second->cancel_requested(request.secret_key);
}

// Sessions may end while they are told: the list is copied, and each one looked up again.
void Sessions::for_each(const std::function<void(Member&)>& action) {
    std::vector<std::uint32_t> numbers;
    numbers.reserve(sessions_.size());
    for (const auto& [number, session] : sessions_) numbers.push_back(number);
    for (const auto number : numbers) {
        const auto entry = sessions_.find(number);
        if (entry == sessions_.end()) continue;
        const auto session = entry->second->keep_alive();
        action(*session);
    }
}

void Sessions::look_for_clients() {
    std::vector<std::shared_ptr<Member>> unread;
    for (const auto& [number, session] : sessions_)
        if (!session->is_reading()) unread.push_back(session->keep_alive());
    for (const auto& session : unread) session->look_for_client();
}

void Sessions::drain() {
    is_draining_ = true;
    for_each([](Member& session) { session.drain(); });
}

}  // namespace pgsteer::proxy
