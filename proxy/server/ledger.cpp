#include "proxy/server/ledger.hpp"

namespace pgsteer::proxy {

namespace {
// More of them are closed by DEALLOCATE ALL, if the client has none; else when their names are used
// again.
constexpr std::size_t kMaxLeftovers = 65'536;
}  // namespace

Lack Ledger::lack_of(std::string_view name, std::uint64_t id) const {
    const auto* const has = names_.next(name);
    if (has != nullptr && has->id == id) return Lack::nothing;
    const bool may_be_in_the_way = has == nullptr || *has;
    return may_be_in_the_way && !name.empty() ? Lack::close_and_parse : Lack::parse;
}

Lack Ledger::lack_of_any(std::string_view name) const {
    const auto* const has = names_.next(name);
    if (has == nullptr) return Lack::close_and_parse;
    return *has ? Lack::nothing : Lack::parse;
}

Lack Ledger::lack_of_none(std::string_view name) const {
    const auto* const has = names_.next(name);
    return has == nullptr || *has ? Lack::close : Lack::nothing;
}

void Ledger::left_over(std::string_view name) {
    if (name.empty() || !names_.now(name) || leftovers_.names.size() >= kMaxLeftovers) return;
    leftovers_.names.emplace_back(name_of(name));
}

void Ledger::all_left_over() {
    leftovers_ = {};
    leftovers_.all = names_.size() > 0;
}

}  // namespace pgsteer::proxy
