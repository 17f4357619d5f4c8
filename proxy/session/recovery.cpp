#include "proxy/session/recovery.hpp"

#include "conf/log.hpp"
#include "proxy/io/spawn.hpp"
#include "proxy/server/inquest.hpp"

#include <fmt/format.h>

namespace pgsteer::proxy {

using routing::Clock;
using routing::Slot;

// What the end of a connection says of its server: nothing if we closed it ourselves.
void Recovery::note_loss(const ServerConnection& connection, ProxyErrc reason) {
    if (!connection.stream.is_open()) return;
    if (connection.farewell.sqlstate() == "57P02")
        lodging_.around.crashes().noticed(connection.server, Clock::now());
    if (reason != ProxyErrc::server_protocol && connection.farewell.speaks_of_the_server()) {
        lodging_.around.evidence().server_unreachable(connection.server);
    } else {
        lodging_.around.evidence().look_again(connection.server);
    }
}

// Whether the oldest request has crashed the server process that ran it, whose connection is lost
// since now. Meanwhile everything waits, as for a repetition.
awaitable<bool> Recovery::has_front_crashed(routing::ServerId server) {
    const auto ended_at = Clock::now();
    const auto& who = who_.identity;
    const auto config = lodging_.server(server);  // a copy: another generation may come
    course_.running_again = true;
    // Named: a temporary in a co_await is destroyed twice by GCC 12.
    const ServerLogin login{who.server_database, who.user, {}, false};
    const bool crashed = co_await has_crashed(lodging_.around.executor(), config, server, login,
                                              ended_at, lodging_.around.crashes());
    course_.running_again = false;
    if (!crashed || client_.closing) co_return false;
    auto& request = course_.requests.front();
    request.again.retryable = false;
    const auto key = request.statement ? request.statement->key : routing::StatementKey{};
    const int times = lodging_.around.crashes().crashed(key, Clock::now());
    log::error("a statement has crashed its server process", "server", config.name, "session",
               who_.key.process_id, "database", who.database, "statement",
               fmt::format("{:016x}{:016x}", key.high, key.low), "times", times,
               "refused_for_a_minute", times > Crashes::kTolerated);
    co_return true;
}

void Recovery::server_lost(Slot slot, ProxyErrc reason) {
    auto& lost = sides_[slot];
    const auto& requests = course_.requests;
    const auto& state = memory_.state;
    if (slot == Slot::replica && memory_.transaction.may_reopen()) memory_.transaction.withdraw();
    const auto& connection = *lost.lease.connection();
    Loss loss{.slot = slot,
              .server = lost.lease->server,
              .reason = reason,
              .busy = !requests.empty() && requests.front().slot == slot,
              .is_irreplaceable = state.irreplaceable(slot),
              .in_transaction = state.transaction_on() == slot,
              .cut_mid_message = lost.partial > 0 && !lost.partial_swallowed,
              .cursor_lost = state.cursor_on() == slot,
              .has_said_farewell = lost.has_said_farewell,
              .last_words = std::move(lost.last_words)};
    const bool is_silent = reason == ProxyErrc::server_lost && connection.stream.is_open() &&
                           connection.farewell.is_silent();
    note_loss(connection, reason);
    log::debug("server connection lost", "session", who_.key.process_id, "server",
               lodging_.server(loss.server).name);
    // Those that run again say again what they have said of names.
    if (loss.busy) memory_.statements.withdraw();
    sides_.discard(slot);
    course_.changed.notify_all();
    if (!loss.busy) return go_on_after(std::move(loss), false);
    for (const auto& request : requests) who_.counters->servers[request.server.index].lost.add();
    if (!is_silent) return go_on_after(std::move(loss), false);
    course_.running_again = true;  // perhaps
    spawn(lodging_.around.executor(), look_into(std::move(loss)), "session.look_into");
}

awaitable<void> Recovery::look_into(Loss loss) {
    const auto session = course_.alive();
    const bool crashed = co_await has_front_crashed(loss.server);
    if (!client_.closing) go_on_after(std::move(loss), crashed);
}

// With what was in flight there, or what the session has lost. `crashed`: by the oldest request.
void Recovery::go_on_after(Loss loss, bool crashed) {
    auto& requests = course_.requests;
    if (loss.cut_mid_message) return ending_.leave();  // nothing can be said between its halves
    if (loss.has_said_farewell) return ending_.leave();
    if (loss.in_transaction && loss.slot == Slot::replica && !loss.cursor_lost)
        return lose_transaction(loss.busy, crashed);
    if (loss.is_irreplaceable || loss.in_transaction) {
        if (!loss.last_words.empty()) return leave_with(loss.last_words);
        if (!loss.busy) return ending_.die(loss.reason);
        return ending_.die(crashed ? ProxyErrc::server_process_crashed
                                   : ProxyErrc::transaction_lost);
    }
    if (!loss.busy) return;
    if (requests.front().failed) return leave_with(loss.last_words);
    if (!requests.front().again.retryable) {
        holding_.release_held();
        fail_front(crashed ? ProxyErrc::server_process_crashed : loss.reason);
    }
    while (!requests.empty() && !requests.all_retryable()) fail_front(loss.reason);
    if (requests.empty()) return course_.changed.notify_all();
    holding_.outbox().forget_held();
    run_again(Why::lost, {loss.server});
}

// In the server's own words: a FATAL error, if it has said one.
void Recovery::leave_with(const wire::Buffer& last_words) {
    if (!last_words.empty()) client_.stream.write(wire::Bytes{last_words});
    ending_.leave();
}

// A READ ONLY transaction has ended with its replica: it fails, and the client is told by the first
// of its requests that is owed an answer.
void Recovery::lose_transaction(bool busy, bool crashed) {
    auto& requests = course_.requests;
    memory_.transaction.lose(busy);
    holding_.release_held();
    if (busy && requests.front().failed) return ending_.leave();
    if (crashed) fail_front(ProxyErrc::server_process_crashed);
    while (!requests.empty()) fail_front(ProxyErrc::transaction_lost_read_only);
    course_.changed.notify_all();
}

void Recovery::fail_front(ProxyErrc reason) {
    auto& request = course_.requests.front();
    memory_.statements.fail_up_to(request.last);
    memory_.statements.commit();
    holding_.outbox().expect_again({});
    control_.fail();
    client_.send_error("ERROR", reason);
    if (request.open) {
        client_.batcher.skip(Skipping::for_us);
    } else {
        client_.send_ready(memory_.transaction.status());
    }
    who_.counters->servers[request.server.index].failed.add();
    course_.cancel = Cancel::none;
    course_.requests.finish_front();
}

// The client has cancelled the oldest one.
void Recovery::fail_cancelled() {
    fail_front(ProxyErrc::query_canceled);
    while (!course_.requests.empty() && memory_.transaction.is_lost())
        fail_front(ProxyErrc::failed_transaction);
}

void Recovery::run_again(Why why, routing::ServerSet avoid) {
    auto& requests = course_.requests;
    memory_.statements.withdraw();
    while (!requests.empty() && !requests.all_retryable())
        fail_front(ProxyErrc::settings_not_applied);
    if (!requests.empty() && course_.cancel != Cancel::none) fail_cancelled();
    if (requests.empty()) return course_.changed.notify_all();
    course_.running_again = true;
    if (const auto& lease = sides_[Slot::replica].lease) lease->exchange.pause();
    spawn(lodging_.around.executor(), run_elsewhere(why, avoid), "session.run_elsewhere");
}

awaitable<void> Recovery::run_elsewhere(Why why, routing::ServerSet avoid) {
    const auto session = course_.alive();
    const auto& replica = sides_[Slot::replica].lease;
    while (replica && replica->cancels_in_flight > 0) {
        co_await seek_.wait_for_freshness();  // it must not hit what comes next
        if (client_.closing) co_return;
    }
    if (client_.closing) co_return;
    memory_.transaction.withdraw();
    control_.roll_back_on_replica();
    auto again = take_all(why);
    holding_.outbox().expect_again(again.front().again.released);
    const auto decides = again.front().statement;
    const auto arrived = again.front().started;
    const bool waits =
        why == Why::behind && Clock::now() < options_.wait_until(decides->statement, arrived);
    if (waits) co_await seek_.wait_for_freshness();
    Search search{*decides,
                  {.again = true,
                   .primary_only = why == Why::failed,
                   .avoid = avoid,
                   .may_verify = false,  // it would be run in vain again: the clock tells
                   .arrived = arrived}};
    co_await choose(search, again);
    auto& choice = search.choice;
    if (client_.closing) co_return;
    course_.running_again = false;
    if (replica) replica->exchange.resume();
    if (choice.failure && course_.cancel == Cancel::asked) {
        for (auto& request : again) course_.requests.start(std::move(request), request.server);
        fail_cancelled();
        co_return run_again(why, avoid);
    }
    place_again(std::move(again), choice, why);
    course_.changed.notify_all();
}

// Where all of them go.
awaitable<void> Recovery::choose(Search& search, const Flight::Requests& again) {
    wire::Buffer bytes;
    for (const auto& request : again)
        bytes.insert(bytes.end(), request.again.messages.begin(), request.again.messages.end());
    const auto batch = judge_.parse_batch(bytes);
    const WholeBatch messages{batch, bytes};
    co_await fitting_.choose(search, Next::look_again, messages);
}

// As they were before they were sent.
Flight::Requests Recovery::take_all(Why why) {
    auto again = course_.requests.take_all();
    for (auto& request : again) {
        if (why != Why::behind) who_.counters->servers[request.server.index].retried.add();
        request.again.rows_seen = false;
        request.needed = {};
        request.again.retried = true;
        request.own_error = false;
        request.fetches.reset();
    }
    return again;
}

// Sends all of them where `choice` says, or fails them all as it says.
void Recovery::place_again(Flight::Requests again, Choice& choice, Why why) {
    for (auto& request : again) {
        request.slot = choice.slot;
        request.again.retryable = choice.slot == Slot::replica;
        request.reason = choice.reason;
        if (choice.slot == Slot::primary)
            request.reason = why == Why::behind ? routing::Reason::replica_behind
                                                : routing::Reason::failed_on_replica;
        if (&request == &again.front()) {
            request.needed = choice.needed;
            request.primary_read = std::move(choice.primary_read);
        }
        const auto server = choice.failure ? request.server : sides_[choice.slot].lease->server;
        auto& placed = course_.requests.start(std::move(request), server);
        if (!choice.failure) send_again(placed);
    }
    if (choice.failure) {
        const auto reason = choice.failure->reason();
        while (!course_.requests.empty()) fail_front(reason);
    }
}

void Recovery::send_again(Request& placed) {
    const auto batch = judge_.parse_batch(placed.again.messages);
    const bool was_open = placed.open;
    placed.open = true;
    const auto facts = judge_.facts_of(batch, placed.again.messages);
    sender_.send({batch, placed.again.messages, facts, false}, placed.slot, placed);
    placed.open = was_open;
    if (was_open) progress_.ask_for_answers(placed);
}

}  // namespace pgsteer::proxy
