#include "proxy/session/startup.hpp"

#include "proxy/wire/backend.hpp"
#include "routing/startup_options.hpp"

namespace pgsteer::proxy {

using routing::Slot;

namespace {

constexpr auto kCatalogWait = std::chrono::seconds{1};

// Any server may be asked what it reports to a session.
const routing::CachedStatement& anywhere() {
    static const auto kAnywhere = [] {
        routing::CachedStatement cached;
        cached.statement.access = routing::Access::session_control;
        cached.statement.reason = routing::Reason::session_control;
        cached.statement.raises_floor = false;
        return cached;
    }();
    return kAnywhere;
}

}  // namespace

awaitable<bool> Startup::run() {
    const bool has_logged_in = co_await log_in();
    if (!has_logged_in) co_return false;
    if (const auto problem = options_.start(); !problem.empty()) {
        login_->refuse(ProxyErrc::invalid_option, info(ProxyErrc::invalid_option).sqlstate,
                       problem);
        co_return false;
    }
    who_.key = {lodging_.around.sessions().add(session_),
                static_cast<std::uint32_t>(lodging_.around.random())};
    who_.is_registered = true;
    if (is_replication_) {
        co_await replicate();
        co_return false;
    }
    const bool is_known = co_await learn_parameters();
    if (!is_known) co_return false;
    // From here on a server knows the database: what clients invent is counted nowhere.
    who_.counters = lodging_.around.counters().databases.of(who_.identity.database);
    co_await learn_catalog();
    greet();
    end_login();
    co_return client_.stream.is_open();
}

// True: it is known who the client is.
awaitable<bool> Startup::log_in() {
    Login::Surroundings surroundings{
        lodging_.config(),
        *lodging_.generation->users,
        lodging_.around.counters(),
        [this] { return lodging_.around.clients().is_above(lodging_.config().listen.max_clients); },
        [this] { return lodging_.around.sessions().is_draining(); },
        static_cast<std::uint32_t>(lodging_.around.random())};
    login_.emplace(client_.stream, client_.in, std::move(surroundings));
    deadline_.emplace(lodging_.around.executor(), client_.stream,
                      routing::Clock::now() + lodging_.config().listen.login_timeout,
                      [this] { login_->end_late(); });
    auto outcome = co_await login_->run();
    if (const auto* cancel = std::get_if<Login::CancelDue>(&outcome))
        lodging_.around.forward_cancel(cancel->request);
    auto* routed = std::get_if<Login::Routed>(&outcome);
    auto* replication = std::get_if<Login::Replication>(&outcome);
    if (routed == nullptr && replication == nullptr) co_return false;
    who_.identity = std::move(routed != nullptr ? routed->who : replication->who);
    is_replication_ = replication != nullptr;
    co_return true;
}

awaitable<void> Startup::replicate() {
    const bool is_connected = co_await raw_relay_.connect(*login_);
    if (!is_connected) co_return;
    deadline_.reset();
    co_await raw_relay_.relay();
}

// What the servers report to a session of this user, database and settings: remembered, or asked by
// opening the connection to the primary that the session will need anyway (without a primary: one
// to a replica).
awaitable<bool> Startup::learn_parameters() {
    const auto& who = who_.identity;
    const std::string key = who.server_database + '\0' + who.user + '\0' + who.parameters_key;
    if (const auto* known = lodging_.around.parameters().find(key)) {
        who_.shown.start(*known, false);
        co_return true;
    }
    Search search{anywhere()};
    co_await seek_.choose(search, Next::look_again);
    if (client_.closing) co_return false;
    const auto& choice = search.choice;
    if (choice.failure) {
        refuse(*choice.failure);
        co_return false;
    }
    const auto& connection = *sides_[choice.slot].lease.connection();
    who_.shown.start(connection.parameters, choice.slot == Slot::replica);
    if (choice.slot == Slot::primary && !lodging_.around.pool().is_retired(connection))
        lodging_.around.parameters().remember(key, who_.shown.reported());
    co_return true;
}

void Startup::refuse(const ConnectFailure& failure) {
    lodging_.around.counters().logins_failed.add();
    if (failure.rejected()) {
        client_.stream.write(wire::Bytes{failure.error_response});
    } else {
        client_.send_error("FATAL", failure.reason());
    }
}

// Asks for the catalog of the database. The first session waits for it, so that its first reads are
// not all on the primary; but not for long: it may be large, or not to be had.
awaitable<void> Startup::learn_catalog() {
    const auto& who = who_.identity;
    auto& catalog = memory_.catalog;
    const auto settings = routing::startup_settings(who.parameters);
    const bool changes_role = routing::find_setting(settings, "role") ||
                              routing::find_setting(settings, "session_authorization");
    catalog.start(lodging_.around.catalogs().database(who.server_database), who.user,
                  routing::find_setting(settings, "search_path"), changes_role);
    if (catalog.is_tried()) co_return;
    const auto end = routing::Clock::now() + kCatalogWait;
    auto& changed = lodging_.around.catalogs_changed();
    Timer limit{lodging_.around.executor(), end};
    limit.async_wait([&changed](error_code ec) {
        if (!ec) changed.notify_all();
    });
    while (!catalog.is_tried() && !client_.closing && routing::Clock::now() < end)
        co_await changed.wait();
}

void Startup::greet() {
    wire::Buffer out;
    for (const auto& [name, value] : who_.shown.all())
        wire::encode_parameter_status(out, name, value);
    wire::encode_backend_key_data(out, who_.key);
    wire::encode_ready_for_query(out, routing::TransactionStatus::idle);
    client_.stream.write(wire::Bytes{out});
}

void Startup::end_login() {
    deadline_.reset();
    login_.reset();
}

}  // namespace pgsteer::proxy
