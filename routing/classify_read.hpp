// What is a read: the rules for everything below a SELECT. Included only by classify*.cpp.
#pragma once

#include "routing/parse_tree.hpp"
#include "routing/reason.hpp"
#include "routing/uses.hpp"

#include <optional>
#include <set>
#include <string>
#include <vector>

namespace pgsteer::routing {

struct Finding {
    Reason reason = Reason::write;
    std::string detail;
};

// What is said of a tree below a SELECT.
struct Reading {
    // The first thing that keeps it off replicas whatever a catalog says; nullopt: there is none. A
    // kind of node that was never reviewed is such a thing.
    std::optional<Finding> obstacle;
    // The first name that is no harmless built-in, so that only a catalog can judge it.
    std::optional<Finding> unknown;
    bool reads_transaction_time = false;  // now(), CURRENT_DATE, ...
    // Uses::record of all names to be judged, in the order of the text, with doubles.
    std::vector<std::string> uses;
    // What a use of each WITH query looks like. Where it is in scope is not asked: the name may
    // also be that of a table elsewhere in the statement.
    std::set<std::string> with_uses;
};
Reading read_tree(const Message* root);

// The name of a built-in function, or empty where it is qualified with another schema.
std::string_view builtin_name(const PgQuery__FuncCall& call);

// Schemas pg_temp, pg_temp_1, pg_toast_temp_1, ...
bool is_temporary_schema(std::string_view schema);

// The string in a constant, possibly cast; nullptr if it is not a string constant.
const char* constant_string(const PgQuery__Node* node);
const PgQuery__AConst* constant(const PgQuery__Node* node);

}  // namespace pgsteer::routing
