// Replication connections: after the login every byte passes unread between the client and the
// primary.
#include "conf/log.hpp"
#include "proxy/io/spawn.hpp"
#include "proxy/session/cancel.hpp"
#include "proxy/session/client_session.hpp"
#include "proxy/wire/backend.hpp"
#include "proxy/wire/message_boundary.hpp"
#include "proxy/shared/surroundings.hpp"

namespace pgsteer::proxy {

using routing::TransactionStatus;

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

struct ClientSession::RawRelay {
    ServerConnectionPtr server;
    wire::MessageBoundary to_client;
    bool is_copying = true;  // from the server
};

bool ClientSession::may_speak() const { return !raw_ || raw_->to_client.is_between_messages(); }

std::optional<routing::ServerId> ClientSession::raw_server() const {
    if (!raw_) return std::nullopt;
    return raw_->server->server;
}

// What is running there is not known: PostgreSQL ignores a cancel that comes when nothing is.
void ClientSession::cancel_raw() {
    worker_.mutable_counters().cancels.add();
    send_cancel(worker_, raw_->server);
}

awaitable<void> ClientSession::relay_raw() {
    const auto primary = worker_.topology().primary;
    if (!primary)
        co_return login_->refuse(ProxyErrc::no_primary, "57P03",
                                 info(ProxyErrc::no_primary).message);
    ServerLogin login{who_.server_database.empty() ? who_.database : who_.server_database,
                      who_.user, who_.parameters, true};
    auto result = co_await worker_.pool().connect(*primary, std::move(login), place_in_pool_);
    if (closing_) co_return;
    if (!result.connection) {
        if (result.failure.speaks_of_the_server()) worker_.evidence().server_unreachable(*primary);
        if (result.failure.rejected()) {
            client_.write(wire::Bytes{result.failure.error_response});
        } else {
            login_->refuse(ProxyErrc::server_unreachable, "08001", result.failure.text);
        }
        co_return;
    }
    if (worker_.topology().primary != primary)  // meanwhile another server took its place
        co_return login_->refuse(ProxyErrc::no_primary, "57P03",
                                 info(ProxyErrc::no_primary).message);
    auto& server = *result.connection;
    server.server = *primary;
    wire::Buffer out;
    for (const auto& [name, value] : server.parameters)
        wire::encode_parameter_status(out, name, value);
    wire::encode_backend_key_data(out, key_);
    wire::encode_ready_for_query(out, TransactionStatus::idle);
    client_.write(wire::Bytes{out});
    login_deadline_.reset();
    // Each connection is one request. Physical replication has no database, whatever it names.
    worker_.mutable_counters()
        .databases.of(who_.server_database.empty() ? "(replication)" : who_.database)
        ->servers[primary->index]
        .requests[static_cast<std::size_t>(routing::Reason::replication)]
        .add();
    raw_ = std::make_shared<RawRelay>(RawRelay{.server = result.connection, .to_client = {}});
    const auto from_server = [](ClientSession& session) -> awaitable<void> {
        const auto self = session.shared_from_this();
        const auto relay = session.raw_;
        co_await copy_bytes(relay->server->stream, relay->server->in, session.client_,
                            [&](wire::Bytes bytes) { relay->to_client.passed(bytes); });
        relay->is_copying = false;
        session.answered_.notify_all();
    };
    spawn(worker_.executor(), from_server(*this), "session.replication");
    co_await copy_bytes(client_, in_, server.stream, [](wire::Bytes) {});
    while (raw_->is_copying) co_await answered_.wait();
}

}  // namespace pgsteer::proxy
