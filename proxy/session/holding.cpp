#include "proxy/session/holding.hpp"

#include "proxy/session/cancel.hpp"

namespace pgsteer::proxy {

using routing::Clock;
using routing::Slot;

namespace {

// A server silent for this long has its partial answer released.
constexpr std::chrono::milliseconds kQuiet{20};
// A cancel costs the server a process.
constexpr std::chrono::milliseconds kDiscardedPatience{5};

}  // namespace

void Holding::release_replies(std::size_t complete, std::size_t end) {
    const auto& requests = course_.requests;
    const bool hold = !requests.empty() && requests.front().again.retryable &&
                      requests.front().slot == Slot::replica && !requests.front().failed;
    const bool is_the_same = outbox_.release(
        hold ? complete : end,
        [this](std::span<const wire::Bytes> parts) { client_.stream.write(parts); });
    if (!is_the_same) return die_of_another_answer();
    if (hold && outbox_.has_rest()) hold_replies();
}

void Holding::die_of_another_answer() {
    ending_.die(ProxyErrc::server_lost,
                "the replica failed, and the primary describes the result differently");
}

void Holding::hold_replies() {
    const auto& request = course_.requests.front();
    outbox_.hold_rest();
    const auto& lease = sides_[request.slot].lease;
    const bool nothing_owed = lease && lease->replies.empty();
    if (outbox_.held_bytes() > lodging_.config().routing.retry_buffer || nothing_owed)
        return release_held();
    held_since_ = course_.replies_at;
    wait_until(held_since_ + kQuiet);
}

// One wait at a time; quiet() begins the next if there is something to wait for.
void Holding::wait_until(routing::TimePoint time) {
    if (timer_) return;
    timer_ = std::make_unique<Timer>(course_.changed.executor(), time);
    timer_->async_wait([this, session = course_.alive()](error_code ec) { quiet(ec); });
}

// The server has been silent for a while: what it has sent so far is passed on.
void Holding::quiet(error_code ec) {
    timer_.reset();
    if (ec || client_.closing) return;
    if (sides_[Slot::replica].discarding) return end_discarded_run();
    if (outbox_.held_bytes() == 0) return;
    if (Clock::now() - held_since_ >= kQuiet) return release_held();
    wait_until(held_since_ + kQuiet);
}

void Holding::watch_discarded_run() { wait_until(Clock::now() + kDiscardedPatience); }

void Holding::end_discarded_run() {
    const auto& lease = sides_[Slot::replica].lease;
    if (!lease) return;
    const auto* owed = lease->replies.front();
    if (owed != nullptr && !owed->internal && lease->cancels_in_flight == 0)
        send_cancel(lodging_.around, lease.connection());
    wait_until(Clock::now() + kQuiet);  // there may be another statement behind it
}

void Holding::release_held() {
    if (course_.requests.empty() || outbox_.held_bytes() == 0) return;
    const auto held = outbox_.release_held();
    if (!held) return die_of_another_answer();
    client_.stream.write(*held);
    auto& request = course_.requests.front();
    if (request.again.rows_seen || sides_[request.slot].partial > 0 ||
        request.again.released.size() + held->size() > lodging_.config().routing.retry_buffer) {
        request.again.retryable = false;
    } else {
        request.again.released.insert(request.again.released.end(), held->begin(), held->end());
    }
    outbox_.forget_held();
}

}  // namespace pgsteer::proxy
