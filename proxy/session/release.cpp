// Which bytes of an answer may go to the client now, and which are held back because the answer may
// still have to be fetched from another server.
#include "proxy/session/cancel.hpp"
#include "proxy/session/client_session.hpp"
#include "proxy/shared/surroundings.hpp"

namespace pgsteer::proxy {

using routing::Clock;

namespace {
constexpr std::chrono::milliseconds kQuiet{
    20};  // a server silent for this long has its partial answer released
}  // namespace

// Sends what may be sent: everything up to `complete`, the end of the last complete answer, and
// beyond it to `end` unless the answer may still be fetched from another server.
void ClientSession::release_replies(std::size_t complete, std::size_t end) {
    const bool hold = !requests_.empty() && requests_.front().retryable &&
                      requests_.front().slot == Slot::replica && !requests_.front().failed;
    const bool is_the_same =
        outbox_.release(hold ? complete : end,
                        [this](std::span<const wire::Bytes> parts) { client_.write(parts); });
    if (!is_the_same) return die_of_another_answer();
    if (hold && outbox_.has_rest()) hold_replies();
}

void ClientSession::die_of_another_answer() {
    die(ProxyErrc::server_lost,
        "the replica failed, and the primary describes the result differently");
}

void ClientSession::hold_replies() {
    const auto& request = requests_.front();
    outbox_.hold_rest();
    const bool nothing_owed = side(request.slot).lease && side(request.slot).lease->replies.empty();
    if (outbox_.held_bytes() > worker_.config().routing.retry_buffer || nothing_owed)
        return release_held();
    held_since_ = replies_at_;
    if (hold_timer_armed_) return;
    hold_timer_armed_ = true;
    hold_timer_.expires_at(held_since_ + kQuiet);
    hold_timer_.async_wait([self = shared_from_this()](error_code ec) { self->quiet(ec); });
}

// The server has been silent for a while: what it has sent so far is passed on.
void ClientSession::quiet(error_code ec) {
    hold_timer_armed_ = false;
    if (ec || closing_) return;
    if (side(Slot::replica).discarding) return end_discarded_run();
    if (outbox_.held_bytes() == 0) return;
    if (Clock::now() - held_since_ >= kQuiet) return release_held();
    hold_timer_armed_ = true;
    hold_timer_.expires_at(held_since_ + kQuiet);
    hold_timer_.async_wait([self = shared_from_this()](error_code again) { self->quiet(again); });
}

// Nobody wants its answer, and the client waits for its end. Most end by themselves sooner than a
// cancel could reach them.
void ClientSession::watch_discarded_run(std::chrono::milliseconds patience) {
    if (hold_timer_armed_) return;
    hold_timer_armed_ = true;
    hold_timer_.expires_at(Clock::now() + patience);
    hold_timer_.async_wait([self = shared_from_this()](error_code ec) { self->quiet(ec); });
}

void ClientSession::end_discarded_run() {
    const auto& lease = side(Slot::replica).lease;
    if (!lease) return;
    const auto* owed = lease->replies.front();
    if (owed != nullptr && !owed->internal && lease->cancels_in_flight == 0)
        send_cancel(worker_, lease.connection());
    watch_discarded_run(kQuiet);  // there may be another statement behind it
}

// From here on the oldest request cannot run elsewhere, unless all that was released are
// descriptions.
void ClientSession::release_held() {
    if (requests_.empty() || outbox_.held_bytes() == 0) return;
    const auto held = outbox_.release_held();
    if (!held) return die_of_another_answer();
    client_.write(*held);
    auto& request = requests_.front();
    if (request.rows_seen || side(request.slot).partial > 0 ||
        request.released.size() + held->size() > worker_.config().routing.retry_buffer) {
        request.retryable = false;
    } else {
        request.released.insert(request.released.end(), held->begin(), held->end());
    }
    outbox_.forget_held();
}

}  // namespace pgsteer::proxy
