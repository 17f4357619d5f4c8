#include "routing/connection_state.hpp"

#include <algorithm>

namespace pgsteer::routing {

void NameSet::add(std::string_view name) {
    if (std::find(names_.begin(), names_.end(), name) != names_.end()) return;
    if (names_.size() < kMaxNames)
        names_.emplace_back(name);
    else
        more_ = true;
}

void NameSet::remove(std::string_view name) { std::erase(names_, name); }

void NameSet::clear() {
    names_.clear();
    more_ = false;
}

std::size_t NameSet::memory_bytes() const {
    std::size_t bytes = names_.capacity() * sizeof(std::string);
    for (const auto& name : names_) bytes += name.size();
    return bytes;
}

void ConnectionState::kept(const Kept& kept) {
    if (kept.what == Kept::What::resettable) resettable_state = kept.by;
    if (kept.what == Kept::What::state) backend_state = kept.by;
}

std::optional<Pin> ConnectionState::pin() const {
    if (temporary) return Pin::temporary_table;
    if (!pinned_by().empty()) return Pin::backend_state;
    if (unnamed_custom) return Pin::opaque_settings;
    return std::nullopt;
}

bool ConnectionState::is_irreplaceable() const {
    return !hold_cursors.empty() || !channels.empty() || temporary || advisory_locks ||
           !pinned_by().empty();
}

std::size_t ConnectionState::memory_bytes() const {
    return hold_cursors.memory_bytes() + channels.memory_bytes() + backend_state.size() +
           resettable_state.size();
}

}  // namespace pgsteer::routing
