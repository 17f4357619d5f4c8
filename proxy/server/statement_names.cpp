#include "proxy/server/statement_names.hpp"

#include <algorithm>
#include <utility>

namespace pgsteer::proxy {

namespace {
const NamedStatement kNone;
}  // namespace

auto NameLog::find_other(std::string_view name) const -> const Entry* {
    const auto found = named_.find(name);
    return found == named_.end() ? nullptr : recent_ = &found->second;
}

SentMessage StatementNames::parse(std::string_view name, NamedStatement statement) {
    const auto message = send(MessageKind::extended);
    prepare(name, std::move(statement), 0);
    return message;
}

SentMessage StatementNames::close(std::string_view name) {
    const auto message = send(MessageKind::extended);
    auto* const entry = const_cast<Entry*>(find(name));
    if (entry != nullptr && (entry->final || entry->queued > 0)) append(Kind::close, entry, {}, 0);
    return message;
}

SentMessage StatementNames::send_other(MessageKind kind) {
    const auto message = newest_;
    if (kind == MessageKind::query && (unnamed_.final || unnamed_.queued > 0))
        append(Kind::drop_unnamed, &unnamed_, {}, 0);
    if (kind == MessageKind::sync) {
        newest_.segment = std::max(newest_.segment + 1, 1U);  // 0 is none
        is_skipping_ = false;
    }
    return message;
}

void StatementNames::prepare(std::string_view name, NamedStatement statement, std::uint16_t index) {
    if (is_skipping_) return;
    auto* entry = const_cast<Entry*>(find(name));
    if (entry == nullptr) {
        if (named_.size() >= max_names_) {
            forgot_at_ = newest_.number;
            return;
        }
        const auto made = named_.try_emplace(std::string{name_of(name)}).first;
        entry = &made->second;
        entry->name = &made->first;
    }
    append(Kind::define, entry, std::move(statement), index);
}

void StatementNames::deallocate(std::string_view name, std::uint16_t index) {
    if (!name.empty()) append(Kind::deallocate, const_cast<Entry*>(find(name)), {}, index);
}

void StatementNames::deallocate_all(std::uint16_t index) {
    append(Kind::deallocate_all, nullptr, {}, index);
}

void NameLog::append(Kind kind, Entry* entry, NamedStatement statement, std::uint16_t index) {
    if (is_skipping_) return;
    const auto place = queue_.end();
    auto& added = queue_.push({newest_, entry, std::move(statement), index, kind, {}, {}});
    if (entry != nullptr) {
        ++entry->queued;
        ++(kind == Kind::define ? entry->defines : entry->removals);
        entry->last = place;
    } else if (kind == Kind::deallocate_all) {
        ++alls_;
        all_last_ = place;
    }
    if (forecast_.is_due) return;  // with the others
    added.expected = expect(added);
    note_expected(added, place);
}

// What will come of it, by the forecast on what is before it.
auto NameLog::expect(const Operation& operation) const -> Outcome {
    if (operation.message.segment == forecast_.skips_segment ||
        operation.message.number == forecast_.ends_message)
        return Outcome::nothing;
    const auto* const entry = operation.entry;
    const bool is_named = entry == nullptr || entry->name != nullptr;
    const bool is_there =
        entry == nullptr ? !knows_all() : bool{at(*entry, entry->after, forecast_.all)};
    const bool fails = (operation.kind == Kind::define && is_named && is_there) ||
                       (operation.kind == Kind::deallocate && !is_there);
    if (!fails) return Outcome::happened;
    if (operation.message.skips) {
        forecast_.skips_segment = operation.message.segment;
    } else {
        forecast_.ends_message = operation.message.number;
    }
    return Outcome::nothing;
}

void NameLog::note_expected(const Operation& operation, Place place) const {
    if (operation.expected == Outcome::nothing) return;
    if (operation.entry != nullptr) {
        operation.entry->after = place;
    } else if (operation.kind == Kind::deallocate_all) {
        forecast_.all = place;
    }
}

void NameLog::forecast() const {
    if (!forecast_.is_due) return;
    forecast_ = {};
    for (auto place = queue_.first(); place != queue_.end(); ++place)
        if (auto* const entry = queue_[place].entry) entry->after = 0;
    for (auto place = queue_.first(); place != queue_.end(); ++place) {
        auto& operation = queue_[place];
        operation.expected = place < unanswered_ ? operation.outcome : expect(operation);
        note_expected(operation, place);
    }
}

void StatementNames::note_completed(const SentMessage& message, std::uint16_t index) {
    while (unanswered_ != queue_.end()) {
        const auto& next = queue_[unanswered_];
        if (next.message.number > message.number) return;
        if (next.message.number == message.number && next.index > index) return;
        answer(next.message.number == message.number ? Outcome::happened : Outcome::nothing);
    }
}

void StatementNames::failed(const SentMessage& message) {
    while (unanswered_ != queue_.end()) {
        const auto& next = queue_[unanswered_];
        if (next.message.number > message.number &&
            (!message.skips || next.message.segment != message.segment))
            break;
        if (next.message.number != message.number) {
            answer(Outcome::nothing);
        } else if (next.kind == Kind::drop_unnamed) {
            answer(Outcome::happened);
        } else {
            const bool drops = next.kind == Kind::define && next.entry == &unnamed_;
            answer(drops ? Outcome::dropped : Outcome::nothing);
        }
    }
    if (message.skips && message.segment == newest_.segment) is_skipping_ = true;
}

void StatementNames::note_skipped(const SentMessage& message) {
    while (unanswered_ != queue_.end() && queue_[unanswered_].message.number <= message.number)
        answer(Outcome::nothing);
}

void StatementNames::fail_up_to(const SentMessage& last) {
    if (unanswered_ != queue_.end() && queue_[unanswered_].message.number <= last.number)
        failed(SentMessage{queue_[unanswered_].message});
    skipped(last);
}

// The first that has not been answered, is.
void NameLog::answer(Outcome outcome) {
    const auto place = unanswered_++;
    auto& operation = queue_[place];
    operation.outcome = outcome;
    if (operation.expected != outcome) forecast_.is_due = true;
    if (auto* const entry = operation.entry) {
        --(operation.kind == Kind::define ? entry->defines : entry->removals);
        if (outcome != Outcome::nothing) entry->now = place;
    } else if (operation.kind == Kind::deallocate_all) {
        --alls_;
        if (outcome != Outcome::nothing) all_now_ = place;
    }
}

void NameLog::finish_answered() {
    if (queue_.first() == unanswered_) return;
    while (queue_.first() != unanswered_) finish_front();
    queue_.shrink();
}

void NameLog::finish_front() {
    const auto place = queue_.first();
    auto front = queue_.pop();
    if (front.kind == Kind::deallocate_all) {
        if (front.outcome == Outcome::happened) {
            recent_ = nullptr;
            for (auto& [name, entry] : named_) entry.final = {};
            std::erase_if(named_, [](const auto& named) { return named.second.queued == 0; });
            if (forgot_at_ < front.message.number) forgot_at_ = 0;
        }
        for (auto* const all : {&all_now_, &all_last_, &forecast_.all})
            if (*all == place) *all = 0;
    }
    if (front.entry == nullptr) return;
    auto& entry = *front.entry;
    if (front.outcome != Outcome::nothing) entry.final = {};
    if (front.outcome == Outcome::happened) entry.final = std::move(front.statement);
    for (auto* const last : {&entry.now, &entry.after, &entry.last})
        if (*last == place) *last = 0;
    if (--entry.queued == 0 && !entry.final && entry.name != nullptr) {
        recent_ = nullptr;
        named_.erase(named_.find(*entry.name));
    }
}

void StatementNames::withdraw() {
    skipped(newest_);
    for (auto place = queue_.first(); place != queue_.end(); ++place)
        queue_[place].outcome = Outcome::nothing;
    commit();
    forecast_ = {};
    send(MessageKind::sync);
}

// By what was last said of it, at `place`, and of all, at `all`.
const NamedStatement& NameLog::at(const Entry& entry, Place place, Place all) const {
    if (entry.name != nullptr && all > place) return kNone;
    if (place == 0) return entry.final;
    const auto& said = queue_[place];
    const auto outcome = place < unanswered_ ? said.outcome : said.expected;
    return said.kind == Kind::define && outcome == Outcome::happened ? said.statement : kNone;
}

const NamedStatement& StatementNames::now(std::string_view name) const {
    const auto* const entry = find(name);
    return entry == nullptr ? kNone : at(*entry, entry->now, all_now_);
}

const NamedStatement& StatementNames::after(std::string_view name) const {
    forecast();
    const auto* const entry = find(name);
    return entry == nullptr ? kNone : at(*entry, entry->after, forecast_.all);
}

bool StatementNames::is_certain(std::string_view name) const { return is_final(find(name)); }

// It means what it means now, whatever fails of what is under way.
bool NameLog::is_final(const Entry* entry) const {
    if (entry == nullptr) return knows_all();
    if (!at(*entry, entry->now, all_now_)) return entry->defines == 0;
    if (entry->name == nullptr) return entry->removals == 0 && entry->defines == 0;
    return entry->removals == 0 && alls_ == 0;
}

const NamedStatement* StatementNames::next(std::string_view name) const {
    return next_of(find(name));
}

const NamedStatement* NameLog::next_of(const Entry* entry) const {
    if (entry == nullptr) return knows_all() ? &kNone : nullptr;
    if (queue_.empty()) return &entry->final;
    const auto last = std::max(entry->last, entry->name == nullptr ? Place{0} : all_last_);
    if (last != 0) {
        const auto& said = queue_[last];
        const bool has_happened = said.message.segment == newest_.segment &&
                                  (said.message.skips || said.kind == Kind::drop_unnamed);
        if (has_happened) return said.kind == Kind::define ? &said.statement : &kNone;
    }
    return is_final(entry) ? &at(*entry, entry->now, all_now_) : nullptr;
}

StatementNames::Meaning StatementNames::look(std::string_view name) const {
    const auto* const entry = find(name);
    if (entry != nullptr && queue_.empty()) return {entry->final, &entry->final};
    forecast();
    return {entry == nullptr ? kNone : at(*entry, entry->after, forecast_.all), next_of(entry)};
}

}  // namespace pgsteer::proxy
