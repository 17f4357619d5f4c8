// What a server says to a connection that nobody uses: mostly that it is over.
#include "proxy/pool/connections.hpp"
#include "proxy/wire/backend.hpp"
#include "proxy/wire/header.hpp"
#include "proxy/wire/message_types.hpp"

namespace pgsteer::proxy {

namespace {

constexpr std::uint32_t kMaxLastWords = 64 * 1024;

// The errors and notices of whole messages.
void hear(ServerConnection& connection) {
    for (;;) {
        const auto header = wire::peek_header(connection.in.data(), kMaxLastWords);
        if (!header || !*header || connection.in.size() < (*header)->message_bytes()) return;
        const auto whole = connection.in.data().first((*header)->message_bytes());
        const bool says_why = (*header)->type == wire::backend::kErrorResponse ||
                              (*header)->type == wire::backend::kNoticeResponse;
        if (says_why)
            if (const auto said = wire::decode_error(whole.subspan(wire::kHeaderBytes)))
                connection.farewell.heard(*said);
        connection.in.consume(whole.size());
    }
}

}  // namespace

// Whatever it is, it is not for the next client: the connection leaves the pool.
void Connections::spoken_to(ServerConnection& spoken, bool has_ended) {
    const auto connection = spoken.shared_from_this();
    const auto entry = group_by_connection_.find(connection->id);
    if (entry == group_by_connection_.end() || std::erase(entry->second->idle, connection) == 0)
        return;
    has_ended = has_ended || connection->stream.read_available(connection->in) !=
                                 make_error_code(asio::error::would_block);
    hear(*connection);
    note_end(*connection, has_ended);
    env_.counters->idle_connections_ended[connection->server.index].add();
    close(connection);
}

void Connections::note_end(const ServerConnection& connection, bool has_ended) {
    const auto& farewell = connection.farewell;
    if (farewell.is_silent() && !has_ended) return;  // a notice
    if (farewell.speaks_of_the_server()) {
        env_.evidence->server_unreachable(connection.server);
    } else {
        env_.evidence->look_again(connection.server);
    }
}

}  // namespace pgsteer::proxy
