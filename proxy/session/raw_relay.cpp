// Replication connections: after the login every byte passes unread between the client and the primary.
#include <boost/asio/experimental/awaitable_operators.hpp>

#include "conf/log.hpp"
#include "proxy/session/client_session.hpp"
#include "proxy/wire/backend.hpp"
#include "proxy/wire/body_writer.hpp"
#include "proxy/worker.hpp"

namespace pgsteer::proxy {

namespace {

// One direction. Ends when either side does; closing both makes the other direction end too.
awaitable<void> copy_bytes(Stream& from, InputBuffer& in, Stream& to) {
    for (;;) {
        if (!in.empty()) {
            to.write(in.data());
            in.consume(in.size());
            co_await to.drained();
        }
        if (co_await from.read_some(in)) break;
    }
    from.close();
    to.close();
}

}  // namespace

awaitable<void> ClientSession::relay_raw() {
    const auto primary = worker_.topology().primary;
    if (!primary) co_return refuse_login(ProxyErrc::no_primary, "57P03", info(ProxyErrc::no_primary).message);
    ServerLogin login{server_database_, user_, parameters_, true};
    auto result = co_await connect_to_server(worker_.executor(), worker_.config().servers[primary->index], std::move(login), worker_.credentials());
    if (!result.connection) {
        if (result.failure.rejected()) {
            client_.write(wire::Bytes{result.failure.error_response});
        } else {
            refuse_login(ProxyErrc::server_unreachable, "08001", result.failure.text);
        }
        co_return;
    }
    auto& server = *result.connection;
    wire::Buffer out;
    for (const auto& [name, value] : server.parameters) wire::encode_parameter_status(out, name, value);
    wire::encode_backend_key_data(out, key_);
    wire::encode_ready_for_query(out, 'I');
    client_.write(wire::Bytes{out});
    login_deadline_.reset();
    using namespace asio::experimental::awaitable_operators;
    co_await (copy_bytes(client_, in_, server.stream) && copy_bytes(server.stream, server.in, client_));
}

}  // namespace pgsteer::proxy
