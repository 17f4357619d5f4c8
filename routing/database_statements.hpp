// Statements about databases and roles: what other sessions have to do with them.
#pragma once

#include "routing/parse_tree.hpp"

#include <string_view>

namespace pgsteer::routing {

// The database that nobody else may be connected to while the statement runs (else 55006), by its
// own name: DROP, RENAME and SET TABLESPACE, and the template of CREATE DATABASE. Empty: none.
std::string_view emptied_database(const Message* statement);

// Whether a session that begins after it is told or given something else than one that began before
// (ALTER ROLE or DATABASE ... SET), or may not begin any more (NOLOGIN, REVOKE CONNECT).
bool changes_logins(const Message* statement);

}  // namespace pgsteer::routing
