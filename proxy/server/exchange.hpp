// Who reads a server connection, from its first use to its end, for whoever holds the connection at
// the time.
#pragma once

#include "proxy/errors.hpp"
#include "proxy/io/asio.hpp"
#include "proxy/io/stream.hpp"
#include "proxy/server/reply_queue.hpp"

#include <boost/container/small_vector.hpp>

#include <memory>
#include <string_view>

namespace pgsteer::proxy {

struct ServerConnection;

// Part of a ServerConnection. A session holds the connection that it has leased; the pool one that
// is idle; whoever resets or closes it, for that while. Several may hold it at a time: each message
// that is sent is its holder's who was attached last, and each answer is heard by that one.
// Nobody reads the connection past the Exchange once that has started. No coroutine: its frames
// would cost every idle connection a kilobyte. Worker-local.
class Exchange : Stream::Reader {
public:
    // Called by it. It may detach, attach another one, or close the connection meanwhile.
    class Holder {
    public:
        Holder() = default;
        Holder(const Holder&) = delete;
        Holder& operator=(const Holder&) = delete;
        // Bytes have come: they are in `connection.in`, behind what was left there before. It
        // takes those that answer what is owed to itself (ReplyQueue::addressee), no more.
        virtual void received(ServerConnection& connection) = 0;
        // The connection has ended: by its server, by an error, or because somebody here has closed
        // it. The last call.
        virtual void ended(ServerConnection& connection, error_code error) = 0;

    protected:
        ~Holder() = default;
    };

    // Part of `connection`.
    Exchange(Executor executor, ServerConnection& connection)
        : executor_{executor}, connection_{connection} {}

    // Reads from now on. Once, after the login and what else is asked first.
    void start();

    // `holder` is told from now on, also of what has come while there was none. What is sent from
    // now on is answered to it; what was sent before, to whom it was sent for, as long as that one
    // stays. Once for each holder; it leaves before it is gone.
    HolderId attach(Holder& holder);
    // What is still owed to it is heard by the one that was attached last.
    void leave(HolderId holder);
    // All leave.
    void detach() { holders_.clear(); }
    [[nodiscard]] bool is_held_by(const Holder& holder) const;
    // A holder takes no more for now, and the others have to wait as well; attach() resumes. What
    // comes meanwhile waits in the socket.
    void pause() { is_paused_ = true; }
    void resume();
    // The socket was closed here: the reader finds out, and nobody is told if there is no holder.
    void closed() { go_on_soon(); }
    [[nodiscard]] bool has_started() const { return state_ != State::unread; }
    [[nodiscard]] Executor executor() const { return executor_; }

private:
    struct Held {
        HolderId id;
        Holder* by;
    };
    enum class State : std::uint8_t {
        unread,
        waits,   // for the server
        untold,  // of what has come, since nobody holds the connection
        paused,
        over,
    };
    void readable(error_code error) override;
    void wait();
    void tell();
    void go_on_soon();
    void go_on();
    [[nodiscard]] Holder* hearer() const;
    void pass_on();
    void tell_end(error_code error);

    Executor executor_;
    ServerConnection& connection_;
    boost::container::small_vector<Held, 1> holders_;  // the one that was attached last at the end
    std::uint32_t last_id_ = 0;
    State state_ = State::unread;
    bool is_paused_ = false;
    error_code error_;  // untold
};

// Lets what comes pass by until the server closes the connection, or somebody here does. Nobody
// holds it. Whether or not its Exchange has started.
awaitable<void> until_end(std::shared_ptr<ServerConnection> connection);

// DISCARD ALL behind what is still owed, whose answers are dropped; true if no error came and no
// transaction is open then. Nobody holds the connection; its Exchange has started.
awaitable<bool> discard_all(std::shared_ptr<ServerConnection> connection);

}  // namespace pgsteer::proxy
