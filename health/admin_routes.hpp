#pragma once

#include "health/metrics.hpp"

#include <functional>
#include <string>
#include <string_view>

namespace pgsteer::health {

struct AdminResponse {
    int status = 200;
    std::string content_type = "application/json";
    std::string body;
};
// Called on the admin thread with method and target; thread-safe.
using AdminHandler = std::function<AdminResponse(std::string_view method, std::string_view target)>;

// GET /metrics, /livez, /readyz, /health/database, /status; 404 and 405 otherwise. Pure but for
// reading the sources.
AdminResponse respond(const Metrics& metrics, std::string_view method, std::string_view target);

}  // namespace pgsteer::health
