// Peers of pgsteer for unit tests: servers that say what they are told to say, and a client. Each
// message that a server would send can be the one at which something goes wrong.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace pgsteer::support {

// Bounds a wait for what has to come. Nothing is concluded from a time that is shorter.
inline constexpr std::chrono::seconds kPatience{60};

// One message as PostgreSQL frames it. `type` 0: none, as in a startup packet.
std::string message(char type, std::string_view body);
// An ErrorResponse without optional fields.
std::string error_response(std::string_view severity, std::string_view sqlstate);

// What goes wrong, instead of the `at`-th message of all servers together, from 1 on.
struct Fault {
    enum class Kind : std::uint8_t {
        none,
        closed,  // the connection ends
        half,    // the same in the middle of the message
        error,   // an ErrorResponse in its place, after which the server goes on as PostgreSQL does
        silence,  // nothing more comes; the connection stays
    };
    Kind kind = Kind::none;
    int at = 0;
};

// Two servers behind Unix sockets, a thread for each connection. They speak the protocol, know what
// pgsteer asks on its own behalf, and answer the client's statements by their first word: SELECT
// gives a row, 1/0 in the text an error. Thread-safe.
class ScriptedServers {
public:
    enum Which : std::uint8_t { primary, replica };

    explicit ScriptedServers(Fault fault);
    ~ScriptedServers();
    ScriptedServers(const ScriptedServers&) = delete;

    // The directory of its socket, as `host` of a server's configuration; the port is 5432.
    [[nodiscard]] std::string host(Which which) const;
    // The client's statements that have run there, in order; not what pgsteer asks.
    [[nodiscard]] std::vector<std::string> statements(Which which) const;
    // Messages sent so far by both.
    [[nodiscard]] int sent() const { return sent_.load(); }
    [[nodiscard]] bool fault_has_happened() const { return fault_has_happened_.load(); }
    [[nodiscard]] int open_connections() const { return open_.load(); }

private:
    class Connection;
    void listen(Which which);
    void accept(Which which);

    const Fault fault_;
    std::string folder_;
    int listening_[2] = {-1, -1};
    std::atomic<int> sent_{0};
    std::atomic<int> open_{0};
    std::atomic<bool> fault_has_happened_{false};
    std::atomic<bool> stopping_{false};
    mutable std::mutex mutex_;
    std::vector<std::string> statements_[2];
    std::vector<std::thread> threads_;
    std::vector<int> sockets_;
};

// The client's end of a socket pair.
class ScriptedClient {
public:
    struct Message {
        char type = 0;
        std::string body;
        bool operator==(const Message&) const = default;
    };

    // `gives_up`: asked while nothing comes; true ends the wait as if the server side had closed.
    explicit ScriptedClient(std::function<bool()> gives_up);
    ~ScriptedClient();
    ScriptedClient(const ScriptedClient&) = delete;

    [[nodiscard]] int other_end() const { return ends_[1]; }  // to be given away
    void send(std::string_view bytes);
    // The messages up to and with ReadyForQuery; without it, the connection has ended. Fails the
    // test if neither comes.
    std::vector<Message> until_ready();
    [[nodiscard]] bool has_ended() const { return has_ended_; }
    void close();

private:
    int ends_[2] = {-1, -1};
    std::function<bool()> gives_up_;
    std::string in_;
    bool has_ended_ = false;
};

}  // namespace pgsteer::support
