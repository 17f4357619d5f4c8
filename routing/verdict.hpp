// Statement + catalog -> what it is here. Pure.
#pragma once

#include "routing/catalog.hpp"
#include "routing/statement.hpp"

namespace pgsteer::routing {

struct CatalogView {
    const Catalog* catalog = nullptr;  // null: not loaded yet
    SearchPath search_path;
    bool may_be_serializable = false;  // the session's default isolation level
};

struct Verdict {
    Access access = Access::write;
    Reason reason = Reason::write;
    std::string detail;
};

// A name is harmless only if everything of that name that may be meant is: types are not inferred.
// What the text alone says (Statement::if_harmless is no read) stands.
Verdict verdict(const Statement& statement, const CatalogView& view);

// The first of the names that keeps a read from the replicas.
std::optional<Obstacle> find_obstacle(const Uses& uses,
                                      const Catalog& catalog,
                                      const SearchPath& search_path);

// What the functions and operators that it names, and what is called behind its writes, leave
// behind that keeps most. Without a catalog a function's name is enough.
Kept find_kept(const Statement& statement, const CatalogView& view);

// The catalog does not have a name that the statement uses: it may have been made since.
bool may_be_newer_than_catalog(Reason reason);

}  // namespace pgsteer::routing
