#include "proxy/io/stream.hpp"

#include "proxy/io/signal.hpp"

#include <boost/asio/ip/tcp.hpp>
#include <boost/container/small_vector.hpp>

#include <array>
#include <cstddef>
#include <poll.h>
#include <sys/socket.h>

namespace pgsteer::proxy {

// Shared with the one pending wait for writability, which may outlive the Stream.
struct Stream::State {
    explicit State(Socket connected)
        : socket{std::move(connected)}, sent_signal{socket.get_executor()} {}
    // Memory for what Asio needs while one reader waits: an operation, with the handler in it.
    struct Room {
        static constexpr std::size_t kBytes = 104;
        alignas(std::max_align_t) std::array<std::byte, kBytes> bytes;
        bool is_used = false;
    };
    template <class T>
    struct InRoom {
        using value_type = T;
        explicit InRoom(Room& the_room) : room{&the_room} {}
        template <class U>
        InRoom(const InRoom<U>& other) : room{other.room} {}

        T* allocate(std::size_t count) {
            const auto size = count * sizeof(T);
            if (room->is_used || size > Room::kBytes) return static_cast<T*>(::operator new(size));
            room->is_used = true;
            return reinterpret_cast<T*>(room->bytes.data());
        }
        void deallocate(T* memory, std::size_t) {
            if (reinterpret_cast<std::byte*>(memory) == room->bytes.data()) {
                room->is_used = false;
            } else {
                ::operator delete(memory);
            }
        }
        template <class U>
        bool operator==(const InRoom<U>& other) const {
            return room == other.room;
        }
        Room* room;
    };
    // Keeps the reader, which keeps the stream that it waits for, and so the room.
    struct TellReader {
        using allocator_type = InRoom<void>;
        [[nodiscard]] allocator_type get_allocator() const { return allocator_type{*room}; }
        void operator()(error_code error) const { reader->readable(error); }

        std::shared_ptr<Reader> reader;
        Room* room;
    };

    Room room;  // outlives the socket, whose operation may be in it
    Socket socket;
    Signal sent_signal;
    wire::Buffer backlog;
    std::size_t backlog_begin = 0;
    bool flushing = false;
    bool open = true;
    error_code write_error;
    std::uint64_t bytes_sent = 0;
};

Stream::Stream(Socket socket) : state_{std::make_shared<State>(std::move(socket))} {
    error_code ignored;
    state_->socket.non_blocking(true, ignored);
    const int family = state_->socket.local_endpoint(ignored).protocol().family();
    if (family == AF_INET || family == AF_INET6)
        state_->socket.set_option(asio::ip::tcp::no_delay{true}, ignored);
}

Stream::~Stream() { close(); }

awaitable<error_code> Stream::read_some(InputBuffer& in) {
    const auto before = bytes_received_;
    error_code ec;
    while (!ec && bytes_received_ == before) {
        const auto waited = co_await readable();
        ec = std::get<0>(waited);
        if (!ec) ec = read(in);
    }
    co_return ec;
}

awaitable<Stream::Waited> Stream::readable() {
    return state_->socket.async_wait(Socket::wait_read, as_result);
}

void Stream::when_readable(std::shared_ptr<Reader> reader) {
    state_->socket.async_wait(Socket::wait_read,
                              State::TellReader{std::move(reader), &state_->room});
}

error_code Stream::read(InputBuffer& in) {
    for (bool is_first = true;; is_first = false) {
        error_code ec;
        const auto room = in.prepare();
        const auto count = state_->socket.read_some(asio::buffer(room.data(), room.size()), ec);
        const bool nothing_yet = ec == asio::error::would_block || ec == asio::error::try_again;
        // An error behind bytes is met again by the next call.
        if (ec) return is_first && !nothing_yet ? ec : error_code{};
        bytes_received_ += count;
        if (!in.commit(count) || in.size() >= InputBuffer::kReadBytes) return {};
    }
}

error_code Stream::read_available(InputBuffer& in) {
    error_code ec;
    while (!ec && in.size() < InputBuffer::kReadBytes) {
        const auto room = in.prepare();
        const auto count = state_->socket.read_some(asio::buffer(room.data(), room.size()), ec);
        in.commit(count);
        bytes_received_ += count;
    }
    return ec;
}

void Stream::write(std::span<const wire::Bytes> parts) {
    State& state = *state_;
    if (state.write_error || !state.open) return;
    std::size_t sent = 0;
    if (!state.flushing) {
        error_code ec;
        if (parts.size() == 1) {
            sent = state.socket.write_some(asio::buffer(parts[0].data(), parts[0].size()), ec);
        } else {
            boost::container::small_vector<asio::const_buffer, 16> buffers;
            for (const auto& part : parts) buffers.emplace_back(part.data(), part.size());
            sent = state.socket.write_some(buffers,
                                           ec);  // at most IOV_MAX of them: the rest is backlog
        }
        if (ec && ec != asio::error::would_block && ec != asio::error::try_again) {
            state.write_error = ec;
            return;
        }
        state.bytes_sent += sent;
    }
    for (const auto& part : parts) {
        const std::size_t skipped = std::min(sent, part.size());
        sent -= skipped;
        state.backlog.insert(state.backlog.end(),
                             part.begin() + static_cast<std::ptrdiff_t>(skipped), part.end());
    }
    if (!state.backlog.empty() && !state.flushing) flush_later(state_);
}

void Stream::flush_later(const std::shared_ptr<State>& state) {
    state->flushing = true;
    state->socket.async_wait(Socket::wait_write, [state](error_code ec) {
        std::size_t sent = 0;
        if (!ec && state->open) {
            const auto rest = wire::Bytes{state->backlog}.subspan(state->backlog_begin);
            sent = state->socket.write_some(asio::buffer(rest.data(), rest.size()), ec);
            if (ec == asio::error::would_block || ec == asio::error::try_again) ec.clear();
        }
        state->bytes_sent += sent;
        state->backlog_begin += sent;
        if (ec || !state->open) {
            state->write_error = ec ? ec : make_error_code(asio::error::operation_aborted);
        } else if (state->backlog_begin < state->backlog.size()) {
            flush_later(state);
            return;
        }
        state->flushing = false;
        state->backlog_begin = 0;
        wire::Buffer{}.swap(state->backlog);
        state->sent_signal.notify_all();
    });
}

bool Stream::backlogged() const { return state_->flushing; }

awaitable<void> Stream::drained() {
    const auto state = state_;
    while (state->flushing && state->open) co_await state->sent_signal.wait();
}

void Stream::when_readable(std::function<void()> ready) {
    state_->socket.async_wait(Socket::wait_read,
                              [ready = std::move(ready)](error_code) { ready(); });
}

bool Stream::peer_has_closed() const {
    pollfd asked{state_->socket.native_handle(), POLLRDHUP, 0};
    return ::poll(&asked, 1, 0) > 0 && (asked.revents & (POLLRDHUP | POLLHUP | POLLERR)) != 0;
}

bool Stream::readable_now() {
    char byte = 0;
    const auto count = ::recv(state_->socket.native_handle(), &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    return count >= 0 || (errno != EAGAIN && errno != EWOULDBLOCK);
}

void Stream::close() {
    if (!state_->open) return;
    state_->open = false;
    error_code ignored;
    state_->socket.close(ignored);
    state_->sent_signal.notify_all();
}

bool Stream::is_open() const { return state_->open; }
std::uint64_t Stream::bytes_sent() const { return state_->bytes_sent; }

}  // namespace pgsteer::proxy
