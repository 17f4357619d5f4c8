#include "routing/kept_functions.hpp"

#include "routing/lower.hpp"

namespace pgsteer::routing {

KeptFunctions::KeptFunctions(const CatalogFacts& facts, const FunctionOverrides& overrides)
    : overrides_{overrides} {
    for (const auto& body : facts.bodies) add({body.schema, body.name}, body.facts);
    for (const auto& body : facts.sql_bodies) add({body.schema, body.name}, read_body(body.sql));
    for (const auto& aggregate : facts.aggregates)
        calling_.emplace(spelled_in_body(aggregate.calls.name),
                         Caller{lower(aggregate.calls.schema), {aggregate.schema, aggregate.name}});
    for (const auto& function : facts.functions)
        raise({function.schema, function.name}, kept_by_member(function.extension, function.name));
    for (const auto& table : facts.written)
        raise_callers(writing_, {table.schema, table.name}, table.keeps);
    while (!raised_.empty()) {
        const Name name = std::move(raised_.back());
        raised_.pop_back();
        raise_callers(calling_, name, kept_.at(name));
    }
}

void KeptFunctions::add(const Name& caller, const BodyFacts& body) {
    for (const auto& [schema, name] : body.calls) calling_.emplace(name, Caller{schema, caller});
    for (const auto& [schema, name] : body.writes) writing_.emplace(name, Caller{schema, caller});
    raise(caller, body.keeps);
}

// Whoever configures a function as one that reads knows what it leaves behind. Each is raised a few
// times at most, so that it ends.
void KeptFunctions::raise(const Name& name, Kept::What what) {
    if (what <= of(name.first, name.second)) return;
    if (overrides_.judge(name.first, name.second) == FunctionOverrides::Says::read_only) return;
    kept_[name] = what;
    raised_.push_back(name);
}

void KeptFunctions::raise_callers(const Callers& callers, const Name& named, Kept::What what) {
    const auto [first, last] = callers.equal_range(spelled_in_body(named.second));
    const auto schema = lower(named.first);
    for (auto caller = first; caller != last; ++caller)
        if (caller->second.schema.empty() || caller->second.schema == schema)
            raise(caller->second.name, what);
}

Kept::What KeptFunctions::of(const std::string& schema, const std::string& name) const {
    const auto found = kept_.find({schema, name});
    return found != kept_.end() ? found->second : Kept::What::nothing;
}

std::vector<std::pair<KeptFunctions::Name, Kept::What>> KeptFunctions::all() const {
    return {kept_.begin(), kept_.end()};
}

}  // namespace pgsteer::routing
