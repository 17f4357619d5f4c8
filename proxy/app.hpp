#pragma once

#include "conf/config.hpp"

#include <memory>

namespace pgsteer::proxy {

// Runs the proxy with this configuration until SIGTERM or SIGINT has been handled. Returns the exit
// status.
int run(std::shared_ptr<const conf::Config> config);

}  // namespace pgsteer::proxy
