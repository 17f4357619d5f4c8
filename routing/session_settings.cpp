#include "routing/session_settings.hpp"

#include "routing/lower.hpp"
#include "routing/read_options.hpp"
#include "routing/search_path.hpp"

#include <algorithm>
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

std::size_t index(Slot slot) { return static_cast<std::size_t>(slot); }

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

bool SessionSettings::used(Slot slot, std::string_view name) {
    if (!is_custom(name)) return true;
    has_custom_ = true;
    const bool is_listed = std::any_of(entries_.begin(), entries_.end(),
                                       [&](const Entry& e) { return same_name(e.name, name); });
    return is_listed || append(slot, making_known(name));
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

bool SessionSettings::make_known(Slot slot, const std::vector<std::string>& names) {
    return std::all_of(names.begin(), names.end(),
                       [&](const std::string& name) { return append(slot, making_known(name)); });
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
bool SessionSettings::append(Slot slot, Entry entry) {
    if (bytes_ + entry.memory_bytes() > kMaxBytes) return false;
    const bool up_to_date = first_pending(slot) == entries_.size();
    entry.number = ++last_number_;
    bytes_ += entry.memory_bytes();
    if (!entry.is_reset) untouched_[index(slot)] = false;
    entries_.push_back(std::move(entry));
    if (up_to_date) applied_[index(slot)] = last_number_;
    return true;
}

bool SessionSettings::set(Slot slot, std::string_view name, std::string_view sql) {
    const Kind kind = kind_of(name);
    Entry entry{0, kind, false, std::string{name}, std::string{sql}};
    if (!append(slot, std::move(entry))) return false;
    const auto newest = last_number_;
    if (kind == Kind::plain || kind == Kind::partial)
        remove_if([&](const Entry& e) {
            return e.number != newest && same_name(e.name, name) &&
                   (kind == Kind::plain || e.sql == sql);
        });
    remove_superseded_scopes();
    return true;
}

bool SessionSettings::reset(Slot slot, std::string_view name, std::string_view sql) {
    const Kind kind = kind_of(name);
    Entry entry{0, kind, !is_custom(name), std::string{name}, std::string{sql}};
    if (!append(slot, std::move(entry))) return false;
    const auto newest = last_number_;
    if (kind == Kind::plain || kind == Kind::partial)
        remove_if([&](const Entry& e) { return e.number != newest && same_name(e.name, name); });
    remove_superseded_scopes();
    return true;
}

// RESET ALL leaves role and session authorization as they are.
bool SessionSettings::reset_all(Slot slot) {
    const bool nothing_unlisted = !unlisted_[0] && !unlisted_[1];
    if (entries_.empty() && nothing_unlisted) return true;  // no connection has anything to reset
    const auto names = custom_names();
    remove_if([](const Entry& e) {
        return e.kind == Kind::plain || e.kind == Kind::partial || e.kind == Kind::everything;
    });
    const bool remembered = append(slot, {0, Kind::everything, true, {}, "RESET ALL"});
    remove_superseded_scopes();
    return make_known(slot, names) && remembered;
}

// What DISCARD ALL does to settings, said so that it may run beside other statements; RESET ALL
// alone would leave role and session authorization. The slot itself is clean whatever was pending
// there.
void SessionSettings::discard_all(Slot slot) {
    const bool only_resets =
        std::all_of(entries_.begin(), entries_.end(), [](const Entry& e) { return e.is_reset; });
    const Slot other = slot == Slot::primary ? Slot::replica : Slot::primary;
    const auto names = custom_names();
    if (!only_resets || unlisted_[index(other)]) {
        entries_.clear();
        bytes_ = 0;
        const std::array resets{Entry{0, Kind::session_authorization, true, "session_authorization",
                                      "SET SESSION AUTHORIZATION DEFAULT"},
                                Entry{0, Kind::everything, true, {}, "RESET ALL"}};
        for (const Entry& entry : resets) static_cast<void>(append(slot, entry));
    }
    applied_[index(slot)] = last_number_;
    untouched_[index(slot)] = true;
    unlisted_ = {};
    close_cursors_[index(slot)] = false;
    static_cast<void>(make_known(slot, names));  // of entries that there was room for
}

void SessionSettings::close_cursors(Slot slot) { close_cursors_[index(slot)] = true; }

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
void SessionSettings::touched(Slot slot) {
    if (first_pending(slot) == entries_.size()) applied_[index(slot)] = last_number_;
    untouched_[index(slot)] = false;
    unlisted_[index(slot)] = true;
}

void SessionSettings::new_connection(Slot slot) {
    applied_[index(slot)] = 0;
    untouched_[index(slot)] = true;
    unlisted_[index(slot)] = false;
    close_cursors_[index(slot)] = false;
}

void SessionSettings::applied(Slot slot) {
    if (first_pending(slot) < entries_.size()) untouched_[index(slot)] = false;
    applied_[index(slot)] = last_number_;
    close_cursors_[index(slot)] = false;
}

bool SessionSettings::is_pending(Slot slot) const {
    return close_cursors_[index(slot)] || first_pending(slot) < entries_.size();
}

// Entries are in the order of their numbers, so what is pending is a tail of the list.
std::size_t SessionSettings::first_pending(Slot slot) const {
    const auto pending = [&](const Entry& e) { return e.number > applied_[index(slot)]; };
    auto first = std::find_if(entries_.begin(), entries_.end(), pending);
    if (untouched_[index(slot)])
        first = std::find_if(first, entries_.end(), [](const Entry& e) { return !e.is_reset; });
    return static_cast<std::size_t>(first - entries_.begin());
}

std::vector<std::string_view> SessionSettings::pending(Slot slot) const {
    std::vector<std::string_view> statements;
    for (std::size_t i = first_pending(slot); i < entries_.size(); ++i)
        statements.emplace_back(entries_[i].sql);
    if (close_cursors_[index(slot)]) statements.emplace_back("CLOSE ALL");
    return statements;
}

}  // namespace pgsteer::routing
