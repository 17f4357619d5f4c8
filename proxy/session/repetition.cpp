#include "proxy/session/repetition.hpp"

#include <algorithm>
#include <optional>
#include <string_view>

namespace pgsteer::proxy {

namespace frontend = wire::frontend;

namespace {

using What = RepeatedStep::What;

struct Portal {
    std::string_view name;
    std::size_t bind = 0;
    std::vector<std::size_t> executions;
    std::vector<FetchedRows> rows;
    bool is_at_end = false;
};

// Those that are there behind all messages.
class LivePortals {
public:
    LivePortals(const Batch& sent, wire::Bytes bytes, std::span<const FetchedRows> fetched)
        : bytes_{bytes}, fetched_{fetched} {
        for (std::size_t at = 0; at < sent.items.size(); ++at) read(sent.items[at], at);
    }
    [[nodiscard]] const std::vector<Portal>& portals() const { return portals_; }

private:
    void read(const BatchItem& item, std::size_t at) {
        if (item.type == frontend::kBind) {
            forget(portal_of(item, bytes_));
            portals_.push_back({portal_of(item, bytes_), at, {}, {}, false});
        } else if (item.type == frontend::kExecute) {
            execute(item, at);
        } else if (item.type == frontend::kClose && item.target == 'P') {
            forget(name_of(item, bytes_));
        }
    }

    void execute(const BatchItem& item, std::size_t at) {
        FetchedRows rows;
        if (item.limited && !fetched_.empty()) {
            rows = fetched_.front();
            fetched_ = fetched_.subspan(1);
        }
        const auto portal = std::ranges::find(portals_, name_of(item, bytes_), &Portal::name);
        if (portal == portals_.end()) return;
        portal->executions.push_back(at);
        portal->is_at_end = !rows.suspended;
        if (item.limited) portal->rows.push_back(rows);
    }

    void forget(std::string_view name) {
        std::erase_if(portals_, [name](const Portal& portal) { return portal.name == name; });
    }

    wire::Bytes bytes_;
    std::span<const FetchedRows> fetched_;
    std::vector<Portal> portals_;
};

// How a statement comes to be there for a Bind. nullopt: it was closed, and what it was is not
// known.
std::optional<RepeatedStep> source_of(const Batch& sent, wire::Bytes bytes, std::size_t bind) {
    const auto name = name_of(sent.items[bind], bytes);
    std::optional<std::size_t> parsed;
    bool changes_later = false;
    for (std::size_t at = 0; at < sent.items.size(); ++at) {
        const auto& item = sent.items[at];
        const bool is_close = item.type == frontend::kClose && item.target == 'S';
        if ((item.type != frontend::kParse && !is_close) || name_of(item, bytes) != name) continue;
        if (at > bind)
            changes_later = true;
        else if (!is_close)
            parsed = at;
    }
    if (!changes_later) return RepeatedStep{What::statement, bind};
    if (!parsed) return std::nullopt;
    return RepeatedStep{What::parse, *parsed};
}

}  // namespace

Repetition repetition_of(const Batch& sent,
                         wire::Bytes bytes,
                         std::span<const FetchedRows> fetched,
                         const Portals& portals,
                         bool uses_unnamed) {
    const LivePortals live{sent, bytes, fetched};
    Repetition repetition;
    auto& steps = repetition.steps;
    bool executes = false;
    for (const auto& portal : live.portals()) {
        const auto known = find_portal(portals, portal.name);
        if (known == portals.end() || !known->statement) continue;
        if (is_at_end(*known)) {
            steps.push_back({What::at_end, portal.bind});
            executes = true;
            continue;
        }
        const bool reads = known->statement->statement.may_read();
        const auto source = source_of(sent, bytes, portal.bind);
        if (!source || (!reads && !portal.executions.empty())) continue;
        steps.push_back(*source);
        steps.push_back({What::message, portal.bind});
        if (portal.name.empty() && portal.is_at_end && !uses_unnamed) {
            steps.push_back({What::close, portal.bind});
            continue;
        }
        for (const auto at : portal.executions) steps.push_back({What::message, at});
        executes = executes || !portal.executions.empty();
        repetition.rows.insert(repetition.rows.end(), portal.rows.begin(), portal.rows.end());
    }
    // It has taken a snapshot: for SET TRANSACTION it is too late.
    const auto reads = [](const BatchItem& item) {
        return item.type == frontend::kParse && item.statement &&
               item.statement->statement.may_read();
    };
    const auto parsed = std::ranges::find_if(sent.items, reads);
    if (steps.empty() && parsed != sent.items.end())
        steps.push_back({What::parse, static_cast<std::size_t>(parsed - sent.items.begin())});
    const auto is_execute = [](const BatchItem& item) { return item.type == frontend::kExecute; };
    const auto last = std::ranges::find_if(sent.items, is_execute);
    if (!executes && last != sent.items.end())
        steps.push_back({What::executed, static_cast<std::size_t>(last - sent.items.begin())});
    return repetition;
}

bool uses_unnamed_portal(const Batch& batch, wire::Bytes bytes) {
    for (const auto& item : batch.items) {
        const bool is_query = item.type == frontend::kQuery;
        if (is_query || (item.type == frontend::kBind && portal_of(item, bytes).empty()))
            return false;
        const bool asks = item.type == frontend::kExecute ||
                          (item.type == frontend::kDescribe && item.target == 'P');
        if (asks && name_of(item, bytes).empty()) return true;
    }
    return false;
}

bool repeat(const Repetition& repetition,
            const Batch& sent,
            wire::Bytes bytes,
            Preparing preparing,
            wire::Buffer& out) {
    for (const auto& step : repetition.steps) {
        const auto& item = sent.items[step.item];
        const auto message = bytes.subspan(item.begin, item.end - item.begin);
        switch (step.what) {
            case What::statement:
                if (preparing.statement(name_of(item, bytes), out).has_others) return false;
                break;
            case What::parse:
                preparing.parse_again(name_of(item, bytes), message, out);
                break;
            case What::message:
                preparing.repeat(item, message, out);
                break;
            case What::close:
                preparing.close_portal(portal_of(item, bytes), out);
                break;
            case What::at_end:
                preparing.portal_at_end(portal_of(item, bytes), out);
                break;
            case What::executed:
                preparing.command("SET LOCAL pgsteer.portal TO ''", out);
                break;
        }
    }
    return true;
}

}  // namespace pgsteer::proxy
