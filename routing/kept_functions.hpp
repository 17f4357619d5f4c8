// Which functions of a database leave something in their server process: by themselves, by what
// they call and by what they write to, however deep. Pure.
#pragma once

#include "routing/catalog.hpp"

#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace pgsteer::routing {

// Overloads are one: types are not inferred. In a body a name without a schema may be in any.
class KeptFunctions {
public:
    using Name = std::pair<std::string, std::string>;  // schema, name

    KeptFunctions(const CatalogFacts& facts, const FunctionOverrides& overrides);

    [[nodiscard]] Kept::What of(const std::string& schema, const std::string& name) const;
    // Those that keep something.
    [[nodiscard]] std::vector<std::pair<Name, Kept::What>> all() const;

private:
    struct Caller {
        std::string schema;  // that it says, of what it calls or writes to
        Name name;
    };
    using Callers = std::multimap<std::string, Caller, std::less<>>;  // by what they name

    void add(const Name& caller, const BodyFacts& body);
    void raise(const Name& name, Kept::What what);
    void raise_callers(const Callers& callers, const Name& named, Kept::What what);

    const FunctionOverrides& overrides_;  // used while it is made
    std::map<Name, Kept::What> kept_;     // what keeps nothing is not in it
    Callers calling_;
    Callers writing_;
    std::vector<Name> raised_;
};

}  // namespace pgsteer::routing
