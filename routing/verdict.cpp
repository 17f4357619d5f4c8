#include "routing/verdict.hpp"

namespace pgsteer::routing {
namespace {

using Found = std::optional<Obstacle>;

// Calls visit(object) for all of `objects` that `use` may mean, until it returns false.
template <class Objects, class Visit>
void for_each_meant(const Objects& objects, const Use& use, const SearchPath& path, Visit visit) {
    for (const auto& object : objects) {
        const bool is_meant =
            use.schema.empty() ? path.may_hold(object.schema) : object.schema == use.schema;
        if (is_meant && !visit(object)) return;
    }
}

std::string spelled(const Catalog::Named& object) {
    return std::string{object.schema}.append(".").append(object.name);
}

Found function(const Use& use, const Catalog& catalog, const SearchPath& path) {
    bool is_known = use.is_builtin;
    Found found;
    for_each_meant(catalog.functions(use.name), use, path, [&](const Catalog::Function& candidate) {
        is_known = true;
        if (candidate.keeps != Kept::What::nothing)
            found = {Reason::backend_state, spelled(candidate)};
        else if (candidate.is_volatile)
            found = {Reason::volatile_function, spelled(candidate)};
        return !found;
    });
    if (found) return found;
    if (!is_known) return Obstacle{Reason::unknown_function, use.spelled()};
    const bool is_overridden =
        use.is_builtin &&
        catalog.overrides().judge("pg_catalog", use.name) == FunctionOverrides::Says::primary;
    if (is_overridden)
        return Obstacle{Reason::volatile_function, "pg_catalog." + std::string{use.name}};
    return std::nullopt;
}

Found op(const Use& use, const Catalog& catalog, const SearchPath& path) {
    bool is_known = use.is_builtin;
    Found found;
    for_each_meant(catalog.operators(use.name), use, path, [&](const Catalog::Operator& candidate) {
        is_known = true;
        if (candidate.keeps != Kept::What::nothing)
            found = {Reason::backend_state, "operator " + spelled(candidate)};
        else if (candidate.is_volatile)
            found = {Reason::volatile_function, "operator " + spelled(candidate)};
        return !found;
    });
    if (!found && !is_known) return Obstacle{Reason::unknown_operator, use.spelled()};
    return found;
}

// The functions behind types are judged for the database as a whole.
Found type(const Use& use, const Catalog& catalog, const SearchPath& path) {
    bool is_known = use.is_builtin;
    for_each_meant(catalog.types(use.name), use, path, [&](const Catalog::Named&) {
        is_known = true;
        return false;
    });
    if (is_known) return std::nullopt;
    return Obstacle{Reason::unknown_function, "type " + use.spelled()};
}

// One that the catalog does not have is new, a temporary one, or none: only the primary can tell.
Found relation(const Use& use, const Catalog& catalog, const SearchPath& path) {
    bool is_known = use.is_builtin;
    Found found;
    for_each_meant(catalog.relations(use.name), use, path, [&](const Catalog::Relation& candidate) {
        is_known = true;
        if (!candidate.obstacle) return true;
        found = {*candidate.obstacle, spelled(candidate)};
        if (!candidate.detail.empty()) found->detail.append(": ").append(candidate.detail);
        return false;
    });
    if (!found && !is_known) return Obstacle{Reason::unknown_relation, use.spelled()};
    return found;
}

Found field(const Use& use, const Catalog& catalog, const SearchPath& path) {
    Found found;
    for_each_meant(catalog.functions(use.name), use, path, [&](const Catalog::Function& candidate) {
        if (!candidate.takes_row) return true;
        if (candidate.keeps != Kept::What::nothing)
            found = {Reason::backend_state, spelled(candidate) + " (of a row)"};
        else if (candidate.is_volatile)
            found = {Reason::volatile_function, spelled(candidate) + " (of a row)"};
        return !found;
    });
    return found;
}

Found judge(const Use& use, const Catalog& catalog, const SearchPath& path) {
    switch (use.kind) {
        case Use::Kind::function:
            return function(use, catalog, path);
        case Use::Kind::op:
            return op(use, catalog, path);
        case Use::Kind::type:
            return type(use, catalog, path);
        case Use::Kind::relation:
            return relation(use, catalog, path);
        case Use::Kind::field:
            return field(use, catalog, path);
    }
    return Obstacle{Reason::write, {}};
}

}  // namespace

Found find_obstacle(const Uses& uses, const Catalog& catalog, const SearchPath& search_path) {
    Found found;
    uses.for_each([&](const Use& use) {
        found = judge(use, catalog, search_path);
        return !found;
    });
    return found;
}

Kept find_kept(const Statement& statement, const CatalogView& view) {
    Kept most;
    const auto note = [&](Kept::What what, const Use& use) {
        if (what > most.what) most = {what, std::string{use.name}};
        return true;
    };
    const auto* catalog = view.catalog;
    statement.uses.for_each([&](const Use& use) {
        if (catalog == nullptr)
            return use.kind != Use::Kind::function || use.is_builtin ||
                   note(kept_by_name(use.name), use);
        const auto visit = [&](const auto& object) { return note(object.keeps, use); };
        if (use.kind == Use::Kind::function)
            for_each_meant(catalog->functions(use.name), use, view.search_path, visit);
        if (use.kind == Use::Kind::field)
            for_each_meant(catalog->functions(use.name), use, view.search_path,
                           [&](const Catalog::Function& function) {
                               return note(
                                   function.takes_row ? function.keeps : Kept::What::nothing, use);
                           });
        if (use.kind == Use::Kind::op)
            for_each_meant(catalog->operators(use.name), use, view.search_path, visit);
        return true;
    });
    if (catalog == nullptr || !catalog->writes_keep()) return most;
    statement.written.for_each([&](const Use& use) {
        for_each_meant(
            catalog->relations(use.name), use, view.search_path,
            [&](const Catalog::Relation& relation) { return note(relation.writes_keep, use); });
        return true;
    });
    return most;
}

bool may_be_newer_than_catalog(Reason reason) {
    return reason == Reason::unknown_function || reason == Reason::unknown_operator ||
           reason == Reason::unknown_relation;
}

Verdict verdict(const Statement& statement, const CatalogView& view) {
    if (!statement.may_read()) return {statement.access, statement.reason, statement.detail};
    const auto refuse = [](Obstacle obstacle) {
        return Verdict{Access::write, obstacle.reason, std::move(obstacle.detail)};
    };
    if (view.catalog == nullptr) return refuse({Reason::catalog_unknown, {}});
    if (view.may_be_serializable) return refuse({Reason::serializable_default, {}});
    if (view.catalog->obstacle()) return refuse(*view.catalog->obstacle());
    if (auto found = find_obstacle(statement.uses, *view.catalog, view.search_path))
        return refuse(std::move(*found));
    return {statement.if_harmless,
            statement.if_harmless == Access::begin_read_only ? Reason::read_only_transaction
                                                             : Reason::fresh_replica,
            {}};
}

}  // namespace pgsteer::routing
