#include "routing/database_statements.hpp"

#include "routing/classify_read.hpp"

#include <algorithm>

namespace pgsteer::routing {

namespace {

// PostgreSQL docs, "CREATE DATABASE": the template if none is named.
constexpr std::string_view kDefaultTemplate = "template1";

const PgQuery__DefElem* option(PgQuery__Node** options, std::size_t count, std::string_view name) {
    for (std::size_t i = 0; i < count; ++i) {
        const auto* element = as<PgQuery__DefElem>(options[i]);
        if (element != nullptr && name == element->defname) return element;
    }
    return nullptr;
}

// TEMPLATE 'name', as a literal, which nobody writes, is not kept in the text that is parsed: it is
// some other name then, and its database is not emptied.
std::string_view template_of(const PgQuery__CreatedbStmt& create) {
    const auto* element = option(create.options, create.n_options, "template");
    const auto name = element != nullptr ? string_of(element->arg) : std::string_view{};
    return name.empty() ? kDefaultTemplate : name;  // TEMPLATE DEFAULT
}

}  // namespace

std::string_view emptied_database(const Message* statement) {
    if (const auto* drop = as<PgQuery__DropdbStmt>(statement)) return drop->dbname;
    if (const auto* create = as<PgQuery__CreatedbStmt>(statement)) return template_of(*create);
    if (const auto* rename = as<PgQuery__RenameStmt>(statement)) {
        const bool is_database = rename->rename_type == PG_QUERY__OBJECT_TYPE__OBJECT_DATABASE;
        return is_database ? rename->subname : "";
    }
    if (const auto* alter = as<PgQuery__AlterDatabaseStmt>(statement))
        return option(alter->options, alter->n_options, "tablespace") != nullptr ? alter->dbname
                                                                                 : "";
    return {};
}

bool changes_logins(const Message* statement) {
    static constexpr std::string_view kKinds[] = {
        "AlterRoleSetStmt", "AlterDatabaseSetStmt", "AlterRoleStmt",
        "DropRoleStmt",     "AlterDatabaseStmt",
    };
    const std::string_view kind{statement->descriptor->short_name};
    if (std::find(std::begin(kKinds), std::end(kKinds), kind) != std::end(kKinds)) return true;
    if (const auto* rename = as<PgQuery__RenameStmt>(statement))
        return rename->rename_type == PG_QUERY__OBJECT_TYPE__OBJECT_ROLE ||
               rename->rename_type == PG_QUERY__OBJECT_TYPE__OBJECT_DATABASE;
    const auto* grant = as<PgQuery__GrantStmt>(statement);
    return grant != nullptr && !grant->is_grant &&
           grant->objtype == PG_QUERY__OBJECT_TYPE__OBJECT_DATABASE;
}

}  // namespace pgsteer::routing
