#include "proxy/io/listener.hpp"

#include "conf/log.hpp"
#include "proxy/io/asio.hpp"
#include "proxy/io/spawn.hpp"

#include <boost/asio/basic_socket_acceptor.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/steady_timer.hpp>
#include <fmt/format.h>

#include <optional>
#include <stdexcept>
#include <sys/stat.h>
#include <thread>
#include <unistd.h>

namespace pgsteer::proxy {

namespace {

// True if somebody accepts connections at this path: then the file is not ours to remove.
bool is_in_use(const std::string& path) {
    asio::io_context io;
    asio::local::stream_protocol::socket probe{io};
    boost::system::error_code ec;
    probe.connect(asio::local::stream_protocol::endpoint{path}, ec);
    return !ec;
}

template <class Protocol>
using Acceptor = asio::basic_socket_acceptor<Protocol, Executor>;

}  // namespace

struct Listener::Impl {
    explicit Impl(HandOut out) : hand_out{std::move(out)} {}

    void listen_tcp(const conf::ListenConfig& config) {
        asio::ip::tcp::resolver resolver{io};
        boost::system::error_code ec;
        const auto endpoints = resolver.resolve(config.address, std::to_string(config.port),
                                                asio::ip::tcp::resolver::passive, ec);
        if (ec)
            throw std::runtime_error(
                fmt::format("cannot resolve listen.address {}: {}", config.address, ec.message()));
        auto acceptor = std::make_unique<Acceptor<asio::ip::tcp>>(io.get_executor());
        const auto endpoint = endpoints.begin()->endpoint();
        acceptor->open(endpoint.protocol());
        acceptor->set_option(asio::ip::tcp::acceptor::reuse_address{true});
        acceptor->bind(endpoint, ec);
        if (!ec) acceptor->listen(4096, ec);
        if (ec)
            throw std::runtime_error(fmt::format("cannot listen on {}:{}: {}", config.address,
                                                 config.port, ec.message()));
        port = acceptor->local_endpoint().port();
        tcp = std::move(acceptor);
    }

    void listen_unix(const conf::ListenConfig& config) {
        const auto path =
            fmt::format("{}/.s.PGSQL.{}", config.unix_socket, port != 0 ? port : config.port);
        if (is_in_use(path))
            throw std::runtime_error(fmt::format("another process listens on {}", path));
        ::unlink(path.c_str());
        boost::system::error_code ec;
        auto acceptor = std::make_unique<Acceptor<asio::local::stream_protocol>>(io.get_executor());
        acceptor->open(asio::local::stream_protocol{});
        acceptor->bind(asio::local::stream_protocol::endpoint{path}, ec);
        if (!ec) acceptor->listen(4096, ec);
        if (ec)
            throw std::runtime_error(fmt::format("cannot listen on {}: {}", path, ec.message()));
        ::chmod(path.c_str(), 0777);  // as PostgreSQL: authentication decides, not the file
        unix_path = path;
        local = std::move(acceptor);
    }

    template <class Protocol>
    awaitable<void> accept_all(Acceptor<Protocol>& acceptor) {
        asio::steady_timer pause{io};
        for (;;) {
            auto [ec, socket] = co_await acceptor.async_accept(as_result);
            if (ec == asio::error::operation_aborted || !acceptor.is_open()) co_return;
            if (ec) {  // out of file descriptors, most likely: leave the client in the queue for a
                       // while
                log::warning("cannot accept a client", "error", ec.message());
                pause.expires_after(std::chrono::milliseconds{100});
                co_await pause.async_wait(asio::as_tuple(asio::use_awaitable_t<Executor>{}));
                continue;
            }
            const int family = acceptor.local_endpoint().protocol().family();
            hand_out(socket.release(), family);
        }
    }

    void close() {
        boost::system::error_code ignored;
        if (tcp) tcp->close(ignored);
        if (local) local->close(ignored);
        if (!unix_path.empty()) ::unlink(unix_path.c_str());
        unix_path.clear();
    }

    HandOut hand_out;
    asio::io_context io{1};
    std::unique_ptr<Acceptor<asio::ip::tcp>> tcp;
    std::unique_ptr<Acceptor<asio::local::stream_protocol>> local;
    std::uint16_t port = 0;
    std::string unix_path;
    std::thread thread;
};

Listener::Listener(const conf::ListenConfig& config, HandOut hand_out)
    : impl_{std::make_unique<Impl>(std::move(hand_out))} {
    if (!config.address.empty()) impl_->listen_tcp(config);
    if (!config.unix_socket.empty()) impl_->listen_unix(config);
}

Listener::~Listener() { stop(); }

void Listener::start() {
    if (impl_->tcp) spawn(impl_->io.get_executor(), impl_->accept_all(*impl_->tcp), "listener.tcp");
    if (impl_->local)
        spawn(impl_->io.get_executor(), impl_->accept_all(*impl_->local), "listener.unix");
    impl_->thread = std::thread{[this] { impl_->io.run(); }};
}

void Listener::stop() {
    if (!impl_->thread.joinable()) return;
    asio::post(impl_->io, [this] { impl_->close(); });
    impl_->thread.join();
}

std::uint16_t Listener::port() const { return impl_->port; }
std::string Listener::unix_path() const { return impl_->unix_path; }

}  // namespace pgsteer::proxy
