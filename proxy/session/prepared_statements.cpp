#include "proxy/session/prepared_statements.hpp"

namespace pgsteer::proxy {

using routing::Slot;

namespace {
constexpr std::size_t index_of(Slot slot) { return static_cast<std::size_t>(slot); }
constexpr Slot other(Slot slot) { return slot == Slot::primary ? Slot::replica : Slot::primary; }
const PreparedPtr kNone;
}  // namespace

const PreparedPtr& PreparedStatements::find(std::string_view name) const {
    if (name.empty()) return unnamed_;
    const auto found = named_.find(name);
    return found == named_.end() ? kNone : found->second;
}

bool PreparedStatements::may_keep(std::size_t bytes) const {
    return bytes_ + bytes <= kMaxBytes && named_.size() < kMaxStatements;
}

StatementChange PreparedStatements::define(std::string_view name,
                                           wire::Bytes message,
                                           routing::StatementPtr statement) {
    StatementChange change;
    if (name.empty()) {
        change.closed = unnamed_;  // what the server keeps if this Parse is skipped behind an error
        unnamed_ = std::make_shared<PreparedStatement>();
        unnamed_->definition.assign(message.begin(), message.end());
        unnamed_->statement = std::move(statement);
        change.defined = unnamed_;
        return change;
    }
    auto defined = std::make_shared<PreparedStatement>();
    defined->name = name;
    if (may_keep(message.size())) {
        defined->definition.assign(message.begin(), message.end());
        bytes_ += message.size();
    }
    defined->statement = std::move(statement);
    if (named_.size() < kMaxStatements) named_.emplace(defined->name, defined);
    change.defined = std::move(defined);
    return change;
}

StatementChange PreparedStatements::define_in_sql(std::string_view name,
                                                  wire::Bytes message,
                                                  routing::StatementPtr statement) {
    auto change = define(name, message, std::move(statement));
    change.defined->in_sql = true;
    return change;
}

void PreparedStatements::forget(const PreparedPtr& statement) {
    bytes_ -= statement->name.empty() ? 0 : statement->definition.size();
    if (statement->name.empty()) {
        if (unnamed_ == statement) unnamed_.reset();
    } else if (const auto found = named_.find(statement->name);
               found != named_.end() && found->second == statement) {
        named_.erase(found);
    }
}

StatementChange PreparedStatements::close(std::string_view name) {
    StatementChange change;
    change.closed = find(name);
    if (change.closed) forget(change.closed);
    return change;
}

std::vector<StatementChange> PreparedStatements::close_all() {
    std::vector<StatementChange> changes;
    changes.reserve(named_.size());
    for (auto& [name, statement] : named_) changes.push_back({nullptr, statement});
    named_.clear();
    bytes_ = 0;
    return changes;
}

void PreparedStatements::undo(const StatementChange& change) {
    if (change.defined && find(change.defined->name) == change.defined) forget(change.defined);
    if (change.closed && !find(change.closed->name)) {
        if (change.closed->name.empty()) {
            unnamed_ = change.closed;
        } else {
            named_.emplace(change.closed->name, change.closed);
            bytes_ += change.closed->definition.size();
        }
    }
}

void PreparedStatements::withdraw(const StatementChange& change, Slot slot) {
    undo(change);
    if (change.closed) change.closed->prepared_on[index_of(slot)] = 0;
    const auto& named = change.defined ? change.defined : change.closed;
    if (named && !named->name.empty()) leftovers(slot).names.push_back(named->name);
}

void PreparedStatements::closed_on(const PreparedStatement& statement, Slot slot) {
    if (!statement.name.empty() && statement.prepared_on[index_of(other(slot))] != 0)
        leftovers(other(slot)).names.push_back(statement.name);
}

void PreparedStatements::deallocated_all(Slot slot) {
    leftovers(slot) = {};
    leftovers(other(slot)) = {{}, true};
}

// Lease numbers are never used again, so `prepared_on` needs no visit.
void PreparedStatements::disconnected(Slot slot) { leftovers(slot) = {}; }

}  // namespace pgsteer::proxy
