#include "proxy/session/error_answers.hpp"

#include "conf/log.hpp"
#include "proxy/wire/backend.hpp"
#include "proxy/wire/frontend.hpp"
#include "proxy/wire/header.hpp"
#include "routing/safety_net.hpp"

namespace pgsteer::proxy {

using routing::Slot;

namespace {

constexpr std::chrono::seconds kErrorRemembered{10};

// Answered with an error it is the client's message behind it that has failed: the server skips
// both.
bool is_the_clients(const Expected& owed, const ReplyQueue& replies) {
    if (owed.what == Expect::sync) return true;
    if (owed.purpose == Purpose::repeat) return true;
    const bool is_in_front = owed.purpose == Purpose::prepare || owed.purpose == Purpose::others;
    return is_in_front && owed.what != Expect::query && !skips_to_own_sync(replies);
}

std::string sqlstate_of(wire::Bytes error) {
    const auto fields = wire::decode_error(error.subspan(wire::kHeaderBytes));
    return std::string{fields ? fields->sqlstate : std::string_view{}};
}

// That it has been executed to its end: what has effects, and runs on a replica, has no other
// reason for this error.
bool speaks_of_a_portal(const Expected& owed, std::string_view sqlstate) {
    return sqlstate == "55000" && owed.what == Expect::execute && owed.effects;
}

wire::Buffer whole_message(wire::Bytes body) {
    const auto* begin = body.data() - wire::kHeaderBytes;
    return {begin, begin + wire::kHeaderBytes + body.size()};
}

}  // namespace

Verdict ErrorAnswers::on_error(Slot slot, wire::Bytes body) {
    auto& replies = sides_[slot].lease->replies;
    auto& requests = course_.requests;
    auto* owed = replies.front();
    const auto fields = wire::decode_error(body);
    std::string_view sqlstate = fields ? fields->sqlstate : std::string_view{};
    const bool ends_session = fields && fields->severity != "ERROR";
    if (owed == nullptr || (owed->internal && ends_session)) {  // the server's last words
        sides_[slot].last_words = whole_message(body);
        return Verdict::swallow;
    }
    replies.copy_in_failed();
    if (owed->internal && !is_the_clients(*owed, replies))
        return on_own_error(slot, *owed, sqlstate, body);
    const bool has_others = owed->internal && owed->purpose == Purpose::others;
    if (has_others) sqlstate = info(ProxyErrc::other_columns).sqlstate;
    const bool follows_from_own = !requests.empty() && requests.front().own_error &&
                                  (sqlstate == "26000" || sqlstate == "25P02");
    if (runs_elsewhere(slot, follows_from_own ? sqlstate_of(own_error_) : sqlstate))
        return Verdict::run_again;
    if (owed->what == Expect::bind) memory_.catalog.bind_failed();
    holding_.outbox().error_comes();
    if (!requests.empty()) note_failure(requests.front(), sqlstate);
    if (ends_session) sides_[slot].has_said_farewell = true;
    memory_.state.failed();
    memory_.statements.failed(first_of_client(replies));
    requests.go_on(skip_to_sync(slot));
    if (requests.empty()) return Verdict::forward;
    auto& failed = requests.front();
    if (!failed.again.retryable) memory_.statements.commit();
    if (requests.back().open && requests.back().failed) client_.batcher.skip(Skipping::for_server);
    if (has_others) {
        own_error_ = client_.error("ERROR", ProxyErrc::other_columns);  // as PostgreSQL says it
        return answer_with_own_error();
    }
    return follows_from_own ? answer_with_own_error() : Verdict::forward;
}

// What is in flight on the replica, which could not do it: the primary may.
bool ErrorAnswers::runs_elsewhere(Slot slot, std::string_view sqlstate) {
    const auto& requests = course_.requests;
    if (slot != Slot::replica || requests.empty() || requests.front().failed ||
        !requests.all_retryable() || !routing::runs_again_on_primary(sqlstate) ||
        speaks_of_a_portal(*sides_[slot].lease->replies.front(), sqlstate))
        return false;
    if (routing::may_be_the_catalogs_fault(sqlstate)) memory_.catalog.was_wrong();
    skip_to_sync(slot);
    if (requests.back().open || sides_[slot].lease->replies.skipping()) end_skipping(slot);
    return true;
}

void ErrorAnswers::note_failure(Request& request, std::string_view sqlstate) {
    if (request.reason == routing::Reason::failed_on_replica && request.statement &&
        routing::runs_again_on_primary(sqlstate))
        request.statement->repeats_error_until = course_.replies_at + kErrorRemembered;
    request.failed = true;
    request.again.rows_seen = true;
}

UnansweredEnds ErrorAnswers::skip_to_sync(Slot slot) {
    auto& replies = sides_[slot].lease->replies;
    const auto* owed = replies.front();
    if (owed == nullptr) return {};
    if (ends_request(owed->what)) {
        replies.failed();
        return {};
    }
    return replies.skip_to_sync([&](const Expected& dropped) {
        if (dropped.internal) questions_.skipped(slot, dropped.purpose);
    });
}

void ErrorAnswers::end_skipping(Slot slot) { end_by_sync(*sides_[slot].lease.connection()); }

void ErrorAnswers::find_out_about_syncs(Slot slot) {
    wire::Buffer out;
    if (!sides_[slot].lease->replies.push(
            {.what = Expect::query, .internal = true, .purpose = Purpose::settle}))
        return;
    wire::encode_query(out, "");
    sides_[slot].lease->stream.write(wire::Bytes{out});
    sides_[slot].asked_about_syncs = true;
}

// An error in answer to a message of ours that says nothing about the server, and is nobody's
// answer by itself.
Verdict ErrorAnswers::on_own_error(Slot slot,
                                   const Expected& owed,
                                   std::string_view sqlstate,
                                   wire::Bytes body) {
    auto& requests = course_.requests;
    const auto session = who_.key.process_id;
    const bool may_run_again =
        slot == Slot::replica && !requests.empty() && requests.all_retryable();
    const auto purpose = owed.purpose;
    skip_to_sync(slot);
    switch (purpose) {
        case Purpose::prepare:  // in front of a Query, which will not find it
            if (may_run_again && routing::runs_again_on_primary(sqlstate)) {
                if (routing::may_be_the_catalogs_fault(sqlstate)) memory_.catalog.was_wrong();
                return Verdict::run_again;
            }
            break;
        case Purpose::transaction:
            log::warning("a transaction could not be opened again as it was", "session", session,
                         "sqlstate", sqlstate);
            if (may_run_again) return Verdict::run_again;
            sides_[slot].opening_failed = !requests.empty() || sides_.learning(slot).is_looking;
            break;
        case Purpose::setting:
            log::warning("a setting of the session was refused", "session", session, "sqlstate",
                         sqlstate);
            sides_[slot].setting_failed = true;
            if (slot == Slot::primary) {
                ending_.die(ProxyErrc::settings_not_applied);
                return Verdict::swallow;
            }
            memory_.state.settings_not_applicable();
            return requests.empty() ? Verdict::swallow : Verdict::run_again;
        case Purpose::at_commit:
            memory_.at_commit_error = whole_message(body);
            return Verdict::swallow;
        default:
            return Verdict::swallow;  // no position was told
    }
    if (!requests.empty()) {
        own_error_ = whole_message(body);
        requests.front().own_error = true;
    }
    return Verdict::swallow;
}

// The server speaks of what an error of ours has led to: the client hears of that one.
Verdict ErrorAnswers::answer_with_own_error() {
    holding_.outbox().hold_with(wire::Bytes{own_error_});
    wire::Buffer{}.swap(own_error_);
    course_.requests.front().own_error = false;
    holding_.release_held();
    return Verdict::swallow;
}

}  // namespace pgsteer::proxy
