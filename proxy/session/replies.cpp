#include "proxy/session/replies.hpp"

#include "proxy/io/spawn.hpp"
#include "proxy/wire/backend.hpp"
#include "proxy/wire/header.hpp"
#include "proxy/wire/message_types.hpp"

#include <algorithm>

namespace pgsteer::proxy {

namespace backend = wire::backend;
using routing::Clock;
using routing::Slot;

namespace {

// A message that is read whole; a larger one is passed on unread.
constexpr std::size_t kMaxInspected = 1024 * 1024;

// Messages whose body matters here.
bool is_inspected(std::uint8_t type) {
    return type == backend::kErrorResponse || type == backend::kReadyForQuery ||
           type == backend::kParameterStatus || type == backend::kCommandComplete ||
           type == backend::kNoticeResponse || type == backend::kNotificationResponse;
}

// What may be the last words of the server.
void hear(ServerConnection& connection, wire::Bytes body) {
    if (const auto said = wire::decode_error(body)) connection.farewell.heard(*said);
}

}  // namespace

// Its connection has said something.
void Replies::received(Slot slot) {
    const auto session = course_.alive();
    const auto connection = sides_[slot].lease.connection();
    // It may be somebody else's by now, or this session's under another lease.
    const auto is_ours = [&, lease_number = connection->lease_number] {
        return !client_.closing && sides_[slot].lease.connection() == connection &&
               connection->lease_number == lease_number;
    };
    course_.replies_at = Clock::now();
    const auto outcome = process_replies(slot);
    if (!is_ours()) return;
    if (outcome == Outcome::broken) return recovery_.server_lost(slot, ProxyErrc::server_protocol);
    if (sides_[slot].discarding && connection->replies.empty())
        return discarded_run_has_ended(slot);
    if (client_.stream.backlogged()) {
        connection->exchange.pause();
        spawn(lodging_.around.executor(), resume_when_drained(connection), "session.drained");
    }
}

void Replies::ended(Slot slot, error_code error) {
    const auto session = course_.alive();
    if (error == asio::error::connection_reset)
        sides_[slot].lease.connection()->farewell.was_reset();
    recovery_.server_lost(slot, sides_[slot].lost_because);
}

// Nothing more comes of it: its requests can run elsewhere.
void Replies::discarded_run_has_ended(Slot slot) {
    auto& side = sides_[slot];
    side.discarding = false;
    const auto asked = std::exchange(side.verification, {});
    const auto why = asked.is_behind ? Recovery::Why::behind : Recovery::Why::failed;
    // One that is behind only may have caught up by the next look.
    routing::ServerSet avoid;
    if (why != Recovery::Why::behind) avoid.add(side.lease->server);
    if (side.setting_failed) sides_.release(slot);
    recovery_.run_again(why, avoid);
}

awaitable<void> Replies::resume_when_drained(ServerConnectionPtr connection) {
    const auto session = course_.alive();
    co_await client_.stream.drained();
    if (sides_.is_held(*connection)) connection->exchange.resume();
}

// Hops from header to header. A body is waited for only where it matters here.
Replies::Outcome Replies::process_replies(Slot slot) {
    auto& side = sides_[slot];
    auto& connection = *side.lease.connection();
    auto& outbox = holding_.outbox();
    const auto data = connection.in.data();
    std::size_t position = 0;
    std::size_t complete = 0;  // bytes up to here belong to answers that are complete
    outbox.start(data);
    auto verdict = Verdict::forward;
    while (position < data.size() && !client_.closing) {
        if (side.partial > 0) {
            position = pass_partial(slot, position, data.size());
            continue;
        }
        const auto rest = data.subspan(position);
        const auto header = wire::peek_header(rest, UINT32_MAX - 8);
        if (!header) verdict = Verdict::broken;
        if (!header || !*header) break;
        const auto type = (*header)->type;
        const auto message_bytes = (*header)->message_bytes();
        const auto available = std::min(rest.size(), message_bytes);
        if (available < message_bytes && message_bytes <= kMaxInspected &&
            (is_inspected(type) || answers_.answers_us(slot) ||
             (type == backend::kRowDescription && !sides_.learning(slot).tellings.empty())))
            break;
        const auto ended_before = course_.requests.ended();
        const auto body = rest.subspan(wire::kHeaderBytes, available - wire::kHeaderBytes);
        if (type == backend::kErrorResponse || type == backend::kNoticeResponse)
            hear(connection, body);
        verdict = side.discarding ? handle_discarded(slot, type, body)
                                  : answers_.handle_reply(slot, type, body);
        if (verdict == Verdict::broken) break;
        if (verdict == Verdict::run_again) {
            outbox.take_back(complete);
            side.discarding = true;
        }
        if (verdict == Verdict::forward) outbox.forward(position, position + available);
        side.partial = message_bytes - available;
        side.partial_swallowed = verdict != Verdict::forward;
        position += available;
        if (course_.requests.ended() != ended_before) complete = position;
        if (type == backend::kReadyForQuery && connection.replies.addressee() != side.holder)
            break;  // the rest is somebody else's
    }
    if (client_.closing) return Outcome::ok;
    holding_.release_replies(complete, position);
    if (client_.closing) return Outcome::ok;
    connection.in.consume(position);
    go_on_with(slot);
    return verdict == Verdict::broken ? Outcome::broken : Outcome::ok;
}

// What has come by now of a message that is passed on in pieces. Where the next one begins.
std::size_t Replies::pass_partial(Slot slot, std::size_t position, std::size_t end) {
    auto& side = sides_[slot];
    const auto count = std::min<std::uint64_t>(side.partial, end - position);
    if (!side.partial_swallowed) holding_.outbox().forward(position, position + count);
    answers_.note_fetched(slot, side.lease->in.data().subspan(position, count));
    side.partial -= count;
    return position + count;
}

// What has waited for these answers.
void Replies::go_on_with(Slot slot) {
    if (sides_[slot].discarding && !sides_[slot].lease->replies.empty())
        holding_.watch_discarded_run();
    cancelling_.pass_on_if_asked();
    if (course_.changed.has_waiters()) course_.changed.notify_all();
    ending_.drain_if_asked();
}

// Answers of requests that are being run elsewhere: only the order of what is owed still matters.
Verdict Replies::handle_discarded(Slot slot, std::uint8_t type, wire::Bytes body) {
    auto& connection = *sides_[slot].lease.connection();
    auto& replies = connection.replies;
    switch (fit(type, replies.front())) {
        case Fit::wrong:
            return Verdict::broken;
        case Fit::asynchronous:
            if (type == backend::kParameterStatus)
                static_cast<void>(answers_.on_parameter(slot, body));
            break;
        case Fit::error:
            errors_.skip_to_sync(slot);
            if (replies.skipping()) errors_.end_skipping(slot);
            break;
        case Fit::last:
            replies.pop();
            if (type != backend::kReadyForQuery) break;
            if (const auto status = wire::decode_ready_for_query(body))
                connection.transaction_status = *status;
            break;
        case Fit::part:
            if (type == backend::kCommandComplete) replies.statement_completed();
            break;
    }
    return Verdict::swallow;
}

}  // namespace pgsteer::proxy
