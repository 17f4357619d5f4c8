#include "routing/session_settings.hpp"

#include "routing/lower.hpp"
#include "routing/read_options.hpp"
#include "routing/search_path.hpp"

#include <algorithm>
#include <array>
#include <utility>

namespace pgsteer::routing {
namespace {

// As PostgreSQL compares names of settings, quoted or not: ASCII letters only (guc_name_compare).
bool same_name(std::string_view a, std::string_view b) {
    return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                      [](char x, char y) { return lower(x) == lower(y); });
}

bool is_ascii(std::string_view text) {
    return std::all_of(text.begin(), text.end(), [](char c) { return (c & 0x80) == 0; });
}

}  // namespace

std::size_t SessionSettings::Entry::memory_bytes() const {
    return sizeof(Entry) + name.size() + sql.size();
}

SessionSettings::Kind SessionSettings::kind_of(std::string_view name) {
    if (same_name(name, "datestyle")) return Kind::partial;
    if (same_name(name, "role")) return Kind::role;
    if (same_name(name, "session_authorization")) return Kind::session_authorization;
    if (same_name(name, "client_encoding")) return Kind::client_encoding;
    return Kind::plain;
}

bool SessionSettings::is_custom(std::string_view name) {
    return name.find('.') != std::string_view::npos && !name.starts_with(kOptionPrefix);
}

SessionSettings::Entry SessionSettings::making_known(std::string_view name) {
    Entry entry{0, Kind::plain, false, std::string{name}, "RESET "};
    for (std::string_view rest = name;;) {
        const auto dot = rest.find('.');
        entry.sql += quote_identifier(rest.substr(0, dot));
        if (dot == std::string_view::npos) return entry;
        entry.sql += '.';
        rest.remove_prefix(dot + 1);
    }
}

bool SessionSettings::used(SettingsApplied& on, std::string_view name) {
    if (!is_custom(name)) return true;
    has_custom_ = true;
    const bool is_listed = std::any_of(entries_.begin(), entries_.end(),
                                       [&](const Entry& e) { return same_name(e.name, name); });
    return is_listed || append(on, making_known(name));
}

bool SessionSettings::has(std::string_view name) const {
    return std::any_of(entries_.begin(), entries_.end(), [&](const Entry& entry) {
        return !entry.is_reset && same_name(entry.name, name);
    });
}

std::vector<std::string> SessionSettings::custom_names() const {
    std::vector<std::string> names;
    for (const Entry& entry : entries_)
        if (is_custom(entry.name)) names.push_back(entry.name);
    return names;
}

bool SessionSettings::make_known(SettingsApplied& on, const std::vector<std::string>& names) {
    return std::all_of(names.begin(), names.end(),
                       [&](const std::string& name) { return append(on, making_known(name)); });
}

template <class Predicate>
void SessionSettings::remove_if(Predicate predicate) {
    std::erase_if(entries_, [&](const Entry& entry) {
        if (!predicate(entry)) return false;
        bytes_ -= entry.memory_bytes();
        return true;
    });
}

// A connection that had everything before this entry has it now, too: the statement ran there. If
// something is still pending, all of it is repeated, this entry included: setting twice does no
// harm, in another order it would.
bool SessionSettings::append(SettingsApplied& on, Entry entry) {
    if (bytes_ + entry.memory_bytes() > kMaxBytes) return false;
    const bool up_to_date = first_pending(on) == entries_.size();
    entry.number = ++last_number_;
    bytes_ += entry.memory_bytes();
    if (!entry.is_reset) on.untouched_ = false;
    entries_.push_back(std::move(entry));
    if (up_to_date) on.number_ = last_number_;
    return true;
}

bool SessionSettings::set(SettingsApplied& on, std::string_view name, std::string_view sql) {
    const Kind kind = kind_of(name);
    Entry entry{0, kind, false, std::string{name}, std::string{sql}};
    if (!append(on, std::move(entry))) return false;
    const auto newest = last_number_;
    if (kind == Kind::plain || kind == Kind::partial)
        remove_if([&](const Entry& e) {
            return e.number != newest && same_name(e.name, name) &&
                   (kind == Kind::plain || e.sql == sql);
        });
    remove_superseded_scopes();
    return true;
}

bool SessionSettings::reset(SettingsApplied& on, std::string_view name, std::string_view sql) {
    const Kind kind = kind_of(name);
    Entry entry{0, kind, !is_custom(name), std::string{name}, std::string{sql}};
    if (!append(on, std::move(entry))) return false;
    const auto newest = last_number_;
    if (kind == Kind::plain || kind == Kind::partial)
        remove_if([&](const Entry& e) { return e.number != newest && same_name(e.name, name); });
    remove_superseded_scopes();
    return true;
}

// RESET ALL leaves role and session authorization as they are.
bool SessionSettings::reset_all(SettingsApplied& on, const SettingsApplied* other) {
    const bool nothing_unlisted = !on.unlisted_ && (other == nullptr || !other->unlisted_);
    if (entries_.empty() && nothing_unlisted) return true;  // no connection has anything to reset
    const auto names = custom_names();
    remove_if([](const Entry& e) {
        return e.kind == Kind::plain || e.kind == Kind::partial || e.kind == Kind::everything;
    });
    const bool remembered = append(on, {0, Kind::everything, true, {}, "RESET ALL"});
    remove_superseded_scopes();
    return make_known(on, names) && remembered;
}

// What DISCARD ALL does to settings, said so that it may run beside other statements; RESET ALL
// alone would leave role and session authorization. The connection itself is clean whatever was
// pending there.
void SessionSettings::discard_all(SettingsApplied& on, SettingsApplied* other) {
    const bool only_resets =
        std::all_of(entries_.begin(), entries_.end(), [](const Entry& e) { return e.is_reset; });
    const auto names = custom_names();
    if (!only_resets || (other != nullptr && other->unlisted_)) {
        entries_.clear();
        bytes_ = 0;
        const std::array resets{Entry{0, Kind::session_authorization, true, "session_authorization",
                                      "SET SESSION AUTHORIZATION DEFAULT"},
                                Entry{0, Kind::everything, true, {}, "RESET ALL"}};
        for (const Entry& entry : resets) static_cast<void>(append(on, entry));
    }
    on.number_ = last_number_;
    on.untouched_ = true;
    on.unlisted_ = false;
    if (other != nullptr) other->unlisted_ = false;
    on.close_cursors_ = false;
    static_cast<void>(make_known(on, names));  // of entries that there was room for
}

// Entries that only decided how others run, and have none left to decide for. From the back: what
// is kept tells what may go before it.
void SessionSettings::remove_superseded_scopes() {
    bool role_again = false;  // a later entry sets it anew, and nothing in between needs it
    bool authorization_again = false;
    bool encoding_again = false;
    std::vector<std::uint64_t> superseded;
    for (auto entry = entries_.rbegin(); entry != entries_.rend(); ++entry) {
        bool keep = true;
        switch (entry->kind) {
            case Kind::role:
                keep = !std::exchange(role_again, true);
                break;
            case Kind::session_authorization:
                keep = !std::exchange(authorization_again, true);
                role_again = true;
                break;
            case Kind::client_encoding:
                keep = !std::exchange(encoding_again, true);
                break;
            case Kind::everything:
                encoding_again = true;
                break;
            case Kind::plain:
            case Kind::partial:
                role_again = authorization_again = false;
                break;
        }
        if (!keep)
            superseded.push_back(entry->number);
        else if (!is_ascii(entry->sql) && entry->kind != Kind::client_encoding)
            encoding_again = false;
    }
    if (superseded.empty()) return;
    remove_if([&](const Entry& e) {
        return std::find(superseded.begin(), superseded.end(), e.number) != superseded.end();
    });
}

// What came before it had nothing to do there, and must not undo it now.
void SessionSettings::touched(SettingsApplied& on) const {
    if (first_pending(on) == entries_.size()) on.number_ = last_number_;
    on.untouched_ = false;
    on.unlisted_ = true;
}

void SessionSettings::applied(SettingsApplied& on) const {
    if (first_pending(on) < entries_.size()) on.untouched_ = false;
    on.number_ = last_number_;
    on.close_cursors_ = false;
}

bool SessionSettings::is_pending(const SettingsApplied& on) const {
    return on.close_cursors_ || first_pending(on) < entries_.size();
}

// Entries are in the order of their numbers, so what is pending is a tail of the list.
std::size_t SessionSettings::first_pending(const SettingsApplied& on) const {
    const auto pending = [&](const Entry& e) { return e.number > on.number_; };
    auto first = std::find_if(entries_.begin(), entries_.end(), pending);
    if (on.untouched_)
        first = std::find_if(first, entries_.end(), [](const Entry& e) { return !e.is_reset; });
    return static_cast<std::size_t>(first - entries_.begin());
}

std::vector<std::string_view> SessionSettings::pending(const SettingsApplied& on) const {
    std::vector<std::string_view> statements;
    for (std::size_t i = first_pending(on); i < entries_.size(); ++i)
        statements.emplace_back(entries_[i].sql);
    if (on.close_cursors_) statements.emplace_back("CLOSE ALL");
    return statements;
}

}  // namespace pgsteer::routing
