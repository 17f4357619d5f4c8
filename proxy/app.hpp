#pragma once

#include <memory>

#include "conf/config.hpp"

namespace pgsteer::proxy {

// Runs the proxy with this configuration until SIGTERM or SIGINT has been handled. Returns the exit status.
int run(std::shared_ptr<const conf::Config> config);

}  // namespace pgsteer::proxy
