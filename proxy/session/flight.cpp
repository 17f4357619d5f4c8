#include "proxy/session/flight.hpp"

#include <algorithm>
#include <iterator>
#include <utility>

namespace pgsteer::proxy {

bool Flight::all_retryable() const {
    return std::all_of(requests_.begin(), requests_.end(),
                       [](const Request& request) { return request.again.retryable; });
}

Request& Flight::start(routing::ServerId server) {
    ++in_flight_[server.index];
    auto& request = requests_.emplace_back();
    request.server = server;
    return request;
}

Request& Flight::start(Request&& request, routing::ServerId server) {
    ++in_flight_[server.index];
    kept_bytes_ += request.again.messages.size();
    auto& started = requests_.emplace_back(std::move(request));
    started.server = server;
    return started;
}

void Flight::keep(wire::Bytes messages) {
    auto& kept = requests_.back().again.messages;
    kept.insert(kept.end(), messages.begin(), messages.end());
    kept_bytes_ += messages.size();
}

void Flight::finish_front() {
    forget(requests_.front());
    requests_.pop_front();
}

void Flight::drop_back() {
    forget(requests_.back());
    requests_.pop_back();
}

Request Flight::take_back() {
    Request request = std::move(requests_.back());
    forget(request);
    requests_.pop_back();
    return request;
}

Flight::Requests Flight::take_all() {
    for (const auto& request : requests_) forget(request);
    return std::exchange(requests_, {});
}

void Flight::clear() {
    for (const auto& request : requests_) forget(request);
    requests_.clear();
}

void Flight::go_on(const UnansweredEnds& ends) {
    for (auto place = ends.rbegin(); place != ends.rend(); ++place) {
        if (*place >= requests_.size()) continue;
        auto& request = *at(*place);
        const bool is_last = *place + 1 == requests_.size();
        if (is_last && !request.bare) {
            request.open = true;
            continue;
        }
        if (request.bare) {
            erase(*place);
            continue;
        }
        const auto& next = *at(*place + 1);
        request.open = next.open;
        request.last = next.last;
        request.does.writes = request.does.writes || next.does.writes;
        request.does.may_commit = request.does.may_commit || next.does.may_commit;
        request.does.raises_floor = request.does.raises_floor || next.does.raises_floor;
        request.again.retryable = false;
        erase(*place + 1);
    }
}

void Flight::end(const UnansweredEnds& ends) {
    for (auto place = ends.rbegin(); place != ends.rend(); ++place)
        if (*place < requests_.size()) erase(*place);
}

void Flight::forget(const Request& request) {
    ++ended_;
    --in_flight_[request.server.index];
    kept_bytes_ -= request.again.messages.size();
}

Flight::Requests::iterator Flight::at(std::size_t place) {
    return std::next(requests_.begin(), static_cast<std::ptrdiff_t>(place));
}

void Flight::erase(std::size_t place) {
    const auto request = at(place);
    forget(*request);
    requests_.erase(request);
}

}  // namespace pgsteer::proxy
