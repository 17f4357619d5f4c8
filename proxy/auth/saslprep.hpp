#pragma once

#include <string>
#include <string_view>

namespace pgsteer::proxy::auth {

// The form of a password that SCRAM hashes: SASLprep (RFC 4013) as PostgreSQL applies it. ASCII,
// text that is not UTF-8, and text that SASLprep prohibits are used as they are.
std::string saslprep(std::string_view password);

}  // namespace pgsteer::proxy::auth
