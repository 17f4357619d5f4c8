#include "routing/session_state.hpp"

#include <algorithm>
#include <utility>

namespace pgsteer::routing {
namespace {

std::size_t index(Slot slot) { return static_cast<std::size_t>(slot); }

Slot other(Slot slot) { return slot == Slot::primary ? Slot::replica : Slot::primary; }

std::size_t heap_bytes(const Effect& effect) {
    return effect.name.size() + effect.sql.size() + effect.value.size();
}

// SELECT 1, INSERT 0 1: only queries count rows.
bool is_tag_of_query(std::string_view tag) {
    return !tag.empty() && tag.back() >= '0' && tag.back() <= '9';
}

}  // namespace

// --- told by the relay ---

void SessionState::completed(Slot slot,
                             const Statement& statement,
                             std::uint16_t index,
                             std::string_view command_tag) {
    if (statement.statement_count == 0) return on_unparsed(slot, statement, command_tag);
    for (const Effect& effect : statement.effects)
        if (effect.statement_index == index) on_effect(slot, effect, command_tag);
}

void SessionState::failed() { failed_ = true; }

void SessionState::ready(Slot slot, TransactionStatus status) {
    // The other connection is idle while a transaction is open here: nothing has ended.
    if (waits_ ||
        (transaction_on() && *transaction_on() != slot && status == TransactionStatus::idle))
        return;
    status_ = status;
    if (status != TransactionStatus::idle)
        transaction_slot_ = slot;
    else if (failed_)
        drop_staged();
    else
        commit_staged();
    failed_ = false;
}

void SessionState::transaction_waits() {
    waits_ = true;
    status_ = TransactionStatus::idle;
}

void SessionState::transaction_opened(Slot slot) {
    waits_ = false;
    status_ = TransactionStatus::in_block;
    transaction_slot_ = slot;
    for (Staged& staged : staged_) staged.slot = slot;
}

void SessionState::transaction_dropped() {
    waits_ = failed_ = false;
    status_ = TransactionStatus::idle;
    drop_staged();
}

void SessionState::kept(Slot slot, const Kept& kept) {
    if (kept.what == Kept::What::nothing) return;
    settings_.touched(on(slot).settings);
    if (slot != Slot::primary) return;  // in a transaction that had to stay there
    if (kept.what == Kept::What::settings) opaque_settings_ = true;
    on(slot).kept(kept);
}

void SessionState::connected(Slot slot, ConnectionState& state) {
    state = {};
    connections_[index(slot)] = &state;
}

void SessionState::disconnected(Slot slot) {
    const bool staged_there = !staged_.empty() && staged_.back().slot == slot;
    if (transaction_on() == slot ||
        (status_ == TransactionStatus::idle && !waits_ && staged_there)) {
        drop_staged();
        status_ = TransactionStatus::idle;
        failed_ = false;
    }
    connections_[index(slot)] = nullptr;
}

// What is told of a connection that is gone is told to nobody.
ConnectionState& SessionState::on(Slot slot) {
    if (auto* const state = connections_[index(slot)]) return *state;
    static thread_local ConnectionState nowhere;
    nowhere = {};
    return nowhere;
}

void SessionState::settings_not_applicable() { settings_failed_ = true; }

// --- asked ---

std::optional<Slot> SessionState::transaction_on() const {
    if (status_ == TransactionStatus::idle) return std::nullopt;
    return transaction_slot_;
}

std::optional<Pin> SessionState::pin() const {
    const auto* const primary = find(Slot::primary);
    if (const auto pin = primary != nullptr ? primary->pin() : std::nullopt) return pin;
    if (opaque_settings_ || resettable_settings_) return Pin::opaque_settings;
    if (settings_failed_) return Pin::settings_failed;
    return std::nullopt;
}

const std::string& SessionState::pinned_by() const {
    static const std::string kNobody;
    const auto* const primary = find(Slot::primary);
    return primary != nullptr ? primary->pinned_by() : kNobody;
}

bool SessionState::irreplaceable(Slot slot) const {
    if (transaction_on() == slot) return true;
    if (const auto* const state = find(slot); state != nullptr && state->is_irreplaceable())
        return true;
    return slot == Slot::primary && (opaque_settings_ || resettable_settings_);
}

std::optional<Slot> SessionState::cursor_on() const {
    for (const Slot slot : {Slot::primary, Slot::replica})
        if (const auto* const state = find(slot); state != nullptr && !state->hold_cursors.empty())
            return slot;
    return std::nullopt;
}

bool SessionState::has_prepared_in_sql() const {
    const auto* const primary = find(Slot::primary);
    return primary != nullptr && primary->prepared_in_sql;
}

bool SessionState::settings_pending(Slot slot) const {
    return settings_.is_pending(settings_on(slot));
}

std::vector<std::string_view> SessionState::pending_settings(Slot slot) const {
    return settings_.pending(settings_on(slot));
}

const SettingsApplied& SessionState::settings_on(Slot slot) const {
    static const SettingsApplied kNothing;
    const auto* const state = find(slot);
    return state != nullptr ? state->settings : kNothing;
}

void SessionState::settings_applied(Slot slot) { settings_.applied(on(slot).settings); }

std::size_t SessionState::memory_bytes() const {
    std::size_t bytes =
        settings_.memory_bytes() + staged_bytes_ + savepoint_bytes_ + search_path_.value.size();
    for (const auto* const state : connections_)
        if (state != nullptr) bytes += state->memory_bytes();
    return bytes;
}

// --- what statements do ---

void SessionState::on_effect(Slot slot, const Effect& effect, std::string_view command_tag) {
    switch (effect.kind) {
        case Effect::Kind::begin:  // inside an implicit transaction: what was done becomes part of
                                   // it
        case Effect::Kind::set_transaction:
        case Effect::Kind::deallocate:
        case Effect::Kind::backend_state:
        case Effect::Kind::empties_database:
        case Effect::Kind::changes_logins:
        case Effect::Kind::notify:
            return;
        case Effect::Kind::set_local:
            return note_used(slot, effect);
        case Effect::Kind::lock:
            if (slot == Slot::primary) on(slot).advisory_locks = true;
            return;
        case Effect::Kind::unlock_all:
            if (slot == Slot::primary) on(slot).advisory_locks = false;
            return;
        case Effect::Kind::prepare:  // stays, even if its transaction is rolled back
            if (slot == Slot::primary) on(slot).prepared_in_sql = true;
            return;
        case Effect::Kind::deallocate_all:
            if (slot == Slot::primary) on(slot).prepared_in_sql = false;
            return;
        case Effect::Kind::commit:
            return command_tag == "ROLLBACK" ? drop_staged() : commit_staged();
        case Effect::Kind::rollback:
            return drop_staged();
        case Effect::Kind::savepoint:
            return set_savepoint(effect.name);
        case Effect::Kind::release:
            return release_savepoint(effect.name);
        case Effect::Kind::rollback_to:
            return roll_back_to_savepoint(effect.name);
        // Closing a cursor is not undone by a rollback.
        case Effect::Kind::close:
            return close_cursor(slot, effect.name);
        case Effect::Kind::close_all:
            return close_all_cursors(slot);
        case Effect::Kind::discard_all:
            return discard_all_at_once(slot);
        case Effect::Kind::set:
        case Effect::Kind::reset:
            note_used(slot, effect);
            [[fallthrough]];
        case Effect::Kind::set_on_primary:
        case Effect::Kind::reset_all:
        case Effect::Kind::opaque_settings:
        case Effect::Kind::create_temporary:
        case Effect::Kind::discard_temporary:
        case Effect::Kind::declare_hold:
        case Effect::Kind::listen:
        case Effect::Kind::unlisten:
        case Effect::Kind::unlisten_all:
            return stage(slot, effect);
    }
}

// A text that was not parsed may have done all that its command tags allow; a query also what the
// text names: set_config(), TEMP (INTO TEMP and CREATE TEMP TABLE AS answer as a plain SELECT
// does), pg_advisory_lock().
void SessionState::on_unparsed(Slot slot,
                               const Statement& statement,
                               std::string_view command_tag) {
    const auto stage_kind = [&](Effect::Kind kind) { stage(slot, {kind, 0, {}, {}}); };
    if (command_tag == "COMMIT" || command_tag == "PREPARE TRANSACTION") return commit_staged();
    if (command_tag == "ROLLBACK") return assume_the_worst_of_staged();  // or ROLLBACK TO
    if (command_tag == "SAVEPOINT" || command_tag == "RELEASE") return lose_track_of_savepoints();
    if (command_tag == "SET" || command_tag == "RESET")
        return stage_kind(Effect::Kind::opaque_settings);
    if (command_tag == "CREATE TABLE" || command_tag == "CREATE TABLE AS" ||
        command_tag == "CREATE VIEW" || command_tag == "CREATE SEQUENCE")
        return stage_kind(Effect::Kind::create_temporary);
    if (command_tag == "PREPARE" && slot == Slot::primary) on(slot).prepared_in_sql = true;
    if (command_tag == "LISTEN") return stage_kind(Effect::Kind::listen);
    if (command_tag == "DECLARE CURSOR") return stage_kind(Effect::Kind::declare_hold);
    if (command_tag == "CLOSE CURSOR ALL") return close_all_cursors(slot);
    if (command_tag == "DISCARD TEMP") return stage_kind(Effect::Kind::discard_temporary);
    if (command_tag == "DISCARD ALL") return discard_all_at_once(slot);
    if (is_tag_of_query(command_tag))
        for (const Effect& effect : statement.effects) on_effect(slot, effect, command_tag);
}

// --- the open transaction ---

void SessionState::stage(Slot slot, const Effect& effect) {
    const std::size_t bytes = sizeof(Staged) + heap_bytes(effect);
    if (staged_bytes_ + bytes > kMaxStagedBytes) return assume_the_worst(slot, effect);
    staged_bytes_ += bytes;
    staged_.push_back({effect, slot});
}

void SessionState::truncate_staged(std::size_t size) {
    for (std::size_t i = size; i < staged_.size(); ++i)
        staged_bytes_ -= sizeof(Staged) + heap_bytes(staged_[i].effect);
    staged_.erase(staged_.begin() + static_cast<std::ptrdiff_t>(size), staged_.end());
}

void SessionState::commit_staged() {
    for (const Staged& staged : staged_) apply(staged.slot, staged.effect);
    drop_staged();
}

void SessionState::drop_staged() {
    staged_.clear();
    staged_bytes_ = 0;
    savepoints_.clear();
    savepoint_bytes_ = 0;
}

// Some of what is staged was rolled back, and it is not known what.
void SessionState::assume_the_worst_of_staged() {
    for (const Staged& staged : staged_) assume_the_worst(staged.slot, staged.effect);
    truncate_staged(0);
    for (Savepoint& savepoint : savepoints_) savepoint.staged_size = 0;
}

void SessionState::note_search_path(const Effect& effect) {
    using Kind = SearchPathSetting::Kind;
    const bool names_it = effect.name == "search_path";
    switch (effect.kind) {
        case Effect::Kind::set:
            if (names_it) search_path_.kind = effect.value.empty() ? Kind::unknown : Kind::value;
            if (names_it) search_path_.value = effect.value;
            if (effect.name == "role" || effect.name == "session_authorization")
                search_path_.role_changed = true;
            break;
        case Effect::Kind::reset:
            if (!names_it) break;
            [[fallthrough]];
        case Effect::Kind::reset_all:
            search_path_.kind = Kind::session_default;
            search_path_.value.clear();
            break;
        case Effect::Kind::discard_all:
            search_path_ = {};
            break;
        default:
            break;
    }
}

void SessionState::note_default_modes(const Effect& effect) {
    const bool resets_all =
        effect.kind == Effect::Kind::reset_all || effect.kind == Effect::Kind::discard_all;
    if (resets_all) default_modes_ = startup_modes_;
    if (effect.kind != Effect::Kind::set_on_primary) return;
    if (effect.form == Effect::Form::modes) return default_modes_.overlay(effect.modes);
    if (effect.name == "default_transaction_isolation")
        default_modes_.isolation =
            effect.modes.isolation ? effect.modes.isolation : startup_modes_.isolation;
    if (effect.name == "default_transaction_read_only")
        default_modes_.read_only =
            effect.modes.read_only ? effect.modes.read_only : startup_modes_.read_only;
}

void SessionState::apply(Slot slot, const Effect& effect) {
    note_search_path(effect);
    note_default_modes(effect);
    bool remembered = true;
    switch (effect.kind) {
        case Effect::Kind::set:
            remembered = settings_.set(on(slot).settings, effect.name, effect.sql);
            set_option(effect.name, effect.value);
            break;
        case Effect::Kind::reset:
            remembered = settings_.reset(on(slot).settings, effect.name, effect.sql);
            set_option(effect.name, {});
            break;
        case Effect::Kind::reset_all:
            remembered = settings_.reset_all(on(slot).settings, settings_of_other(slot));
            options_ = startup_options_;
            resettable_settings_ = false;
            on(Slot::primary).resettable_state.clear();
            break;
        case Effect::Kind::opaque_settings:
            settings_.touched(on(slot).settings);
            remembered = false;
            break;
        // On a replica it may have undone what keeps that connection read-only.
        case Effect::Kind::set_on_primary:
            settings_.touched(on(slot).settings);
            remembered = slot == Slot::primary;
            break;
        case Effect::Kind::discard_all:
            discard_all(slot);
            break;
        case Effect::Kind::create_temporary:
            if (slot == Slot::primary) on(slot).temporary = true;
            break;
        case Effect::Kind::discard_temporary:
            if (slot == Slot::primary) on(slot).temporary = false;
            break;
        case Effect::Kind::declare_hold:
            on(slot).hold_cursors.add(effect.name);
            break;
        case Effect::Kind::listen:
            on(slot).channels.add(effect.name);
            break;
        case Effect::Kind::unlisten:
            on(slot).channels.remove(effect.name);
            break;
        case Effect::Kind::unlisten_all:
            on(slot).channels.clear();
            break;
        default:
            break;  // the others take effect at once, or never
    }
    if (!remembered) not_known(effect);
}

// An empty value: what the session started with. The server took it, so a value that makes no sense
// here is one of a placeholder that nobody checked: it changes nothing.
void SessionState::set_option(std::string_view name, std::string_view value) {
    if (!name.starts_with(kOptionPrefix)) return;
    const auto option = name.substr(kOptionPrefix.size());
    if (value.empty()) {
        ReadOptions rest = options_;
        rest.set(option, {});
        options_ = startup_options_.overlaid_by(rest);
    } else {
        options_.set(option, value);
    }
}

// The name of a custom setting is known to the server from here on, whatever comes of the value.
void SessionState::note_used(Slot slot, const Effect& effect) {
    if (effect.name.empty())
        on(slot).unnamed_custom |= slot == Slot::primary;
    else if (!settings_.used(on(slot).settings, effect.name))
        not_known(effect);
}

// It has to be assumed that the other connection lacks it.
void SessionState::not_known(const Effect& effect) {
    const bool is_scope = effect.name == "role" || effect.name == "session_authorization";
    (effect.name.empty() || is_scope ? opaque_settings_ : resettable_settings_) = true;
}

// Whether `effect` will last is not known: what costs offload only is taken for granted.
void SessionState::assume_the_worst(Slot slot, const Effect& effect) {
    switch (effect.kind) {
        case Effect::Kind::set:
        case Effect::Kind::reset:
        case Effect::Kind::reset_all:
        case Effect::Kind::discard_all:
        case Effect::Kind::set_on_primary:
        case Effect::Kind::opaque_settings:
            settings_.touched(on(slot).settings);
            opaque_settings_ = true;
            search_path_.kind = SearchPathSetting::Kind::unknown;
            break;
        case Effect::Kind::create_temporary:
        case Effect::Kind::declare_hold:
        case Effect::Kind::listen:
            apply(slot, effect);
            break;
        default:
            break;  // what takes state away
    }
}

// It runs outside of transactions only, and in a pipeline the server commits right behind it.
void SessionState::discard_all_at_once(Slot slot) {
    commit_staged();
    apply(slot, {Effect::Kind::discard_all, 0, {}, {}});
}

// What is left on the other connection is unreachable for the client: it goes before its next use.
void SessionState::discard_all(Slot slot) {
    auto* const elsewhere = connections_[index(other(slot))];
    settings_.discard_all(on(slot).settings, settings_of_other(slot));
    if (elsewhere != nullptr && !elsewhere->hold_cursors.empty()) {
        SessionSettings::close_cursors(elsewhere->settings);
        elsewhere->hold_cursors.clear();
    }
    on(slot).hold_cursors.clear();
    on(slot).channels.clear();
    on(Slot::primary).prepared_in_sql = false;
    on(Slot::primary).resettable_state.clear();
    if (slot == Slot::primary) on(slot).temporary = on(slot).advisory_locks = false;
    options_ = startup_options_;
    opaque_settings_ = resettable_settings_ = false;
    settings_failed_ = false;
}

SettingsApplied* SessionState::settings_of_other(Slot slot) {
    auto* const state = connections_[index(other(slot))];
    return state != nullptr ? &state->settings : nullptr;
}

void SessionState::close_cursor(Slot slot, const std::string& name) {
    on(slot).hold_cursors.remove(name);
    for (Staged& staged : staged_)
        if (staged.effect.kind == Effect::Kind::declare_hold && staged.slot == slot &&
            staged.effect.name == name)
            staged.effect.kind = Effect::Kind::close;
}

void SessionState::close_all_cursors(Slot slot) {
    on(slot).hold_cursors.clear();
    for (Staged& staged : staged_)
        if (staged.effect.kind == Effect::Kind::declare_hold && staged.slot == slot)
            staged.effect.kind = Effect::Kind::close;
}

// --- savepoints ---

void SessionState::set_savepoint(const std::string& name) {
    if (!savepoints_.empty() && savepoints_.back().name == name &&
        savepoints_.back().staged_size == staged_.size()) {
        ++savepoints_.back().times;
        return;
    }
    const std::size_t bytes = sizeof(Savepoint) + name.size();
    if (savepoint_bytes_ + bytes > kMaxStagedBytes) lose_track_of_savepoints();
    savepoint_bytes_ += bytes;
    savepoints_.push_back({name, staged_.size()});
}

// A savepoint of the same name hides the older one until it is released.
std::optional<std::size_t> SessionState::find_savepoint(const std::string& name) const {
    for (std::size_t i = savepoints_.size(); i > 0; --i)
        if (savepoints_[i - 1].name == name) return i - 1;
    return std::nullopt;
}

void SessionState::truncate_savepoints(std::size_t size) {
    for (std::size_t i = size; i < savepoints_.size(); ++i)
        savepoint_bytes_ -= sizeof(Savepoint) + savepoints_[i].name.size();
    savepoints_.erase(savepoints_.begin() + static_cast<std::ptrdiff_t>(size), savepoints_.end());
}

void SessionState::release_savepoint(const std::string& name) {
    const auto found = find_savepoint(name);
    if (!found) return lose_track_of_savepoints();  // it took with it all that came later
    if (--savepoints_[*found].times > 0)
        truncate_savepoints(*found + 1);
    else
        truncate_savepoints(*found);
}

void SessionState::roll_back_to_savepoint(const std::string& name) {
    const auto found = find_savepoint(name);
    if (!found) {
        lose_track_of_savepoints();
        return assume_the_worst_of_staged();
    }
    truncate_staged(savepoints_[*found].staged_size);
    truncate_savepoints(*found + 1);
}

// A ROLLBACK TO one of those that are forgotten here may undo anything. Those set from now on are
// known.
void SessionState::lose_track_of_savepoints() { truncate_savepoints(0); }

}  // namespace pgsteer::routing
