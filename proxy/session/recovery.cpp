// When a server is lost, or a replica could not do what it was asked: what can run elsewhere does,
// what cannot is answered with an error, and only a session that has lost state of its own ends.
#include "conf/log.hpp"
#include "proxy/io/spawn.hpp"
#include "proxy/server/inquest.hpp"
#include "proxy/session/client_session.hpp"
#include "proxy/wire/backend.hpp"
#include "proxy/wire/frontend.hpp"
#include "proxy/shared/surroundings.hpp"

#include <fmt/format.h>

namespace pgsteer::proxy {

// What the end of a connection says of its server: nothing if we closed it ourselves.
void ClientSession::note_loss(const ServerConnection& connection, ProxyErrc reason) {
    if (!connection.stream.is_open()) return;
    if (connection.farewell.sqlstate() == "57P02")
        worker_.crashes().noticed(connection.server, routing::Clock::now());
    if (reason != ProxyErrc::server_protocol && connection.farewell.speaks_of_the_server()) {
        worker_.evidence().server_unreachable(connection.server);
    } else {
        worker_.evidence().look_again(connection.server);
    }
}

// Whether the oldest request has crashed the server process that ran it, whose connection is lost
// since now. Meanwhile everything waits, as for a repetition.
awaitable<bool> ClientSession::has_front_crashed(routing::ServerId server) {
    const auto ended_at = routing::Clock::now();
    running_again_ = true;
    // Named: a temporary in a co_await is destroyed twice by GCC 12.
    const ServerLogin login{who_.server_database, who_.user, {}, false};
    const bool crashed =
        co_await has_crashed(worker_.executor(), worker_.config().servers[server.index], server,
                             login, ended_at, worker_.crashes());
    running_again_ = false;
    if (!crashed || closing_) co_return false;
    auto& request = requests_.front();
    request.retryable = false;
    const auto key = request.statement ? request.statement->key : routing::StatementKey{};
    const int times = worker_.crashes().crashed(key, routing::Clock::now());
    log::error("a statement has crashed its server process", "server",
               worker_.config().servers[server.index].name, "session", key_.process_id, "database",
               who_.database, "statement", fmt::format("{:016x}{:016x}", key.high, key.low),
               "times", times, "refused_for_a_minute", times > Crashes::kTolerated);
    co_return true;
}

// The connection of this side has ended, or cannot be used any more.
void ClientSession::server_lost(Slot slot, ProxyErrc reason) {
    auto& lost = side(slot);
    if (slot == Slot::replica && transaction_.may_reopen()) transaction_.withdraw();
    const auto& connection = *lost.lease.connection();
    Loss loss{.slot = slot,
              .server = lost.lease->server,
              .reason = reason,
              .busy = !requests_.empty() && requests_.front().slot == slot,
              .is_irreplaceable = state_.irreplaceable(slot),
              .in_transaction = state_.transaction_on() == slot,
              .cut_mid_message = lost.partial > 0 && !lost.partial_swallowed,
              .cursor_lost = state_.cursor_on() == slot,
              .has_said_farewell = lost.has_said_farewell,
              .last_words = std::move(lost.last_words)};
    const bool is_silent = reason == ProxyErrc::server_lost && connection.stream.is_open() &&
                           connection.farewell.is_silent();
    note_loss(connection, reason);
    log::debug("server connection lost", "session", key_.process_id, "server",
               worker_.config().servers[loss.server.index].name);
    if (loss.busy) withdraw_changes();
    lost.lease.discard();
    lost = Side{};
    prepared_.disconnected(slot);
    state_.disconnected(slot);
    if (last_used_ == slot) last_used_.reset();
    answered_.notify_all();
    if (!loss.busy) return go_on_after(std::move(loss), false);
    for (const auto& request : requests_) counters_->servers[request.server.index].lost.add();
    if (!is_silent) return go_on_after(std::move(loss), false);
    running_again_ = true;  // perhaps
    spawn(worker_.executor(), look_into(std::move(loss)), "session.look_into");
}

awaitable<void> ClientSession::look_into(Loss loss) {
    const auto self = shared_from_this();
    const bool crashed = co_await has_front_crashed(loss.server);
    if (!closing_) go_on_after(std::move(loss), crashed);
}

// With what was in flight there, or what the session has lost. `crashed`: by the oldest request.
void ClientSession::go_on_after(Loss loss, bool crashed) {
    if (loss.cut_mid_message) return leave();  // nothing can be said between halves of a message
    if (loss.has_said_farewell) return leave();
    if (loss.in_transaction && loss.slot == Slot::replica && !loss.cursor_lost)
        return lose_transaction(loss.busy, crashed);
    if (loss.is_irreplaceable || loss.in_transaction) {
        if (!loss.last_words.empty()) return leave_with(loss.last_words);
        if (!loss.busy) return die(loss.reason);
        return die(crashed ? ProxyErrc::server_process_crashed : ProxyErrc::transaction_lost);
    }
    if (!loss.busy) return;
    if (requests_.front().failed) return leave_with(loss.last_words);
    if (!requests_.front().retryable) {
        release_held();
        fail_front(crashed ? ProxyErrc::server_process_crashed : loss.reason);
    }
    while (!requests_.empty() && !requests_.all_retryable()) fail_front(loss.reason);
    if (requests_.empty()) return answered_.notify_all();
    outbox_.forget_held();
    run_again(Why::lost, {loss.server});
}

// In the server's own words: a FATAL error, if it has said one.
void ClientSession::leave_with(const wire::Buffer& last_words) {
    if (!last_words.empty()) client_.write(wire::Bytes{last_words});
    leave();
}

// A READ ONLY transaction has ended with its replica: it fails, and the client is told by the first
// of its requests that is owed an answer.
void ClientSession::lose_transaction(bool busy, bool crashed) {
    transaction_.lose(busy);
    release_held();
    if (busy && requests_.front().failed) return leave();
    if (crashed) fail_front(ProxyErrc::server_process_crashed);
    while (!requests_.empty()) fail_front(ProxyErrc::transaction_lost_read_only);
    answered_.notify_all();
}

// What the requests in flight have said of names is as if they had not been sent: those that run
// again say it again.
void ClientSession::withdraw_changes() {
    for (auto request = requests_.rbegin(); request != requests_.rend(); ++request) {
        for (auto change = request->changes.rbegin(); change != request->changes.rend(); ++change)
            prepared_.withdraw(*change, request->slot);
        request->changes.clear();
        request->changes_done = 0;
    }
}

// The oldest request cannot be answered by anybody: an error, and what a server would send behind
// it.
void ClientSession::fail_front(ProxyErrc reason) {
    auto& request = requests_.front();
    for (auto change = request.changes.rbegin(); change != request.changes.rend(); ++change)
        prepared_.undo(*change);
    outbox_.expect_again({});
    fail_transaction();
    send_error("ERROR", reason);
    if (request.open) {
        batcher_.skip(Skipping::for_us);
    } else {
        send_ready();
    }
    counters_->servers[request.server.index].failed.add();
    cancel_ = Cancel::none;
    requests_.finish_front();
}

// The client has cancelled the oldest one.
void ClientSession::fail_cancelled() {
    fail_front(ProxyErrc::query_canceled);
    while (!requests_.empty() && transaction_.is_lost())
        fail_front(ProxyErrc::failed_transaction);
}

// Runs everything that is in flight again, elsewhere. All of it is retryable and none of its rows
// was released.
void ClientSession::run_again(Why why, routing::ServerSet avoid) {
    withdraw_changes();
    while (!requests_.empty() && !requests_.all_retryable())
        fail_front(ProxyErrc::settings_not_applied);
    if (!requests_.empty() && cancel_ != Cancel::none) fail_cancelled();
    if (requests_.empty()) return answered_.notify_all();
    running_again_ = true;
    if (const auto& lease = side(Slot::replica).lease) lease->exchange.pause();
    spawn(worker_.executor(), run_elsewhere(why, avoid), "session.run_elsewhere");
}

awaitable<void> ClientSession::run_elsewhere(Why why, routing::ServerSet avoid) {
    const auto self = shared_from_this();
    while (side(Slot::replica).lease && side(Slot::replica).lease->cancels_in_flight > 0) {
        co_await wait_for_freshness();  // it must not hit what comes next
        if (closing_) co_return;
    }
    if (closing_) co_return;
    transaction_.withdraw();
    roll_back_on_replica();
    auto again = requests_.take_all();
    for (auto& request : again) {
        if (why != Why::behind) counters_->servers[request.server.index].retried.add();
        request.rows_seen = false;
        request.needed = {};
        request.retried = true;
    }
    outbox_.expect_again(again.front().released);
    const auto& first = again.front();
    const bool waits =
        why == Why::behind &&
        routing::Clock::now() < wait_until(first.statement->statement, first.started);
    if (waits) co_await wait_for_freshness();
    const auto decides = first.statement;
    Search search{*decides,
                  {.again = true,
                   .primary_only = why == Why::failed,
                   .avoid = avoid,
                   .may_verify = false,  // it would be run in vain again: the clock tells
                   .arrived = first.started}};
    co_await choose(search, Next::look_again);
    auto& choice = search.choice;
    if (closing_) co_return;
    running_again_ = false;
    if (const auto& lease = side(Slot::replica).lease) lease->exchange.resume();
    if (choice.failure && cancel_ == Cancel::asked) {
        for (auto& request : again) requests_.start(std::move(request), request.server);
        fail_cancelled();
        co_return run_again(why, avoid);
    }
    place_again(std::move(again), choice, why);
    answered_.notify_all();
}

// Sends all of them where `choice` says, or fails them all as it says.
void ClientSession::place_again(Flight::Requests again, Choice& choice, Why why) {
    for (auto& request : again) {
        request.slot = choice.slot;
        request.retryable = choice.slot == Slot::replica;
        request.reason = choice.reason;
        if (choice.slot == Slot::primary)
            request.reason = why == Why::behind ? routing::Reason::replica_behind
                                                : routing::Reason::failed_on_replica;
        if (&request == &again.front()) {
            request.needed = choice.needed;
            request.primary_read = std::move(choice.primary_read);
        }
        const auto server = choice.failure ? request.server : side(choice.slot).lease->server;
        auto& placed = requests_.start(std::move(request), server);
        if (choice.failure) continue;
        auto batch = parse_batch(placed.messages);
        const bool was_open = placed.open;
        placed.open = true;
        const auto facts = facts_of(batch, placed.messages);
        send_batch(batch, placed.messages, facts, choice.slot, placed, false);
        placed.open = was_open;
        if (was_open) ask_for_answers(placed);
    }
    if (choice.failure) {
        const auto reason = choice.failure->reason();
        while (!requests_.empty()) fail_front(reason);
    }
}

}  // namespace pgsteer::proxy
