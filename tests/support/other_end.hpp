// One end of a socket pair, played by a test; the other end belongs to what is tested.
#pragma once

#include "proxy/io/asio.hpp"

#include <boost/asio/io_context.hpp>
#include <gtest/gtest.h>

#include <chrono>
#include <string>
#include <string_view>
#include <sys/socket.h>
#include <unistd.h>

namespace pgsteer::proxy {

// On the test's own thread. Nothing waits: each turn runs until what was said has been read.
class OtherEnd {
public:
    explicit OtherEnd(asio::io_context& io) : io_{io}, tested_{io.get_executor()} {
        int ends[2];
        EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends), 0);
        ours_ = ends[0];
        tested_.assign(asio::generic::stream_protocol{AF_UNIX, 0}, ends[1]);
    }
    ~OtherEnd() { close(); }
    OtherEnd(const OtherEnd&) = delete;
    OtherEnd& operator=(const OtherEnd&) = delete;

    // What is tested gets it. Once.
    [[nodiscard]] Socket take() { return std::move(tested_); }

    // Until nothing more happens by itself.
    void run() {
        io_.restart();
        io_.run_for(std::chrono::milliseconds{2});
        while (io_.poll() > 0) {
        }
    }
    void say(std::string_view bytes) {
        ASSERT_EQ(::write(ours_, bytes.data(), bytes.size()), static_cast<ssize_t>(bytes.size()));
        run();
    }
    // All that has been said to it since the last call.
    [[nodiscard]] std::string heard() const {
        std::string bytes;
        char part[4096];
        for (ssize_t count; (count = ::read(ours_, part, sizeof part)) > 0;)
            bytes.append(part, static_cast<std::size_t>(count));
        return bytes;
    }
    void close() {
        if (ours_ >= 0) ::close(ours_);
        ours_ = -1;
    }

private:
    asio::io_context& io_;
    Socket tested_;
    int ours_ = -1;
};

}  // namespace pgsteer::proxy
