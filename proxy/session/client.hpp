// The client's end of a session: what it sends, and what it is told in our own words.
#pragma once

#include "health/metrics.hpp"
#include "proxy/errors.hpp"
#include "proxy/io/stream.hpp"
#include "proxy/session/batcher.hpp"
#include "proxy/wire/message_boundary.hpp"
#include "routing/transaction_status.hpp"

#include <cstdint>
#include <optional>
#include <string_view>

namespace pgsteer::proxy {

// Worker-local. `in` is read by ClientSession (by RawRelay, once that has begun), and consumed by
// the batcher.
struct Client {
    Client(Socket socket, health::WorkerCounters& all) : stream{std::move(socket)}, counters{all} {}

    // An ErrorResponse of ours, counted, to be written. `message`: "": as the table of errors says.
    [[nodiscard]] wire::Buffer error(std::string_view severity,
                                     ProxyErrc reason,
                                     std::string_view message = {});
    // The same, behind what was written before.
    void send_error(std::string_view severity, ProxyErrc reason, std::string_view message = {});
    void send_ready(routing::TransactionStatus status);
    // Of a replication connection: the client is not in the middle of a message that the server
    // sends. Always true of others.
    [[nodiscard]] bool may_be_spoken_to() const {
        return relayed == nullptr || relayed->is_between_messages();
    }

    // Asked now and then while nothing reads the client. True: its end was closed the last time as
    // well, and nothing was received in between, so that nothing of it is left to be read.
    [[nodiscard]] bool has_gone();

    Stream stream;
    InputBuffer in;
    Batcher batcher{in};
    health::WorkerCounters& counters;
    routing::TimePoint received_at{};
    bool reading = false;      // something waits for the client, and will notice its end
    bool terminating = false;  // it has said good-bye, and need not be there any more
    bool closing = false;      // the session is over: nothing more is sent on, or waited for
    const wire::MessageBoundary* relayed = nullptr;  // of a replication connection

private:
    std::optional<std::uint64_t> gone_at_;  // bytes received when it was first seen to have gone
};

}  // namespace pgsteer::proxy
