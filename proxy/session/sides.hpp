// The server connections that a session holds: at most one to the primary and one to a replica.
#pragma once

#include "proxy/session/memory.hpp"
#include "proxy/session/side.hpp"

#include <array>
#include <optional>
#include <vector>

namespace pgsteer::proxy {

// A Describe that has been sent, whose answer says what columns a statement has on its connection.
struct Telling {
    SentMessage on_server;
    PreparedTextPtr text;
};

// What is being learnt of columns on a connection.
struct Learning {
    std::uint32_t number = 0;            // Columns::On::number
    bool is_looking = false;             // Fitting: what is owed are answers to it
    std::vector<Telling> tellings = {};  // ascending
};

// Owns the leases. What a session has on a connection is forgotten with it. Worker-local.
class Sides {
public:
    using Slot = routing::Slot;

    // `memory` outlives it.
    explicit Sides(Memory& memory) : memory_{memory} {}
    Sides(const Sides&) = delete;
    Sides& operator=(const Sides&) = delete;

    [[nodiscard]] Side& operator[](Slot slot) { return sides_[static_cast<std::size_t>(slot)]; }
    [[nodiscard]] const Side& operator[](Slot slot) const {
        return sides_[static_cast<std::size_t>(slot)];
    }
    [[nodiscard]] Learning& learning(Slot slot) {
        return learning_[static_cast<std::size_t>(slot)];
    }
    // As statements' columns know the connection on `slot`.
    [[nodiscard]] Columns::On connection(Slot slot) const {
        return {slot, learning_[static_cast<std::size_t>(slot)].number};
    }

    // Who is told what a connection says, from connected() on. Once, before the first.
    void heard_by(Exchange::Holder& primary, Exchange::Holder& replica) {
        ears_ = {&primary, &replica};
    }
    // Whether these hear the connection still: after a wait it may be the pool's, or another's.
    [[nodiscard]] bool is_held(ServerConnection& connection) const;

    // Whether a question is being answered there that the client's batch waits for, before it is
    // sent: Fitting's, KeptBack's.
    [[nodiscard]] bool asks_for_client(Slot slot) const;

    // A new connection, where there is none. What it says is heard from now on.
    void connected(Slot slot, Lease lease);
    // Back to the pool, or closed if it is in the middle of a message. No-op if there is none.
    void release(Slot slot);
    // Closes it, because it has ended or cannot be used any more. There is one.
    void discard(Slot slot);

    // The server of the connection on `slot`; nullopt: none, or no slot.
    [[nodiscard]] std::optional<routing::ServerId> server_of(std::optional<Slot> slot) const;
    // Where the last batch was sent; nullopt: that connection is gone.
    [[nodiscard]] std::optional<Slot> last_used() const { return last_used_; }
    void used(Slot slot) { last_used_ = slot; }
    // Where the last batch would go on, if it was not whole.
    [[nodiscard]] Slot streams_to() const { return streams_to_; }
    void stream_to(Slot slot) { streams_to_ = slot; }

private:
    void forget(Slot slot);

    Memory& memory_;
    std::array<Side, 2> sides_;
    std::array<Exchange::Holder*, 2> ears_{};
    std::optional<Slot> last_used_;
    Slot streams_to_ = Slot::primary;
    std::array<Learning, 2> learning_;
    std::uint32_t connections_ = 0;  // so far
};

}  // namespace pgsteer::proxy
