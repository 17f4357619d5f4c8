#pragma once

#include <memory>

#include "proxy/asio.hpp"
#include "proxy/stream.hpp"

namespace pgsteer::proxy {

// Closes a stream when a time has come, unless destroyed before. The stream must outlive it.
class Deadline {
public:
    Deadline(Executor executor, Stream& stream, std::chrono::steady_clock::time_point when)
        : timer_{executor, when}, state_{std::make_shared<State>(&stream)} {
        timer_.async_wait([state = state_](error_code ec) {
            if (ec || state->stream == nullptr) return;
            state->expired = true;
            state->stream->close();
        });
    }
    ~Deadline() { state_->stream = nullptr; }
    Deadline(const Deadline&) = delete;
    Deadline& operator=(const Deadline&) = delete;
    [[nodiscard]] bool expired() const { return state_->expired; }

private:
    struct State {
        explicit State(Stream* watched) : stream{watched} {}
        Stream* stream;
        bool expired = false;
    };
    Timer timer_;
    std::shared_ptr<State> state_;
};

}  // namespace pgsteer::proxy
