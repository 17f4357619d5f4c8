#include "proxy/session/ending.hpp"

#include "proxy/session/cancel.hpp"

#include <algorithm>
#include <array>

namespace pgsteer::proxy {

using routing::Slot;

void Ending::leave() {
    if (client_.closing && !client_.stream.is_open() && !sides_[Slot::primary].lease &&
        !sides_[Slot::replica].lease)
        return;
    client_.closing = true;
    course_.place_in_pool.leave();
    transaction_end_.session_ends();
    client_.stream.close();
    course_.changed.notify_all();
    for (const Slot slot : {Slot::primary, Slot::replica}) {
        const auto& lease = sides_[slot].lease;
        if (!lease) continue;
        const bool is_busy = !lease->replies.empty() && !course_.requests.empty();
        if (is_busy || sides_.asks_for_client(slot))
            send_cancel(lodging_.around, lease.connection());
        sides_.release(slot);
    }
    course_.requests.clear();
}

void Ending::die(ProxyErrc reason, std::string_view message) {
    if (client_.closing) return;
    if (client_.may_be_spoken_to() && !is_amid_a_message())
        client_.send_error("FATAL", reason, message);
    leave();
}

// Of which a server has sent the beginning, and that has been passed on.
bool Ending::is_amid_a_message() const {
    return std::ranges::any_of(std::array{Slot::primary, Slot::replica}, [this](Slot slot) {
        return sides_[slot].partial > 0 && !sides_[slot].partial_swallowed;
    });
}

void Ending::drain() {
    draining_ = true;
    if (who_.is_registered && course_.is_idle() &&
        memory_.state.transaction_status() == routing::TransactionStatus::idle &&
        client_.batcher.is_between_messages())
        die(ProxyErrc::shutting_down);
}

void Ending::stop() {
    if (who_.is_registered) {
        die(ProxyErrc::shutting_down);
    } else {
        leave();
    }
}

}  // namespace pgsteer::proxy
