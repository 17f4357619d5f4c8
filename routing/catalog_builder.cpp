// Rows of the system catalogs -> Catalog: what each object reaches is worked out here, once.
#include "routing/builtins.hpp"
#include "routing/catalog.hpp"
#include "routing/classify.hpp"
#include "routing/kept_functions.hpp"
#include "routing/verdict.hpp"

#include <algorithm>
#include <map>
#include <tuple>
#include <utility>

namespace pgsteer::routing {

namespace {

std::optional<Obstacle> obstacle_of(CatalogFacts::Relation::Kind kind) {
    using Kind = CatalogFacts::Relation::Kind;
    switch (kind) {
        case Kind::ordinary:
            return std::nullopt;
        case Kind::sequence:
            return Obstacle{Reason::server_local, "sequence"};
        case Kind::foreign_table:
            return Obstacle{Reason::foreign_table, {}};
        case Kind::unlogged_table:
            return Obstacle{Reason::unlogged_table, {}};
    }
    return Obstacle{};
}

}  // namespace

class CatalogBuilder {
public:
    CatalogBuilder(CatalogFacts facts, std::shared_ptr<const FunctionOverrides> overrides)
        : facts_{std::move(facts)}, kept_{facts_, *overrides} {
        catalog_->overrides_ = std::move(overrides);
    }

    std::shared_ptr<Catalog> build() {
        add_functions();
        add_operators();
        add_types();
        add_relations();
        finish_names();
        resolve_relations();
        judge_database();
        catalog_->settings_ = std::move(facts_.settings);
        catalog_->default_search_path_ = std::move(facts_.default_search_path);
        catalog_->default_isolation_ = std::move(facts_.default_isolation);
        catalog_->default_read_only_ = std::move(facts_.default_read_only);
        return catalog_;
    }

private:
    using Name = std::pair<std::string, std::string>;  // schema, name
    using Callee = CatalogFacts::Callee;

    struct Relation {
        std::vector<const std::string*> definitions;
        std::optional<Obstacle> obstacle;
        enum class State : std::uint8_t { new_one, open, done } state = State::new_one;
    };

    bool is_volatile(std::string_view schema, std::string_view name, bool as_declared) const {
        switch (catalog_->overrides().judge(schema, name)) {
            case FunctionOverrides::Says::read_only:
                return false;
            case FunctionOverrides::Says::primary:
                return true;
            case FunctionOverrides::Says::nothing:
                break;
        }
        return as_declared;
    }
    bool is_volatile(const Callee& callee) const {
        const bool is_harmless = callee.is_builtin
                                     ? builtin_function(callee.name).kind == BuiltinKind::harmless
                                     : !callee.is_volatile;
        return is_volatile(callee.schema, callee.name, !is_harmless);
    }

    void add_functions();
    void add_operators();
    void add_types();
    void add_relations();
    void finish_names();
    void note_written(const CatalogFacts::Written& written);
    void resolve_relations();
    std::optional<Obstacle> resolve(const Name& name, int depth);
    std::optional<Obstacle> judge(const std::string& sql, int depth);
    void judge_database();

    static constexpr int kMaxDepth = 64;  // of views upon views
    static const SearchPath& catalog_alone() {
        static const SearchPath kPath{true, {}};
        return kPath;
    }

    CatalogFacts facts_;
    KeptFunctions kept_;
    std::shared_ptr<Catalog> catalog_ = std::make_shared<Catalog>();
    std::map<Name, Relation> relations_;
};

void CatalogBuilder::add_functions() {
    std::map<Name, bool> aggregates;
    for (const auto& aggregate : facts_.aggregates)
        aggregates[{aggregate.schema, aggregate.name}] |= is_volatile(aggregate.calls);
    for (auto& function : facts_.functions) {
        const auto aggregate = aggregates.find({function.schema, function.name});
        if (aggregate != aggregates.end()) function.is_volatile |= aggregate->second;
        function.is_volatile = is_volatile(function.schema, function.name, function.is_volatile);
    }
    // Procedures: CALL is no read, so that nothing is asked of others.
    const auto add_kept = [&](const std::string& schema, const std::string& name) {
        if (kept_.of(schema, name) != Kept::What::nothing)
            facts_.functions.push_back({schema, name, true, false});
    };
    for (const auto& body : facts_.sql_bodies) add_kept(body.schema, body.name);
    for (const auto& body : facts_.bodies)
        if (!body.is_trigger) add_kept(body.schema, body.name);
    const auto key = [](const CatalogFacts::Function& function) {
        return std::tie(function.name, function.schema, function.is_volatile, function.takes_row);
    };
    std::sort(facts_.functions.begin(), facts_.functions.end(),
              [&](const auto& a, const auto& b) { return key(a) < key(b); });
    facts_.functions.erase(
        std::unique(facts_.functions.begin(), facts_.functions.end(),
                    [&](const auto& a, const auto& b) { return key(a) == key(b); }),
        facts_.functions.end());
}

void CatalogBuilder::add_operators() {
    std::sort(facts_.operators.begin(), facts_.operators.end(), [](const auto& a, const auto& b) {
        return std::tie(a.name, a.schema) < std::tie(b.name, b.schema);
    });
}

void CatalogBuilder::add_types() {
    std::sort(facts_.types.begin(), facts_.types.end(), [](const auto& a, const auto& b) {
        return std::tie(a.name, a.schema) < std::tie(b.name, b.schema);
    });
}

// One of each name. A foreign table below a parent says more than an unlogged one.
void CatalogBuilder::add_relations() {
    auto& relations = facts_.relations;
    using Kind = CatalogFacts::Relation::Kind;
    const auto key = [](const CatalogFacts::Relation& relation) {
        return std::tie(relation.name, relation.schema);
    };
    std::sort(relations.begin(), relations.end(), [&](const auto& a, const auto& b) {
        const auto rank = [](Kind kind) {
            return kind == Kind::foreign_table ? 0 : kind == Kind::ordinary ? 2 : 1;
        };
        return std::tuple_cat(key(a), std::tuple{rank(a.kind)}) <
               std::tuple_cat(key(b), std::tuple{rank(b.kind)});
    });
    relations.erase(std::unique(relations.begin(), relations.end(),
                                [&](const auto& a, const auto& b) { return key(a) == key(b); }),
                    relations.end());
}

// Into the arena, whose size is known now.
void CatalogBuilder::finish_names() {
    std::map<std::string_view, std::string_view> schemas;
    std::size_t bytes = 0;
    const auto count = [&](const auto& objects) {
        for (const auto& object : objects) {
            bytes += object.name.size();
            if (schemas.emplace(object.schema, std::string_view{}).second)
                bytes += object.schema.size();
        }
    };
    count(facts_.functions);
    count(facts_.operators);
    count(facts_.types);
    count(facts_.relations);
    catalog_->arena_.reserve(bytes);
    for (auto& [schema, kept] : schemas) kept = catalog_->keep(schema);
    const auto named = [&](const auto& object) {
        return Catalog::Named{catalog_->keep(object.name), schemas.at(object.schema)};
    };
    for (const auto& function : facts_.functions)
        catalog_->functions_.push_back({named(function), function.is_volatile, function.takes_row,
                                        kept_.of(function.schema, function.name)});
    for (const auto& entry : facts_.operators)
        catalog_->operators_.push_back({named(entry), is_volatile(entry.calls),
                                        kept_.of(entry.calls.schema, entry.calls.name)});
    for (const auto& entry : facts_.types) catalog_->types_.push_back(named(entry));
    for (const auto& entry : facts_.relations)
        catalog_->relations_.push_back({named(entry), {}, {}, entry.has_triggers});
    for (const auto& entry : facts_.written) note_written(entry);
}

void CatalogBuilder::note_written(const CatalogFacts::Written& written) {
    if (written.keeps == Kept::What::nothing) return;
    catalog_->writes_keep_ = true;
    auto known = catalog_->relations_.begin();
    const auto by_name = [](const Catalog::Named& relation, std::string_view name) {
        return relation.name < name;
    };
    known = std::lower_bound(known, catalog_->relations_.end(), written.name, by_name);
    for (; known != catalog_->relations_.end() && known->name == written.name; ++known)
        if (known->schema == written.schema)
            known->writes_keep = std::max(known->writes_keep, written.keeps);
}

void CatalogBuilder::resolve_relations() {
    for (const auto& entry : facts_.relations)
        if (auto obstacle = obstacle_of(entry.kind))
            relations_[{entry.schema, entry.name}].obstacle = std::move(obstacle);
    for (const auto* definitions : {&facts_.views, &facts_.policies})
        for (const auto& entry : *definitions)
            relations_[{entry.schema, entry.name}].definitions.push_back(&entry.sql);
    std::size_t bytes = 0;
    for (auto& [name, relation] : relations_)
        if (const auto obstacle = resolve(name, 0)) bytes += obstacle->detail.size();
    auto& arena = catalog_->detail_arena_;
    arena.reserve(bytes);
    for (auto& known : catalog_->relations_) {
        const auto found = relations_.find({std::string{known.schema}, std::string{known.name}});
        if (found == relations_.end() || !found->second.obstacle) continue;
        known.obstacle = found->second.obstacle->reason;
        const std::size_t at = arena.size();
        arena.append(found->second.obstacle->detail);
        known.detail = std::string_view{arena}.substr(at);
    }
}

// What a relation reaches. Those that reach themselves fail wherever they run.
std::optional<Obstacle> CatalogBuilder::resolve(const Name& name, int depth) {
    const auto found = relations_.find(name);
    if (found == relations_.end()) return std::nullopt;
    Relation& relation = found->second;
    if (relation.state == Relation::State::done) return relation.obstacle;
    if (relation.state == Relation::State::open || depth > kMaxDepth)
        return Obstacle{Reason::too_complex, "reaches itself, or too deep"};
    relation.state = Relation::State::open;
    for (const auto* sql : relation.definitions) {
        if (relation.obstacle) break;
        relation.obstacle = judge(*sql, depth);
    }
    relation.state = Relation::State::done;
    return relation.obstacle;
}

// All names in `sql` are qualified but those of pg_catalog.
std::optional<Obstacle> CatalogBuilder::judge(const std::string& sql, int depth) {
    const Statement statement = classify(sql);
    if (statement.if_harmless != Access::read_only)
        return Obstacle{statement.reason, statement.detail};
    if (auto obstacle = find_obstacle(statement.uses, *catalog_, catalog_alone())) return obstacle;
    std::optional<Obstacle> obstacle;
    statement.uses.for_each([&](const Use& use) {
        if (use.kind != Use::Kind::relation) return true;
        obstacle = resolve({std::string{use.schema}, std::string{use.name}}, depth + 1);
        if (obstacle)
            obstacle->detail =
                obstacle->detail.empty() ? use.spelled() : use.spelled() + ": " + obstacle->detail;
        return !obstacle;
    });
    return obstacle;
}

// Casts, input and output functions, comparisons and checks are called without a name in the text.
void CatalogBuilder::judge_database() {
    for (const auto& implicit : facts_.implicit) {
        if (!is_volatile(implicit.calls)) continue;
        catalog_->obstacle_ =
            Obstacle{Reason::volatile_type,
                     implicit.what + ": " + implicit.calls.schema + "." + implicit.calls.name};
        return;
    }
    for (const auto& domain : facts_.domains) {
        auto obstacle = judge(domain.sql, 0);
        if (!obstacle) continue;
        catalog_->obstacle_ =
            Obstacle{Reason::volatile_type,
                     "domain " + domain.schema + "." + domain.name + ": " + obstacle->detail};
        return;
    }
}

std::shared_ptr<Catalog> build_catalog(CatalogFacts facts,
                                       std::shared_ptr<const FunctionOverrides> overrides) {
    return CatalogBuilder{std::move(facts), std::move(overrides)}.build();
}

}  // namespace pgsteer::routing
