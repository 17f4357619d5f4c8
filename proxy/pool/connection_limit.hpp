#pragma once

#include <cstdint>
#include <string_view>

namespace pgsteer::proxy {

// Which limit a server has reached that refuses a login with 53300.
enum class ConnectionLimit : std::uint8_t {
    role,      // ALTER ROLE ... CONNECTION LIMIT
    database,  // ALTER DATABASE ... CONNECTION LIMIT
    server,    // max_connections, or what of it is not reserved
};

// By the function that raised the error (field R): the message is translated, and was reworded
// between versions. Both functions are where the limits are checked in PostgreSQL 13 to 18.
constexpr ConnectionLimit limit_reached(std::string_view routine) {
    if (routine == "InitializeSessionUserId") return ConnectionLimit::role;
    if (routine == "CheckMyDatabase") return ConnectionLimit::database;
    return ConnectionLimit::server;
}

}  // namespace pgsteer::proxy
