#include "proxy/session/client_session.hpp"

#include "conf/log.hpp"
#include "proxy/io/spawn.hpp"
#include "proxy/session/cancel.hpp"

#include <algorithm>

namespace pgsteer::proxy {

using routing::Slot;
using Step = Batcher::Step;

namespace {

constexpr std::chrono::milliseconds kPause{1};  // in what a client sends

// It takes no writes any more: it is a replica, or another server is the primary, or says so too.
bool is_superseded(const routing::Topology& topology, routing::ServerId server) {
    if (topology[server].role == routing::Role::replica) return true;
    if (topology.primary) return *topology.primary != server;
    for (std::uint16_t i = 0; i < topology.servers.size(); ++i)
        if (i != server.index && topology.servers[i].role == routing::Role::primary) return true;
    return false;
}

// It serves reads no more, or is another run of its server than that of which it was found good.
bool is_outlived(const routing::Topology& topology, const ServerConnection& replica) {
    const auto& server = topology[replica.server];
    return server.status == routing::Status::unhealthy || server.role != routing::Role::replica ||
           (server.incarnation.number != replica.origin.incarnation &&
            replica.origin.incarnation != kOutdated);
}

}  // namespace

ClientSession::Common::Common(ClientSession& s)
    : transaction_end{s.lodging_, s.client_, s.who_, s.course_, s.memory_, s.sides_},
      ending{s.lodging_, s.client_, s.who_, s.course_, s.memory_, s.sides_, transaction_end},
      holding{s.lodging_, s.client_, s.course_, s.sides_, ending},
      options{s.lodging_, s.who_, s.memory_},
      questions{s.lodging_, s.client_, s.course_, s.memory_, s.sides_},
      last_route{s.lodging_, s.client_, s.course_, s.memory_, s.sides_},
      request_end{s.lodging_, s.who_, s.course_, s.memory_, last_route},
      progress{s.lodging_, s.client_, s.course_, s.sides_},
      control{s.lodging_, s.client_, s.course_, s.memory_, s.sides_, options, progress} {}

ClientSession::Sending::Sending(ClientSession& s)
    : judge{s.lodging_, s.client_, s.who_, s.course_, s.memory_, s.sides_, s.common_.options},
      sender{s.memory_, s.sides_, s.common_.questions, s.common_.last_route, s.common_.control},
      seek{s.lodging_,
           s.client_,
           s.who_,
           s.course_,
           s.memory_,
           s.sides_,
           s.common_.transaction_end,
           s.common_.options,
           s.common_.questions,
           s.common_.request_end,
           s.common_.progress,
           judge},
      fitting{s.client_,         s.course_,          s.memory_, s.sides_,
              s.common_.control, s.common_.progress, sender,    seek},
      kept_back{s.lodging_,        s.client_,         s.course_,          s.memory_, s.sides_,
                s.common_.options, s.common_.control, s.common_.progress, seek},
      recovery{s.lodging_,
               s.client_,
               s.who_,
               s.course_,
               s.memory_,
               s.sides_,
               s.common_.ending,
               s.common_.holding,
               s.common_.options,
               s.common_.control,
               s.common_.progress,
               judge,
               sender,
               seek,
               fitting},
      dispatch{s.lodging_,
               s.client_,
               s.course_,
               s.memory_,
               s.sides_,
               s.common_.ending,
               s.common_.options,
               s.common_.last_route,
               s.common_.control,
               s.common_.progress,
               judge,
               sender,
               fitting,
               recovery,
               kept_back} {}

ClientSession::Answering::Answering(ClientSession& s)
    : effects{s.course_, s.memory_, s.sides_, s.common_.transaction_end, s.common_.options},
      errors{s.client_, s.who_,           s.course_,         s.memory_,
             s.sides_,  s.common_.ending, s.common_.holding, s.common_.questions},
      answers{s.who_,
              s.course_,
              s.memory_,
              s.sides_,
              s.common_.transaction_end,
              s.common_.ending,
              s.common_.questions,
              s.common_.request_end,
              effects,
              errors,
              s.common_.holding},
      cancelling{s.lodging_, s.who_, s.course_, s.sides_},
      replies{s.lodging_,        s.client_,           s.course_, s.sides_, s.common_.ending,
              s.common_.holding, s.sending_.recovery, errors,    answers,  cancelling} {}

ClientSession::ClientSession(Surroundings& around, GenerationPtr generation, Socket socket)
    : lodging_{around, std::move(generation)},
      client_{std::move(socket), around.counters()},
      course_{around.executor(), around.in_flight()},
      raw_relay_{lodging_, client_, who_, course_} {}

ClientSession::~ClientSession() = default;

void ClientSession::start() {
    course_.session = weak_from_this();
    spawn(lodging_.around.executor(), run(), "session");
}

// Of run(), serve() and the wait for the client one is under way at a time, up to end().
awaitable<void> ClientSession::run() {
    const auto self = shared_from_this();
    lodging_.around.counters().clients.add();
    bool has_started = false;
    try {
        has_started = co_await start_up();
    } catch (const std::exception& failure) {
        fail(failure);
    }
    if (!has_started) co_return end();
    go_on();
}

void ClientSession::fail(const std::exception& failure) {
    log::error("a session ended with an exception", "session", who_.key.process_id, "error",
               failure.what());
    common_.ending.die(ProxyErrc::out_of_memory, "internal error");
}

void ClientSession::end() {
    auto& counters = lodging_.around.counters();
    common_.ending.leave();
    counters.clients.subtract();
    counters.client_bytes_in.add(client_.stream.bytes_received());
    counters.client_bytes_out.add(client_.stream.bytes_sent());
    lodging_.around.clients().gone();
    lodging_.around.sessions().remove(*this);
}

// What that needs is gone when it is over.
awaitable<bool> ClientSession::start_up() {
    const auto startup = std::make_unique<Startup>(lodging_, *this, client_, who_, memory_, sides_,
                                                   common_.options, sending_.seek, raw_relay_);
    const bool started = co_await startup->run();
    co_return started;
}

void ClientSession::readable(error_code error) {
    client_.reading = false;
    if (error || client_.stream.read(client_.in) || client_.closing) return end();
    client_.received_at = routing::Clock::now();
    go_on();
}

// With what has come. An idle session has no coroutine, and most requests need none.
void ClientSession::go_on() {
    try {
        Due due;
        if (!serve_at_once(due)) return spawn(lodging_.around.executor(), serve(due), "session");
        if (!client_.closing) wait_for_client();
    } catch (const std::exception& failure) {
        fail(failure);
    }
    if (client_.closing) end();
}

// Unless it is closing then.
void ClientSession::wait_for_client() {
    common_.ending.drain_if_asked();  // behind what was answered here
    if (client_.closing) return;
    client_.batcher.rest();
    client_.in.rest();
    client_.reading = true;
    client_.stream.when_readable({shared_from_this(), this});
}

Batcher::Step ClientSession::next_step() {
    return client_.batcher.next(
        [this](std::string_view sql) { return sending_.judge.classify(sql); });
}

bool ClientSession::is_backlogged(Slot slot) const {
    const auto& lease = sides_[slot].lease;
    return lease && lease->stream.backlogged();
}

// False: something has to be waited for, by serve(), before `due` or for it.
bool ClientSession::serve_at_once(Due& due) {
    while (!client_.closing) {
        due = next_step();
        if (due == Step::need_more && client_.batcher.batch().items.empty()) return true;
        if (due != Step::dispatch || !sending_.dispatch.dispatch_at_once()) return false;
        due.reset();
        if (sending_.dispatch.has_to_settle() || is_backlogged(Slot::primary) ||
            is_backlogged(Slot::replica))
            return false;
    }
    return true;
}

awaitable<void> ClientSession::serve(Due due) {
    const auto self = shared_from_this();
    bool stays = false;
    try {
        co_await sending_.dispatch.settled();
        stays = co_await take_steps(due);
        if (stays && !client_.closing) wait_for_client();
    } catch (const std::exception& failure) {
        fail(failure);
    }
    if (!stays || client_.closing) end();
}

// All that there are, `due` first. False: the client leaves.
awaitable<bool> ClientSession::take_steps(Due due) {
    while (!client_.closing) {
        for (const Slot slot : {Slot::primary, Slot::replica}) {
            const auto connection = sides_[slot].lease.connection();
            if (connection && connection->stream.backlogged())
                co_await connection->stream.drained();
        }
        if (client_.closing) break;
        auto step = due ? *due : next_step();
        due.reset();
        if (step == Step::need_more) {
            if (client_.batcher.batch().items.empty()) break;
            const bool more = co_await more_comes();
            if (more || client_.closing) break;
            step = Step::dispatch;
        }
        if (step == Step::dispatch) {
            co_await sending_.dispatch.dispatch();
        } else if (step == Step::terminate) {
            co_await finish_writes();
            co_return false;
        } else {
            co_await do_step(step);
        }
    }
    co_return true;
}

// The rarer ones.
awaitable<void> ClientSession::do_step(Step step) {
    auto& dispatch = sending_.dispatch;
    switch (step) {
        case Step::stream:
            dispatch.stream_on();
            co_return;
        case Step::copy:
            dispatch.copy_on();
            co_return;
        case Step::skipped_sync:
            memory_.statements.sync_here();
            client_.send_ready(memory_.transaction.status());
            co_return;
        default:
            co_await dispatch.end_at_violation();
            common_.ending.leave();
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
    const auto pause = std::make_shared<Pause>(lodging_.around.executor());
    client_.stream.when_readable([pause] {
        pause->readable = true;
        pause->timer.cancel();
    });
    co_await pause->timer.async_wait(as_result);
    co_return pause->readable;
}

// Terminate: the client waits for nothing, but what it has asked for is done, as a server would.
// What only reads is not.
awaitable<void> ClientSession::finish_writes() {
    client_.terminating = true;
    const auto& requests = course_.requests;
    const auto writes = [](const Request& request) { return request.does.writes && !request.open; };
    while (!client_.closing && !common_.progress.is_copying_in() &&
           std::any_of(requests.begin(), requests.end(), writes))
        co_await course_.changed.wait();
}

// While something is waited for the client is not read, and would not be missed.
void ClientSession::look_for_client() {
    if (client_.terminating || client_.closing || !client_.has_gone()) return;
    common_.ending.leave();
}

void ClientSession::cancel_requested(std::uint32_t secret_key) {
    if (!raw_relay_.server()) return answering_.cancelling.requested(secret_key);
    if (secret_key == who_.key.secret_key) raw_relay_.cancel();
}

void ClientSession::servers_changed(const routing::Topology& topology) {
    const auto& replica = sides_[Slot::replica].lease;
    // Exchange finds out, and what can run elsewhere does.
    if (replica && is_outlived(topology, *replica.connection())) replica->stream.close();
    const auto& primary = sides_[Slot::primary].lease;
    if (primary && is_superseded(topology, primary->server)) primary->stream.close();
    const auto relayed = raw_relay_.server();
    if (relayed && is_superseded(topology, *relayed)) common_.ending.die(ProxyErrc::shutting_down);
}

void ClientSession::check_timeouts(routing::TimePoint now) {
    if (course_.requests.empty()) return check_questions(now);
    const auto& request = course_.requests.front();
    const auto limit = lodging_.server(request.server).query_timeout;
    if (limit.count() == 0 || request.again.rows_seen || now - request.started < limit) return;
    close_late(request.slot);
}

// What is asked before the client's batch is sent.
void ClientSession::check_questions(routing::TimePoint now) {
    for (const Slot slot : {Slot::primary, Slot::replica}) {
        const bool is_asked = sides_.learning(slot).is_looking || sides_.asks_for_client(slot);
        if (!is_asked || !sides_[slot].lease) continue;
        const auto limit = lodging_.server(sides_[slot].lease->server).query_timeout;
        if (limit.count() == 0 || now - client_.received_at < limit) continue;
        course_.question_timed_out = true;
        close_late(slot);
    }
}

void ClientSession::close_late(Slot slot) {
    auto& side = sides_[slot];
    if (!side.lease) return;
    send_cancel(lodging_.around, side.lease.connection());
    side.lost_because = ProxyErrc::server_timeout;
    side.lease->stream.close();
}

}  // namespace pgsteer::proxy
