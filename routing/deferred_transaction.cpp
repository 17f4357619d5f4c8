#include "routing/deferred_transaction.hpp"

#include <algorithm>

namespace pgsteer::routing {
namespace {

std::string_view set_isolation(Isolation isolation) {
    switch (isolation) {
        case Isolation::read_committed:
            return "SET TRANSACTION ISOLATION LEVEL READ COMMITTED";
        case Isolation::repeatable_read:
            return "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ";
        case Isolation::serializable:
            return "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE";
    }
    return {};
}

// default_transaction_read_only, by whatever means.
bool sets_read_only(const Effect& effect) {
    using Kind = Effect::Kind;
    constexpr std::string_view name = "default_transaction_read_only";
    if (effect.kind == Kind::set_on_primary && effect.form == Effect::Form::modes)
        return effect.modes.read_only.has_value();
    return effect.name == name &&
           (effect.kind == Kind::set_on_primary || effect.kind == Kind::set_transaction ||
            effect.kind == Kind::set_local);
}

}  // namespace

std::size_t DeferredTransaction::Entry::bytes() const {
    return sizeof(Entry) + name.size() + sql.size();
}

void DeferredTransaction::begin(const Effect& begin,
                                const DefaultModes& defaults,
                                const ReadOptions& options) {
    clear();
    stage_ = Stage::waiting;
    modes_ = defaults.modes;
    modes_.overlay(begin.modes);
    says_read_write_ = begin.modes.read_only == false;
    sets_isolation_ = defaults.isolation_is_the_sessions && !begin.modes.isolation;
    options_ = options;
    opening_.push_back(begin.sql);
    bytes_ += begin.sql.size();
}

void DeferredTransaction::set_modes(const Effect& set_transaction) {
    modes_.overlay(set_transaction.modes);
    // It is repeated as it was said: READ ONLY does not take READ WRITE back.
    if (set_transaction.modes.read_only == false) says_read_write_ = true;
    if (set_transaction.modes.isolation) sets_isolation_ = false;
    opening_.push_back(set_transaction.sql);
    bytes_ += set_transaction.sql.size();
}

void DeferredTransaction::begun_on_replica(const Effect& effect, const DefaultModes& defaults) {
    begin(effect, defaults, {});
    opened();
}

void DeferredTransaction::completed(const Effect& effect) {
    using Kind = Effect::Kind;
    if (sets_read_only(effect)) {
        keep({false, {}, {}, ReadOnlyDefault{effect.modes.read_only}});
        return tie();
    }
    switch (effect.kind) {
        case Kind::savepoint:
            return keep({true, effect.name, effect.sql});
        case Kind::release:  // and with it all savepoints set since; what was set in between stays
            return remove_from(find_savepoint(effect.name), true);
        case Kind::rollback_to:
            return remove_from(std::min(find_savepoint(effect.name) + 1, log_.size()), false);
        case Kind::set:
        case Kind::set_local:
        case Kind::reset:
        case Kind::reset_all:
            if (effect.sql.empty()) return tie();  // a value that is not known
            return keep({false, {}, effect.sql});
        case Kind::commit:  // AND CHAIN: another one like it
        case Kind::rollback:
            queried_ = false;
            has_ended_ = effect.form != Effect::Form::chain;
            return remove_from(0, false);
        case Kind::begin:    // a warning
        case Kind::prepare:  // of the session, and known to both connections
            return;
        default:  // what would not be repeated elsewhere
            return tie();
    }
}

void DeferredTransaction::failed() {
    for (std::size_t i = log_.size(); i > 0 && !log_[i - 1].is_savepoint; --i)
        log_[i - 1].read_only.reset();
}

void DeferredTransaction::keep(Entry entry) {
    bytes_ += entry.bytes();
    log_.push_back(std::move(entry));
}

std::size_t DeferredTransaction::find_savepoint(std::string_view name) const {
    for (std::size_t i = log_.size(); i > 0; --i)
        if (log_[i - 1].is_savepoint && log_[i - 1].name == name) return i - 1;
    return log_.size();
}

void DeferredTransaction::remove_from(std::size_t first, bool savepoints_only) {
    const auto begin = log_.begin() + static_cast<std::ptrdiff_t>(first);
    log_.erase(std::remove_if(begin, log_.end(),
                              [&](const Entry& entry) {
                                  if (savepoints_only && !entry.is_savepoint) return false;
                                  bytes_ -= entry.bytes();
                                  return true;
                              }),
               log_.end());
}

std::string DeferredTransaction::opening(bool on_replica) const {
    std::string text;
    const auto add = [&text](std::string_view sql) {
        if (!text.empty()) text += "; ";
        text += sql;
    };
    for (const std::string& sql : opening_) add(sql);
    if (on_replica && sets_isolation_) add(set_isolation(isolation()));
    if (queried_) add("SELECT");
    for (const Entry& entry : log_)
        if (!entry.sql.empty()) add(entry.sql);
    return text;
}

std::string DeferredTransaction::kept_for_primary() const {
    std::string text;
    for (const Entry& entry : log_)
        if (entry.for_primary) text.append(text.empty() ? "" : "\n; ").append(entry.sql);
    return text;
}

std::optional<DeferredTransaction::ReadOnlyDefault> DeferredTransaction::read_only_default() const {
    for (std::size_t i = log_.size(); i > 0; --i)
        if (log_[i - 1].read_only) return log_[i - 1].read_only;
    return std::nullopt;
}

}  // namespace pgsteer::routing
