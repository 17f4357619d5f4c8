#include "proxy/session/raw_relay.hpp"

#include "proxy/io/spawn.hpp"
#include "proxy/session/cancel.hpp"
#include "proxy/wire/backend.hpp"

namespace pgsteer::proxy {

namespace {

// One direction. Ends when either side does; closing both makes the other direction end too.
template <class Passed>
awaitable<void> copy_bytes(Stream& from, InputBuffer& in, Stream& to, Passed passed) {
    error_code ec;  // no co_await in a condition: GCC 12 loses the way out of the loop
    while (!ec) {
        if (!in.empty()) {
            to.write(in.data());
            passed(in.data());
            in.consume(in.size());
            co_await to.drained();
        }
        ec = co_await from.read_some(in);
    }
    from.close();
    to.close();
}

}  // namespace

std::optional<routing::ServerId> RawRelay::server() const {
    if (!server_) return std::nullopt;
    return server_->server;
}

void RawRelay::cancel() {
    lodging_.around.counters().cancels.add();
    send_cancel(lodging_.around, server_);
}

awaitable<bool> RawRelay::connect(Login& login) {
    const auto refuse_without_primary = [&login] {
        login.refuse(ProxyErrc::no_primary, "57P03", info(ProxyErrc::no_primary).message);
        return false;
    };
    const auto& who = who_.identity;
    const auto primary = lodging_.around.topology().primary;
    if (!primary) co_return refuse_without_primary();
    ServerLogin server_login{who.server_database.empty() ? who.database : who.server_database,
                             who.user, who.parameters, true};
    auto work = lodging_.around.pool().connect(lodging_.generation, *primary,
                                               std::move(server_login), course_.place_in_pool);
    auto result = co_await std::move(work);
    if (client_.closing) co_return false;
    if (!result.connection) {
        if (result.failure.speaks_of_the_server())
            lodging_.around.evidence().server_unreachable(*primary);
        if (result.failure.rejected()) {
            client_.stream.write(wire::Bytes{result.failure.error_response});
        } else {
            login.refuse(ProxyErrc::server_unreachable, "08001", result.failure.text);
        }
        co_return false;
    }
    // Meanwhile another server may have taken its place.
    if (lodging_.around.topology().primary != primary) co_return refuse_without_primary();
    result.connection->server = *primary;
    greet(*result.connection);
    server_ = std::move(result.connection);
    co_return true;
}

void RawRelay::greet(ServerConnection& server) {
    wire::Buffer out;
    for (const auto& [name, value] : server.parameters.all())
        wire::encode_parameter_status(out, name, value);
    wire::encode_backend_key_data(out, who_.key);
    wire::encode_ready_for_query(out, routing::TransactionStatus::idle);
    client_.stream.write(wire::Bytes{out});
    // Each connection is one request. Physical replication has no database, whatever it names.
    const auto& who = who_.identity;
    lodging_.around.counters()
        .databases.of(who.server_database.empty() ? "(replication)" : who.database)
        ->servers[server.server.index]
        .requests[static_cast<std::size_t>(routing::Reason::replication)]
        .add();
}

awaitable<void> RawRelay::copy_from_server() {
    const auto session = course_.alive();
    co_await copy_bytes(server_->stream, server_->in, client_.stream,
                        [this](wire::Bytes bytes) { to_client_.passed(bytes); });
    is_copying_ = false;
    course_.changed.notify_all();
}

awaitable<void> RawRelay::relay() {
    client_.relayed = &to_client_;
    is_copying_ = true;
    spawn(lodging_.around.executor(), copy_from_server(), "session.replication");
    co_await copy_bytes(client_.stream, client_.in, server_->stream, [](wire::Bytes) {});
    while (is_copying_) co_await course_.changed.wait();
}

}  // namespace pgsteer::proxy
