#include "health/admin_server.hpp"

#include "conf/log.hpp"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/http.hpp>

#include <chrono>
#include <exception>
#include <system_error>
#include <thread>
#include <utility>

namespace pgsteer::health {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
using asio::ip::tcp;
using namespace std::chrono_literals;

namespace {

constexpr auto kUse = asio::as_tuple(asio::use_awaitable);
constexpr std::uint32_t kMaxHeaderBytes = 8 * 1024;
constexpr std::uint64_t kMaxBodyBytes =
    16 * 1024;                        // nothing here takes a body, but clients send some
constexpr auto kRequestTimeout = 5s;  // to send the first request, and to take an answer
constexpr auto kIdleTimeout = 30s;    // to send one more
constexpr int kMaxConnections = 64;

using Request = http::request<http::string_body>;
using Response = http::response<http::string_body>;

std::string_view view(beast::string_view text) { return {text.data(), text.size()}; }

Response make_response(const Request& request, AdminResponse answer) {
    Response response{static_cast<http::status>(answer.status), request.version()};
    response.set(http::field::content_type, answer.content_type);
    response.set(http::field::cache_control, "no-store");
    if (answer.status == 405) response.set(http::field::allow, "GET, HEAD");
    response.keep_alive(request.keep_alive());
    response.body() = std::move(answer.body);
    response.prepare_payload();
    if (request.method() == http::verb::head) response.body().clear();  // Content-Length stays
    return response;
}

}  // namespace

struct AdminServer::Impl {
    Impl(const conf::AdminConfig& config, AdminHandler the_handler)
        : handler{std::move(the_handler)}, acceptor{io} {
        bind(config);
    }

    void bind(const conf::AdminConfig& config);
    asio::awaitable<void> accept();
    asio::awaitable<void> serve(beast::tcp_stream stream);
    AdminResponse answer(const Request& request) const;

    AdminHandler handler;
    asio::io_context io{1};
    tcp::acceptor acceptor;
    int connections = 0;  // open now; admin thread only
    std::thread thread;
};

void AdminServer::Impl::bind(const conf::AdminConfig& config) {
    const auto fail = [&](const boost::system::error_code& error) {
        if (error)
            throw std::system_error{error, "admin: cannot listen on " + config.address + ":" +
                                               std::to_string(config.port)};
    };
    boost::system::error_code error;
    const auto found = tcp::resolver{io}.resolve(config.address, std::to_string(config.port),
                                                 tcp::resolver::passive, error);
    fail(error);
    const tcp::endpoint endpoint = found.begin()->endpoint();
    acceptor.open(endpoint.protocol(), error);
    fail(error);
    acceptor.set_option(tcp::acceptor::reuse_address{true}, error);
    acceptor.bind(endpoint, error);
    fail(error);
    acceptor.listen(kMaxConnections, error);
    fail(error);
}

asio::awaitable<void> AdminServer::Impl::accept() {
    for (;;) {
        auto [error, socket] = co_await acceptor.async_accept(kUse);
        if (error == asio::error::operation_aborted) co_return;
        if (error) {  // out of file descriptors, most likely
            asio::steady_timer pause{io, 100ms};
            co_await pause.async_wait(kUse);
            continue;
        }
        if (connections >= kMaxConnections) continue;  // closes it
        ++connections;
        asio::co_spawn(io, serve(beast::tcp_stream{std::move(socket)}),
                       [this](const std::exception_ptr& failure) {
                           --connections;
                           if (!failure) return;
                           try {
                               std::rethrow_exception(failure);
                           } catch (const std::exception& thrown) {
                               log::error("an admin request failed unexpectedly", "error",
                                          thrown.what());
                           }
                       });
    }
}

asio::awaitable<void> AdminServer::Impl::serve(beast::tcp_stream stream) {
    beast::flat_buffer buffer{kMaxHeaderBytes + kMaxBodyBytes};
    for (bool is_first = true;; is_first = false) {
        http::request_parser<http::string_body> parser;
        parser.header_limit(kMaxHeaderBytes);
        parser.body_limit(kMaxBodyBytes);
        stream.expires_after(is_first ? kRequestTimeout : kIdleTimeout);
        const auto [read_error, read_bytes] =
            co_await http::async_read(stream, buffer, parser, kUse);
        if (read_error == http::error::end_of_stream || read_error == beast::error::timeout) break;
        Response response;
        if (read_error) {
            if (read_error.category() != http::make_error_code(http::error::bad_method).category())
                co_return;  // the connection broke
            const bool is_large = read_error == http::error::header_limit ||
                                  read_error == http::error::body_limit ||
                                  read_error == http::error::buffer_overflow;
            Request broken;
            broken.version(11);
            broken.keep_alive(false);
            response = make_response(broken, {is_large ? 413 : 400, "application/json",
                                              "{\"error\": \"malformed request\"}\n"});
        } else {
            response = make_response(parser.get(), answer(parser.get()));
        }
        const bool keep_alive = response.keep_alive();
        stream.expires_after(kRequestTimeout);
        const auto [write_error, written] = co_await http::async_write(stream, response, kUse);
        if (write_error || !keep_alive) break;
    }
    boost::system::error_code ignored;
    stream.socket().shutdown(tcp::socket::shutdown_send, ignored);
}

AdminResponse AdminServer::Impl::answer(const Request& request) const {
    try {
        return handler(view(request.method_string()), view(request.target()));
    } catch (const std::exception& error) {
        log::error("an admin request failed", "error", error.what());
        return {500, "application/json", "{\"error\": \"internal error\"}\n"};
    }
}

AdminServer::AdminServer(const conf::AdminConfig& config, AdminHandler handler)
    : impl_{std::make_unique<Impl>(config, std::move(handler))} {}

AdminServer::~AdminServer() { stop(); }

std::uint16_t AdminServer::port() const { return impl_->acceptor.local_endpoint().port(); }

void AdminServer::start() {
    asio::co_spawn(impl_->io, impl_->accept(), [](const std::exception_ptr&) {});
    impl_->thread = std::thread{[this] { impl_->io.run(); }};
}

void AdminServer::stop() {
    if (!impl_->thread.joinable()) return;
    impl_->io.stop();
    impl_->thread.join();
}

}  // namespace pgsteer::health
