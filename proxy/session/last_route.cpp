#include "proxy/session/last_route.hpp"

#include "proxy/wire/backend.hpp"
#include "proxy/wire/frontend.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace pgsteer::proxy {

using routing::Clock;
using routing::Shows;
using routing::Slot;

namespace {

std::string_view role_of(Slot slot) { return slot == Slot::replica ? "replica" : "primary"; }

}  // namespace

void LastRoute::note(Slot slot, const Request& request) {
    if (request.statement && request.statement->statement.shows != Shows::nothing) return;
    known_ = {request.server, slot, request.reason, request.again.retried, Clock::duration{-1}};
    const auto fresh_as_of = lodging_.around.topology()[request.server].fresh_as_of;
    if (slot == Slot::replica && fresh_as_of != routing::kNever)
        known_->staleness = std::max(Clock::duration{0}, course_.replies_at - fresh_as_of);
}

void LastRoute::add_shown(Slot slot, wire::Buffer& out, const Request& request) {
    auto& connection = *sides_[slot].lease.connection();
    if (!request.statement || connection.transaction_status == routing::TransactionStatus::failed)
        return;
    const auto shows = request.statement->statement.shows;
    if (shows == Shows::nothing) return;
    const auto& topology = lodging_.around.topology();
    std::string sql;
    if (shows == Shows::lsn && slot == Slot::primary && topology.primary) {
        sql = fmt::format(
            "SELECT pg_catalog.set_config('pgsteer.lsn', pg_catalog.concat('{}/', "
            "pg_catalog.pg_current_wal_insert_lsn()), false)",
            topology[*topology.primary].incarnation.timeline);
    } else if (shows == Shows::last_route) {
        sql =
            fmt::format("SELECT pg_catalog.set_config('pgsteer.last_route', '{}', false)", text());
    }
    if (sql.empty()) return;
    if (connection.replies.push(
            {.what = Expect::query, .internal = true, .purpose = Purpose::show}))
        wire::encode_query(out, sql);
}

// Without what would have to be quoted in SQL.
std::string LastRoute::text() const {
    if (!known_) return "";
    std::string text =
        fmt::format("server={} role={} reason={}", lodging_.server(known_->server).name,
                    role_of(known_->slot), routing::name(known_->reason));
    if (known_->staleness.count() >= 0) {
        const auto stale = std::chrono::duration_cast<std::chrono::milliseconds>(known_->staleness);
        text += fmt::format(" staleness={}ms", stale.count());
    }
    if (known_->retried) text += " retried";
    if (const auto& function = memory_.state.pinned_by(); !function.empty())
        text += fmt::format(" backend_state={}", function);
    for (char& c : text)
        if (c == '\'' || c == '\\') c = '?';
    return text;
}

void LastRoute::explain(const Choice& choice) {
    if (choice.failure || !sides_[choice.slot].lease) return;
    const auto& server = lodging_.server(sides_[choice.slot].lease->server);
    const auto text = fmt::format("pgsteer: {} {}, reason {}", role_of(choice.slot), server.name,
                                  routing::name(choice.reason));
    wire::Buffer out;
    wire::encode_notice(out, {"NOTICE", "00000", text});
    client_.stream.write(wire::Bytes{out});
}

}  // namespace pgsteer::proxy
