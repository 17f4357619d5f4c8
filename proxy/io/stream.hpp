#pragma once

#include "proxy/errors.hpp"
#include "proxy/io/asio.hpp"
#include "proxy/io/input_buffer.hpp"
#include "proxy/wire/bytes.hpp"

#include <functional>
#include <initializer_list>
#include <memory>
#include <span>
#include <tuple>

namespace pgsteer::proxy {

// One connected socket, TCP or Unix, with what could not be sent yet. Worker-local. Sends at once
// what the socket takes; the rest goes out by itself as the peer reads. Writers keep the rest small
// by waiting on drained() before they write more.
class Stream {
public:
    explicit Stream(Socket socket);
    ~Stream();
    Stream(Stream&&) = delete;

    // Waits for bytes and appends them to `in`: one recv in the usual case, more while they fill
    // the room. Errors: asio::error::eof, operation_aborted after close(), any of recv.
    awaitable<error_code> read_some(InputBuffer& in);

    // The same in two steps, without a coroutine around the socket's own. Room is taken when there
    // is something to read, not while that is waited for.
    //     const auto [error] = co_await stream.readable();
    //     const auto ec = error ? error : stream.read(in);
    using Waited = std::tuple<error_code>;
    [[nodiscard]] awaitable<Waited> readable();
    // No error, and nothing new in `in`: there was nothing yet.
    [[nodiscard]] error_code read(InputBuffer& in);

    // Who waits without a coroutine.
    class Reader {
    public:
        Reader() = default;
        Reader(const Reader&) = delete;
        Reader& operator=(const Reader&) = delete;
        // Now read() has something to say; or it was closed here.
        virtual void readable(error_code error) = 0;

    protected:
        ~Reader() = default;
    };
    // Tells `reader`, once, later. One at a time. Allocates nothing.
    void when_readable(std::shared_ptr<Reader> reader);

    // What is there already, up to a bound; would_block: that was all so far.
    error_code read_available(InputBuffer& in);

    // An error is kept and found by the next read; bytes are dropped after one.
    void write(wire::Bytes bytes) { write({&bytes, 1}); }
    void write(std::span<const wire::Bytes> parts);

    [[nodiscard]] bool backlogged() const;
    awaitable<void> drained();  // returns at once after an error or close()

    // Calls `ready` once, later, when the next read has something to say: bytes, an end, an error.
    void when_readable(std::function<void()> ready);

    // True if the peer will send no more, whatever of it is still unread.
    [[nodiscard]] bool peer_has_closed() const;

    // True if the peer has closed, or bytes are waiting that nobody asked for.
    [[nodiscard]] bool readable_now();

    void close();
    [[nodiscard]] bool is_open() const;

    [[nodiscard]] std::uint64_t bytes_received() const { return bytes_received_; }
    [[nodiscard]] std::uint64_t bytes_sent() const;

private:
    struct State;
    static void flush_later(const std::shared_ptr<State>& state);
    std::shared_ptr<State> state_;
    std::uint64_t bytes_received_ = 0;
};

}  // namespace pgsteer::proxy
