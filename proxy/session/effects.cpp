// What completed statements have done to the session.
#include "proxy/session/client_session.hpp"
#include "proxy/wire/backend.hpp"

namespace pgsteer::proxy {

using routing::Effect;

bool ClientSession::sets_to_result(const Expected& owed) const {
    return owed.effects && owed.effects->statement.effects.size() == 1 &&
           owed.effects->statement.effects.front().kind == Effect::Kind::opaque_settings &&
           !owed.effects->statement.effects.front().name.empty();
}

// set_config('name', $1, false): the new value is not in the text, but in the answer.
void ClientSession::note_set_value(Slot slot, const Expected& owed, wire::Bytes body) {
    const auto row = wire::decode_data_row(
        body);  // fails where the row has not arrived whole: then it is not known
    auto& side = this->side(slot);
    side.row_seen = row && row->size() == 1 && row->front().data() != nullptr &&
                    owed.effects->statement.statement_count == 1;
    if (side.row_seen) side.row_value = row->front();
}

namespace {

std::string quoted(std::string_view text) {
    std::string out{"'"};
    for (const char c : text) {
        if (c == '\'') out.push_back(c);
        out.push_back(c);
    }
    return out + "'";
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

void ClientSession::note_deferred(const Effect& effect) {
    if (deferred_.is_open() && !deferred_.has_ended()) return deferred_.completed(effect);
    if (effect.kind == Effect::Kind::begin) deferred_.begun_on_replica(effect, default_modes());
}

void ClientSession::apply_effects(Slot slot,
                                  const routing::Statement& statement,
                                  std::uint16_t index,
                                  std::string_view tag) {
    auto& side = this->side(slot);
    catalog_.may_have_changed(statement.catalog_change);
    if (std::exchange(side.row_seen, false)) {
        const auto& name = statement.effects.front().name;
        routing::Statement set;
        set.statement_count = 1;
        set.effects.push_back({Effect::Kind::set, index, name,
                               "SELECT pg_catalog.set_config(" + quoted(name) + ", " +
                                   quoted(side.row_value) + ", false)",
                               name.starts_with(routing::kOptionPrefix) ? side.row_value : ""});
        state_.completed(slot, set, index, tag);
        if (slot == Slot::replica) note_deferred(set.effects.front());
        return;
    }
    state_.completed(slot, statement, index, tag);
    for (const auto& effect : statement.effects) {
        if (effect.statement_index != index) continue;
        if (slot == Slot::replica) note_deferred(effect);
        if (effect.kind == Effect::Kind::prepare) prepared_in_sql(effect.name, slot);
        if (effect.kind == Effect::Kind::deallocate) deallocated(effect.name, slot);
        if (effect.kind == Effect::Kind::deallocate_all || effect.kind == Effect::Kind::discard_all)
            deallocated_all(slot);
    }
}

}  // namespace pgsteer::proxy
