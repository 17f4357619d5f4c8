#include "proxy/session/answers.hpp"

#include "proxy/wire/backend.hpp"
#include "proxy/wire/message_types.hpp"

#include <algorithm>
#include <array>

namespace pgsteer::proxy {

namespace backend = wire::backend;
using routing::Slot;
using routing::TransactionStatus;

namespace {

bool is_asynchronous(std::uint8_t type) {
    return type == backend::kNoticeResponse || type == backend::kNotificationResponse ||
           type == backend::kParameterStatus;
}

std::array<std::uint8_t, 4> network_order(std::uint32_t number) {
    return {static_cast<std::uint8_t>(number >> 24), static_cast<std::uint8_t>(number >> 16),
            static_cast<std::uint8_t>(number >> 8), static_cast<std::uint8_t>(number)};
}

// The WARNING with which a server ends a connection: that its client, whose session goes on, is
// ended, would not be true.
bool is_last_warning(wire::Bytes body) {
    const auto said = wire::decode_error(body);
    return said && (said->sqlstate == "57P01" || said->sqlstate == "57P02");
}

}  // namespace

bool Answers::answers_us(Slot slot) {
    const auto* owed = sides_[slot].lease->replies.front();
    return owed != nullptr && owed->internal;
}

Verdict Answers::handle_reply(Slot slot, std::uint8_t type, wire::Bytes body) {
    auto& replies = sides_[slot].lease->replies;
    if (sides_[slot].asked_about_syncs || replies.in_doubt()) settle_doubt(slot, type);
    const auto* const owed = replies.front();
    switch (fit(type, owed)) {
        case Fit::wrong:
            return Verdict::broken;
        case Fit::asynchronous:
            return on_asynchronous(slot, type, body);
        case Fit::error:
            return errors_.on_error(slot, body);
        default:
            break;
    }
    if (type == backend::kReadyForQuery) return on_ready(slot, body);
    return on_part(slot, *owed, type, body);
}

// What precedes rows says nothing about data: it may come twice if it is the same.
Verdict Answers::on_part(Slot slot, const Expected& owed, std::uint8_t type, wire::Bytes body) {
    auto& replies = sides_[slot].lease->replies;
    auto verdict = owed.internal ? Verdict::swallow : Verdict::forward;
    switch (type) {
        case backend::kParseComplete:
        case backend::kCloseComplete:
            return on_parse_or_close_complete(slot);
        case backend::kBindComplete:
            if (owed.has_others) verdict = Verdict::swallow;
            replies.pop();
            return verdict;
        case backend::kRowDescription:
        case backend::kNoData:
            if (owed.what != Expect::describe) return verdict;
            if (!sides_.learning(slot).tellings.empty()) columns_told(slot, type, body);
            if (owed.has_others) verdict = Verdict::swallow;
            replies.pop();
            return verdict;
        case backend::kParameterDescription:
            return verdict;
        default:
            break;
    }
    if (!owed.internal && !course_.requests.empty())
        course_.requests.front().again.rows_seen = true;
    switch (type) {
        case backend::kCommandComplete:
        case backend::kEmptyQueryResponse:
        case backend::kPortalSuspended:
            return on_complete(slot, body, type);
        case backend::kCopyInResponse:
            course_.requests.go_on(replies.copy_in_started());
            return Verdict::forward;
        case backend::kDataRow:
            if (owed.effects && owed.effects->statement.row_tells_settings)
                effects_.note_set_values(slot, body);
            if (owed.limited) note_fetched(slot, body);
            if (owed.internal && owed.purpose != Purpose::repeat)
                questions_.note_position(slot, body);
            return verdict;
        default:
            return verdict;
    }
}

// The answer to a Describe. What was skipped before it tells nothing.
void Answers::columns_told(Slot slot, std::uint8_t type, wire::Bytes body) {
    auto& tellings = sides_.learning(slot).tellings;
    const auto& owed = *sides_[slot].lease->replies.front();
    const auto number = owed.on_server.number;
    const auto first = std::ranges::find_if(
        tellings, [&](const Telling& telling) { return telling.on_server.number >= number; });
    const bool is_of_it = first != tellings.end() && first->on_server.number == number;
    if (is_of_it) {
        auto& columns = first->text->columns;
        const auto on = sides_.connection(slot);
        const auto digest = digest_of_columns(type, body);
        owed.internal ? columns.found(on, digest) : columns.told(on, digest);
    }
    tellings.erase(tellings.begin(), is_of_it ? first + 1 : first);
}

// Those of Describes up to this message: they have been skipped.
void Answers::forget_tellings(Slot slot, std::uint64_t number) {
    auto& tellings = sides_.learning(slot).tellings;
    if (tellings.empty()) return;
    const auto left = std::ranges::find_if(
        tellings, [&](const Telling& telling) { return telling.on_server.number > number; });
    tellings.erase(tellings.begin(), left);
}

// Which of the Syncs that were sent behind a copy's data will be answered, as far as this message
// tells.
void Answers::settle_doubt(Slot slot, std::uint8_t type) {
    auto& side = sides_[slot];
    auto& replies = side.lease->replies;
    if (side.asked_about_syncs && type == backend::kEmptyQueryResponse) {
        side.asked_about_syncs = false;
        course_.requests.end(replies.settle_before_question(
            [this](const Expected& dropped) { memory_.statements.skipped(dropped.of_client); }));
    }
    if (replies.in_doubt() && type != backend::kReadyForQuery && !is_asynchronous(type))
        course_.requests.go_on(replies.settle());
}

Verdict Answers::on_asynchronous(Slot slot, std::uint8_t type, wire::Bytes body) {
    switch (type) {
        case backend::kParameterStatus:
            return on_parameter(slot, body);
        case backend::kNotificationResponse:
            memory_.freshness.primary_has_answered(course_.replies_at);
            show_own_key(slot, body);
            return Verdict::forward;
        default:
            return is_last_warning(body) || answers_us(slot) ? Verdict::swallow : Verdict::forward;
    }
}

// In a NotificationResponse: what the session has notified itself comes from the process that the
// client was told of.
void Answers::show_own_key(Slot slot, wire::Bytes body) {
    auto& connection = *sides_[slot].lease.connection();
    const auto theirs = network_order(connection.origin.key.process_id);
    if (body.size() < theirs.size() || !std::ranges::equal(body.first(theirs.size()), theirs))
        return;
    const auto at = static_cast<std::size_t>(body.data() - connection.in.data().data());
    const auto ours = network_order(who_.key.process_id);
    std::ranges::copy(ours, connection.in.unread().subspan(at).begin());
}

Verdict Answers::on_parameter(Slot slot, wire::Bytes body) {
    const auto status = wire::decode_parameter_status(body);
    if (!status) return Verdict::broken;
    auto& connection = *sides_[slot].lease.connection();
    connection.parameters.set(status->name, status->value);
    if (slot == Slot::replica &&
        (status->name == "in_hot_standby" || status->name == "default_transaction_read_only"))
        return Verdict::swallow;
    if (answers_us(slot)) return Verdict::swallow;
    return who_.shown.changed(status->name, status->value) ? Verdict::forward : Verdict::swallow;
}

Verdict Answers::on_parse_or_close_complete(Slot slot) {
    auto& replies = sides_[slot].lease->replies;
    const bool internal = replies.front()->internal;
    const auto of_client = replies.front()->of_client;
    replies.pop();
    if (internal) return Verdict::swallow;
    completed(of_client, StatementNames::kAllStatements);
    return Verdict::forward;
}

void Answers::note_fetched(Slot slot, wire::Bytes bytes) {
    const auto* owed = sides_[slot].lease->replies.front();
    if (owed == nullptr || !owed->limited) return;
    if (auto* const fetched = fetches(slot)) fetched->bytes(bytes);
}

// Where the front's rows are to be remembered: it has no Sync yet, and may go on elsewhere, or has
// come from there.
Fetches* Answers::fetches(Slot slot) {
    if (course_.requests.empty()) return nullptr;
    auto& request = course_.requests.front();
    const bool is_movable = request.open && slot == Slot::replica && request.again.whole;
    if (!request.fetches && is_movable) request.fetches = std::make_unique<Fetches>();
    return request.open ? request.fetches.get() : nullptr;
}

// What a request that may run again has done to names counts when it has been answered whole.
void Answers::completed(const SentMessage& message, std::uint16_t index) {
    memory_.statements.completed(message, index);
    const auto& requests = course_.requests;
    if (requests.empty() || !requests.front().again.retryable) memory_.statements.commit();
}

Verdict Answers::on_complete(Slot slot, wire::Bytes body, std::uint8_t type) {
    auto& replies = sides_[slot].lease->replies;
    if (replies.copying()) course_.requests.go_on(replies.copy_in_completed());
    auto& owed = *replies.front();
    const bool is_execute = owed.what == Expect::execute;
    const auto index = owed.statement_index;
    const auto verdict = owed.internal ? Verdict::swallow : Verdict::forward;
    replies.statement_completed();
    if (auto* const fetched = owed.limited ? fetches(slot) : nullptr)
        fetched->executed(type == backend::kPortalSuspended);
    if (!owed.internal) {
        questions_.note_written(slot, sides_[slot].lease->transaction_status);
        completed(owed.of_client, index);
        if (owed.effects && type == backend::kCommandComplete) {
            const auto tag = wire::decode_command_complete(body);
            if (slot == Slot::primary && tag && *tag == "ROLLBACK") memory_.freshness.rolled_back();
            effects_.apply(slot, owed.effects->statement, index, tag ? *tag : std::string_view{});
        }
    }
    if (is_execute) replies.pop();
    return verdict;
}

Verdict Answers::on_ready(Slot slot, wire::Bytes body) {
    auto& connection = *sides_[slot].lease.connection();
    auto& requests = course_.requests;
    const auto status = wire::decode_ready_for_query(body);
    const auto& owed = *connection.replies.front();
    if (!status) return Verdict::broken;
    const bool internal = owed.internal;
    const auto purpose = owed.purpose;
    const bool was_doubtful = owed.doubtful;
    const auto of_client = owed.of_client;
    forget_tellings(slot, owed.on_server.number);
    connection.replies.pop();
    if (connection.replies.in_doubt() || (was_doubtful && !connection.replies.empty()))
        errors_.find_out_about_syncs(slot);
    const auto status_before = std::exchange(connection.transaction_status, *status);
    if (internal) return on_own_ready(slot, purpose, *status);
    if (requests.empty()) return Verdict::broken;
    memory_.statements.skipped(of_client);  // what is not told by now will not be
    memory_.statements.commit();

    memory_.state.ready(slot, *status);
    memory_.transaction.ready(*status);
    if (slot == Slot::replica) tell_read_only();
    if (*status == TransactionStatus::idle) {
        memory_.catalog.transaction_ended();
        transaction_end_.has_ended();
    }
    auto& request = requests.front();
    if (slot == Slot::replica) {
        memory_.freshness.replica_has_answered(connection.server, course_.replies_at);
    } else {
        memory_.freshness.primary_request_ended(request.does.writes, request.failed, *status);
        if (request.does.raises_floor) {
            memory_.freshness.primary_has_answered(course_.replies_at);
            questions_.note_written(slot, status_before);
        }
    }
    if (*status == TransactionStatus::idle && requests.size() == 1) memory_.portals.clear();
    request_end_.finish_front(slot);
    return Verdict::forward;
}

// A replica's own value is ours, and says nothing: the client hears what it has made of it itself,
// when PostgreSQL says it, in front of ReadyForQuery.
void Answers::tell_read_only() {
    constexpr std::string_view name = "default_transaction_read_only";
    const auto said = memory_.transaction.read_only_default();
    const auto* const shown = who_.shown.reported().find(name);
    if ((!said && !read_only_before_) || shown == nullptr) return;
    if (!read_only_before_) read_only_before_ = *shown;
    auto value = *read_only_before_;
    if (said) {
        auto modes = memory_.catalog.default_modes();
        modes.overlay(memory_.state.startup_modes());
        value = said->value.value_or(modes.read_only.value_or(false)) ? "on" : "off";
    } else {
        read_only_before_.reset();
    }
    if (!who_.shown.changed(name, value)) return;
    wire::Buffer out;
    wire::encode_parameter_status(out, name, value);
    holding_.outbox().hold_with(wire::Bytes{out});
}

// Behind a message of ours. Where a transaction could not be opened, what was to be in it may have
// been done without.
Verdict Answers::on_own_ready(Slot slot, Purpose purpose, TransactionStatus status) {
    const bool opening_failed = std::exchange(sides_[slot].opening_failed, false);
    if (opening_failed && status == TransactionStatus::idle)
        ending_.die(ProxyErrc::transaction_lost);
    const bool tells_position = purpose == Purpose::sample || purpose == Purpose::verify;
    return tells_position ? questions_.on_position_told(purpose) : Verdict::swallow;
}

}  // namespace pgsteer::proxy
