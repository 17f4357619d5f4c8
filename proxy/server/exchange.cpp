#include "proxy/server/exchange.hpp"

#include "conf/log.hpp"
#include "proxy/io/signal.hpp"
#include "proxy/server/server_connection.hpp"
#include "proxy/wire/backend.hpp"
#include "proxy/wire/frontend.hpp"
#include "proxy/wire/header.hpp"
#include "proxy/wire/message_types.hpp"

#include <boost/asio/post.hpp>

#include <algorithm>
#include <exception>

namespace pgsteer::proxy {

HolderId Exchange::attach(Holder& holder) {
    const HolderId id{++last_id_};
    holders_.push_back({id, &holder});
    connection_.replies.speaks(id);
    resume();
    return id;
}

void Exchange::leave(HolderId holder) {
    const auto held = std::ranges::find(holders_, holder, &Held::id);
    if (held != holders_.end()) holders_.erase(held);
    if (!holders_.empty()) connection_.replies.speaks(holders_.back().id);
}

bool Exchange::is_held_by(const Holder& holder) const {
    return std::ranges::any_of(holders_, [&](const Held& held) { return held.by == &holder; });
}

Exchange::Holder* Exchange::hearer() const {
    if (holders_.empty()) return nullptr;
    if (holders_.size() == 1) return holders_.front().by;
    const auto addressee = connection_.replies.addressee();
    const auto held = std::ranges::find(holders_, addressee, &Held::id);
    return held == holders_.end() ? holders_.back().by : held->by;
}

// Each holder takes its part of what has come.
void Exchange::pass_on() {
    for (auto* holder = hearer(); holder != nullptr;) {
        holder->received(connection_);
        auto* const next = hearer();
        if (connection_.in.empty() || is_paused_ || next == holder) return;
        holder = next;
    }
}

// Any of them may leave, or be gone, while another is told.
void Exchange::tell_end(error_code error) {
    state_ = State::over;
    while (!holders_.empty()) {
        auto& holder = *holders_.front().by;
        holders_.erase(holders_.begin());
        holder.ended(connection_, error);
    }
}

void Exchange::resume() {
    is_paused_ = false;
    go_on_soon();
}

void Exchange::start() { wait(); }

void Exchange::wait() {
    state_ = State::waits;
    if (connection_.replies.empty()) connection_.in.rest();
    const auto connection = connection_.shared_from_this();
    connection_.stream.when_readable({connection, this});
}

void Exchange::readable(error_code error) {
    const auto before = connection_.stream.bytes_received();
    error_ = error ? error : connection_.stream.read(connection_.in);
    if (!error_ && connection_.stream.bytes_received() == before) return wait();
    go_on();
}

void Exchange::tell() {
    const bool is_open = connection_.stream.is_open();
    state_ = is_open ? State::untold : State::over;
    if (holders_.empty()) return;
    if (error_) return tell_end(error_);
    pass_on();
    if (is_paused_ && connection_.stream.is_open()) {
        state_ = State::paused;
    } else {
        wait();
    }
}

// Not at once: whoever calls is in the middle of something.
void Exchange::go_on_soon() {
    if (state_ != State::untold && state_ != State::paused) return;
    asio::post(executor_, [connection = connection_.shared_from_this()] {
        auto& exchange = connection->exchange;
        if (exchange.state_ != State::waits) exchange.go_on();
    });
}

void Exchange::go_on() {
    try {
        if (state_ == State::waits || state_ == State::untold) {
            tell();
        } else if (state_ == State::paused && !(is_paused_ && connection_.stream.is_open())) {
            wait();
        }
    } catch (const std::exception& failure) {  // of a holder: it will be told of the end
        log::error("a server connection is given up", "error", failure.what());
        connection_.stream.close();
        wait();
    }
}

namespace {

class Draining final : public Exchange::Holder {
public:
    explicit Draining(Executor executor) : has_ended{executor} {}
    void received(ServerConnection& connection) override {
        connection.in.consume(connection.in.size());
    }
    void ended(ServerConnection&, error_code) override {
        is_over = true;
        has_ended.notify_all();
    }

    bool is_over = false;
    Signal has_ended;
};

// Drops whole messages until nothing is owed any more.
class Running final : public Exchange::Holder {
public:
    explicit Running(Executor executor) : done{executor} {}

    void received(ServerConnection& connection) override {
        while (!is_done) {
            const auto header = wire::peek_header(connection.in.data(), kMaxMessage);
            if (!header) return end(true);
            if (!*header || connection.in.size() < (*header)->message_bytes()) return;
            const auto whole = connection.in.data().first((*header)->message_bytes());
            take(connection, (*header)->type, whole.subspan(wire::kHeaderBytes));
            connection.in.consume(whole.size());
        }
    }
    void ended(ServerConnection&, error_code) override { end(true); }

    bool is_done = false;
    bool has_failed = false;
    Signal done;

private:
    static constexpr std::uint32_t kMaxMessage = 1024 * 1024;

    void end(bool failed) {
        is_done = true;
        has_failed = has_failed || failed;
        done.notify_all();
    }
    void take(ServerConnection& connection, std::uint8_t type, wire::Bytes body) {
        auto& replies = connection.replies;
        const bool is_last = replies.entries().size() == 1;
        switch (fit(type, replies.front())) {
            case Fit::wrong:
                return end(true);
            case Fit::error:
                has_failed = has_failed || is_last;
                if (!replies.empty()) replies.failed();
                break;
            case Fit::asynchronous:
                if (type != wire::backend::kParameterStatus) break;
                if (const auto status = wire::decode_parameter_status(body))
                    connection.parameters.set(status->name, status->value);
                break;
            case Fit::last: {
                replies.pop();
                const auto status = wire::decode_ready_for_query(body);
                if (!status) return end(true);
                connection.transaction_status = *status;
                if (replies.empty()) end(*status != routing::TransactionStatus::idle);
                break;
            }
            case Fit::part:
                if (type == wire::backend::kCommandComplete) replies.statement_completed();
                break;
        }
    }
};

}  // namespace

awaitable<void> until_end(std::shared_ptr<ServerConnection> connection) {
    if (!connection->exchange.has_started()) co_return co_await read_to_end(*connection);
    Draining draining{connection->exchange.executor()};
    connection->exchange.attach(draining);
    while (!draining.is_over && connection->stream.is_open()) co_await draining.has_ended.wait();
    connection->exchange.detach();
}

awaitable<bool> discard_all(std::shared_ptr<ServerConnection> connection) {
    auto& names = connection->ledger.names();
    const auto sent = names.send(MessageKind::query);
    names.deallocate_all(0);
    if (!connection->replies.push({.what = Expect::query, .internal = true, .on_server = sent}))
        co_return false;
    wire::Buffer out;
    wire::encode_query(out, "DISCARD ALL");
    connection->stream.write(wire::Bytes{out});
    Running running{connection->exchange.executor()};
    connection->exchange.attach(running);
    running.received(*connection);  // what is there already
    while (!running.is_done) co_await running.done.wait();
    connection->exchange.detach();
    co_return !running.has_failed;
}

}  // namespace pgsteer::proxy
