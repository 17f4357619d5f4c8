#include "proxy/session/effects.hpp"

#include "proxy/wire/backend.hpp"
#include "routing/search_path.hpp"

namespace pgsteer::proxy {

using routing::Effect;
using routing::Slot;

namespace {

// The settings of which the row tells what they are now. `values`: empty: there was no row, or it
// was not seen.
routing::Statement with_values(const routing::Statement& statement,
                               const std::vector<std::string>& values) {
    routing::Statement known = statement;
    known.row_tells_settings = false;
    std::erase_if(known.effects,
                  [&](const Effect& effect) { return effect.needs_row && values.empty(); });
    for (auto& effect : known.effects) {
        if (effect.kind != Effect::Kind::opaque_settings || effect.column >= values.size())
            continue;
        const auto& value = values[effect.column];
        effect.kind = Effect::Kind::set;
        effect.sql = "SELECT pg_catalog.set_config(" + routing::quote_literal(effect.name) + ", " +
                     routing::quote_literal(value) + ", false)";
        if (effect.name.starts_with(routing::kOptionPrefix)) effect.value = value;
    }
    return known;
}

}  // namespace

void Effects::apply(Slot slot,
                    const routing::Statement& statement,
                    std::uint16_t index,
                    std::string_view tag) {
    memory_.catalog.may_have_changed(statement.catalog_change);
    if (statement.row_tells_settings) {
        const auto values = std::exchange(sides_[slot].row_values, {});
        return apply(slot, with_values(statement, values), index, tag);
    }
    memory_.state.completed(slot, statement, index, tag);
    for (const auto& effect : statement.effects) {
        if (effect.statement_index != index) continue;
        if (slot == Slot::replica)
            memory_.transaction.completed_on_replica(effect, options_.default_modes());
        if (effect.kind == Effect::Kind::changes_logins) transaction_end_.changes_logins();
    }
}

// Where the row has not arrived whole it is not known.
void Effects::note_set_values(Slot slot, wire::Bytes row) {
    const auto columns = wire::decode_data_row(row);
    auto& values = sides_[slot].row_values;
    values.clear();
    if (columns) values.assign(columns->begin(), columns->end());
}

}  // namespace pgsteer::proxy
