#include "proxy/auth/md5.hpp"

#include "proxy/auth/digest.hpp"

namespace pgsteer::proxy::auth {

std::string md5_response(std::string_view user,
                         std::string_view password,
                         std::span<const std::uint8_t, 4> salt) {
    const std::string inner = md5_hex(std::string{password}.append(user));
    return "md5" + md5_hex(inner + std::string{as_view(salt)});
}

}  // namespace pgsteer::proxy::auth
