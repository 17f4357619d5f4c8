// From accept to the first ReadyForQuery.
#include "conf/log.hpp"
#include "proxy/auth/md5.hpp"
#include "proxy/auth/scram.hpp"
#include "proxy/io/deadline.hpp"
#include "proxy/session/client_session.hpp"
#include "proxy/wire/backend.hpp"
#include "proxy/wire/body_writer.hpp"
#include "proxy/wire/frontend.hpp"
#include "proxy/wire/header.hpp"
#include "proxy/wire/message_types.hpp"
#include "proxy/worker.hpp"
#include "routing/startup_options.hpp"

#include <fmt/format.h>

namespace pgsteer::proxy {

using routing::TransactionStatus;

namespace {

constexpr std::uint32_t kMaxPasswordMessage = 8 * 1024;
constexpr auto kCatalogWait = std::chrono::seconds{1};
constexpr std::string_view kBadLength = "invalid length of startup packet";

// Parameters of the startup packet that are not settings.
bool is_setting(std::string_view name) {
    return name != "user" && name != "database" && name != "replication" &&
           !name.starts_with("_pq_.");
}

}  // namespace

void ClientSession::refuse_login(ProxyErrc reason,
                                 std::string_view sqlstate,
                                 std::string_view message) {
    worker_.mutable_counters().errors[static_cast<std::size_t>(reason)].add();
    worker_.mutable_counters().logins_failed.add();
    wire::Buffer out;
    wire::encode_error(out, {"FATAL", sqlstate, message});
    client_.write(wire::Bytes{out});
    log::info("login refused", "user", user_, "database", database_, "sqlstate", sqlstate,
              "message", message);
}

// As PostgreSQL does with what it reports as COMMERROR, to its log alone: whoever sent this does
// not speak the protocol, or has given up.
void ClientSession::hang_up(ProxyErrc reason, std::string_view message) {
    worker_.mutable_counters().errors[static_cast<std::size_t>(reason)].add();
    worker_.mutable_counters().logins_failed.add();
    log::info("connection closed before a login", "message", message);
}

awaitable<bool> ClientSession::start_up() {
    login_deadline_.emplace(worker_.executor(), client_,
                            routing::Clock::now() + worker_.config().listen.login_timeout, [this] {
                                const auto& late = info(ProxyErrc::login_timeout);
                                if (!registered_) return hang_up(late.code, late.message);
                                refuse_login(late.code, late.sqlstate, late.message);
                            });
    const auto message = co_await read_startup();
    if (!message) co_return false;
    if (worker_.too_many_clients()) {
        refuse_login(ProxyErrc::too_many_clients, "53300",
                     info(ProxyErrc::too_many_clients).message);
        co_return false;
    }
    if (worker_.draining()) {
        refuse_login(ProxyErrc::shutting_down, "57P03", "the database system is shutting down");
        co_return false;
    }
    user_ = message->parameter("user");
    database_ = message->parameter("database");
    if (database_.empty()) database_ = user_;
    if (user_.empty()) {
        refuse_login(ProxyErrc::invalid_startup, "28000",
                     "no PostgreSQL user name specified in startup packet");
        co_return false;
    }
    const auto replication = message->parameter("replication");
    replication_ = !replication.empty() && replication != "false" && replication != "off" &&
                   replication != "no" && replication != "0";
    for (const auto& [name, value] : message->parameters) {
        if (!is_setting(name)) continue;
        parameters_.emplace_back(name, value);
        parameters_key_.append(name).push_back('\0');
        parameters_key_.append(value).push_back('\0');
    }
    if (replication_) parameters_.emplace_back("replication", std::string{replication});
    negotiate_protocol(*message);
    if (!co_await authenticate()) co_return false;
    const bool has_database =
        !replication_ || replication == "database";  // physical replication: any name is ignored
    if (has_database && !find_database()) co_return false;
    if (!start_options()) co_return false;
    if (replication_) {
        key_ = worker_.register_session(*this);
        registered_ = true;
        co_await relay_raw();
        co_return false;
    }
    key_ = worker_.register_session(*this);
    registered_ = true;
    if (!co_await learn_parameters()) co_return false;
    // From here on a server knows the database: what clients invent is counted nowhere.
    counters_ = worker_.mutable_counters().databases.of(database_);
    co_await learn_catalog();

    wire::Buffer out;
    for (const auto& [name, value] : parameter_view_.all())
        wire::encode_parameter_status(out, name, value);
    wire::encode_backend_key_data(out, key_);
    wire::encode_ready_for_query(out, TransactionStatus::idle);
    client_.write(wire::Bytes{out});
    login_deadline_.reset();
    co_return client_.is_open();
}

// Reads packets until one starts a session. Encryption is not offered; a cancel request ends the
// connection.
awaitable<Result<wire::StartupMessage>> ClientSession::read_startup() {
    for (;;) {
        const auto bytes = wire::startup_packet_bytes(in_.data());
        if (!bytes) {
            hang_up(ProxyErrc::invalid_startup, kBadLength);
            co_return bytes.error();
        }
        if (!*bytes || in_.size() < **bytes) {
            if (auto ec = co_await client_.read_some(in_)) co_return ec;
            continue;
        }
        auto packet = wire::decode_startup(in_.data().first(**bytes));
        const bool is_cancel = wire::is_cancel_request(in_.data().first(**bytes));
        in_.consume(**bytes);
        if (!packet && is_cancel) {
            hang_up(ProxyErrc::invalid_startup, kBadLength);
            co_return packet.error();
        }
        if (!packet) {
            const auto reason = static_cast<ProxyErrc>(packet.error().value());
            refuse_login(reason, sqlstate_of(packet.error()), packet.error().message());
            co_return packet.error();
        }
        if (auto* startup = std::get_if<wire::StartupMessage>(&*packet))
            co_return std::move(*startup);
        if (const auto* cancel = std::get_if<wire::CancelRequest>(&*packet)) {
            worker_.forward_cancel(*cancel);
            co_return ProxyErrc::ok;
        }
        static constexpr std::uint8_t kNo = 'N';
        client_.write(wire::Bytes{&kNo, 1});
        if (!in_.empty()) {  // sent before it could know whether it would be encrypted
            refuse_login(ProxyErrc::invalid_startup, "08P01",
                         "received unencrypted data after a request for encryption");
            co_return ProxyErrc::invalid_startup;
        }
    }
}

// PostgreSQL docs, "Start-up": a minor version or _pq_ option that is not known is answered, not
// refused.
void ClientSession::negotiate_protocol(const wire::StartupMessage& message) {
    std::vector<std::string> unknown;
    for (const auto& [name, value] : message.parameters)
        if (name.starts_with("_pq_.")) unknown.push_back(name);
    if (message.protocol == wire::kProtocol30 && unknown.empty()) return;
    wire::Buffer out;
    wire::encode_negotiate_protocol_version(out, 0, unknown);
    client_.write(wire::Bytes{out});
}

bool ClientSession::find_database() {
    for (const auto& database : worker_.config().databases) {
        if (database.name == database_ || database.name == "*") {
            server_database_ = database.server_name.empty() ? database_ : database.server_name;
            return true;
        }
    }
    refuse_login(ProxyErrc::unknown_database, "3D000",
                 fmt::format("database \"{}\" does not exist", database_));
    return false;
}

awaitable<Result<wire::Bytes>> ClientSession::read_password_message(wire::Buffer& message) {
    for (;;) {
        const auto header = wire::peek_header(in_.data(), kMaxPasswordMessage);
        if (!header || (*header && (*header)->type != wire::frontend::kPassword)) {
            refuse_login(ProxyErrc::protocol_violation, "08P01", "expected password response");
            co_return ProxyErrc::protocol_violation;
        }
        if (*header && in_.size() >= (*header)->message_bytes()) {
            const auto whole = in_.data().first((*header)->message_bytes());
            message.assign(whole.begin() + wire::kHeaderBytes, whole.end());
            in_.consume(whole.size());
            co_return wire::Bytes{message};
        }
        if (auto ec = co_await client_.read_some(in_)) co_return ec;
    }
}

awaitable<bool> ClientSession::authenticate() {
    bool accepted = true;
    switch (worker_.config().auth.method) {
        case conf::AuthMethod::trust:
            break;
        case conf::AuthMethod::md5:
            accepted = co_await authenticate_md5();
            break;
        case conf::AuthMethod::scram_sha_256:
            accepted = co_await authenticate_scram();
            break;
    }
    if (!accepted) co_return false;
    wire::Buffer out;
    wire::encode_authentication(out, wire::AuthenticationKind::ok);
    client_.write(wire::Bytes{out});
    co_return true;
}

awaitable<bool> ClientSession::authenticate_md5() {
    const auto user = worker_.credentials().find(user_);
    const auto salt_bits = static_cast<std::uint32_t>(worker_.random());
    std::array<std::uint8_t, 4> salt{};
    for (std::size_t i = 0; i < salt.size(); ++i)
        salt[i] = static_cast<std::uint8_t>(salt_bits >> (8 * i));
    wire::Buffer out;
    wire::encode_authentication(out, wire::AuthenticationKind::md5, salt);
    client_.write(wire::Bytes{out});

    wire::Buffer message;
    const auto body = co_await read_password_message(message);
    if (!body) co_return false;
    const auto answer = wire::decode_password(*body);
    const auto wanted = auth::md5_response(user_, user.password, salt);
    if (answer && auth::equal_in_constant_time(*answer, wanted) && user.known &&
        !user.password.empty())
        co_return true;
    refuse_login(ProxyErrc::authentication_failed, "28P01",
                 fmt::format("password authentication failed for user \"{}\"", user_));
    co_return false;
}

awaitable<bool> ClientSession::authenticate_scram() {
    const auto user = worker_.credentials().find(user_);
    auth::ScramServer exchange{user.verifier, user.known, auth::random_nonce()};
    wire::Buffer out;
    wire::encode_sasl_mechanisms(out, {"SCRAM-SHA-256"});
    client_.write(wire::Bytes{out});

    wire::Buffer message;
    const auto refuse = [this](error_code error) {
        if (error == make_error_code(ProxyErrc::authentication_failed)) {
            refuse_login(ProxyErrc::authentication_failed, "28P01",
                         fmt::format("password authentication failed for user \"{}\"", user_));
        } else {
            refuse_login(ProxyErrc::protocol_violation, "08P01", "malformed SCRAM message");
        }
    };
    auto body = co_await read_password_message(message);
    if (!body) co_return false;
    const auto initial = wire::decode_sasl_initial(*body);
    if (!initial || initial->mechanism != "SCRAM-SHA-256" || !initial->has_data) {
        refuse(ProxyErrc::protocol_violation);
        co_return false;
    }
    const auto first = exchange.first(initial->data);
    if (!first) {
        refuse(first.error());
        co_return false;
    }
    out.clear();
    wire::encode_authentication(out, wire::AuthenticationKind::sasl_continue,
                                wire::as_bytes(*first));
    client_.write(wire::Bytes{out});

    body = co_await read_password_message(message);
    if (!body) co_return false;
    const auto last = exchange.last(wire::as_text(*body));
    if (!last) {
        refuse(last.error());
        co_return false;
    }
    if (user.password.empty())
        worker_.credentials().learn(user_, {exchange.client_key(), user.verifier.server_key});
    out.clear();
    wire::encode_authentication(out, wire::AuthenticationKind::sasl_final, wire::as_bytes(*last));
    client_.write(wire::Bytes{out});
    co_return true;
}

// Asks for the catalog of the database. The first session waits for it, so that its first reads are
// not all on the primary; but not for long: it may be large, or not to be had.
awaitable<void> ClientSession::learn_catalog() {
    const auto settings = routing::startup_settings(parameters_);
    const bool changes_role = routing::find_setting(settings, "role") ||
                              routing::find_setting(settings, "session_authorization");
    catalog_.start(worker_.catalogs().database(server_database_), user_,
                   routing::find_setting(settings, "search_path"), changes_role);
    if (catalog_.is_tried()) co_return;
    const auto end = routing::Clock::now() + kCatalogWait;
    auto& changed = worker_.catalogs_changed();
    Timer limit{worker_.executor(), end};
    limit.async_wait([&changed](error_code ec) {
        if (!ec) changed.notify_all();
    });
    while (!catalog_.is_tried() && !closing_ && routing::Clock::now() < end)
        co_await changed.wait();
}

// What the servers report to a session of this user, database and settings: remembered, or asked by
// opening the connection to the primary that the session will need anyway (without a primary: one
// to a replica).
awaitable<bool> ClientSession::learn_parameters() {
    const std::string key = server_database_ + '\0' + user_ + '\0' + parameters_key_;
    if (const auto* known = worker_.known_parameters(key)) {
        parameter_view_.start(*known, false);
        co_return true;
    }
    static const auto kAnywhere = [] {
        auto cached = std::make_shared<routing::CachedStatement>();
        cached->statement.access = routing::Access::session_control;
        cached->statement.reason = routing::Reason::session_control;
        cached->statement.raises_floor = false;
        return routing::StatementPtr{cached};
    }();
    Search search{*kAnywhere};
    co_await choose(search, Next::look_again);
    const auto& choice = search.choice;
    if (closing_) co_return false;
    if (choice.failure) {
        worker_.mutable_counters().logins_failed.add();
        if (choice.failure->rejected()) {
            client_.write(wire::Bytes{choice.failure->error_response});
        } else {
            send_error("FATAL", choice.failure->reason());
        }
        co_return false;
    }
    const auto& parameters = side(choice.slot).lease->parameters;
    parameter_view_.start(parameters, choice.slot == Slot::replica);
    if (choice.slot == Slot::primary &&
        !worker_.pool().is_retired(*side(choice.slot).lease.connection()))
        worker_.remember_parameters(key, parameter_view_.all());
    co_return true;
}

}  // namespace pgsteer::proxy
