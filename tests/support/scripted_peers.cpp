#include "tests/support/scripted_peers.hpp"

#include "proxy/pool/reviewed_settings.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <poll.h>
#include <stdexcept>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

namespace pgsteer::support {

namespace {

constexpr std::uint32_t kCancelRequest = 80877102;

std::string number(std::uint32_t value, int bytes) {
    std::string text;
    for (int shift = (bytes - 1) * 8; shift >= 0; shift -= 8)
        text.push_back(static_cast<char>((value >> shift) & 0xff));
    return text;
}

std::uint32_t number_at(std::string_view bytes) {
    std::uint32_t value = 0;
    for (std::size_t i = 0; i < 4; ++i) value = (value << 8) | static_cast<unsigned char>(bytes[i]);
    return value;
}

std::string text(std::string_view value) { return std::string{value} + '\0'; }

// The part of `bytes` before the NUL, which is taken off with it.
std::string take_text(std::string_view& bytes) {
    const auto end = std::min(bytes.find('\0'), bytes.size());
    std::string taken{bytes.substr(0, end)};
    bytes.remove_prefix(std::min(end + 1, bytes.size()));
    return taken;
}

std::string row_description(std::size_t columns) {
    std::string body = number(static_cast<std::uint32_t>(columns), 2);
    for (std::size_t i = 0; i < columns; ++i)
        body += text("c") + number(0, 4) + number(0, 2) + number(25, 4) + number(0xffff, 2) +
                number(0xffffffff, 4) + number(0, 2);
    return body;
}

std::string data_row(const std::vector<std::string>& values) {
    std::string body = number(static_cast<std::uint32_t>(values.size()), 2);
    for (const auto& value : values)
        body += number(static_cast<std::uint32_t>(value.size()), 4) + value;
    return body;
}

std::string first_word(std::string_view sql) {
    std::string word;
    for (const char c : sql) {
        if (std::isalpha(static_cast<unsigned char>(c)) == 0) break;
        word.push_back(static_cast<char>(std::toupper(static_cast<unsigned char>(c))));
    }
    return word;
}

bool is_our_own(std::string_view sql) {
    return sql.find("pg_catalog.") != std::string_view::npos || sql == "DISCARD ALL";
}

}  // namespace

std::string message(char type, std::string_view body) {
    std::string bytes;
    if (type != 0) bytes.push_back(type);
    return bytes + number(static_cast<std::uint32_t>(body.size() + 4), 4) + std::string{body};
}

std::string error_response(std::string_view severity, std::string_view sqlstate) {
    return message('E', "S" + text(severity) + "V" + text(severity) + "C" + text(sqlstate) + "M" +
                            text("scripted") + '\0');
}

// --- servers ---

class ScriptedServers::Connection {
public:
    Connection(ScriptedServers& servers, Which which, int socket)
        : servers_{servers}, which_{which}, socket_{socket} {}

    void run() {
        try {
            log_in();
            for (;;) serve(read_message());
        } catch (const Gone&) {
        }
    }

private:
    struct Gone {};
    struct Failed {};  // the message was an ErrorResponse instead

    // --- bytes ---

    std::string read(std::size_t count) {
        std::string bytes(count, '\0');
        for (std::size_t got = 0; got < count;) {
            const auto part = ::read(socket_, bytes.data() + got, count - got);
            if (part <= 0) throw Gone{};
            got += static_cast<std::size_t>(part);
        }
        return bytes;
    }
    std::pair<char, std::string> read_message() {
        const char type = read(1).front();
        return {type, read(number_at(read(4)) - 4)};
    }
    void write(std::string_view bytes) {
        while (!bytes.empty()) {
            const auto part = ::send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
            if (part <= 0) throw Gone{};
            bytes.remove_prefix(static_cast<std::size_t>(part));
        }
    }
    void send(char type, std::string_view body) {
        const auto bytes = message(type, body);
        const auto& fault = servers_.fault_;
        if (++servers_.sent_ != fault.at || fault.kind == Fault::Kind::none) return write(bytes);
        servers_.fault_has_happened_ = true;
        switch (fault.kind) {
            case Fault::Kind::half:
                write(std::string_view{bytes}.substr(0, bytes.size() / 2));
                throw Gone{};
            case Fault::Kind::error:
                if (type != 'Z' && is_logged_in_) throw Failed{};
                write(error_response("FATAL", "57P01"));
                throw Gone{};
            case Fault::Kind::silence:
                for (;;) read(1);
            default:
                throw Gone{};
        }
    }

    // --- start ---

    void log_in() {
        const auto startup = read(number_at(read(4)) - 4);
        if (number_at(startup) == kCancelRequest) throw Gone{};
        const std::string_view standby = which_ == replica ? "on" : "off";
        send('R', number(0, 4));
        send_parameter("server_version", "15.0");
        send_parameter("client_encoding", "UTF8");
        send_parameter("standard_conforming_strings", "on");
        send_parameter("in_hot_standby", standby);
        send('K', number(1000, 4) + number(1, 4));
        ready();
        is_logged_in_ = true;
    }
    void send_parameter(std::string_view name, std::string_view value) {
        send('S', text(name) + text(value));
    }
    void ready() { send('Z', std::string_view{&status_, 1}); }

    // --- requests ---

    void serve(const std::pair<char, std::string>& received) {
        const auto& [type, body] = received;
        if (type == 'X') throw Gone{};
        if (is_skipping_ && type != 'S') return;
        try {
            std::string_view rest{body};
            switch (type) {
                case 'Q':
                    return query(take_text(rest));
                case 'S':
                    is_skipping_ = false;
                    return ready();
                default:
                    return extended(type, rest);
            }
        } catch (const Failed&) {
            write(error_response("ERROR", "XX000"));
            failed(type);
        }
    }
    void failed(char type) {
        if (status_ == 'T') status_ = 'E';
        if (type == 'Q') return ready();
        is_skipping_ = true;
    }
    void query(const std::string& sql) {
        std::string_view rest{sql};
        bool goes_on = true;
        while (goes_on && !rest.empty()) {
            const auto end = std::min(rest.find("; "), rest.size());
            goes_on = execute(std::string{rest.substr(0, end)}, true);
            rest.remove_prefix(std::min(end + 2, rest.size()));
        }
        if (!goes_on && status_ == 'T') status_ = 'E';
        ready();
    }
    void extended(char type, std::string_view body) {
        switch (type) {
            case 'P': {
                const auto name = take_text(body);
                statements_[name] = take_text(body);
                return send('1', {});
            }
            case 'B': {
                const auto portal = take_text(body);
                portals_[portal] = statements_[take_text(body)];
                return send('2', {});
            }
            case 'D': {
                const char target = body.front();
                body.remove_prefix(1);
                const auto name = take_text(body);
                const auto& sql = target == 'S' ? statements_[name] : portals_[name];
                if (target == 'S') send('t', number(0, 2));
                if (first_word(sql) != "SELECT") return send('n', {});
                return send('T', row_description(1));
            }
            case 'E':
                if (!execute(portals_[take_text(body)], false)) is_skipping_ = true;
                if (is_skipping_ && status_ == 'T') status_ = 'E';
                return;
            case 'C':
                return send('3', {});
            default:
                return;
        }
    }
    // False: an error has been sent.
    bool execute(const std::string& sql, bool describes) {
        if (!is_our_own(sql)) {
            const std::lock_guard lock{servers_.mutex_};
            servers_.statements_[which_].push_back(sql);
        }
        const auto word = first_word(sql);
        const bool goes_back = sql.starts_with("ROLLBACK TO");
        const bool ends = word == "COMMIT" || (word == "ROLLBACK" && !goes_back);
        if (status_ == 'E' && !ends && !goes_back) return send('E', error("25P02")), false;
        if (sql.find("1/0") != std::string::npos) return send('E', error("22012")), false;
        const bool was_failed = status_ == 'E';
        if (word == "BEGIN" || word == "START") status_ = 'T';
        if (ends) status_ = 'I';
        if (goes_back) status_ = 'T';
        if (word == "SELECT") {
            const auto values = values_of(sql);
            if (describes) send('T', row_description(values.size()));
            send('D', data_row(values));
            send('C', text("SELECT 1"));
        } else if (word == "INSERT") {
            send('C', text("INSERT 0 1"));
        } else {
            send('C', text(was_failed ? "ROLLBACK" : word));
        }
        return true;
    }
    std::vector<std::string> values_of(std::string_view sql) const {
        const std::string standby = which_ == replica ? "t" : "f";
        if (sql.find("pg_postmaster_start_time") != std::string_view::npos) {
            std::vector<std::string> values{standby, "1", "0/5000000"};
            if (sql.find("current_setting") != std::string_view::npos)
                values.resize(3 + proxy::SettingSet{}.size(), "same");
            return values;
        }
        if (sql.find("pg_last_wal_replay_lsn") != std::string_view::npos)
            return {standby, "0/5000000"};
        if (sql.find("pg_current_wal_insert_lsn") != std::string_view::npos) return {"0/4000000"};
        return {"1"};
    }
    static std::string error(std::string_view sqlstate) {
        return error_response("ERROR", sqlstate).substr(5);
    }

    ScriptedServers& servers_;
    const Which which_;
    const int socket_;
    char status_ = 'I';
    bool is_logged_in_ = false;
    bool is_skipping_ = false;
    std::map<std::string, std::string> statements_;
    std::map<std::string, std::string> portals_;
};

ScriptedServers::ScriptedServers(Fault fault) : fault_{fault} {
    char pattern[] = "/tmp/pgsteer-peers-XXXXXX";
    folder_ = ::mkdtemp(pattern);
    listen(primary);
    listen(replica);
}

ScriptedServers::~ScriptedServers() {
    stopping_ = true;
    for (const int socket : listening_) ::shutdown(socket, SHUT_RDWR);
    for (std::size_t i = 0;; ++i) {  // more may come as long as the first two have not ended
        std::thread thread;
        {
            const std::lock_guard lock{mutex_};
            for (const int socket : sockets_) ::shutdown(socket, SHUT_RDWR);
            if (i == threads_.size()) break;
            thread = std::move(threads_[i]);
        }
        thread.join();
    }
    for (const int socket : sockets_) ::close(socket);
    for (const int socket : listening_) ::close(socket);
    std::filesystem::remove_all(folder_);
}

std::string ScriptedServers::host(Which which) const {
    return folder_ + (which == primary ? "/primary" : "/replica");
}

std::vector<std::string> ScriptedServers::statements(Which which) const {
    const std::lock_guard lock{mutex_};
    return statements_[which];
}

void ScriptedServers::listen(Which which) {
    std::filesystem::create_directory(host(which));
    const auto path = host(which) + "/.s.PGSQL.5432";
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strncpy(address.sun_path, path.c_str(), sizeof address.sun_path - 1);
    const int socket = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (::bind(socket, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 ||
        ::listen(socket, 64) != 0)
        throw std::runtime_error("cannot listen at " + path);
    listening_[which] = socket;
    const std::lock_guard lock{mutex_};
    threads_.emplace_back([this, which] { accept(which); });
}

void ScriptedServers::accept(Which which) {
    for (;;) {
        const int socket = ::accept4(listening_[which], nullptr, nullptr, SOCK_CLOEXEC);
        const std::lock_guard lock{mutex_};
        if (socket >= 0) sockets_.push_back(socket);
        if (socket < 0 || stopping_) return;
        ++open_;
        threads_.emplace_back([this, which, socket] {
            Connection{*this, which, socket}.run();
            ::shutdown(socket, SHUT_RDWR);
            --open_;
        });
    }
}

// --- client ---

ScriptedClient::ScriptedClient(std::function<bool()> gives_up) : gives_up_{std::move(gives_up)} {
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends_) != 0)
        throw std::runtime_error("no socket pair");
}

ScriptedClient::~ScriptedClient() { close(); }

void ScriptedClient::close() {
    if (ends_[0] >= 0) ::close(ends_[0]);
    ends_[0] = -1;
    has_ended_ = true;
}

void ScriptedClient::send(std::string_view bytes) {
    while (!bytes.empty() && !has_ended_) {
        const auto part = ::send(ends_[0], bytes.data(), bytes.size(), MSG_NOSIGNAL);
        if (part <= 0) has_ended_ = true;
        if (part > 0) bytes.remove_prefix(static_cast<std::size_t>(part));
    }
}

std::vector<ScriptedClient::Message> ScriptedClient::until_ready() {
    std::vector<Message> messages;
    const auto end = std::chrono::steady_clock::now() + kPatience;
    while (ends_[0] >= 0) {
        while (in_.size() >= 5 && in_.size() > number_at(std::string_view{in_}.substr(1))) {
            const auto bytes = number_at(std::string_view{in_}.substr(1)) + std::size_t{1};
            messages.push_back({in_[0], in_.substr(5, bytes - 5)});
            in_.erase(0, bytes);
            if (messages.back().type == 'Z') return messages;
        }
        pollfd waiting{ends_[0], POLLIN, 0};
        if (::poll(&waiting, 1, 20) == 0) {
            if (std::chrono::steady_clock::now() > end) {
                ADD_FAILURE() << "the client hangs";
                break;
            }
            if (gives_up_()) break;
            continue;
        }
        char part[4096];
        const auto count = ::read(ends_[0], part, sizeof part);
        if (count <= 0) break;
        in_.append(part, static_cast<std::size_t>(count));
    }
    has_ended_ = true;
    return messages;
}

}  // namespace pgsteer::support
