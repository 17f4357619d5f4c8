#include "health/pg_client.hpp"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <libpq-fe.h>

#include <algorithm>
#include <chrono>
#include <fcntl.h>
#include <unistd.h>

namespace pgsteer::health {

namespace asio = boost::asio;
using asio::posix::stream_descriptor;
using routing::Clock;
using routing::TimePoint;
using namespace std::chrono_literals;

namespace {

constexpr auto kUse = asio::as_tuple(asio::use_awaitable);
// A deadline noticed this much too late says more about this thread than about the server.
constexpr auto kLate = 50ms;

// libpq's messages end in a newline and may have several lines.
std::string one_line(const char* message) {
    std::string text{message ? message : ""};
    while (!text.empty() && text.back() == '\n') text.pop_back();
    std::ranges::replace(text, '\n', ' ');
    return text;
}

struct FreeConnection {
    void operator()(PGconn* connection) const { PQfinish(connection); }
};
struct FreeResult {
    void operator()(PGresult* result) const { PQclear(result); }
};
using Connection = std::unique_ptr<PGconn, FreeConnection>;
using Result = std::unique_ptr<PGresult, FreeResult>;

}  // namespace

struct PgClient::State {
    // What a timer's handler needs when it runs after the wait it belonged to is over.
    struct Waiting {
        explicit Waiting(const asio::any_io_executor& executor)
            : socket{executor}, timer{executor} {}
        stream_descriptor socket;  // a duplicate: libpq owns and closes its own
        asio::steady_timer timer;
        int original = -1;  // what `socket` is a duplicate of
        std::uint64_t generation = 0;
        bool is_timed_out = false;
    };

    explicit State(const asio::any_io_executor& executor)
        : waiting{std::make_shared<Waiting>(executor)} {}

    enum class Wait { ready, timed_out, failed };
    asio::awaitable<Wait> wait(stream_descriptor::wait_type type, TimePoint deadline);
    void watch(std::function<void()> on_lost);
    void stop_watching();
    bool follow_socket();
    void forget_socket();
    void close();
    PgError lost();
    PgError timed_out();
    asio::awaitable<PgError> flush(TimePoint deadline);
    asio::awaitable<PgError> await_result(TimePoint deadline);
    void take(PGresult& result, PgRows& rows) const;

    std::shared_ptr<Waiting> waiting;
    Connection connection;
};

// Makes `socket` a duplicate of the connection's socket. While connecting, libpq may close one and
// open another under the same number, so after a failed attempt (see connect) it is duplicated
// anew.
bool PgClient::State::follow_socket() {
    const int fd = PQsocket(connection.get());
    if (fd < 0) return false;
    if (waiting->original == fd && waiting->socket.is_open()) return true;
    forget_socket();
    const int copy = ::fcntl(fd, F_DUPFD_CLOEXEC, 0);
    if (copy < 0) return false;
    boost::system::error_code error;
    waiting->socket.assign(copy, error);
    if (error) {
        ::close(copy);
        return false;
    }
    waiting->original = fd;
    return true;
}

void PgClient::State::forget_socket() {
    boost::system::error_code ignored;
    if (waiting->socket.is_open()) waiting->socket.close(ignored);
    waiting->original = -1;
}

void PgClient::State::stop_watching() {
    ++waiting->generation;
    boost::system::error_code ignored;
    if (waiting->socket.is_open()) waiting->socket.cancel(ignored);
}

void PgClient::State::close() {
    ++waiting->generation;
    waiting->timer.cancel();
    forget_socket();
    connection.reset();
}

PgError PgClient::State::lost() {
    PgError error{PgError::Kind::lost, {}, one_line(PQerrorMessage(connection.get()))};
    if (error.text.empty()) error.text = "connection lost";
    close();
    return error;
}

PgError PgClient::State::timed_out() {
    close();
    return {PgError::Kind::timeout, {}, "timeout"};
}

void PgClient::State::watch(std::function<void()> on_lost) {
    if (!follow_socket()) return;
    const auto keep = waiting;
    const auto generation = keep->generation;
    // `this` is alive while the generation is the same: close() changes it.
    keep->socket.async_wait(stream_descriptor::wait_read, [this, keep, generation,
                                                           on_lost = std::move(on_lost)](
                                                              boost::system::error_code error) {
        if (error || keep->generation != generation) return;
        if (PQconsumeInput(connection.get()) != 0 && PQstatus(connection.get()) == CONNECTION_OK)
            return watch(on_lost);  // a notice, or a parameter that changed
        on_lost();
    });
}

asio::awaitable<PgClient::State::Wait> PgClient::State::wait(stream_descriptor::wait_type type,
                                                             TimePoint deadline) {
    if (!follow_socket()) co_return Wait::failed;
    const auto keep = waiting;
    const auto generation = ++keep->generation;
    keep->is_timed_out = false;
    keep->timer.expires_at(deadline);
    keep->timer.async_wait([keep, generation](boost::system::error_code error) {
        if (error || keep->generation != generation) return;
        keep->is_timed_out = true;
        boost::system::error_code ignored;
        keep->socket.cancel(ignored);
    });
    const auto [error] = co_await keep->socket.async_wait(type, kUse);
    ++keep->generation;
    keep->timer.cancel();
    if (!error) co_return Wait::ready;
    co_return keep->is_timed_out ? Wait::timed_out : Wait::failed;
}

PgClient::PgClient(asio::any_io_executor executor) : state_{std::make_unique<State>(executor)} {}
PgClient::~PgClient() {
    if (state_) state_->close();
}
PgClient::PgClient(PgClient&&) noexcept = default;
PgClient& PgClient::operator=(PgClient&& other) noexcept {
    if (state_) state_->close();
    state_ = std::move(other.state_);
    return *this;
}

bool PgClient::is_connected() const {
    return state_->connection && PQstatus(state_->connection.get()) == CONNECTION_OK;
}

void PgClient::close() { state_->close(); }

void PgClient::watch(std::function<void()> on_lost) { state_->watch(std::move(on_lost)); }

namespace {

// libpq tells no SQLSTATE of a failed login. What has a severity was said by the server.
PgError login_error(const PGconn* connection) {
    PgError error{PgError::Kind::lost, {}, one_line(PQerrorMessage(connection))};
    if (error.text.find("FATAL:") != std::string::npos) error.kind = PgError::Kind::rejected;
    return error;
}

}  // namespace

asio::awaitable<PgError> PgClient::connect(PgParameters parameters, TimePoint deadline) {
    State& self = *state_;
    self.close();
    std::vector<const char*> keywords;
    std::vector<const char*> values;
    for (const auto& [keyword, value] : parameters) {
        keywords.push_back(keyword.c_str());
        values.push_back(value.c_str());
    }
    keywords.push_back(nullptr);
    values.push_back(nullptr);
    self.connection.reset(PQconnectStartParams(keywords.data(), values.data(), 0));
    if (!self.connection) co_return PgError{PgError::Kind::lost, {}, "out of memory"};
    PGconn* const connection = self.connection.get();
    PQsetNoticeProcessor(
        connection, [](void*, const char*) {}, nullptr);

    auto next =
        PQstatus(connection) == CONNECTION_BAD ? PGRES_POLLING_FAILED : PGRES_POLLING_WRITING;
    auto last_chance = deadline;
    while (next == PGRES_POLLING_READING || next == PGRES_POLLING_WRITING) {
        const auto type = next == PGRES_POLLING_READING ? stream_descriptor::wait_read
                                                        : stream_descriptor::wait_write;
        const auto waited = co_await self.wait(type, last_chance);
        if (waited == State::Wait::timed_out) {
            // This thread was kept from running: what should have come may be there by now.
            if (last_chance != deadline || Clock::now() - last_chance < kLate)
                co_return self.timed_out();
            last_chance = Clock::now() + (kLate * 2);
            continue;
        }
        if (waited == State::Wait::failed) co_return self.lost();
        // The socket may be closed and another opened in its place, even under the same number: the
        // duplicate must not outlive the step. Cheap enough, since only connecting does this.
        self.forget_socket();
        next = PQconnectPoll(connection);
    }
    if (next == PGRES_POLLING_OK) {
        PQsetnonblocking(connection, 1);
        co_return PgError{};
    }
    auto error = login_error(connection);
    self.close();
    co_return error;
}

asio::awaitable<PgError> PgClient::State::flush(TimePoint deadline) {
    for (;;) {
        const int rest = PQflush(connection.get());
        if (rest == 0) co_return PgError{};
        if (rest < 0) co_return lost();
        const auto waited = co_await wait(stream_descriptor::wait_write, deadline);
        if (waited == Wait::timed_out) co_return timed_out();
        if (waited == Wait::failed || PQconsumeInput(connection.get()) == 0) co_return lost();
    }
}

asio::awaitable<PgError> PgClient::State::await_result(TimePoint deadline) {
    auto last_chance = deadline;
    while (PQisBusy(connection.get()) != 0) {
        const auto waited = co_await wait(stream_descriptor::wait_read, last_chance);
        if (waited == Wait::timed_out) {
            if (last_chance != deadline || Clock::now() - last_chance < kLate)
                co_return timed_out();
            last_chance = Clock::now() + (kLate * 2);
            continue;
        }
        if (waited == Wait::failed || PQconsumeInput(connection.get()) == 0) co_return lost();
    }
    co_return PgError{};
}

void PgClient::State::take(PGresult& result, PgRows& rows) const {
    const auto status = PQresultStatus(&result);
    if (status == PGRES_TUPLES_OK) {
        for (int row = 0; row < PQntuples(&result); ++row) {
            auto& out = rows.rows.emplace_back();
            for (int column = 0; column < PQnfields(&result); ++column) {
                if (PQgetisnull(&result, row, column) != 0)
                    out.emplace_back();
                else
                    out.emplace_back(PQgetvalue(&result, row, column));
            }
        }
    } else if (status != PGRES_COMMAND_OK && status != PGRES_EMPTY_QUERY && !rows.error) {
        const char* const sqlstate = PQresultErrorField(&result, PG_DIAG_SQLSTATE);
        rows.error = {PgError::Kind::rejected, sqlstate ? sqlstate : "",
                      one_line(PQresultErrorMessage(&result))};
    }
}

asio::awaitable<PgRows> PgClient::query(std::string sql, TimePoint deadline) {
    State& self = *state_;
    PgRows rows;
    if (!is_connected()) {
        rows.error = {PgError::Kind::lost, {}, "not connected"};
        co_return rows;
    }
    self.stop_watching();
    rows.sent_at = Clock::now();
    if (PQsendQuery(self.connection.get(), sql.c_str()) == 0) {
        rows.error = self.lost();
        co_return rows;
    }
    if ((rows.error = co_await self.flush(deadline))) co_return rows;
    for (;;) {
        if (auto error = co_await self.await_result(deadline)) {
            rows.error = std::move(error);
            co_return rows;
        }
        const Result result{PQgetResult(self.connection.get())};
        if (!result) break;
        self.take(*result, rows);
    }
    // A FATAL error arrives as a result, and the connection is gone.
    if (PQstatus(self.connection.get()) != CONNECTION_OK) {
        auto text = rows.error.text;
        rows.error = self.lost();
        if (!text.empty()) rows.error.text = std::move(text);
    }
    co_return rows;
}

ParsedUri parse_connection_string(const std::string& text) {
    ParsedUri parsed;
    char* message = nullptr;
    PQconninfoOption* const options = PQconninfoParse(text.c_str(), &message);
    if (!options) {
        parsed.error = message ? one_line(message) : "out of memory";
        PQfreemem(message);
        return parsed;
    }
    for (const PQconninfoOption* option = options; option->keyword; ++option)
        if (option->val) parsed.parameters.emplace_back(option->keyword, option->val);
    PQconninfoFree(options);
    return parsed;
}

}  // namespace pgsteer::health
