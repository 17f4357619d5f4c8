// From what Login has found out to the first ReadyForQuery.
#include "conf/log.hpp"
#include "proxy/io/deadline.hpp"
#include "proxy/session/client_session.hpp"
#include "proxy/wire/backend.hpp"
#include "proxy/shared/surroundings.hpp"
#include "routing/startup_options.hpp"

namespace pgsteer::proxy {

using routing::TransactionStatus;

namespace {

constexpr auto kCatalogWait = std::chrono::seconds{1};

}  // namespace

// True: it goes on as a session.
awaitable<bool> ClientSession::start_up() {
    Login::Surroundings surroundings{worker_.config(),
                                     worker_.users(),
                                     worker_.mutable_counters(),
                                     [this] { return worker_.too_many_clients(); },
                                     [this] { return worker_.draining(); },
                                     static_cast<std::uint32_t>(worker_.random())};
    login_.emplace(client_, in_, std::move(surroundings));
    login_deadline_.emplace(worker_.executor(), client_,
                            routing::Clock::now() + worker_.config().listen.login_timeout,
                            [this] { login_->end_late(); });
    auto outcome = co_await login_->run();
    if (const auto* cancel = std::get_if<Login::CancelDue>(&outcome))
        worker_.forward_cancel(cancel->request);
    auto* routed = std::get_if<Login::Routed>(&outcome);
    auto* replication = std::get_if<Login::Replication>(&outcome);
    if (routed == nullptr && replication == nullptr) co_return false;
    who_ = std::move(routed != nullptr ? routed->who : replication->who);
    if (!start_options()) co_return false;
    key_ = worker_.register_session(*this);
    registered_ = true;
    if (replication != nullptr) {
        co_await relay_raw();
        co_return false;
    }
    if (!co_await learn_parameters()) co_return false;
    // From here on a server knows the database: what clients invent is counted nowhere.
    counters_ = worker_.mutable_counters().databases.of(who_.database);
    co_await learn_catalog();

    wire::Buffer out;
    for (const auto& [name, value] : parameter_view_.all())
        wire::encode_parameter_status(out, name, value);
    wire::encode_backend_key_data(out, key_);
    wire::encode_ready_for_query(out, TransactionStatus::idle);
    client_.write(wire::Bytes{out});
    login_deadline_.reset();
    login_.reset();
    co_return client_.is_open();
}

// Asks for the catalog of the database. The first session waits for it, so that its first reads are
// not all on the primary; but not for long: it may be large, or not to be had.
awaitable<void> ClientSession::learn_catalog() {
    const auto settings = routing::startup_settings(who_.parameters);
    const bool changes_role = routing::find_setting(settings, "role") ||
                              routing::find_setting(settings, "session_authorization");
    catalog_.start(worker_.catalogs().database(who_.server_database), who_.user,
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
    const std::string key = who_.server_database + '\0' + who_.user + '\0' + who_.parameters_key;
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
