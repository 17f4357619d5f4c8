#include "proxy/session/fitting.hpp"

#include "proxy/wire/message_types.hpp"

#include <algorithm>
#include <span>
#include <utility>

namespace pgsteer::proxy {

using routing::Slot;

namespace {

// Others are not asked for their columns again by PostgreSQL, or have those of another statement.
bool has_columns_of_its_own(const PreparedText& text) {
    if (!text.statement || text.definition.empty()) return false;
    const auto& said = text.statement->statement;
    return !said.uses_cursor && said.executes.empty();
}

}  // namespace

awaitable<void> Fitting::choose(Search& search, Next next, const WholeBatch& messages) {
    std::uint32_t looked_at = 0;  // by its number: once is enough
    for (;;) {
        co_await seek_.choose(search, next);
        if (client_.closing || search.choice.failure || client_.batcher.skipping() != Skipping::no)
            co_return;
        const auto slot = search.choice.slot;
        const auto number = sides_.connection(slot).number;
        if (number == looked_at) co_return;
        looked_at = number;
        const auto statements = doubtful(messages, slot);
        if (statements.empty() || progress_.is_copying_in()) co_return;
        co_await look_at(statements, slot, search.demand.again);
        if (client_.closing) co_return;
        if (const auto refused = memory_.transaction.refusal(search.statement.statement)) {
            search.fail(*refused);  // it was lost meanwhile
            co_return;
        }
        if (std::exchange(course_.question_timed_out, false)) {
            search.fail(ProxyErrc::server_timeout);
            co_return;
        }
        next = Next::look_again;  // time has passed
    }
}

// Those that the batch does not prepare itself.
Fitting::Statements Fitting::doubtful(const WholeBatch& messages, Slot slot) const {
    Statements found;
    boost::container::small_vector<std::string_view, 4> parsed;
    const auto on = sides_.connection(slot);
    for (const auto& item : messages.batch.items) {
        const auto name = name_of(item, messages.bytes);
        if (item.type == wire::frontend::kParse) parsed.push_back(name);
        const bool uses = item.type == wire::frontend::kBind ||
                          (item.type == wire::frontend::kDescribe && item.target == 'S');
        if (!uses || std::ranges::find(parsed, name) != parsed.end()) continue;
        const auto& text = memory_.statements.find(name);
        if (!text || !text->columns.were_told() || !has_columns_of_its_own(*text)) continue;
        const bool is_gone = name.empty() && sides_[slot].lease->ledger.lack_of({}, text->id) !=
                                                 Lack::nothing;  // by a Query of ours
        if ((text->columns.are_doubtful(on) || is_gone) &&
            std::ranges::find(found, text) == found.end())
            found.push_back(text);
    }
    return found;
}

awaitable<void> Fitting::look_at(const Statements& statements, Slot slot, bool is_run_again) {
    if (!is_run_again) co_await progress_.answered();
    auto& side = sides_[slot];
    if (client_.closing || client_.batcher.skipping() != Skipping::no || !side.lease) co_return;
    if (side.lease->transaction_status == routing::TransactionStatus::failed) co_return;
    if (memory_.transaction.is_open_on_replica() && slot == Slot::primary) control_.leave_replica();
    const bool continues = !is_run_again && course_.requests.is_open();
    const auto number = sides_.connection(slot).number;
    if (is_run_again) side.lease->exchange.resume();
    const auto is_owed = [&] {
        return !client_.closing && sides_.connection(slot).number == number && side.lease &&
               !side.lease->replies.empty();
    };
    sides_.learning(slot).is_looking = !continues;
    sender_.look(std::span<const PreparedTextPtr>{statements.data(), statements.size()}, slot,
                 continues);
    while (is_owed()) co_await course_.changed.wait();
    if (sides_.connection(slot).number != number) co_return;
    sides_.learning(slot).is_looking = false;
    sides_.learning(slot).tellings.clear();
}

}  // namespace pgsteer::proxy
