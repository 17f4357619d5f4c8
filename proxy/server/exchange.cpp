#include "proxy/server/exchange.hpp"

#include "proxy/io/spawn.hpp"
#include "proxy/server/server_connection.hpp"
#include "proxy/wire/backend.hpp"
#include "proxy/wire/frontend.hpp"
#include "proxy/wire/header.hpp"
#include "proxy/wire/message_types.hpp"

#include <algorithm>

namespace pgsteer::proxy {

HolderId Exchange::attach(Holder& holder) {
    const HolderId id{++last_id_};
    holders_.push_back({id, &holder});
    replies_.speaks(id);
    resume();
    return id;
}

void Exchange::leave(HolderId holder) {
    const auto held = std::ranges::find(holders_, holder, &Held::id);
    if (held != holders_.end()) holders_.erase(held);
    if (!holders_.empty()) replies_.speaks(holders_.back().id);
}

bool Exchange::is_held_by(const Holder& holder) const {
    return std::ranges::any_of(holders_, [&](const Held& held) { return held.by == &holder; });
}

Exchange::Holder* Exchange::hearer() const {
    if (holders_.empty()) return nullptr;
    if (holders_.size() == 1) return holders_.front().by;
    const auto addressee = replies_.addressee();
    const auto held = std::ranges::find(holders_, addressee, &Held::id);
    return held == holders_.end() ? holders_.back().by : held->by;
}

// Each holder takes its part of what has come.
void Exchange::pass_on(ServerConnection& connection) {
    for (auto* holder = hearer(); holder != nullptr;) {
        holder->received(connection);
        auto* const next = hearer();
        if (connection.in.empty() || is_paused_ || next == holder) return;
        holder = next;
    }
}

// Any of them may leave, or be gone, while another is told.
void Exchange::tell_end(ServerConnection& connection, error_code error) {
    while (!holders_.empty()) {
        auto& holder = *holders_.front().by;
        holders_.erase(holders_.begin());
        holder.ended(connection, error);
    }
}

void Exchange::resume() {
    is_paused_ = false;
    changed_.notify_all();
}

void Exchange::start(std::shared_ptr<ServerConnection> connection) {
    auto& exchange = connection->exchange;
    exchange.has_started_ = true;
    spawn(exchange.changed_.executor(), read(std::move(connection)), "server.read");
}

awaitable<void> Exchange::read(std::shared_ptr<ServerConnection> connection) {
    auto& exchange = connection->exchange;
    auto& stream = connection->stream;
    for (;;) {
        const auto result = co_await stream.receive(connection->in);
        const auto error = stream.received(result, connection->in);
        while (exchange.holders_.empty() && stream.is_open()) co_await exchange.changed_.wait();
        if (exchange.holders_.empty()) co_return;
        if (error) co_return exchange.tell_end(*connection, error);
        exchange.pass_on(*connection);
        while (exchange.is_paused_ && stream.is_open()) co_await exchange.changed_.wait();
        if (connection->replies.empty()) connection->in.rest();  // nobody else may: it is read into
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
