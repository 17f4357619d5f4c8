#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace pgsteer::proxy::auth {

// "md5" + hex(md5(hex(md5(password + user)) + salt)). PostgreSQL docs, "Password Authentication".
std::string md5_response(std::string_view user,
                         std::string_view password,
                         std::span<const std::uint8_t, 4> salt);

}  // namespace pgsteer::proxy::auth
