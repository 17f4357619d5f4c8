#include "proxy/session/kept_back.hpp"

#include "proxy/wire/frontend.hpp"
#include "proxy/wire/header.hpp"
#include "proxy/wire/message_types.hpp"

#include <algorithm>
#include <utility>

namespace pgsteer::proxy {

using routing::Effect;
using routing::Slot;

namespace {

bool has_commit(const routing::StatementPtr& statement) {
    return statement && std::ranges::any_of(statement->statement.effects, [](const auto& effect) {
               return effect.kind == Effect::Kind::commit;
           });
}

}  // namespace

bool KeptBack::commits(const BatchFacts& facts) const {
    return has_commit(facts.only) ||
           std::ranges::any_of(client_.batcher.batch().items,
                               [](const auto& item) { return has_commit(item.statement); });
}

bool KeptBack::concerns(const BatchFacts& facts) const {
    const bool may_be_kept = facts.only && Transaction::is_for_primary(facts.only->statement);
    if (!may_be_kept) return !memory_.transaction.kept_for_primary().empty() && commits(facts);
    const auto& requests = course_.requests;
    return memory_.transaction.is_open_on_replica() ||
           (!requests.empty() && requests.back().slot == Slot::replica);
}

awaitable<bool> KeptBack::answer(const BatchFacts& facts) {
    co_await progress_.answered();
    if (client_.closing || !course_.requests.empty()) co_return false;
    auto& transaction = memory_.transaction;
    if (facts.only && Transaction::is_for_primary(facts.only->statement)) co_return keep(facts);
    const bool has_failed = transaction.status() != routing::TransactionStatus::in_block;
    if (has_failed || transaction.kept_for_primary().empty()) co_return false;
    course_.choosing = true;
    const auto error = co_await do_on_primary(facts);
    course_.choosing = false;
    if (client_.closing || error.empty()) co_return false;
    control_.fail();
    if (!facts.only) co_return false;  // it is refused as what follows a failure
    static_cast<void>(transaction.answer(
        facts.only->statement, lodging_.config().routing.transactions, options_.default_modes()));
    control_.answer_batch({}, error);
    co_return true;
}

bool KeptBack::keep(const BatchFacts& facts) {
    const auto& batcher = client_.batcher;
    if (facts.leaves_portal ||
        !has_no_parameters(batcher.batch(), batcher.bytes(), memory_.statements))
        return false;
    if (text().empty()) return false;
    const auto tag = memory_.transaction.keep_for_primary(facts.only->statement, text());
    if (!tag.empty()) control_.answer_batch(tag);
    return !tag.empty();
}

// Of the one statement that the batch runs, in the client's words: what is classified is shared by
// texts that differ in their constants.
std::string KeptBack::text() const {
    const auto bytes = client_.batcher.bytes();
    const auto parsed = [](wire::Bytes message) {
        const auto parse = wire::decode_parse(message.subspan(wire::kHeaderBytes));
        return std::string{parse ? parse->sql : std::string_view{}};
    };
    for (const auto& item : client_.batcher.batch().items) {
        const auto message = bytes.subspan(item.begin, item.end - item.begin);
        if (item.type == wire::frontend::kParse) return parsed(message);
        if (item.type == wire::frontend::kQuery) {
            const auto query = wire::decode_query(message.subspan(wire::kHeaderBytes));
            return std::string{query ? query->sql : std::string_view{}};
        }
        if (item.type != wire::frontend::kBind) continue;
        const auto& known = memory_.statements.find(name_of(item, bytes));
        return known && !known->definition.empty() ? parsed(known->definition) : std::string{};
    }
    return {};
}

// Empty: it is done; else the error.
awaitable<wire::Buffer> KeptBack::do_on_primary(const BatchFacts& facts) {
    const auto sql = memory_.transaction.kept_for_primary();
    Search search{*facts.statement, {.primary_only = true}};
    co_await seek_.choose(search, Next::look_again);
    if (client_.closing) co_return wire::Buffer{};
    if (search.choice.failure) co_return client_.error("ERROR", search.choice.failure->reason());
    const auto number = sides_.connection(Slot::primary).number;
    const auto& lease = sides_[Slot::primary].lease;
    memory_.at_commit_error.clear();
    lease->replies.push({.what = Expect::query, .internal = true, .purpose = Purpose::at_commit});
    wire::Buffer out;
    wire::encode_query(out, sql);
    lease->stream.write(wire::Bytes{out});
    const auto is_there = [&] {
        return lease && sides_.connection(Slot::primary).number == number;
    };
    while (!client_.closing && is_there() && !lease->replies.empty())
        co_await course_.changed.wait();
    const bool is_late = std::exchange(course_.question_timed_out, false);
    if (!client_.closing && !is_there())
        co_return client_.error("ERROR",
                                is_late ? ProxyErrc::server_timeout : ProxyErrc::server_lost);
    co_return std::exchange(memory_.at_commit_error, {});
}

}  // namespace pgsteer::proxy
