#include "proxy/server/inquest.hpp"

#include "proxy/io/deadline.hpp"
#include "proxy/wire/header.hpp"
#include "proxy/wire/message_types.hpp"

#include <algorithm>

namespace pgsteer::proxy {

using routing::Clock;
using routing::TimePoint;
using namespace std::chrono_literals;

namespace {

// Other workers may have read 57P02 a little before this one read the end of its connection.
constexpr auto kReadBefore = 100ms;
// A postmaster that has not noticed yet goes on to accept logins: a process closes its connections
// before its parent is told of its end, and on a busy machine much may come between. One that is
// stopping altogether has refused this one, and others may still have to read 57P02.
constexpr auto kFirstPause = 10ms;  // and twice as long each time
constexpr int kAcceptedLogins = 6;
constexpr std::uint32_t kMaxMessage = 64 * 1024;

enum class Answer : std::uint8_t { nobody, accepts, refuses_everybody, ended };

// What the server says to a startup packet.
awaitable<Answer> ask(Executor executor,
                      const conf::ServerConfig& config,
                      const ServerLogin& login,
                      TimePoint until) {
    auto socket = co_await open_socket(executor, config, until);
    if (!socket) co_return Answer::nobody;
    Stream stream{std::move(*socket)};
    Deadline deadline{executor, stream, until};
    wire::Buffer out;
    wire::encode(out, wire::StartupMessage{wire::kProtocol30,
                                           {{"user", login.user}, {"database", login.database}}});
    stream.write(wire::Bytes{out});
    InputBuffer in;
    for (;;) {
        const auto closed = co_await stream.read_some(in);
        if (closed) co_return Answer::ended;
        const auto header = wire::peek_header(in.data(), kMaxMessage);
        if (!header) co_return Answer::ended;
        if (!*header || in.size() < (*header)->message_bytes()) continue;
        if ((*header)->type != wire::backend::kErrorResponse) co_return Answer::accepts;
        const auto body = in.data().subspan(wire::kHeaderBytes, (*header)->body_size);
        const auto said = wire::decode_error(body);
        co_return said && said->sqlstate == "57P03" ? Answer::refuses_everybody : Answer::accepts;
    }
}

}  // namespace

awaitable<bool> has_crashed(Executor executor,
                            const conf::ServerConfig& config,
                            routing::ServerId server,
                            const ServerLogin& login,
                            TimePoint ended_at,
                            Crashes& crashes) {
    const auto until = ended_at + kInquestTime;
    const auto is_known = [&] { return crashes.has_crashed_since(server, ended_at - kReadBefore); };
    Timer timer{executor};
    auto pause = kFirstPause;
    int accepted = 0;
    while (!is_known() && Clock::now() < until && accepted < kAcceptedLogins) {
        const auto answer = co_await ask(executor, config, login, until);
        if (answer == Answer::refuses_everybody) {
            crashes.noticed(server, Clock::now());
            break;
        }
        if (answer == Answer::accepts) ++accepted;
        timer.expires_at(std::min(Clock::now() + pause, until));
        co_await timer.async_wait(as_result);
        if (answer == Answer::nobody) break;
        pause *= 2;
    }
    co_return is_known();
}

}  // namespace pgsteer::proxy
