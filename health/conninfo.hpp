#pragma once

#include "conf/config.hpp"

#include <string>

namespace pgsteer::health {

// What `--primary URI` and `--replica URI` say, as libpq reads connection strings.
struct ConnInfo {
    conf::ServerConfig server;  // host, port; name = "host:port"
    std::string user;
    conf::Secret password;
    std::string database;
    std::string error;  // not empty: the URI is not valid, and why
};
ConnInfo parse_conninfo(const std::string& uri);

}  // namespace pgsteer::health
