// From the servers' bytes to the client's: hops from message to message, forwards the same bytes,
// drops what answers our own messages, and holds back what may still have to be fetched from
// another server.
#include "conf/log.hpp"
#include "proxy/io/spawn.hpp"
#include "proxy/session/client_session.hpp"
#include "proxy/wire/backend.hpp"
#include "proxy/wire/frontend.hpp"
#include "proxy/wire/header.hpp"
#include "proxy/wire/message_types.hpp"
#include "proxy/shared/surroundings.hpp"
#include "routing/safety_net.hpp"

namespace pgsteer::proxy {

namespace backend = wire::backend;
using routing::Clock;
using routing::TransactionStatus;

namespace {

constexpr std::size_t kMaxInspected =
    1024 * 1024;  // a message that is read whole; a larger one is passed on unread
constexpr std::chrono::seconds kErrorRemembered{10};
constexpr std::chrono::milliseconds kDiscardedPatience{5};  // a cancel costs the server a process

// Messages whose body matters here.
bool is_inspected(std::uint8_t type) {
    return type == backend::kErrorResponse || type == backend::kReadyForQuery ||
           type == backend::kParameterStatus || type == backend::kCommandComplete ||
           type == backend::kNoticeResponse || type == backend::kNotificationResponse;
}

// What precedes rows and says nothing about data: may come twice if it is the same.
bool is_description(std::uint8_t type) {
    return type == backend::kParseComplete || type == backend::kBindComplete ||
           type == backend::kCloseComplete || type == backend::kParameterDescription ||
           type == backend::kRowDescription || type == backend::kNoData;
}

// Answered with an error it is the client's message behind it that has failed: the server skips
// both.
bool is_the_clients(const Expected& owed, const ReplyQueue& replies) {
    if (owed.what == Expect::sync) return true;
    return owed.purpose == Purpose::prepare && owed.what != Expect::query &&
           !replies.skips_to_own_sync();
}

std::array<std::uint8_t, 4> network_order(std::uint32_t number) {
    return {static_cast<std::uint8_t>(number >> 24), static_cast<std::uint8_t>(number >> 16),
            static_cast<std::uint8_t>(number >> 8), static_cast<std::uint8_t>(number)};
}

wire::Buffer whole_message(wire::Bytes body) {
    const auto* begin = body.data() - wire::kHeaderBytes;
    return {begin, begin + wire::kHeaderBytes + body.size()};
}

// The WARNING with which a server ends a connection: that its client, whose session goes on, is
// ended, would not be true.
bool is_last_warning(wire::Bytes body) {
    const auto said = wire::decode_error(body);
    return said && (said->sqlstate == "57P01" || said->sqlstate == "57P02");
}

bool is_asynchronous(std::uint8_t type) {
    return type == backend::kNoticeResponse || type == backend::kNotificationResponse ||
           type == backend::kParameterStatus;
}

}  // namespace

// Its connection has said something.
void ClientSession::received(Slot slot) {
    const auto self = shared_from_this();
    const auto connection = side(slot).lease.connection();
    // It may be somebody else's by now, or this session's under another lease.
    const auto is_ours = [&, lease_number = connection->lease_number] {
        return !closing_ && side(slot).lease.connection() == connection &&
               connection->lease_number == lease_number;
    };
    replies_at_ = Clock::now();
    const auto outcome = process_replies(slot);
    if (!is_ours()) return;
    if (outcome == Outcome::broken) return server_lost(slot, ProxyErrc::server_protocol);
    if (side(slot).discarding && connection->replies.empty()) return discarded_run_has_ended(slot);
    if (client_.backlogged()) {
        connection->exchange.pause();
        spawn(worker_.executor(), resume_when_drained(connection), "session.drained");
    }
}

void ClientSession::ended(Slot slot, error_code error) {
    const auto self = shared_from_this();
    if (error == asio::error::connection_reset)
        side(slot).lease.connection()->farewell.was_reset();
    server_lost(slot, side(slot).lost_because);
}

// Nothing more comes of it: its requests can run elsewhere.
void ClientSession::discarded_run_has_ended(Slot slot) {
    auto& side = this->side(slot);
    side.discarding = side.verifying = false;
    const auto why = std::exchange(side.behind, false) ? Why::behind : Why::failed;
    // One that is behind only may have caught up by the next look.
    routing::ServerSet avoid;
    if (why != Why::behind) avoid.add(side.lease->server);
    if (side.setting_failed) release(slot);
    run_again(why, avoid);
}

awaitable<void> ClientSession::resume_when_drained(ServerConnectionPtr connection) {
    const auto self = shared_from_this();
    co_await client_.drained();
    for (const Slot slot : {Slot::primary, Slot::replica})
        if (connection->exchange.is_held_by(ears_[static_cast<std::size_t>(slot)]))
            connection->exchange.resume();
}

ClientSession::Outcome ClientSession::process_replies(Slot slot) {
    auto& side = this->side(slot);
    auto& connection = *side.lease.connection();
    const auto data = connection.in.data();
    std::size_t position = 0;
    std::size_t complete = 0;  // bytes up to here belong to answers that are complete
    outbox_.start(data);
    bool broken = false;
    while (position < data.size() && !closing_) {
        if (side.partial > 0) {
            const auto count = std::min<std::uint64_t>(side.partial, data.size() - position);
            if (!side.partial_swallowed) outbox_.forward(position, position + count);
            side.partial -= count;
            position += count;
            continue;
        }
        const auto rest = data.subspan(position);
        const auto header = wire::peek_header(rest, UINT32_MAX - 8);
        if (!header) {
            broken = true;
            break;
        }
        if (!*header) break;
        const auto message_bytes = (*header)->message_bytes();
        const auto available = std::min(rest.size(), message_bytes);
        if (available < message_bytes && message_bytes <= kMaxInspected &&
            (is_inspected((*header)->type) || answers_us(slot)))
            break;

        const auto body = rest.subspan(wire::kHeaderBytes, available - wire::kHeaderBytes);
        const auto requests_before = requests_.size();
        if ((*header)->type == backend::kErrorResponse ||
            (*header)->type == backend::kNoticeResponse)
            if (const auto said = wire::decode_error(body)) connection.farewell.heard(*said);
        const auto verdict = side.discarding ? handle_discarded(slot, (*header)->type, body)
                                             : handle_reply(slot, (*header)->type, body);
        if (verdict == Verdict::broken) {
            broken = true;
            break;
        }
        if (verdict == Verdict::run_again) {
            outbox_.take_back(complete);
            side.discarding = true;
        }
        if (verdict == Verdict::forward) outbox_.forward(position, position + available);
        side.partial = message_bytes - available;
        side.partial_swallowed = verdict != Verdict::forward;
        position += available;
        if (requests_.size() < requests_before) complete = position;
    }
    if (closing_) return Outcome::ok;
    release_replies(complete, position);
    connection.in.consume(position);
    if (side.discarding && !connection.replies.empty()) watch_discarded_run(kDiscardedPatience);
    if (cancel_ == Cancel::asked) pass_cancel_on();
    if (answered_.has_waiters()) answered_.notify_all();
    if (draining_) drain();
    return broken ? Outcome::broken : Outcome::ok;
}

bool ClientSession::answers_us(Slot slot) {
    const auto* owed = side(slot).lease->replies.front();
    return owed != nullptr && owed->internal;
}

// Answers of requests that are being run elsewhere: only the order of what is owed still matters.
ClientSession::Verdict ClientSession::handle_discarded(Slot slot,
                                                       std::uint8_t type,
                                                       wire::Bytes body) {
    auto& connection = *side(slot).lease.connection();
    auto& replies = connection.replies;
    switch (replies.fit(type)) {
        case Fit::wrong:
            return Verdict::broken;
        case Fit::asynchronous:
            if (type == backend::kParameterStatus) on_parameter(slot, body);
            break;
        case Fit::error:
            skip_to_sync(slot);
            if (replies.skipping()) end_skipping(slot);
            break;
        case Fit::last:
            replies.pop();
            if (type != backend::kReadyForQuery) break;
            if (const auto status = wire::decode_ready_for_query(body))
                connection.transaction_status = *status;
            break;
        case Fit::part:
            break;
    }
    return Verdict::swallow;
}

// One message from a server. The switch only names what it is: the work is in the functions below.
ClientSession::Verdict ClientSession::handle_reply(Slot slot, std::uint8_t type, wire::Bytes body) {
    auto& replies = side(slot).lease->replies;
    if (side(slot).asked_about_syncs && type == backend::kEmptyQueryResponse) {
        side(slot).asked_about_syncs = false;
        requests_.end(replies.settle_before_question(),
                      [this](const StatementChange& change) { prepared_.undo(change); });
    }
    if (replies.in_doubt() && type != backend::kReadyForQuery && !is_asynchronous(type))
        requests_.go_on(replies.settle());
    switch (replies.fit(type)) {
        case Fit::wrong:
            return Verdict::broken;
        case Fit::asynchronous:
            return on_asynchronous(slot, type, body);
        case Fit::error:
            return on_error(slot, body);
        default:
            break;
    }
    if (type == backend::kReadyForQuery) return on_ready(slot, body);
    const auto& owed = *replies.front();
    if (!owed.internal && !requests_.empty() && !is_description(type))
        requests_.front().rows_seen = true;
    const auto verdict = owed.internal ? Verdict::swallow : Verdict::forward;
    switch (type) {
        case backend::kParseComplete:
        case backend::kCloseComplete:
            return on_parse_or_close_complete(slot);
        case backend::kBindComplete:
            replies.pop();
            return verdict;
        case backend::kRowDescription:
        case backend::kNoData: {
            if (owed.what != Expect::describe) return verdict;
            replies.pop();
            return Verdict::forward;
        }
        case backend::kCommandComplete:
        case backend::kEmptyQueryResponse:
        case backend::kPortalSuspended:
            return on_complete(slot, body, type);
        case backend::kCopyInResponse:
            requests_.go_on(replies.copy_in_started());
            return Verdict::forward;
        case backend::kDataRow:
            if (owed.effects && owed.effects->statement.row_tells_settings)
                note_set_values(slot, body);
            if (owed.internal) note_position(slot, body);
            return verdict;
        default:
            return verdict;
    }
}

ClientSession::Verdict ClientSession::on_asynchronous(Slot slot,
                                                      std::uint8_t type,
                                                      wire::Bytes body) {
    switch (type) {
        case backend::kParameterStatus:
            return on_parameter(slot, body);
        case backend::kNotificationResponse:
            freshness_.primary_has_answered(replies_at_);
            show_own_key(slot, body);
            return Verdict::forward;
        default:
            return is_last_warning(body) || answers_us(slot) ? Verdict::swallow : Verdict::forward;
    }
}

// In a NotificationResponse: what the session has notified itself comes from the process that the
// client was told of.
void ClientSession::show_own_key(Slot slot, wire::Bytes body) {
    auto& connection = *side(slot).lease.connection();
    const auto theirs = network_order(connection.key.process_id);
    if (body.size() < theirs.size() || !std::ranges::equal(body.first(theirs.size()), theirs))
        return;
    const auto at = static_cast<std::size_t>(body.data() - connection.in.data().data());
    const auto ours = network_order(key_.process_id);
    std::ranges::copy(ours, connection.in.unread().subspan(at).begin());
}

ClientSession::Verdict ClientSession::on_parameter(Slot slot, wire::Bytes body) {
    const auto status = wire::decode_parameter_status(body);
    if (!status) return Verdict::broken;
    auto& connection = *side(slot).lease.connection();
    connection.parameters[std::string{status->name}] = status->value;
    if (slot == Slot::replica &&
        (status->name == "in_hot_standby" || status->name == "default_transaction_read_only"))
        return Verdict::swallow;
    const auto* owed = connection.replies.front();
    if (owed != nullptr && owed->internal) return Verdict::swallow;
    return parameter_view_.changed(status->name, status->value) ? Verdict::forward
                                                                : Verdict::swallow;
}

// Of a statement that we have prepared: Preparing notes the rest.
void ClientSession::note_confirmed(PreparedStatement& statement, Slot slot) {
    statement.prepared_on[static_cast<std::size_t>(slot)] = side(slot).lease->lease_number;
}

ClientSession::Verdict ClientSession::on_parse_or_close_complete(Slot slot) {
    auto& replies = side(slot).lease->replies;
    const auto owed = std::move(*replies.front());
    replies.pop();
    if (owed.internal) {
        if (owed.prepared) note_confirmed(*owed.prepared, slot);
        return Verdict::swallow;
    }
    if (owed.prepared) owed.prepared->is_certain = true;
    if (owed.change && !requests_.empty()) {
        auto& request = requests_.front();
        if (request.changes_done < request.changes.size()) {
            const auto& change = request.changes[request.changes_done++];
            if (change.closed) prepared_.closed_on(*change.closed, slot);
        }
    }
    return Verdict::forward;
}

ClientSession::Verdict ClientSession::on_complete(Slot slot, wire::Bytes body, std::uint8_t type) {
    auto& replies = side(slot).lease->replies;
    if (replies.copying()) requests_.go_on(replies.copy_in_completed());
    auto& owed = *replies.front();
    if (owed.internal) {
        if (owed.prepared) note_confirmed(*owed.prepared, slot);
        if (owed.what == Expect::execute) replies.pop();
        return Verdict::swallow;
    }
    note_written(slot, side(slot).lease->transaction_status);
    if (owed.what == Expect::query && owed.change) note_unnamed_dropped(owed);
    if (owed.effects && type == backend::kCommandComplete) {
        const auto tag = wire::decode_command_complete(body);
        if (slot == Slot::primary && tag && *tag == "ROLLBACK") freshness_.rolled_back();
        apply_effects(slot, owed.effects->statement, owed.statement_index,
                      tag ? *tag : std::string_view{});
    }
    ++owed.statement_index;
    if (owed.what == Expect::execute) replies.pop();
    return Verdict::forward;
}

// An error has come. Of the client's requests that end there, these do not: they are skipped.
UnansweredEnds ClientSession::skip_to_sync(Slot slot) {
    auto& side = this->side(slot);
    auto& replies = side.lease->replies;
    if (const auto* owed = replies.front(); owed == nullptr || ends_request(owed->what)) return {};
    return replies.skip_to_sync([&](Expected& dropped) {
        if (dropped.prepared) dropped.prepared->prepared_on[static_cast<std::size_t>(slot)] = 0;
        if (dropped.internal && dropped.purpose == Purpose::sample) {
            side.sample_pending = false;
            side.awaited = {};
        }
        if (dropped.internal && dropped.purpose == Purpose::verify) side.verifying = false;
    });
}

// The client's Sync has not been sent.
void ClientSession::end_skipping(Slot slot) {
    wire::Buffer out;
    wire::encode_sync(out);
    side(slot).lease->stream.write(wire::Bytes{out});
    side(slot).lease->replies.push({.what = Expect::sync, .internal = true});
}

// Behind a copy that has failed, and with it some of the Syncs between its data, or none, have been
// ignored: the answer to this comes behind those to the others.
void ClientSession::find_out_about_syncs(Slot slot) {
    wire::Buffer out;
    if (!side(slot).lease->replies.push(
            {.what = Expect::query, .internal = true, .purpose = Purpose::settle}))
        return;
    wire::encode_query(out, "");
    side(slot).lease->stream.write(wire::Bytes{out});
    side(slot).asked_about_syncs = true;
}

ClientSession::Verdict ClientSession::on_error(Slot slot, wire::Bytes body) {
    auto& side = this->side(slot);
    auto& replies = side.lease->replies;
    auto* owed = replies.front();
    const auto fields = wire::decode_error(body);
    const std::string_view sqlstate = fields ? fields->sqlstate : std::string_view{};
    const bool ends_session = fields && fields->severity != "ERROR";
    if (owed == nullptr || (owed->internal && ends_session)) {  // the server's last words
        side.last_words = whole_message(body);
        return Verdict::swallow;
    }
    replies.copy_in_failed();
    if (owed->internal && !is_the_clients(*owed, replies))
        return on_own_error(slot, *owed, sqlstate, body);
    auto* request = requests_.empty() ? nullptr : &requests_.front();
    const bool may_run_again =
        request != nullptr && request->retryable && !request->failed && requests_.all_retryable();
    if (slot == Slot::replica && may_run_again && routing::runs_again_on_primary(sqlstate)) {
        if (routing::may_be_the_catalogs_fault(sqlstate)) catalog_.was_wrong();
        skip_to_sync(slot);
        if (requests_.back().open || replies.skipping()) end_skipping(slot);
        return Verdict::run_again;
    }
    outbox_.error_comes();
    if (request != nullptr) {
        if (request->reason == routing::Reason::failed_on_replica && request->statement &&
            routing::runs_again_on_primary(sqlstate))
            request->statement->repeats_error_until = replies_at_ + kErrorRemembered;
        request->failed = true;
        request->rows_seen = true;
    }
    if (owed->what == Expect::query && owed->change) note_unnamed_dropped(*owed);
    if (ends_session) side.has_said_farewell = true;
    const Expected cause = *owed;
    state_.failed();
    requests_.go_on(skip_to_sync(slot));
    if (requests_.empty()) return Verdict::forward;
    auto& failed = requests_.front();
    undo_changes(failed, cause);
    if (requests_.back().open && requests_.back().failed) batcher_.skip(Skipping::for_server);
    const bool follows_from_own = failed.own_error && (sqlstate == "26000" || sqlstate == "25P02");
    return follows_from_own ? answer_with_own_error() : Verdict::forward;
}

// A Query has done so before anything could fail in it; one that is skipped has not.
void ClientSession::note_unnamed_dropped(Expected& query) {
    query.change = false;
    if (requests_.empty()) return;
    auto& request = requests_.front();
    if (request.changes_done < request.changes.size()) ++request.changes_done;
}

// Of what comes behind the error.
void ClientSession::undo_changes(Request& request, const Expected& failed) {
    const bool is_unnamed =
        failed.what == Expect::parse && failed.change && failed.prepared->name.empty();
    PreparedPtr replaced;
    while (request.changes.size() > request.changes_done) {
        const auto& change = request.changes.back();
        if (change.defined && change.defined == failed.prepared) replaced = change.closed;
        prepared_.undo(change);
        request.changes.pop_back();
    }
    // Parse drops the unnamed statement before it reads the text of the next.
    if (is_unnamed && prepared_.find({}) == replaced) prepared_.close({});
}

// An error in answer to a message of ours that says nothing about the server, and is nobody's
// answer by itself.
ClientSession::Verdict ClientSession::on_own_error(Slot slot,
                                                   const Expected& owed,
                                                   std::string_view sqlstate,
                                                   wire::Bytes body) {
    auto& side = this->side(slot);
    const bool may_run_again =
        slot == Slot::replica && !requests_.empty() && requests_.all_retryable();
    switch (owed.purpose) {
        case Purpose::prepare:  // in front of a Query, which will not find it
            skip_to_sync(slot);
            if (may_run_again && routing::runs_again_on_primary(sqlstate)) {
                if (routing::may_be_the_catalogs_fault(sqlstate)) catalog_.was_wrong();
                return Verdict::run_again;
            }
            break;
        case Purpose::transaction:
            log::warning("a transaction could not be opened again as it was", "session",
                         key_.process_id, "sqlstate", sqlstate);
            if (may_run_again) return Verdict::run_again;
            side.opening_failed = !requests_.empty();
            break;
        case Purpose::setting:
            log::warning("a setting of the session was refused", "session", key_.process_id,
                         "sqlstate", sqlstate);
            side.setting_failed = true;
            if (slot == Slot::primary) {
                die(ProxyErrc::settings_not_applied);
                return Verdict::swallow;
            }
            state_.settings_not_applicable();
            return requests_.empty() ? Verdict::swallow : Verdict::run_again;
        default:
            return Verdict::swallow;  // no position was told
    }
    if (!requests_.empty()) {
        own_error_ = whole_message(body);
        requests_.front().own_error = true;
    }
    return Verdict::swallow;
}

// The server speaks of what an error of ours has led to: the client hears of that one.
ClientSession::Verdict ClientSession::answer_with_own_error() {
    outbox_.hold_with(wire::Bytes{own_error_});
    wire::Buffer{}.swap(own_error_);
    requests_.front().own_error = false;
    release_held();
    return Verdict::swallow;
}

ClientSession::Verdict ClientSession::on_ready(Slot slot, wire::Bytes body) {
    auto& connection = *side(slot).lease.connection();
    const auto status = wire::decode_ready_for_query(body);
    const auto& owed = *connection.replies.front();
    if (!status) return Verdict::broken;
    const bool internal = owed.internal;
    const auto purpose = owed.purpose;
    const bool was_doubtful = owed.doubtful;
    connection.replies.pop();
    if (connection.replies.in_doubt() || (was_doubtful && !connection.replies.empty()))
        find_out_about_syncs(slot);
    const auto status_before = std::exchange(connection.transaction_status, *status);
    const bool tells_position = purpose == Purpose::sample || purpose == Purpose::verify;
    if (internal) {
        if (std::exchange(side(slot).opening_failed, false) && *status == TransactionStatus::idle)
            die(ProxyErrc::transaction_lost);  // and what was to be in it may be done without
        return tells_position ? on_position_told(slot, purpose) : Verdict::swallow;
    }
    if (requests_.empty()) return Verdict::broken;

    state_.ready(slot, *status);
    transaction_.ready(*status);
    if (*status == TransactionStatus::idle) catalog_.transaction_ended();
    if (*status == TransactionStatus::idle && at_transaction_end_ != 0) transaction_has_ended();
    auto& request = requests_.front();
    if (slot == Slot::replica) {
        freshness_.replica_has_answered(connection.server, replies_at_);
    } else {
        freshness_.primary_request_ended(request.writes, request.failed, *status);
        if (request.raises_floor) {
            freshness_.primary_has_answered(replies_at_);
            note_written(slot, status_before);
        }
    }
    if (*status == TransactionStatus::idle && requests_.size() == 1) portals_.clear();
    finish_front(slot);
    return Verdict::forward;
}

// The oldest request has been answered: counts it and forgets it. Its bytes are released by
// process_replies.
void ClientSession::finish_front(Slot slot) {
    auto& request = requests_.front();
    auto& counters = counters_->servers[request.server.index];
    (slot == Slot::replica ? counters.replica_requests
                           : counters.requests)[static_cast<std::size_t>(request.reason)]
        .add();
    const auto taken =
        std::chrono::duration_cast<std::chrono::microseconds>(replies_at_ - request.started);
    counters.latency.observe(static_cast<std::uint64_t>(std::max<std::int64_t>(0, taken.count())));
    if (request.failed) counters.failed.add();
    if (const auto pin = state_.pin(); pin != counted_pin_) {
        counted_pin_ = pin;
        if (pin) worker_.mutable_counters().pins[static_cast<std::size_t>(*pin)].add();
    }
    note_route(slot, request);
    transaction_.answered(slot, request.queries, request.ties);
    cancel_ = Cancel::none;
    requests_.finish_front();
}

}  // namespace pgsteer::proxy
