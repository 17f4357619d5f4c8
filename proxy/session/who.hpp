#pragma once

#include "health/metrics.hpp"
#include "proxy/login/login.hpp"
#include "proxy/session/parameter_status.hpp"
#include "proxy/wire/startup.hpp"

#include <memory>

namespace pgsteer::proxy {

// Who a client is, and what it was told of the session. Begins empty; Startup fills it in. What is
// shown goes on to change.
struct Who {
    Identity identity;
    ParameterView shown;
    wire::BackendKeyData key;  // of our own; a CancelRequest has to name it
    std::shared_ptr<health::DatabaseCounters> counters;  // since the login has succeeded
    bool is_registered = false;  // the worker knows it by `key`, and the protocol is agreed on
};

}  // namespace pgsteer::proxy
