// Which bytes of an answer may go to the client now, and which are held back because the answer may
// still have to be fetched from another server.
#include "proxy/session/cancel.hpp"
#include "proxy/session/client_session.hpp"
#include "proxy/worker.hpp"

namespace pgsteer::proxy {

using routing::Clock;

namespace {
constexpr std::chrono::milliseconds kQuiet{
    20};  // a server silent for this long has its partial answer released
}  // namespace

// Splits what is to be forwarded at `end`; returns how many pieces come before it.
std::size_t ClientSession::cut_pieces(const std::uint8_t* end) {
    std::size_t before = pieces_.size();
    while (before > 0 && pieces_[before - 1].data() >= end) --before;
    if (before == 0 || pieces_[before - 1].data() + pieces_[before - 1].size() <= end)
        return before;
    const auto piece = pieces_[before - 1];
    const auto head = static_cast<std::size_t>(end - piece.data());
    pieces_[before - 1] = piece.first(head);
    pieces_.insert(pieces_.begin() + static_cast<std::ptrdiff_t>(before), piece.subspan(head));
    return before;
}

// Sends what may be sent: everything up to the end of the last complete answer, and beyond it
// unless the answer may still be fetched from another server.
void ClientSession::release_replies(std::size_t complete_pieces) {
    const bool hold = !requests_.empty() && requests_.front().retryable &&
                      requests_.front().slot == Slot::replica && !requests_.front().failed;
    const auto releasable = hold ? complete_pieces : pieces_.size();
    if (releasable > 0) {
        if (!repeated_prefix_.empty()) {
            // Rare: an answer that has been released in part comes again.
            for (std::size_t i = 0; i < releasable; ++i)
                held_.insert(held_.end(), pieces_[i].begin(), pieces_[i].end());
            if (!drop_repeated_prefix()) return;
            client_.write(wire::Bytes{held_});
        } else if (held_.empty()) {
            client_.write(std::span{pieces_.data(), releasable});
        } else {
            pieces_.insert(pieces_.begin(), wire::Bytes{held_});
            client_.write(std::span{pieces_.data(), releasable + 1});
            pieces_.erase(pieces_.begin());
        }
        wire::Buffer{}.swap(held_);
    }
    if (hold && pieces_.size() > releasable) hold_replies(releasable);
}

void ClientSession::hold_replies(std::size_t from_piece) {
    auto& request = requests_.front();
    for (std::size_t i = from_piece; i < pieces_.size(); ++i)
        held_.insert(held_.end(), pieces_[i].begin(), pieces_[i].end());
    const bool nothing_owed = side(request.slot).lease && side(request.slot).lease->replies.empty();
    if (held_.size() > worker_.config().routing.retry_buffer || nothing_owed) return release_held();
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
    if (held_.empty()) return;
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
    if (requests_.empty() || held_.empty()) return;
    if (!repeated_prefix_.empty() && !drop_repeated_prefix()) return;
    auto& request = requests_.front();
    client_.write(wire::Bytes{held_});
    if (request.rows_seen || side(request.slot).partial > 0 ||
        request.released.size() + held_.size() > worker_.config().routing.retry_buffer) {
        request.retryable = false;
    } else {
        request.released.insert(request.released.end(), held_.begin(), held_.end());
    }
    wire::Buffer{}.swap(held_);
}

// The beginning of held_ is what the client already has. False if it is not: the session cannot go
// on.
bool ClientSession::drop_repeated_prefix() {
    auto count = std::min(held_.size(), repeated_prefix_.size());
    if (prefix_ends_in_error_) {  // an error came where the first answer went on: what was equal so
                                  // far is dropped
        count = static_cast<std::size_t>(
            std::mismatch(held_.begin(), held_.begin() + static_cast<std::ptrdiff_t>(count),
                          repeated_prefix_.begin())
                .first -
            held_.begin());
        repeated_prefix_.resize(count);
        prefix_ends_in_error_ = false;
    }
    if (!std::equal(held_.begin(), held_.begin() + static_cast<std::ptrdiff_t>(count),
                    repeated_prefix_.begin())) {
        die(ProxyErrc::server_lost,
            "the replica failed, and the primary describes the result differently");
        return false;
    }
    held_.erase(held_.begin(), held_.begin() + static_cast<std::ptrdiff_t>(count));
    repeated_prefix_.erase(repeated_prefix_.begin(),
                           repeated_prefix_.begin() + static_cast<std::ptrdiff_t>(count));
    return true;
}

}  // namespace pgsteer::proxy
