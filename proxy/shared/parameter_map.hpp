#pragma once

#include <functional>
#include <map>
#include <string>

namespace pgsteer::proxy {

// As ParameterStatus reports them.
using ParameterMap = std::map<std::string, std::string, std::less<>>;

}  // namespace pgsteer::proxy
