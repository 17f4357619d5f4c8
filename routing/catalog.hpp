// What a database's catalog says of its own functions, operators, types and relations, as far as
// routing asks. Built-ins are not in it: builtins.hpp has the reviewed list of them.
#pragma once

#include "routing/function_body.hpp"
#include "routing/kept_state.hpp"
#include "routing/reason.hpp"
#include "routing/search_path.hpp"
#include "routing/transaction_modes.hpp"

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace pgsteer::routing {

// Functions that the configuration judges, whatever their volatility: `schema.name`, in which *
// stands for any characters and ? for one. Immutable.
class FunctionOverrides {
public:
    enum class Says : std::uint8_t { nothing, read_only, primary };
    FunctionOverrides() = default;
    FunctionOverrides(std::vector<std::string> read_only, std::vector<std::string> primary)
        : read_only_{std::move(read_only)}, primary_{std::move(primary)} {}
    // If both lists have it: the primary.
    [[nodiscard]] Says judge(std::string_view schema, std::string_view name) const;

private:
    std::vector<std::string> read_only_;
    std::vector<std::string> primary_;
};

// Why something may not be read on a replica.
struct Obstacle {
    Reason reason = Reason::write;
    std::string detail;
    bool operator==(const Obstacle&) const = default;
};

// What catalog_builder makes a Catalog of: rows as a server tells them.
struct CatalogFacts {
    struct Function {
        std::string schema, name;
        bool is_volatile = false;
        bool takes_row = false;      // may be called with one argument, a row: `t.f`
        std::string extension = {};  // that it is a member of
    };
    // Of a function, a procedure, or a trigger function, which nobody calls by its name.
    struct Body {
        std::string schema, name;
        bool is_trigger = false;
        BodyFacts facts;
    };
    // The function that something else calls. Of built-in ones the reviewed list decides.
    struct Callee {
        std::string schema, name;
        bool is_volatile = false;
        bool is_builtin = false;
    };
    struct Aggregate {  // one for each of its support functions
        std::string schema, name;
        Callee calls;
    };
    struct Operator {
        std::string schema, name;
        Callee calls;
    };
    struct Type {
        std::string schema, name;
    };
    // Also the built-in ones. A parent is of the kind of what it has below it, and may have a row
    // for each.
    struct Relation {
        enum class Kind : std::uint8_t { ordinary, sequence, foreign_table, unlogged_table };
        std::string schema, name;
        Kind kind{};
        bool has_triggers = false;  // of users; on it or on what is below it
    };
    // Functions that keep something are called behind whoever writes to it: by triggers, rules,
    // defaults, checks; its own, those below it and where a foreign key cascades to.
    struct Written {
        std::string schema, name;
        Kept::What keeps = Kept::What::nothing;
    };
    struct Definition {  // SQL of a view or function, or an expression of a policy or domain
        std::string schema, name, sql;
    };
    struct Implicit {      // a function that is called without being named
        std::string what;  // "cast to app.t"
        Callee calls;
    };
    struct Setting {
        std::string role;  // empty: all of them
        bool is_of_database = false;
        std::string name, value;
    };

    std::vector<Function> functions;
    std::vector<Body> bodies;            // where there may be something in it
    std::vector<Definition> sql_bodies;  // of BEGIN ATOMIC and RETURN
    std::vector<Aggregate> aggregates;
    std::vector<Operator> operators;
    std::vector<Type> types;
    std::vector<Relation> relations;
    std::vector<Written> written;
    std::vector<Definition> views;
    std::vector<Definition> policies;
    std::vector<Definition> domains;
    std::vector<Implicit> implicit;
    std::vector<Setting> settings;
    // The server's own, where ALTER ROLE and ALTER DATABASE say nothing; nullopt: not known.
    std::optional<std::string> default_search_path;
    std::optional<std::string> default_isolation;
    std::optional<std::string> default_read_only;
};

// What a role's sessions start with in this database.
struct SessionDefaults {
    std::optional<std::string> search_path;  // nullopt: not known
    bool may_be_serializable = true;
    TransactionModes modes;     // nullopt: not known
    bool changes_role = false;  // ALTER ROLE ... SET role: "$user" is somebody else
};

// Immutable. Made by build_catalog(); tens of bytes for each object that is not like any other.
class Catalog {
public:
    struct Named {
        std::string_view name, schema;
    };
    struct Function : Named {
        bool is_volatile = false;
        bool takes_row = false;
        Kept::What keeps = Kept::What::nothing;  // whatever it is declared
    };
    struct Operator : Named {
        bool is_volatile = false;
        Kept::What keeps = Kept::What::nothing;
    };
    struct Relation : Named {
        std::optional<Reason> obstacle;  // what keeps a read of it from the replicas
        std::string_view detail;
        bool has_triggers = false;  // a write to it may run anything
        Kept::What writes_keep = Kept::What::nothing;
    };

    // All of that name, in any schema.
    [[nodiscard]] std::span<const Function> functions(std::string_view name) const;
    [[nodiscard]] std::span<const Operator> operators(std::string_view name) const;
    [[nodiscard]] std::span<const Named> types(std::string_view name) const;
    [[nodiscard]] std::span<const Relation> relations(std::string_view name) const;
    // What keeps every read of this database from the replicas.
    [[nodiscard]] const std::optional<Obstacle>& obstacle() const { return obstacle_; }
    // A write to some relation may leave something behind.
    [[nodiscard]] bool writes_keep() const { return writes_keep_; }
    [[nodiscard]] const FunctionOverrides& overrides() const { return *overrides_; }
    [[nodiscard]] SessionDefaults defaults_of(std::string_view role) const;
    [[nodiscard]] std::size_t memory_bytes() const;
    // Of all catalogs that were ever published, in any database; 0: not published.
    [[nodiscard]] std::uint64_t epoch() const { return epoch_; }
    void set_epoch(std::uint64_t epoch) { epoch_ = epoch; }  // before it is published

private:
    friend class CatalogBuilder;
    std::string_view keep(std::string_view text);

    std::string arena_;         // of names: reserved before the first is kept
    std::string detail_arena_;  // the same, of what the obstacles are
    std::vector<Function> functions_;
    std::vector<Operator> operators_;
    std::vector<Named> types_;
    std::vector<Relation> relations_;  // all four sorted by name
    std::vector<CatalogFacts::Setting> settings_;
    std::optional<std::string> default_search_path_;
    std::optional<std::string> default_isolation_;
    std::optional<std::string> default_read_only_;
    std::optional<Obstacle> obstacle_;
    bool writes_keep_ = false;
    std::shared_ptr<const FunctionOverrides> overrides_ =
        std::make_shared<const FunctionOverrides>();
    std::uint64_t epoch_ = 0;
};
using CatalogPtr = std::shared_ptr<const Catalog>;

// Classifies the SQL of views, policies and domains, so the thread's stack must be at least
// kParserStackBytes. A view counts as what it reaches. Throws only bad_alloc.
std::shared_ptr<Catalog> build_catalog(CatalogFacts facts,
                                       std::shared_ptr<const FunctionOverrides> overrides);

}  // namespace pgsteer::routing
