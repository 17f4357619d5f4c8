// The requests of one session that are under way. Pure.
#pragma once

#include "proxy/server/reply_queue.hpp"
#include "proxy/session/request.hpp"

#include <cstdint>
#include <list>
#include <span>

namespace pgsteer::proxy {

// In the order of their answers, oldest first; all on one server connection. Keeps the account of
// what they hold: the worker's number of requests on each server, and the bytes of what may be sent
// again. A session that ends calls clear(). Worker-local.
class Flight {
public:
    using Requests = std::list<Request>;  // which takes no memory while it is empty

    // `in_flight`: requests of all the worker's sessions, by ServerId; outlives it.
    explicit Flight(std::span<std::uint32_t> in_flight) : in_flight_{in_flight} {}
    Flight(const Flight&) = delete;
    Flight& operator=(const Flight&) = delete;

    [[nodiscard]] bool empty() const { return requests_.empty(); }
    // How many have left it so far.
    [[nodiscard]] std::uint64_t ended() const { return ended_; }
    [[nodiscard]] std::size_t size() const { return requests_.size(); }
    [[nodiscard]] Request& front() { return requests_.front(); }
    [[nodiscard]] const Request& front() const { return requests_.front(); }
    [[nodiscard]] Request& back() { return requests_.back(); }
    [[nodiscard]] const Request& back() const { return requests_.back(); }
    [[nodiscard]] Requests::const_iterator begin() const { return requests_.begin(); }
    [[nodiscard]] Requests::const_iterator end() const { return requests_.end(); }
    [[nodiscard]] Requests::reverse_iterator rbegin() { return requests_.rbegin(); }
    [[nodiscard]] Requests::reverse_iterator rend() { return requests_.rend(); }

    // The newest is still coming in: neither its Sync nor anything that ends it instead has come.
    [[nodiscard]] bool is_open() const { return !requests_.empty() && requests_.back().open; }
    // True if there is none.
    [[nodiscard]] bool all_retryable() const;
    // Of Request::messages.
    [[nodiscard]] std::size_t kept_bytes() const { return kept_bytes_; }

    // A new one, or one that was taken, on this server.
    Request& start(routing::ServerId server);
    Request& start(Request&& request, routing::ServerId server);
    // More of the newest one's messages, for another run.
    void keep(wire::Bytes messages);
    void finish_front();
    void drop_back();
    // To be started again.
    [[nodiscard]] Request take_back();
    [[nodiscard]] Requests take_all();
    void clear();

    // The server will not answer what ended these: each ends with the one behind it, a bare Sync
    // with the one before it. The newest becomes open again.
    void go_on(const UnansweredEnds& ends);
    // They have been skipped, and end here.
    void end(const UnansweredEnds& ends);

private:
    void forget(const Request& request);
    [[nodiscard]] Requests::iterator at(std::size_t place);
    void erase(std::size_t place);

    std::span<std::uint32_t> in_flight_;
    Requests requests_;
    std::size_t kept_bytes_ = 0;
    std::uint64_t ended_ = 0;
};

}  // namespace pgsteer::proxy
