#include "proxy/login/login.hpp"

#include "conf/log.hpp"
#include "proxy/auth/md5.hpp"
#include "proxy/auth/scram.hpp"
#include "proxy/wire/backend.hpp"
#include "proxy/wire/frontend.hpp"
#include "proxy/wire/header.hpp"
#include "proxy/wire/message_types.hpp"

#include <fmt/format.h>

#include <array>
#include <utility>

namespace pgsteer::proxy {

namespace {

constexpr std::uint32_t kMaxPasswordMessage = 8 * 1024;
constexpr std::string_view kBadLength = "invalid length of startup packet";

// Parameters of the startup packet that are not settings.
bool is_setting(std::string_view name) {
    return name != "user" && name != "database" && name != "replication" &&
           !name.starts_with("_pq_.");
}

bool asks_for_replication(std::string_view value) {
    return !value.empty() && value != "false" && value != "off" && value != "no" && value != "0";
}

}  // namespace

void Login::refuse(ProxyErrc reason, std::string_view sqlstate, std::string_view message) {
    around_.counters.errors[static_cast<std::size_t>(reason)].add();
    around_.counters.logins_failed.add();
    wire::Buffer out;
    wire::encode_error(out, {"FATAL", sqlstate, message});
    client_.write(wire::Bytes{out});
    log::info("login refused", "user", who_.user, "database", who_.database, "sqlstate", sqlstate,
              "message", message);
}

// As PostgreSQL does with what it reports as COMMERROR, to its log alone: whoever sent this does
// not speak the protocol, or has given up.
void Login::hang_up(ProxyErrc reason, std::string_view message) {
    around_.counters.errors[static_cast<std::size_t>(reason)].add();
    around_.counters.logins_failed.add();
    log::info("connection closed before a login", "message", message);
}

void Login::end_late() {
    const auto& late = info(ProxyErrc::login_timeout);
    if (!has_authenticated_) return hang_up(late.code, late.message);
    refuse(late.code, late.sqlstate, late.message);
}

awaitable<Login::Outcome> Login::run() {
    if (auto ended = co_await read_startup()) co_return std::move(*ended);
    const bool is_accepted = co_await authenticate();
    if (!is_accepted) co_return Refused{};
    has_authenticated_ = true;
    const bool is_physical = !replication_.empty() && replication_ != "database";
    if (!is_physical && !find_database()) co_return Refused{};
    if (replication_.empty()) co_return Routed{who_};
    co_return Replication{who_};
}

// Reads packets until one starts a session. Encryption is not offered. An outcome: none starts one.
awaitable<std::optional<Login::Outcome>> Login::read_startup() {
    for (;;) {
        const auto bytes = wire::startup_packet_bytes(in_.data());
        if (!bytes) {
            hang_up(ProxyErrc::invalid_startup, kBadLength);
            co_return Refused{};
        }
        if (!*bytes || in_.size() < **bytes) {
            const auto ec = co_await client_.read_some(in_);
            if (ec) co_return Refused{};
            continue;
        }
        auto packet = wire::decode_startup(in_.data().first(**bytes));
        const bool is_cancel = wire::is_cancel_request(in_.data().first(**bytes));
        in_.consume(**bytes);
        if (!packet && is_cancel) {
            hang_up(ProxyErrc::invalid_startup, kBadLength);
            co_return Refused{};
        }
        if (!packet) {
            const auto reason = static_cast<ProxyErrc>(packet.error().value());
            refuse(reason, sqlstate_of(packet.error()), packet.error().message());
            co_return Refused{};
        }
        if (const auto* startup = std::get_if<wire::StartupMessage>(&*packet)) {
            if (!take(*startup)) co_return Refused{};
            co_return std::nullopt;
        }
        if (const auto* cancel = std::get_if<wire::CancelRequest>(&*packet))
            co_return CancelDue{*cancel};
        static constexpr std::uint8_t kNo = 'N';
        client_.write(wire::Bytes{&kNo, 1});
        if (!in_.empty()) {  // sent before it could know whether it would be encrypted
            refuse(ProxyErrc::invalid_startup, "08P01",
                   "received unencrypted data after a request for encryption");
            co_return Refused{};
        }
    }
}

// False: refused.
bool Login::take(const wire::StartupMessage& message) {
    if (around_.has_too_many_clients()) {
        const auto& full = info(ProxyErrc::too_many_clients);
        refuse(full.code, full.sqlstate, full.message);
        return false;
    }
    if (around_.is_draining()) {
        refuse(ProxyErrc::shutting_down, "57P03", "the database system is shutting down");
        return false;
    }
    who_.user = message.parameter("user");
    who_.database = message.parameter("database");
    if (who_.database.empty()) who_.database = who_.user;
    if (who_.user.empty()) {
        refuse(ProxyErrc::invalid_startup, "28000",
               "no PostgreSQL user name specified in startup packet");
        return false;
    }
    for (const auto& [name, value] : message.parameters) {
        if (!is_setting(name)) continue;
        who_.parameters.emplace_back(name, value);
        who_.parameters_key.append(name).push_back('\0');
        who_.parameters_key.append(value).push_back('\0');
    }
    if (const auto value = message.parameter("replication"); asks_for_replication(value)) {
        replication_ = value;
        who_.parameters.emplace_back("replication", replication_);
    }
    negotiate_protocol(message);
    return true;
}

// PostgreSQL docs, "Start-up": a minor version or _pq_ option that is not known is answered, not
// refused.
void Login::negotiate_protocol(const wire::StartupMessage& message) {
    std::vector<std::string> unknown;
    for (const auto& [name, value] : message.parameters)
        if (name.starts_with("_pq_.")) unknown.push_back(name);
    if (message.protocol == wire::kProtocol30 && unknown.empty()) return;
    wire::Buffer out;
    wire::encode_negotiate_protocol_version(out, 0, unknown);
    client_.write(wire::Bytes{out});
}

bool Login::find_database() {
    for (const auto& database : around_.config.databases) {
        if (database.name == who_.database || database.name == "*") {
            who_.server_database =
                database.server_name.empty() ? who_.database : database.server_name;
            return true;
        }
    }
    refuse(ProxyErrc::unknown_database, "3D000",
           fmt::format("database \"{}\" does not exist", who_.database));
    return false;
}

awaitable<Result<wire::Bytes>> Login::read_password_message(wire::Buffer& message) {
    for (;;) {
        const auto header = wire::peek_header(in_.data(), kMaxPasswordMessage);
        if (!header || (*header && (*header)->type != wire::frontend::kPassword)) {
            refuse(ProxyErrc::protocol_violation, "08P01", "expected password response");
            co_return ProxyErrc::protocol_violation;
        }
        if (*header && in_.size() >= (*header)->message_bytes()) {
            const auto whole = in_.data().first((*header)->message_bytes());
            message.assign(whole.begin() + wire::kHeaderBytes, whole.end());
            in_.consume(whole.size());
            co_return wire::Bytes{message};
        }
        const auto ec = co_await client_.read_some(in_);
        if (ec) co_return ec;
    }
}

awaitable<bool> Login::authenticate() {
    bool is_accepted = true;
    switch (around_.config.auth.method) {
        case conf::AuthMethod::trust:
            break;
        case conf::AuthMethod::md5:
            is_accepted = co_await authenticate_md5();
            break;
        case conf::AuthMethod::scram_sha_256:
            is_accepted = co_await authenticate_scram();
            break;
    }
    if (!is_accepted) co_return false;
    wire::Buffer out;
    wire::encode_authentication(out, wire::AuthenticationKind::ok);
    client_.write(wire::Bytes{out});
    co_return true;
}

awaitable<bool> Login::authenticate_md5() {
    const auto user = co_await around_.users.find(who_.user);
    std::array<std::uint8_t, 4> salt{};
    for (std::size_t i = 0; i < salt.size(); ++i)
        salt[i] = static_cast<std::uint8_t>(around_.random >> (8 * i));
    wire::Buffer out;
    wire::encode_authentication(out, wire::AuthenticationKind::md5, salt);
    client_.write(wire::Bytes{out});

    wire::Buffer message;
    const auto body = co_await read_password_message(message);
    if (!body) co_return false;
    const auto answer = wire::decode_password(*body);
    const auto wanted = auth::md5_response(who_.user, user.password, salt);
    if (answer && auth::equal_in_constant_time(*answer, wanted) && user.known &&
        !user.password.empty())
        co_return true;
    refuse_proof(ProxyErrc::authentication_failed);
    co_return false;
}

void Login::refuse_proof(error_code error) {
    if (error != make_error_code(ProxyErrc::authentication_failed))
        return refuse(ProxyErrc::protocol_violation, "08P01", "malformed SCRAM message");
    refuse(ProxyErrc::authentication_failed, "28P01",
           fmt::format("password authentication failed for user \"{}\"", who_.user));
}

awaitable<bool> Login::authenticate_scram() {
    const auto user = co_await around_.users.find(who_.user);
    auth::ScramServer exchange{user.verifier, user.known, auth::random_nonce()};
    wire::Buffer out;
    wire::encode_sasl_mechanisms(out, {"SCRAM-SHA-256"});
    client_.write(wire::Bytes{out});

    wire::Buffer message;
    auto body = co_await read_password_message(message);
    if (!body) co_return false;
    const auto initial = wire::decode_sasl_initial(*body);
    if (!initial || initial->mechanism != "SCRAM-SHA-256" || !initial->has_data) {
        refuse_proof(ProxyErrc::protocol_violation);
        co_return false;
    }
    const auto first = exchange.first(initial->data);
    if (!first) {
        refuse_proof(first.error());
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
        refuse_proof(last.error());
        co_return false;
    }
    if (user.password.empty())
        around_.users.learn(who_.user, {exchange.client_key(), user.verifier.server_key});
    out.clear();
    wire::encode_authentication(out, wire::AuthenticationKind::sasl_final, wire::as_bytes(*last));
    client_.write(wire::Bytes{out});
    co_return true;
}

}  // namespace pgsteer::proxy
