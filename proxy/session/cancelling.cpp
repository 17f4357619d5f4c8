#include "proxy/session/cancelling.hpp"

#include "proxy/session/cancel.hpp"

namespace pgsteer::proxy {

void Cancelling::requested(std::uint32_t secret_key) {
    if (secret_key != who_.key.secret_key) return;
    if (course_.is_idle() && !course_.choosing) return;
    lodging_.around.counters().cancels.add();
    if (course_.cancel == Cancel::none) course_.cancel = Cancel::asked;
    pass_on_if_asked();
    if (course_.requests.empty()) course_.place_in_pool.leave();
    course_.changed.notify_all();
}

// Another one may hit what comes behind it there; asked for again once it has arrived.
void Cancelling::end_questions() {
    for (const auto slot : {routing::Slot::primary, routing::Slot::replica})
        if (sides_.asks_for_client(slot) && sides_[slot].lease->cancels_in_flight == 0)
            send_cancel(lodging_.around, sides_[slot].lease.connection());
}

void Cancelling::pass_on() {
    if (course_.requests.empty()) return end_questions();
    if (course_.running_again) return;
    const auto& lease = sides_[course_.requests.front().slot].lease;
    if (!lease) return;
    const auto* owed = lease->replies.front();
    if (owed == nullptr && !course_.choosing) course_.cancel = Cancel::none;  // it has the answer
    if (owed == nullptr) return;
    const bool is_waited_for =
        owed->purpose == Purpose::repeat || (owed->purpose == Purpose::prepare && course_.choosing);
    if (owed->internal && !is_waited_for) return;
    course_.cancel = Cancel::passed_on;
    send_cancel(lodging_.around, lease.connection());
}

}  // namespace pgsteer::proxy
