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
    bool is_read_out = false;
};

// Those that are there behind all messages.
class LivePortals {
public:
    LivePortals(const WholeBatch& sent, std::span<const FetchedRows> fetched)
        : bytes_{sent.bytes}, fetched_{fetched} {
        const auto& items = sent.batch.items;
        for (std::size_t at = 0; at < items.size(); ++at) read(items[at], at);
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
        portal->is_read_out = !rows.suspended;
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
std::optional<RepeatedStep> source_of(const WholeBatch& sent, std::size_t bind) {
    const auto& [batch, bytes] = sent;
    const auto name = name_of(batch.items[bind], bytes);
    std::optional<std::size_t> parsed;
    bool changes_later = false;
    for (std::size_t at = 0; at < batch.items.size(); ++at) {
        const auto& item = batch.items[at];
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

Repetition repetition_of(const WholeBatch& sent,
                         std::span<const FetchedRows> fetched,
                         const Portals& portals,
                         bool uses_unnamed) {
    const LivePortals live{sent, fetched};
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
        const auto source = source_of(sent, portal.bind);
        if (!source || (!reads && !portal.executions.empty())) continue;
        steps.push_back(*source);
        steps.push_back({What::message, portal.bind});
        if (portal.name.empty() && portal.is_read_out && !uses_unnamed) {
            steps.push_back({What::close, portal.bind});
            continue;
        }
        for (const auto at : portal.executions) steps.push_back({What::message, at});
        executes = executes || !portal.executions.empty();
        repetition.rows.insert(repetition.rows.end(), portal.rows.begin(), portal.rows.end());
    }
    const auto& items = sent.batch.items;
    const auto add_first = [&](What what, auto&& is_one) {
        const auto first = std::ranges::find_if(items, is_one);
        if (first != items.end())
            steps.push_back({what, static_cast<std::size_t>(first - items.begin())});
    };
    // It has taken a snapshot: for SET TRANSACTION it is too late.
    if (steps.empty())
        add_first(What::parse, [](const BatchItem& item) {
            return item.type == frontend::kParse && item.statement &&
                   item.statement->statement.may_read();
        });
    if (!executes)
        add_first(What::executed,
                  [](const BatchItem& item) { return item.type == frontend::kExecute; });
    return repetition;
}

bool uses_unnamed_portal(const WholeBatch& messages) {
    const auto bytes = messages.bytes;
    for (const auto& item : messages.batch.items) {
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
            const WholeBatch& sent,
            Preparing preparing,
            wire::Buffer& out) {
    const auto bytes = sent.bytes;
    for (const auto& step : repetition.steps) {
        const auto& item = sent.batch.items[step.item];
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
                preparing.executed(out);
                break;
        }
    }
    return true;
}

}  // namespace pgsteer::proxy
