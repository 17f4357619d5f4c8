#include "proxy/session/sides.hpp"

#include <algorithm>
#include <utility>

namespace pgsteer::proxy {

bool Sides::is_held(ServerConnection& connection) const {
    return std::ranges::any_of(ears_, [&](const auto* ear) {
        return ear != nullptr && connection.exchange.is_held_by(*ear);
    });
}

bool Sides::asks_for_client(Slot slot) const {
    const auto& lease = (*this)[slot].lease;
    const auto* const owed = lease ? lease->replies.front() : nullptr;
    if (owed == nullptr || !owed->internal) return false;
    const bool is_looking = learning_[static_cast<std::size_t>(slot)].is_looking;
    return owed->purpose == Purpose::at_commit || (is_looking && owed->purpose == Purpose::prepare);
}

void Sides::connected(Slot slot, Lease lease) {
    auto& side = (*this)[slot];
    side.lease = std::move(lease);
    learning(slot).number = ++connections_;
    memory_.state.connected(slot, side.lease->ledger.state());
    side.holder = side.lease->exchange.attach(*ears_[static_cast<std::size_t>(slot)]);
}

void Sides::release(Slot slot) {
    auto& side = (*this)[slot];
    if (!side.lease) return;
    if (memory_.state.has_custom_settings()) side.lease->outlives_discard_all = true;
    side.lease->exchange.leave(side.holder);
    if (side.partial > 0) {
        side.lease.discard();
    } else {
        side.lease.give_back();
    }
    forget(slot);
}

void Sides::discard(Slot slot) {
    auto& side = (*this)[slot];
    side.lease->exchange.leave(side.holder);
    side.lease.discard();
    forget(slot);
}

void Sides::forget(Slot slot) {
    (*this)[slot] = Side{};
    learning(slot) = {};
    memory_.state.disconnected(slot);
    if (last_used_ == slot) last_used_.reset();
}

std::optional<routing::ServerId> Sides::server_of(std::optional<Slot> slot) const {
    if (!slot || !(*this)[*slot].lease) return std::nullopt;
    return (*this)[*slot].lease->server;
}

}  // namespace pgsteer::proxy
