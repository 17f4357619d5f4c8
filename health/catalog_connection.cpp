#include "health/catalog_connection.hpp"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/ip/address.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <utility>

namespace pgsteer::health {

namespace asio = boost::asio;
using routing::TimePoint;

namespace {

asio::awaitable<std::string> address_of(asio::any_io_executor executor,
                                        std::string host,
                                        TimePoint deadline) {
    boost::system::error_code literal;
    asio::ip::make_address(host, literal);
    if (!literal || host.starts_with('/')) co_return host;
    asio::ip::tcp::resolver resolver{executor};
    asio::steady_timer timer{executor, deadline};
    timer.async_wait([&resolver](boost::system::error_code error) {
        if (!error) resolver.cancel();
    });
    const auto [error, results] =
        co_await resolver.async_resolve(host, "", asio::as_tuple(asio::use_awaitable));
    if (timer.cancel() == 0 && error) co_return std::string{};
    std::string address;  // IPv4 first, as most servers listen there
    for (const auto& result : results)
        if (address.empty() ||
            (result.endpoint().address().is_v4() && address.find(':') != std::string::npos))
            address = result.endpoint().address().to_string();
    co_return address;
}

PgParameters parameters(const conf::ServerConfig& server,
                        const conf::HealthConfig& health,
                        const std::string& address,
                        const std::string& database) {
    return {
        {address.starts_with('/') ? "host" : "hostaddr", address},
        {"port", std::to_string(server.port)},
        {"user", health.user},
        {"password", health.password.reveal()},
        {"passfile", "/dev/null/none"},  // nobody's ~/.pgpass
        {"dbname", database},
        {"application_name", "pgsteer-catalog"},
        {"client_encoding", "UTF8"},
        {"sslmode", "allow"},
        {"gssencmode", "disable"},
        {"target_session_attrs", "any"},
        {"options", "-c statement_timeout=20s -c default_transaction_read_only=on -c jit=off"},
    };
}

}  // namespace

asio::awaitable<PgError> connect_to_catalog(PgClient& client,
                                            asio::any_io_executor executor,
                                            conf::ServerConfig server,
                                            conf::HealthConfig health,
                                            std::string database,
                                            TimePoint deadline) {
    const auto address = co_await address_of(executor, server.host, deadline);
    if (address.empty())
        co_return PgError{PgError::Kind::lost, {}, "cannot resolve host " + server.host};
    co_return co_await client.connect(parameters(server, health, address, database), deadline);
}

}  // namespace pgsteer::health
