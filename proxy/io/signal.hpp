#pragma once

#include "proxy/io/asio.hpp"

#include <memory>

namespace pgsteer::proxy {

// Lets coroutines of one worker wait until another one says that something has changed.
// Worker-local. A waiter looks at the state again after each wake-up: wake-ups carry no meaning of
// their own.
//
// There are several for each session, and hardly anybody waits: what is needed for that is made
// when it begins.
class Signal {
public:
    explicit Signal(Executor executor) : executor_{executor} {}

    awaitable<void> wait() {
        if (!timer_)
            timer_ =
                std::make_unique<Timer>(executor_, std::chrono::steady_clock::time_point::max());
        ++waiters_;
        co_await timer_->async_wait(as_result);
        --waiters_;
        if (waiters_ == 0) timer_.reset();
    }
    void notify_all() {
        if (waiters_ > 0) timer_->cancel();
    }
    [[nodiscard]] Executor executor() const { return executor_; }
    [[nodiscard]] bool has_waiters() const { return waiters_ > 0; }

private:
    Executor executor_;
    std::unique_ptr<Timer> timer_;
    int waiters_ = 0;
};

}  // namespace pgsteer::proxy
