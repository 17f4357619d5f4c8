#include "routing/catalog.hpp"

#include <algorithm>

namespace pgsteer::routing {
namespace {

// Linear but for a pattern with many stars, and patterns are the operator's own.
bool matches(std::string_view pattern, std::string_view text) {
    std::size_t star = std::string_view::npos;
    std::size_t resume = 0;
    std::size_t p = 0;
    std::size_t t = 0;
    while (t < text.size()) {
        if (p < pattern.size() && pattern[p] == '*') {
            star = p++;
            resume = t;
        } else if (p < pattern.size() && (pattern[p] == '?' || pattern[p] == text[t])) {
            ++p;
            ++t;
        } else if (star != std::string_view::npos) {
            p = star + 1;
            t = ++resume;
        } else {
            return false;
        }
    }
    while (p < pattern.size() && pattern[p] == '*') ++p;
    return p == pattern.size();
}

bool any_matches(const std::vector<std::string>& patterns, std::string_view name) {
    return std::any_of(patterns.begin(), patterns.end(),
                       [&](const std::string& pattern) { return matches(pattern, name); });
}

template <class Object>
std::span<const Object> of_name(const std::vector<Object>& sorted, std::string_view name) {
    struct ByName {
        bool operator()(const Object& object, std::string_view wanted) const {
            return object.name < wanted;
        }
        bool operator()(std::string_view wanted, const Object& object) const {
            return wanted < object.name;
        }
    };
    const auto [first, last] = std::equal_range(sorted.begin(), sorted.end(), name, ByName{});
    return {first, last};
}

}  // namespace

FunctionOverrides::Says FunctionOverrides::judge(std::string_view schema,
                                                 std::string_view name) const {
    if (read_only_.empty() && primary_.empty()) return Says::nothing;
    const std::string full = std::string{schema}.append(".").append(name);
    if (any_matches(primary_, full)) return Says::primary;
    return any_matches(read_only_, full) ? Says::read_only : Says::nothing;
}

std::span<const Catalog::Function> Catalog::functions(std::string_view name) const {
    return of_name(functions_, name);
}
std::span<const Catalog::Operator> Catalog::operators(std::string_view name) const {
    return of_name(operators_, name);
}
std::span<const Catalog::Named> Catalog::types(std::string_view name) const {
    return of_name(types_, name);
}
std::span<const Catalog::Relation> Catalog::relations(std::string_view name) const {
    return of_name(relations_, name);
}

// As PostgreSQL applies them: of the role in this database, of the role, of this database, of all.
SessionDefaults Catalog::defaults_of(std::string_view role) const {
    const auto find = [&](std::string_view name) -> const std::string* {
        const CatalogFacts::Setting* best = nullptr;
        const auto rank = [](const CatalogFacts::Setting& setting) {
            return (setting.role.empty() ? 0 : 2) + (setting.is_of_database ? 1 : 0);
        };
        for (const auto& setting : settings_) {
            if (setting.name != name || (!setting.role.empty() && setting.role != role)) continue;
            if (best == nullptr || rank(setting) > rank(*best)) best = &setting;
        }
        return best != nullptr ? &best->value : nullptr;
    };
    SessionDefaults defaults{.search_path = default_search_path_, .modes = {}};
    if (const auto* path = find("search_path")) defaults.search_path = *path;
    if (default_isolation_) defaults.modes.isolation = parse_isolation(*default_isolation_);
    if (const auto* isolation = find("default_transaction_isolation"))
        defaults.modes.isolation = parse_isolation(*isolation);
    defaults.may_be_serializable =
        defaults.modes.isolation.value_or(Isolation::serializable) == Isolation::serializable;
    if (default_read_only_) defaults.modes.read_only = parse_bool(*default_read_only_);
    if (const auto* read_only = find("default_transaction_read_only"))
        defaults.modes.read_only = parse_bool(*read_only);
    defaults.changes_role = find("role") != nullptr;
    return defaults;
}

std::size_t Catalog::memory_bytes() const {
    std::size_t bytes =
        sizeof(Catalog) + arena_.capacity() + detail_arena_.capacity() +
        functions_.capacity() * sizeof(Function) + operators_.capacity() * sizeof(Operator) +
        types_.capacity() * sizeof(Named) + relations_.capacity() * sizeof(Relation);
    for (const auto& setting : settings_)
        bytes += sizeof(setting) + setting.role.size() + setting.name.size() + setting.value.size();
    return bytes;
}

std::string_view Catalog::keep(std::string_view text) {
    const std::size_t at = arena_.size();
    arena_.append(text);
    return std::string_view{arena_}.substr(at, text.size());
}

}  // namespace pgsteer::routing
