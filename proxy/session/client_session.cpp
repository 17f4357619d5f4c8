#include "proxy/session/client_session.hpp"

#include "conf/log.hpp"
#include "proxy/io/spawn.hpp"
#include "proxy/session/cancel.hpp"
#include "proxy/wire/backend.hpp"
#include "proxy/shared/surroundings.hpp"

namespace pgsteer::proxy {

using routing::TransactionStatus;

namespace {

// It takes no writes any more: it is a replica, or another server is the primary, or says so too.
bool is_superseded(const routing::Topology& topology, routing::ServerId server) {
    if (topology[server].role == routing::Role::replica) return true;
    if (topology.primary) return *topology.primary != server;
    for (std::uint16_t i = 0; i < topology.servers.size(); ++i)
        if (i != server.index && topology.servers[i].role == routing::Role::primary) return true;
    return false;
}
constexpr std::chrono::milliseconds kPause{1};  // in what a client sends

}  // namespace

ClientSession::ClientSession(Surroundings& worker, GenerationPtr generation, Socket socket)
    : worker_{worker},
      generation_{std::move(generation)},
      client_{std::move(socket)},
      requests_{worker.in_flight()},
      hold_timer_{worker.executor()},
      answered_{worker.executor()} {}

ClientSession::~ClientSession() = default;

void ClientSession::start() { spawn(worker_.executor(), run(), "session"); }

awaitable<void> ClientSession::run() {
    const auto self = shared_from_this();
    auto& counters = worker_.mutable_counters();
    counters.clients.add();
    try {
        const bool started = co_await start_up();
        if (started) co_await serve();
    } catch (const std::exception& error) {
        log::error("a session ended with an exception", "session", key_.process_id, "error",
                   error.what());
        if (!closing_) die(ProxyErrc::out_of_memory, "internal error");
    }
    leave();
    counters.clients.subtract();
    counters.client_bytes_in.add(client_.bytes_received());
    counters.client_bytes_out.add(client_.bytes_sent());
    worker_.unregister_session(*this);
}

awaitable<void> ClientSession::serve() {
    for (;;) {
        for (auto step = next_step();; step = next_step()) {
            if (step == Step::need_more) {
                if (batcher_.batch().items.empty()) break;
                const bool more = co_await more_comes();
                if (closing_) co_return;
                if (more) break;
                step = Step::dispatch;
            }
            switch (step) {
                case Step::dispatch:
                    co_await dispatch();
                    break;
                case Step::stream:
                    stream_on();
                    break;
                case Step::copy:
                    copy_on();
                    break;
                case Step::skipped_sync:
                    send_ready();
                    break;
                case Step::terminate:
                    co_return co_await finish_writes();
                default:
                    co_return co_await end_at_violation();
            }
            for (Slot slot : {Slot::primary, Slot::replica}) {
                if (const auto connection = side(slot).lease.connection();
                    connection && connection->stream.backlogged())
                    co_await connection->stream.drained();
            }
            if (closing_) co_return;
        }
        if (is_idle()) in_.rest();
        reading_ = true;
        const auto result = co_await client_.receive(in_);
        reading_ = false;
        if (client_.received(result, in_) || closing_) co_return;
        received_at_ = routing::Clock::now();
    }
}

// What has no Sync yet is sent on when the client has said no more for a moment: a server executes
// it. A pipeline whose packets follow each other goes out as one. False: nothing has come.
awaitable<bool> ClientSession::more_comes() {
    struct Pause {
        explicit Pause(Executor executor) : timer{executor, routing::Clock::now() + kPause} {}
        Timer timer;
        bool readable = false;
    };
    const auto pause = std::make_shared<Pause>(worker_.executor());
    client_.when_readable([pause] {
        pause->readable = true;
        pause->timer.cancel();
    });
    co_await pause->timer.async_wait(as_result);
    co_return pause->readable;
}

// Terminate: the client waits for nothing, but what it has asked for is done, as a server would.
// What only reads is not.
awaitable<void> ClientSession::finish_writes() {
    terminating_ = true;
    const auto writes = [](const Request& request) { return request.writes && !request.open; };
    while (!closing_ && !is_copying_in() && std::any_of(requests_.begin(), requests_.end(), writes))
        co_await answered_.wait();
}

// While something is waited for the client is not read, and would not be missed.
void ClientSession::look_for_client() {
    if (terminating_ || closing_ || !client_.peer_has_closed()) {
        gone_at_.reset();
        return;
    }
    // What it has sent before is read first, as long as that goes on.
    const auto received = client_.bytes_received();
    if (gone_at_ == received) return leave();
    gone_at_ = received;
}

// Requests in flight are cancelled: nobody will read their answers.
void ClientSession::leave() {
    if (closing_ && !client_.is_open() && !side(Slot::primary).lease && !side(Slot::replica).lease)
        return;
    closing_ = true;
    place_in_pool_.leave();
    if ((at_transaction_end_ & AtTransactionEnd::changes_logins) != 0)
        worker_.logins_change();  // perhaps committed
    at_transaction_end_ = 0;
    client_.close();
    hold_timer_.cancel();
    answered_.notify_all();
    for (Slot slot : {Slot::primary, Slot::replica}) {
        auto& lease = side(slot).lease;
        if (!lease) continue;
        if (!lease->replies.empty() && !requests_.empty()) send_cancel(worker_, lease.connection());
        release(slot);
    }
    requests_.clear();
}

void ClientSession::release(Slot slot) {
    auto& side = sides_[static_cast<std::size_t>(slot)];
    if (!side.lease) return;
    if (state_.has_custom_settings()) side.lease->outlives_discard_all = true;
    if (side.partial > 0) {
        side.lease.discard();
    } else {
        side.lease.give_back();
    }
    side = Side{};
    prepared_.disconnected(slot);
    state_.disconnected(slot);
    if (last_used_ == slot) last_used_.reset();
}

void ClientSession::send_error(std::string_view severity,
                               ProxyErrc reason,
                               std::string_view message) {
    const auto& error = info(reason);
    worker_.mutable_counters().errors[static_cast<std::size_t>(reason)].add();
    wire::Buffer out;
    wire::encode_error(
        out, {severity, error.sqlstate, message.empty() ? error.message : message, {}, error.hint});
    client_.write(wire::Bytes{out});
}

void ClientSession::send_ready() {
    wire::Buffer out;
    wire::encode_ready_for_query(out, transaction_.status());
    client_.write(wire::Bytes{out});
}

void ClientSession::die(ProxyErrc reason, std::string_view message) {
    if (closing_) return;
    if (may_speak()) send_error("FATAL", reason, message);
    leave();
}

void ClientSession::drain() {
    draining_ = true;
    if (registered_ && is_idle() && state_.transaction_status() == TransactionStatus::idle &&
        batcher_.is_between_messages())
        die(ProxyErrc::shutting_down);
}

void ClientSession::stop() {
    if (registered_) {
        die(ProxyErrc::shutting_down);
    } else {
        leave();
    }
}

void ClientSession::cancel_requested(std::uint32_t secret_key) {
    if (secret_key != key_.secret_key) return;
    if (raw_) return cancel_raw();
    if (requests_.empty() && !running_again_ && !choosing_) return;
    worker_.mutable_counters().cancels.add();
    if (cancel_ == Cancel::none) cancel_ = Cancel::asked;
    pass_cancel_on();
    if (requests_.empty()) place_in_pool_.leave();
    answered_.notify_all();
}

// Only where the client's own message is being answered: what we have sent in front of it is not
// to be hit.
void ClientSession::pass_cancel_on() {
    if (cancel_ != Cancel::asked || requests_.empty() || running_again_) return;
    const auto& lease = side(requests_.front().slot).lease;
    if (!lease) return;
    const auto* owed = lease->replies.front();
    if (owed == nullptr && !choosing_) cancel_ = Cancel::none;  // the client has the answer
    if (owed == nullptr || owed->internal) return;
    cancel_ = Cancel::passed_on;
    send_cancel(worker_, lease.connection());
}

void ClientSession::servers_changed(const routing::Topology& topology) {
    if (const auto& lease = side(Slot::replica).lease) {
        const auto& server = topology[lease->server];
        if (server.status == routing::Status::unhealthy || server.role != routing::Role::replica ||
            (server.incarnation.number != lease->incarnation && lease->incarnation != kOutdated))
            lease->stream.close();  // ended() finds out, and runs elsewhere what it can
    }
    const auto& lease = side(Slot::primary).lease;
    if (lease && is_superseded(topology, lease->server)) lease->stream.close();
    if (raw_server() && is_superseded(topology, *raw_server())) die(ProxyErrc::shutting_down);
}

void ClientSession::outdate_replica(routing::ServerId server) {
    const auto& lease = side(Slot::replica).lease;
    if (lease && lease->server == server) outdate_replica();
}

void ClientSession::outdate_replica(const SessionKind& kind) {
    const auto& lease = side(Slot::replica).lease;
    if (lease && kind.user == who_.user && kind.database == who_.server_database) outdate_replica();
}

// What has begun there ends there.
void ClientSession::outdate_replica() {
    at_transaction_end_ |= AtTransactionEnd::outdates_replica;
    if (requests_.empty()) transaction_has_ended();
}

void ClientSession::transaction_has_ended() {
    const auto to_do = std::exchange(at_transaction_end_, std::uint8_t{0});
    if ((to_do & AtTransactionEnd::changes_logins) != 0) worker_.logins_change();
    if ((to_do & AtTransactionEnd::outdates_replica) == 0) return;
    if (requests_.size() > 1 || state_.irreplaceable(Slot::replica)) {
        at_transaction_end_ = AtTransactionEnd::outdates_replica;
    } else if (const auto& lease = side(Slot::replica).lease) {
        lease->incarnation = kOutdated;
        replica_was_outdated_ = true;
    }
}

// The replica connection in the place of one that was outdated: the primary would tell its new
// values with its next answer.
void ClientSession::tell_new_values(const ServerConnection& replica) {
    wire::Buffer out;
    for (const auto name : kReviewedSettings) {
        const auto reported = replica.parameters.find(name);
        if (reported == replica.parameters.end() || state_.has_set(name)) continue;
        if (parameter_view_.changed(name, reported->second))
            wire::encode_parameter_status(out, name, reported->second);
    }
    if (!out.empty()) client_.write(wire::Bytes{out});
}

void ClientSession::check_timeouts(routing::TimePoint now) {
    if (requests_.empty()) return;
    const auto& request = requests_.front();
    const auto limit = worker_.config().servers[request.server.index].query_timeout;
    if (limit.count() == 0 || request.rows_seen || now - request.started < limit) return;
    if (const auto& lease = side(request.slot).lease) {
        send_cancel(worker_, lease.connection());
        side(request.slot).lost_because = ProxyErrc::server_timeout;
        lease->stream.close();
    }
}

}  // namespace pgsteer::proxy
