#include "proxy/server/server_connection.hpp"

#include "proxy/auth/md5.hpp"
#include "proxy/auth/scram.hpp"
#include "proxy/io/deadline.hpp"
#include "proxy/wire/frontend.hpp"
#include "proxy/wire/header.hpp"
#include "proxy/wire/message_types.hpp"

#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <fmt/format.h>

#include <atomic>
#include <charconv>

namespace pgsteer::proxy {

using routing::TransactionStatus;

namespace {

constexpr std::uint32_t kMaxLoginMessage =
    1024 * 1024;  // no login message of a sane server is larger
constexpr std::uint32_t kMaxScramIterations = 1'000'000;

std::uint64_t next_connection_id() {
    static std::atomic<std::uint64_t> last{0};
    return ++last;
}

struct Message {
    std::uint8_t type = 0;
    wire::Bytes body;  // valid until the next read
    std::size_t bytes = 0;
};

// Reads whole messages; the one returned last is consumed by the next call.
class MessageReader {
public:
    explicit MessageReader(ServerConnection& connection) : connection_{connection} {}
    ~MessageReader() { connection_.in.consume(last_bytes_); }
    MessageReader(const MessageReader&) = delete;

    awaitable<Result<Message>> next() {
        connection_.in.consume(last_bytes_);
        last_bytes_ = 0;
        for (;;) {
            const auto header = wire::peek_header(connection_.in.data(), kMaxLoginMessage);
            if (!header) co_return ProxyErrc::server_protocol;
            if (*header && connection_.in.size() >= (*header)->message_bytes()) {
                last_bytes_ = (*header)->message_bytes();
                const auto whole = connection_.in.data().first(last_bytes_);
                co_return Message{(*header)->type, whole.subspan(wire::kHeaderBytes), last_bytes_};
            }
            if (auto ec = co_await connection_.stream.read_some(connection_.in)) co_return ec;
        }
    }

private:
    ServerConnection& connection_;
    std::size_t last_bytes_ = 0;
};

void send(ServerConnection& connection, const wire::Buffer& bytes) {
    connection.stream.write(wire::Bytes{bytes});
}

// The authentication exchange, from the request that the server sent last.
class Login {
public:
    Login(ServerConnection& connection, const ServerLogin& login, auth::Credentials& credentials)
        : connection_{connection}, login_{login}, credentials_{credentials} {}

    enum class Progress : std::uint8_t { more, done };  // done: the server said AuthenticationOk
    Result<Progress> answer(const wire::Authentication& request) {
        const auto user = credentials_.find(login_.user);
        wire::Buffer out;
        switch (static_cast<wire::AuthenticationKind>(request.kind)) {
            case wire::AuthenticationKind::ok:
                return Progress::done;
            case wire::AuthenticationKind::cleartext:
                if (user.password.empty()) return no_password();
                wire::encode_password(out, user.password);
                break;
            case wire::AuthenticationKind::md5:
                if (user.password.empty()) return no_password();
                if (request.data.size() != 4) return ProxyErrc::server_protocol;
                wire::encode_password(
                    out, auth::md5_response(login_.user, user.password, request.data.first<4>()));
                break;
            case wire::AuthenticationKind::sasl:
                if (const auto error = start_scram(user, request.data)) return error;
                wire::encode_sasl_initial(out, "SCRAM-SHA-256", scram_->first());
                break;
            case wire::AuthenticationKind::sasl_continue: {
                if (!scram_) return ProxyErrc::server_protocol;
                const auto last = scram_->last(wire::as_text(request.data));
                if (!last) return last.error();
                wire::encode_sasl_response(out, *last);
                break;
            }
            case wire::AuthenticationKind::sasl_final:
                if (!scram_) return ProxyErrc::server_protocol;
                if (const auto error = scram_->verify(wire::as_text(request.data))) return error;
                return Progress::more;
            default:
                explanation = fmt::format(
                    "the server asks for authentication method {}, which is not supported",
                    request.kind);
                return ProxyErrc::server_login_failed;
        }
        send(connection_, out);
        return Progress::more;
    }

    std::string explanation;

private:
    error_code no_password() {
        explanation = fmt::format(
            "the server asks for a password, and none is known for user \"{}\"", login_.user);
        return ProxyErrc::server_login_failed;
    }

    error_code start_scram(const auth::Credentials::User& user, wire::Bytes data) {
        const auto offered = wire::sasl_mechanisms(data);
        if (std::find(offered.begin(), offered.end(), "SCRAM-SHA-256") == offered.end()) {
            explanation = "the server offers no SASL mechanism that is supported";
            return ProxyErrc::server_login_failed;
        }
        if (!user.password.empty()) {
            scram_ = auth::ScramClient::with_key_source(
                [&credentials = credentials_, password = user.password](std::string_view salt,
                                                                        std::uint32_t iterations) {
                    return credentials.keys_for(password, salt,
                                                std::min(iterations, kMaxScramIterations));
                },
                auth::random_nonce());
            return {};
        }
        const auto keys = credentials_.learnt(login_.user);
        if (!keys) return no_password();
        scram_ = auth::ScramClient::with_keys({user.verifier, *keys}, auth::random_nonce());
        return {};
    }

    ServerConnection& connection_;
    const ServerLogin& login_;
    auth::Credentials& credentials_;
    std::optional<auth::ScramClient> scram_;
};

ConnectResult failure_of(error_code error, std::string text) {
    if (text.empty()) text = error.message();
    return {nullptr, {error, {}, {}, std::move(text)}};
}

ConnectResult rejection(const Message& message) {
    ConnectFailure failure{ProxyErrc::server_login_failed, {}, {}, "the server rejected the login"};
    if (const auto fields = wire::decode_error(message.body)) {
        failure.sqlstate = fields->sqlstate;
        failure.text = fields->message;
        failure.routine = fields->routine;
    }
    const auto* begin = message.body.data() - wire::kHeaderBytes;
    failure.error_response.assign(begin, begin + message.bytes);
    return {nullptr, std::move(failure)};
}

awaitable<ConnectResult> log_in(ServerConnectionPtr connection,
                                const ServerLogin& login,
                                auth::Credentials& credentials) {
    wire::StartupMessage startup{wire::kProtocol30,
                                 {{"user", login.user}, {"database", login.database}}};
    startup.parameters.insert(startup.parameters.end(), login.parameters.begin(),
                              login.parameters.end());
    wire::Buffer out;
    wire::encode(out, startup);
    send(*connection, out);

    Login exchange{*connection, login, credentials};
    MessageReader reader{*connection};
    for (;;) {
        const auto message = co_await reader.next();
        if (!message) co_return failure_of(message.error(), {});
        switch (message->type) {
            case wire::backend::kAuthentication: {
                const auto request = wire::decode_authentication(message->body);
                if (!request) co_return failure_of(request.error(), {});
                const auto done = exchange.answer(*request);
                if (!done) co_return failure_of(done.error(), exchange.explanation);
                break;
            }
            case wire::backend::kParameterStatus:
                if (const auto status = wire::decode_parameter_status(message->body))
                    connection->parameters.set(status->name, status->value);
                break;
            case wire::backend::kBackendKeyData: {
                const auto key = wire::decode_backend_key_data(message->body);
                if (!key) co_return failure_of(key.error(), {});
                connection->origin.key = *key;
                break;
            }
            case wire::backend::kErrorResponse: {
                auto rejected = rejection(*message);
                if (rejected.failure.sqlstate == "53300") co_await read_to_end(*connection);
                co_return rejected;
            }
            case wire::backend::kReadyForQuery:
                co_return ConnectResult{connection, {}};
            case wire::backend::kNoticeResponse:
            case wire::backend::kNegotiateProtocolVersion:
                break;
            default:
                co_return failure_of(ProxyErrc::server_protocol, {});
        }
    }
}

}  // namespace

namespace {

// Connects one socket, which is closed when `until` has come.
awaitable<error_code> connect_until(Socket& socket,
                                    const asio::generic::stream_protocol::endpoint& endpoint,
                                    routing::TimePoint until) {
    Timer timer{socket.get_executor(), until};
    const auto waiting = std::make_shared<bool>(true);
    timer.async_wait([&socket, waiting](error_code ec) {
        error_code ignored;
        if (!ec && *waiting) socket.close(ignored);
    });
    auto [ec] = co_await socket.async_connect(endpoint, as_result);
    *waiting = false;
    if (ec && routing::Clock::now() >= until) ec = asio::error::timed_out;
    co_return ec;
}

}  // namespace

awaitable<Result<Socket>> open_socket(Executor executor,
                                      const conf::ServerConfig& config,
                                      routing::TimePoint until) {
    std::vector<asio::generic::stream_protocol::endpoint> endpoints;
    error_code last;
    if (config.host.starts_with('/')) {
        endpoints.emplace_back(asio::local::stream_protocol::endpoint{
            fmt::format("{}/.s.PGSQL.{}", config.host, config.port)});
    } else if (const auto address = asio::ip::make_address(config.host, last); !last) {
        endpoints.emplace_back(asio::ip::tcp::endpoint{address, config.port});
    } else {
        asio::ip::basic_resolver<asio::ip::tcp, Executor> resolver{executor};
        auto [resolve_error, results] =
            co_await resolver.async_resolve(config.host, std::to_string(config.port), as_result);
        if (resolve_error) co_return resolve_error;
        for (const auto& result : results) endpoints.emplace_back(result.endpoint());
    }
    last = asio::error::host_not_found;
    for (const auto& endpoint : endpoints) {
        Socket socket{executor};
        last = co_await connect_until(socket, endpoint, until);
        if (!last) co_return socket;
    }
    co_return last;
}

awaitable<ConnectResult> connect_to_server(Executor executor,
                                           const conf::ServerConfig& config,
                                           ServerLogin login,
                                           auth::Credentials& credentials) {
    const auto until = routing::Clock::now() + config.connect_timeout;
    auto socket = co_await open_socket(executor, config, until);
    if (!socket)
        co_return failure_of(socket.error(),
                             fmt::format("cannot connect: {}", socket.error().message()));

    auto connection = std::make_shared<ServerConnection>(std::move(*socket));
    connection->id = next_connection_id();
    connection->origin.opened_at = routing::Clock::now();
    Deadline deadline{executor, connection->stream, until};
    auto result = co_await log_in(connection, login, credentials);
    if (deadline.expired() && !result.failure.rejected())
        co_return failure_of(asio::error::timed_out, "no login within connect_timeout");
    co_return result;
}

namespace {

Result<ServerState> server_state(const std::vector<std::string_view>& row) {
    if (row.size() < 3) return ProxyErrc::server_protocol;
    ServerState state;
    state.in_recovery = row[0] == "t";
    std::from_chars(row[1].data(), row[1].data() + row[1].size(), state.postmaster_start_us);
    if (const auto lsn = routing::parse_lsn(row[2])) state.replayed = *lsn;
    for (std::size_t i = 3; i < row.size(); ++i) {
        auto& column = state.columns.emplace_back();
        if (row[i].data() != nullptr) column = row[i];
    }
    return state;
}

}  // namespace

awaitable<Result<ServerState>> read_server_state(ServerConnection& connection,
                                                 std::string columns) {
    std::string sql =
        "SELECT pg_catalog.pg_is_in_recovery(), "
        "(EXTRACT(epoch FROM pg_catalog.pg_postmaster_start_time()) OPERATOR(pg_catalog.*) "
        "1000000)::pg_catalog.int8, "
        "pg_catalog.pg_last_wal_replay_lsn()";
    if (!columns.empty()) sql.append(", ").append(columns);
    wire::Buffer out;
    wire::encode_query(out, sql);
    send(connection, out);
    Result<ServerState> state = ProxyErrc::server_protocol;
    MessageReader reader{connection};
    for (;;) {
        const auto message = co_await reader.next();
        if (!message) co_return message.error();
        if (message->type == wire::backend::kErrorResponse) state = ProxyErrc::server_login_failed;
        if (message->type == wire::backend::kDataRow) {
            const auto row = wire::decode_data_row(message->body);
            if (!row) co_return ProxyErrc::server_protocol;
            state = server_state(*row);
        }
        if (message->type == wire::backend::kReadyForQuery) co_return state;
    }
}

awaitable<void> read_to_end(ServerConnection& connection) {
    error_code ec;
    while (!ec) {
        connection.in.consume(connection.in.size());
        ec = co_await connection.stream.read_some(connection.in);
    }
}

void end_by_sync(ServerConnection& connection) {
    wire::Buffer out;
    add_own_sync(connection.replies, out);
    connection.stream.write(wire::Bytes{out});
}

awaitable<bool> run_internal(ServerConnection& connection, std::string_view sql) {
    wire::Buffer out;
    wire::encode_query(out, sql);
    send(connection, out);
    bool failed = false;
    MessageReader reader{connection};
    for (;;) {
        const auto message = co_await reader.next();
        if (!message) co_return false;
        const bool ends = message->type == wire::backend::kReadyForQuery;
        if (message->type == wire::backend::kErrorResponse) failed = true;
        if (message->type == wire::backend::kParameterStatus) {
            if (const auto status = wire::decode_parameter_status(message->body))
                connection.parameters.set(status->name, status->value);
        }
        if (ends) {
            const auto status = wire::decode_ready_for_query(message->body);
            co_return !failed && status && *status == TransactionStatus::idle;
        }
    }
}

}  // namespace pgsteer::proxy
