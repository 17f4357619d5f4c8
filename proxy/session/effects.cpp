// What completed statements have done to the session.
#include "proxy/session/client_session.hpp"
#include "proxy/wire/backend.hpp"
#include "routing/search_path.hpp"

namespace pgsteer::proxy {

using routing::Effect;

// set_config('name', $1, false): the new value is not in the text, but in the answer.
void ClientSession::note_set_values(Slot slot, wire::Bytes body) {
    const auto row = wire::decode_data_row(
        body);  // fails where the row has not arrived whole: then it is not known
    auto& values = side(slot).row_values;
    values.clear();
    if (row) values.assign(row->begin(), row->end());
}

// What is there to stay in the server process, whatever comes of the request.
void ClientSession::note_kept(Slot slot, const routing::Kept& kept) {
    if (kept.outlives_discard_all()) side(slot).lease->outlives_discard_all = true;
    state_.kept(slot, kept);
}

void ClientSession::note_kept(Slot slot, const routing::Statement& statement) {
    side(slot).lease->outlives_discard_all = true;
    for (const auto& effect : statement.effects)
        if (effect.kind == Effect::Kind::backend_state)
            state_.kept(slot, {routing::Kept::What::state, effect.name});
}

namespace {

// The settings of which the row tells what they are now. `values`: empty: there was no row, or it
// was not seen.
routing::Statement with_values(const routing::Statement& statement,
                               const std::vector<std::string>& values) {
    routing::Statement known = statement;
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

// The statement was taken off the list when DEALLOCATE was sent: a Parse behind it may have used
// its name again.
void ClientSession::deallocated(std::string_view name, Slot slot) {
    if (requests_.empty()) return;
    auto& request = requests_.front();
    if (request.changes_done == request.changes.size()) return;
    const auto& change = request.changes[request.changes_done];
    if (change.defined || !change.closed || change.closed->name != name) return;
    ++request.changes_done;
    prepared_.closed_on(*change.closed, slot);
}

void ClientSession::prepared_in_sql(const std::string& name, Slot slot) {
    if (requests_.empty()) return;
    auto& request = requests_.front();
    if (request.changes_done == request.changes.size()) return;
    const auto& defined = request.changes[request.changes_done].defined;
    if (!defined || !defined->in_sql || defined->name != name) return;
    ++request.changes_done;
    defined->is_certain = true;
    defined->prepared_on[static_cast<std::size_t>(slot)] = side(slot).lease->lease_number;
}

void ClientSession::deallocated_all(Slot slot) {
    if (requests_.empty()) return;
    auto& request = requests_.front();
    while (request.changes_done < request.changes.size() &&
           !request.changes[request.changes_done].defined)
        ++request.changes_done;
    prepared_.deallocated_all(slot);
}

void ClientSession::apply_effects(Slot slot,
                                  const routing::Statement& statement,
                                  std::uint16_t index,
                                  std::string_view tag) {
    auto& side = this->side(slot);
    catalog_.may_have_changed(statement.catalog_change);
    if (statement.row_tells_settings) {
        auto known = with_values(statement, side.row_values);
        known.row_tells_settings = false;
        side.row_values.clear();
        return apply_effects(slot, known, index, tag);
    }
    state_.completed(slot, statement, index, tag);
    for (const auto& effect : statement.effects) {
        if (effect.statement_index != index) continue;
        if (slot == Slot::replica) transaction_.completed_on_replica(effect, default_modes());
        if (effect.kind == Effect::Kind::changes_logins)
            at_transaction_end_ |= AtTransactionEnd::changes_logins;
        if (effect.kind == Effect::Kind::prepare) prepared_in_sql(effect.name, slot);
        if (effect.kind == Effect::Kind::deallocate) deallocated(effect.name, slot);
        if (effect.kind == Effect::Kind::deallocate_all || effect.kind == Effect::Kind::discard_all)
            deallocated_all(slot);
    }
}

}  // namespace pgsteer::proxy
