// What a session is doing.
#pragma once

#include "proxy/io/signal.hpp"
#include "proxy/pool/pool.hpp"
#include "proxy/session/flight.hpp"

#include <cstdint>
#include <memory>
#include <optional>
#include <span>

namespace pgsteer::proxy {

// What the client has asked to cancel: its oldest request, or the batch that waits for a server. It
// holds for whatever is done about that, also for another run, until the request ends.
enum class Cancel : std::uint8_t { none, asked, passed_on };

// Which requests are under way, and what holds up the next. Worker-local.
struct Course {
    // `in_flight`: see Flight.
    Course(Executor executor, std::span<std::uint32_t> in_flight)
        : requests{in_flight}, changed{executor} {}

    // Keeps the session while one of its coroutines or timers may use it.
    [[nodiscard]] std::shared_ptr<void> alive() const { return session.lock(); }
    // Nothing is owed to the client.
    [[nodiscard]] bool is_idle() const { return requests.empty() && !running_again; }

    std::weak_ptr<void> session;  // whose course it is; set before it starts
    Flight requests;
    std::unique_ptr<Request> moved;  // the open request: Seek has taken it from its replica, and
                                     // Dispatch starts it where it goes
    bool running_again = false;      // what was in flight is between two servers
    bool choosing = false;           // a batch of serve() waits for what is chosen for it
    Cancel cancel = Cancel::none;
    bool names_may_change = false;    // by what is in flight: reads have no catalog meanwhile
    bool question_timed_out = false;  // what the batch of serve() waits for, by query_timeout
    routing::TimePoint replies_at{};  // read after the last recv from a server
    Pool::Place place_in_pool;        // while a connection is waited for
    // Notified whenever something that is waited for may have come: an answer, the end of a
    // connection or of the session. Who waits looks again.
    Signal changed;
};

}  // namespace pgsteer::proxy
