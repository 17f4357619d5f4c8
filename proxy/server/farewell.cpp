#include "proxy/server/farewell.hpp"

#include <boost/asio/error.hpp>

#include <algorithm>
#include <array>
#include <cerrno>

namespace pgsteer::proxy {

namespace {

constexpr std::string_view kAdminShutdown = "57P01";
constexpr std::string_view kCrashShutdown = "57P02";
constexpr std::string_view kCannotConnectNow = "57P03";

}  // namespace

void Farewell::heard(const wire::ErrorFields& said) {
    const bool is_last = said.severity == "FATAL" || said.severity == "PANIC";
    was_ended_ = was_ended_ || (!is_last && said.sqlstate == kAdminShutdown);
    if (is_last || said.sqlstate == kCrashShutdown) sqlstate_ = said.sqlstate;
}

bool Farewell::speaks_of_the_server() const {
    return sqlstate_.empty() || rejects_everybody(sqlstate_);
}

bool rejects_everybody(std::string_view sqlstate) {
    return sqlstate == kCrashShutdown || sqlstate == kCannotConnectNow;
}

bool is_unreachable(const error_code& error) {
    namespace net = boost::asio::error;
    static const std::array kNobodyAnswers{
        error_code{net::connection_refused},
        error_code{net::timed_out},
        error_code{net::connection_reset},
        error_code{net::connection_aborted},
        error_code{net::broken_pipe},
        error_code{net::eof},
        error_code{net::host_unreachable},
        error_code{net::network_unreachable},
        error_code{ProxyErrc::server_unreachable},              // another server is there
        error_code{ENOENT, boost::system::system_category()}};  // its Unix socket has gone with it
    return std::find(kNobodyAnswers.begin(), kNobodyAnswers.end(), error) != kNobodyAnswers.end();
}

}  // namespace pgsteer::proxy
