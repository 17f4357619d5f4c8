#include "proxy/errors.hpp"

#include <boost/system/error_category.hpp>

#include <string>

namespace pgsteer::proxy {
namespace {

constexpr bool in_order_of_the_enum() {
    for (std::size_t i = 0; i < kErrors.size(); ++i)
        if (static_cast<std::size_t>(kErrors[i].code) != i) return false;
    return static_cast<std::size_t>(ProxyErrc::other_columns) + 1 == kErrors.size();
}
static_assert(in_order_of_the_enum(), "info() finds an error by its number");

class ProxyCategory final : public boost::system::error_category {
public:
    const char* name() const noexcept override { return "pgsteer"; }
    std::string message(int value) const override {
        if (!is_ours(value)) return "unknown error " + std::to_string(value);
        return std::string{kErrors[static_cast<std::size_t>(value)].message};
    }
    static bool is_ours(int value) {
        return value >= 0 && static_cast<std::size_t>(value) < kErrors.size();
    }
};

}  // namespace

const boost::system::error_category& proxy_category() {
    static const ProxyCategory category;
    return category;
}

std::string_view sqlstate_of(const error_code& error) {
    if (!error) return info(ProxyErrc::ok).sqlstate;
    if (error.category() != proxy_category() || !ProxyCategory::is_ours(error.value()))
        return info(ProxyErrc::server_lost).sqlstate;
    return kErrors[static_cast<std::size_t>(error.value())].sqlstate;
}

}  // namespace pgsteer::proxy
