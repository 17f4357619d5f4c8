#include "proxy/session/cancel.hpp"

#include "proxy/io/deadline.hpp"
#include "proxy/io/spawn.hpp"
#include "proxy/shared/surroundings.hpp"

namespace pgsteer::proxy {

namespace {

awaitable<void> deliver(Executor executor,
                        conf::ServerConfig config,
                        ServerConnectionPtr connection) {
    const auto until = routing::Clock::now() + config.connect_timeout;
    auto socket = co_await open_socket(executor, config, until);
    if (socket) {
        Stream stream{std::move(*socket)};
        Deadline deadline{executor, stream, until};
        wire::Buffer out;
        wire::encode(out, wire::CancelRequest{connection->origin.key.process_id,
                                              connection->origin.key.secret_key});
        stream.write(wire::Bytes{out});
        InputBuffer in;
        error_code closed;  // by the server, when it has signalled
        while (!closed) {
            closed = co_await stream.read_some(in);
            in.consume(in.size());
        }
    }
    --connection->cancels_in_flight;
}

}  // namespace

void send_cancel(Surroundings& around, const ServerConnectionPtr& connection) {
    ++connection->cancels_in_flight;
    spawn(around.executor(),
          deliver(around.executor(), around.servers()[connection->server], connection), "cancel");
}

}  // namespace pgsteer::proxy
