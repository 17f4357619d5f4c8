// Replication connections: after the login every byte passes unread between the client and the
// primary.
#include "conf/log.hpp"
#include "proxy/session/client_session.hpp"
#include "proxy/spawn.hpp"
#include "proxy/wire/backend.hpp"
#include "proxy/wire/body_writer.hpp"
#include "proxy/worker.hpp"

namespace pgsteer::proxy {

namespace {

// One direction. Ends when either side does; closing both makes the other direction end too.
awaitable<void> copy_bytes(Stream& from, InputBuffer& in, Stream& to) {
    error_code ec;  // no co_await in a condition: GCC 12 loses the way out of the loop
    while (!ec) {
        if (!in.empty()) {
            to.write(in.data());
            in.consume(in.size());
            co_await to.drained();
        }
        ec = co_await from.read_some(in);
    }
    from.close();
    to.close();
}

}  // namespace

awaitable<void> ClientSession::relay_raw() {
    const auto primary = worker_.topology().primary;
    if (!primary)
        co_return refuse_login(ProxyErrc::no_primary, "57P03", info(ProxyErrc::no_primary).message);
    const ServerLogin login{server_database_.empty() ? database_ : server_database_, user_,
                            parameters_, true};
    auto result = co_await connect_to_server(
        worker_.executor(), worker_.config().servers[primary->index], login, worker_.credentials());
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
    for (const auto& [name, value] : server.parameters)
        wire::encode_parameter_status(out, name, value);
    wire::encode_backend_key_data(out, key_);
    wire::encode_ready_for_query(out, 'I');
    client_.write(wire::Bytes{out});
    login_deadline_.reset();
    worker_.mutable_counters()  // each connection is one request
        .database(database_)
        .servers[primary->index]
        .requests[static_cast<std::size_t>(routing::Reason::replication)]
        .add();
    bool copying = true;
    const auto from_server = [](ClientSession& session, ServerConnectionPtr from,
                                bool& running) -> awaitable<void> {
        const auto self = session.shared_from_this();
        co_await copy_bytes(from->stream, from->in, session.client_);
        running = false;
        session.answered_.notify_all();
    };
    spawn(worker_.executor(), from_server(*this, result.connection, copying),
          "session.replication");
    co_await copy_bytes(client_, in_, server.stream);
    while (copying) co_await answered_.wait();
}

}  // namespace pgsteer::proxy
