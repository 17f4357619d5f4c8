// Which bytes of an answer may go to the client now, and which are held back because the answer may
// still have to be fetched from another server.
#pragma once

#include "proxy/io/asio.hpp"
#include "proxy/session/client.hpp"
#include "proxy/session/course.hpp"
#include "proxy/session/ending.hpp"
#include "proxy/session/lodging.hpp"
#include "proxy/session/outbox.hpp"
#include "proxy/session/sides.hpp"

#include <memory>

namespace pgsteer::proxy {

// The Outbox with its clock: what a server has sent of an answer goes out when it is complete, when
// there is too much of it, or when the server has been silent for a while. Worker-local.
class Holding {
public:
    Holding(const Lodging& lodging, Client& client, Course& course, Sides& sides, Ending& ending)
        : lodging_{lodging}, client_{client}, course_{course}, sides_{sides}, ending_{ending} {}
    Holding(const Holding&) = delete;
    Holding& operator=(const Holding&) = delete;

    [[nodiscard]] Outbox& outbox() { return outbox_; }

    // Sends what may be sent: everything up to `complete`, the end of the last complete answer, and
    // beyond it to `end` unless the answer may still be fetched from another server. Offsets into
    // the buffer that Outbox::start() was given.
    void release_replies(std::size_t complete, std::size_t end);
    // Sends what is held. From here on the oldest request cannot run elsewhere, unless all that was
    // released are descriptions.
    void release_held();
    // The run on the replica is being discarded (Side::discarding). Nobody wants its answer, and
    // the client waits for its end: it is cancelled if it does not end by itself, which most do
    // sooner than a cancel could reach them. May be called again meanwhile.
    void watch_discarded_run();

private:
    void hold_replies();
    void die_of_another_answer();
    void wait_until(routing::TimePoint time);
    void quiet(error_code ec);
    void end_discarded_run();

    // All of them outlive it.
    const Lodging& lodging_;
    Client& client_;
    Course& course_;
    Sides& sides_;
    Ending& ending_;

    Outbox outbox_;
    routing::TimePoint held_since_{};
    std::unique_ptr<Timer> timer_;  // while it waits
};

}  // namespace pgsteer::proxy
