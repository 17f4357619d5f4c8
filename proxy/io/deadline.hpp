#pragma once

#include "proxy/io/asio.hpp"
#include "proxy/io/stream.hpp"

#include <functional>
#include <memory>

namespace pgsteer::proxy {

// Closes a stream when a time has come, unless destroyed before; first calls `last_words`, if there
// are any. The stream must outlive it.
class Deadline {
public:
    Deadline(Executor executor,
             Stream& stream,
             std::chrono::steady_clock::time_point when,
             std::function<void()> last_words = {})
        : timer_{executor, when}, state_{std::make_shared<State>(&stream, std::move(last_words))} {
        timer_.async_wait([state = state_](error_code ec) {
            if (ec || state->stream == nullptr) return;
            state->expired = true;
            if (state->last_words) state->last_words();
            state->stream->close();
        });
    }
    ~Deadline() { state_->stream = nullptr; }
    Deadline(const Deadline&) = delete;
    Deadline& operator=(const Deadline&) = delete;
    [[nodiscard]] bool expired() const { return state_->expired; }

private:
    struct State {
        State(Stream* watched, std::function<void()> words)
            : stream{watched}, last_words{std::move(words)} {}
        Stream* stream;
        std::function<void()> last_words;
        bool expired = false;
    };
    Timer timer_;
    std::shared_ptr<State> state_;
};

}  // namespace pgsteer::proxy
