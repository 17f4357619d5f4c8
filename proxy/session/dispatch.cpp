#include "proxy/session/dispatch.hpp"

#include "proxy/session/synthetic_verdicts.hpp"
#include "proxy/wire/frontend.hpp"
#include "proxy/wire/message_types.hpp"

#include <fmt/format.h>

namespace pgsteer::proxy {

using routing::Access;
using routing::Slot;
using routing::StatementPtr;

awaitable<void> Dispatch::dispatch() {
    auto& batcher = client_.batcher;
    const auto& batch = batcher.batch();
    if (!course_.requests.empty() && batch.items.front().type != wire::frontend::kSync)
        co_await progress_.doubt_settled();
    if (client_.closing || needs_nobody()) co_return;
    judge_.update();
    const auto facts = judge_.facts_of(batch, batcher.bytes());
    if (facts.names_uncertain && progress_.waits_for_names()) {
        co_await progress_.answered();
        if (!client_.closing) co_await dispatch();
        co_return;
    }
    note(facts);
    const auto& said = facts.statement->statement;
    if (TransactionControl::may_answer(said)) {
        bool is_answered_here = co_await control_.answer(facts);
        if (!is_answered_here && !client_.closing && kept_back_.concerns(facts))
            is_answered_here = co_await kept_back_.answer(facts);
        if (client_.closing) co_return;
        if (is_answered_here) {
            batcher.consume(false);
            co_return;
        }
    }
    if (makes_way(facts)) {
        course_.choosing = true;  // a cancel ends it here
        co_await make_way(facts.statement);
        course_.choosing = false;
        if (client_.closing) co_return;
    }
    Search search = search_for(facts);
    const auto next = begin_search(search, facts);
    if (next != Next::chosen || Fitting::is_due(facts, search)) {
        course_.choosing = true;
        const WholeBatch messages{batch, batcher.bytes()};
        co_await fitting_.choose(search, next, messages);
        if (course_.moved && !client_.closing && !search.choice.failure)
            co_await go_on_elsewhere(search);
        course_.choosing = false;
    }
    if (client_.closing) co_return;
    if (batcher.skipping() != Skipping::no) co_return batcher.skip_batch();
    place_or_refuse(search, facts);
    if (has_to_settle()) co_await settled();
}

// A look is taken again by dispatch(), if it has not found a connection that is held.
bool Dispatch::dispatch_at_once() {
    if (progress_.is_in_doubt()) return false;
    if (needs_nobody()) return true;
    judge_.update();
    const auto facts = judge_.facts_of(client_.batcher.batch(), client_.batcher.bytes());
    if (facts.names_uncertain && progress_.waits_for_names()) return false;
    if (TransactionControl::may_answer(facts.statement->statement) || makes_way(facts))
        return false;
    note(facts);
    Search search = search_for(facts);
    if (begin_search(search, facts) != Next::chosen || Fitting::is_due(facts, search)) return false;
    place_or_refuse(search, facts);
    return true;
}

// What comes behind a read whose replica is being asked could not be taken back with it.
bool Dispatch::has_to_settle() const {
    return !client_.closing &&
           (progress_.is_pipeline_full() || sides_[sides_.streams_to()].verification.is_pending);
}

awaitable<void> Dispatch::settled() {
    while (has_to_settle()) co_await course_.changed.wait();
}

bool Dispatch::makes_way(const BatchFacts& facts) {
    return facts.statement->statement.catalog_change == routing::CatalogChange::certain;
}

Search Dispatch::search_for(const BatchFacts& facts) const {
    const auto& said = facts.statement->statement;
    const bool returns_rows = said.may_read() || said.access == Access::begin;
    return {*facts.statement,
            {.may_verify = judge_.may_verify(client_.batcher.batch()) && !facts.uses_told_unnamed,
             .ties = facts.ties || (returns_rows && facts.leaves_portal),
             .arrived = client_.received_at}};
}

// What the server would skip, or is asked to send what it sends anyway.
bool Dispatch::needs_nobody() {
    auto& batcher = client_.batcher;
    const auto& items = batcher.batch().items;
    if (batcher.skipping() != Skipping::no) {
        batcher.skip_batch();
        return true;
    }
    const bool is_flush = items.size() == 1 && items.front().type == wire::frontend::kFlush;
    if (!is_flush || course_.requests.is_open()) return false;
    batcher.consume(false);
    return true;
}

void Dispatch::note(const BatchFacts& facts) {
    const auto& said = facts.statement->statement;
    course_.names_may_change = course_.names_may_change || facts.changes_names;
    if (routing::may_be_newer_than_catalog(said.reason)) memory_.catalog.does_not_know(said.detail);
    if (said.access == Access::read_only) memory_.freshness.reads();
}

void Dispatch::place_or_refuse(Search& search, const BatchFacts& facts) {
    const auto& choice = search.choice;
    const bool is_placed = !choice.failure;
    if (is_placed) {
        place(search, facts);
    } else {
        refuse(client_.batcher.batch(), *choice.failure);
    }
    sides_.stream_to(choice.slot);
    client_.batcher.consume(is_placed);
}

// The first look, unless the batch is refused whatever the servers are, or follows its request.
Next Dispatch::begin_search(Search& search, const BatchFacts& facts) {
    const auto& statement = search.statement;
    if (const auto refused = memory_.transaction.refusal(statement.statement))
        return search.fail(*refused);
    if (progress_.follows_its_request())
        return search.chosen(course_.requests.back().slot, statement.statement.reason);
    if (!progress_.is_copying_in()) {
        if (lodging_.around.crashes().is_refused(statement.key, client_.received_at))
            return search.fail_in_turn(ProxyErrc::statement_crashes);
        auto problem =
            facts.sets_options ? options_.problem_of(client_.batcher.batch()) : std::string{};
        if (!problem.empty()) {
            search.fail(ConnectFailure{ProxyErrc::invalid_option, {}, {}, std::move(problem)});
            return Next::chosen_in_turn;
        }
    }
    return fitting_.look(search);
}

// Sends the batch to the server that was found, as a request of its own or as part of the one that
// is open.
void Dispatch::place(Search& search, const BatchFacts& facts) {
    auto& choice = search.choice;
    auto& requests = course_.requests;
    const auto& statement = facts.statement;
    const auto bytes = client_.batcher.bytes();
    const bool continues = requests.is_open();
    if (requests.empty() && options_.of(statement->statement).explain.value_or(false))
        last_route_.explain(choice);
    if (!continues) start_request(choice);
    auto& request = requests.back();
    if (choice.primary_read) request.primary_read = std::move(choice.primary_read);
    request.does.ties = request.does.ties || search.demand.ties;
    request.does.queries =
        request.does.queries || statement->statement.may_read() || statement->statement.prepares;
    request.does.raises_floor = request.does.raises_floor || statement->statement.raises_floor;
    request.does.writes = request.does.writes || statement->statement.access == Access::write;
    request.does.may_commit = request.does.may_commit || facts.may_commit;
    if (choice.needed.timeline != 0) request.needed = choice.needed;
    if (!request.statement || request.statement == synthetic_verdicts().neutral)
        request.statement = statement;
    if (request.again.whole) {
        requests.keep(bytes);
        request.again.whole =
            request.again.messages.size() <= 2 * lodging_.config().routing.retry_buffer;
        request.again.retryable = request.again.retryable && request.again.whole;
    }
    sender_.send({client_.batcher.batch(), bytes, facts, continues}, choice.slot, request);
    if (request.bare && request.open) requests.drop_back();  // a Sync that the server ignores
}

// Where `choice` says; with what was sent before it moved, if it has.
void Dispatch::start_request(const Choice& choice) {
    const auto& batch = client_.batcher.batch();
    auto& requests = course_.requests;
    auto& moved = course_.moved;
    if (memory_.transaction.is_open_on_replica() && choice.slot == Slot::primary)
        control_.leave_replica();
    if (requests.empty()) memory_.transaction.settle();
    const bool may_leave = choice.slot == Slot::replica && !memory_.transaction.has_to_stay();
    const bool is_as_new = !moved || moved->again.retryable;
    const auto server = sides_[choice.slot].lease->server;
    auto& fresh = moved ? requests.start(std::move(*moved), server) : requests.start(server);
    fresh.slot = choice.slot;
    fresh.reason = choice.reason;
    fresh.does.raises_floor = false;
    fresh.again.whole = may_leave && (!moved || moved->again.whole);
    fresh.again.retryable = fresh.again.whole && is_as_new;
    if (!moved) fresh.started = client_.received_at;
    moved.reset();
    fresh.open = true;
    fresh.bare = batch.items.size() == 1 && batch.items.front().type == wire::frontend::kSync;
}

// An open request goes on over another connection: what it has made is made there first, and is
// waited for if the client has seen a part of it.
awaitable<void> Dispatch::go_on_elsewhere(Search& search) {
    const auto& choice = search.choice;
    const auto messages =
        course_.moved->again.whole ? course_.moved->again.messages : wire::Buffer{};
    start_request(choice);
    auto& request = course_.requests.back();
    const auto& next = client_.batcher.batch();
    const auto batch = judge_.parse_batch(messages);
    const WholeBatch sent{batch, messages};
    const auto fetched = request.fetches ? request.fetches->all() : std::vector<FetchedRows>{};
    const auto again = repetition_of(sent, fetched, memory_.portals,
                                     uses_unnamed_portal({next, client_.batcher.bytes()}));
    sender_.repeat(again, sent, next, choice.slot, request);
    if (again.rows.empty()) co_return;
    co_await progress_.answered();
    if (client_.closing || course_.requests.empty() || course_.requests.back().failed) co_return;
    auto& fetches = course_.requests.back().fetches;
    if (!fetches->end_of_repetition()) co_return fail_there(search);
    if (choice.slot == Slot::primary) fetches.reset();
}

// It has read something else there. The transaction that it has begun there has changed nothing,
// and ends; the client's own has failed.
void Dispatch::fail_there(Search& search) {
    end_by_sync(*sides_[search.choice.slot].lease.connection());
    if (search.choice.slot == Slot::primary) control_.fail_on_primary();
    search.fail(ProxyErrc::portal_changed);
}

// No server can take the batch: answers as a server would that fails it.
void Dispatch::refuse(const Batch& batch, const ConnectFailure& failure) {
    const auto reason = failure.reason();
    auto& requests = course_.requests;
    if (reason == ProxyErrc::transaction_lost) return ending_.die(reason);
    course_.cancel = Cancel::none;
    control_.fail();
    // A Query behind messages that have failed is skipped with them.
    const bool ends_here =
        batch.ends && (batch.items.size() == 1 || batch.items.back().type == wire::frontend::kSync);
    if (!requests.empty()) {  // an open request that has been answered so far: it fails now
        if (requests.back().open && ends_here) requests.back().open = false;
        return recovery_.fail_front(reason);
    }
    if (failure.rejected()) {  // FATAL, in the server's own words
        client_.stream.write(wire::Bytes{failure.error_response});
        return ending_.leave();
    }
    client_.send_error("ERROR", reason, failure.text);
    course_.moved.reset();
    if (ends_here) {
        client_.send_ready(memory_.transaction.status());
    } else {
        client_.batcher.skip(Skipping::for_us);
    }
}

// Others must leave the database that the statement needs to itself.
awaitable<void> Dispatch::make_way(StatementPtr statement) {
    if (memory_.state.transaction_on()) co_return;  // it will be refused there
    for (const auto& effect : statement->statement.effects)
        if (effect.kind == routing::Effect::Kind::empties_database) {
            lodging_.around.catalogs().leave(effect.name);
            co_await lodging_.around.pool().empty_database(effect.name);
        }
}

void Dispatch::stream_on() {
    client_.batcher.stream([this](wire::Bytes bytes) {
        if (const auto& lease = sides_[sides_.streams_to()].lease) lease->stream.write(bytes);
    });
}

// Where nothing is in flight a server ignores them: they follow a copy that has failed. PostgreSQL
// docs, "COPY Operations".
void Dispatch::copy_on() {
    auto& batcher = client_.batcher;
    const bool is_data = batcher.copy_type() == wire::frontend::kCopyData;
    const bool passes_on = !course_.requests.empty() && !course_.running_again;
    if (passes_on) {
        sides_.stream_to(course_.requests.back().slot);
        const auto& lease = sides_[sides_.streams_to()].lease;
        if (lease && is_data)
            lease->replies.copy_data_sent();
        else if (lease)
            lease->replies.push({.what = Expect::copy_end});
    }
    batcher.begin_copy(passes_on);
    stream_on();
}

awaitable<void> Dispatch::end_at_violation() {
    co_await progress_.answered();
    if (client_.closing) co_return;
    if (const auto type = client_.batcher.unknown_type(); type != 0)
        co_return ending_.die(ProxyErrc::unknown_message,
                              fmt::format("invalid frontend message type {}", type));
    ending_.die(ProxyErrc::bad_length, "invalid message length");
}

}  // namespace pgsteer::proxy
