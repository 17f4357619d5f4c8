#pragma once

#include "proxy/io/asio.hpp"

namespace pgsteer::proxy {

// Lets coroutines of one worker wait until another one says that something has changed.
// Worker-local. A waiter looks at the state again after each wake-up: wake-ups carry no meaning of
// their own.
class Signal {
public:
    explicit Signal(Executor executor)
        : timer_{executor, std::chrono::steady_clock::time_point::max()} {}

    awaitable<void> wait() {
        ++waiters_;
        co_await timer_.async_wait(as_result);
        --waiters_;
    }
    void notify_all() {
        if (waiters_ > 0) timer_.cancel();
    }
    [[nodiscard]] Executor executor() { return timer_.get_executor(); }
    [[nodiscard]] bool has_waiters() const { return waiters_ > 0; }

private:
    int waiters_ = 0;
    Timer timer_;
};

}  // namespace pgsteer::proxy
