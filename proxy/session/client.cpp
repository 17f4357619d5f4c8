#include "proxy/session/client.hpp"

#include "proxy/wire/backend.hpp"

namespace pgsteer::proxy {

wire::Buffer Client::error(std::string_view severity, ProxyErrc reason, std::string_view message) {
    const auto& error = info(reason);
    counters.errors[static_cast<std::size_t>(reason)].add();
    wire::Buffer out;
    wire::encode_error(
        out, {severity, error.sqlstate, message.empty() ? error.message : message, {}, error.hint});
    return out;
}

void Client::send_error(std::string_view severity, ProxyErrc reason, std::string_view message) {
    const auto out = error(severity, reason, message);
    stream.write(wire::Bytes{out});
}

void Client::send_ready(routing::TransactionStatus status) {
    wire::Buffer out;
    wire::encode_ready_for_query(out, status);
    stream.write(wire::Bytes{out});
}

bool Client::has_gone() {
    if (!stream.peer_has_closed()) {
        gone_at_.reset();
        return false;
    }
    const auto received = stream.bytes_received();
    if (gone_at_ == received) return true;
    gone_at_ = received;  // what it has sent before is read first, as long as that goes on
    return false;
}

}  // namespace pgsteer::proxy
