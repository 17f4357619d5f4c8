// Who reads a server connection: one coroutine, from its first use to its end, for whoever holds
// the connection at the time.
#pragma once

#include "proxy/errors.hpp"
#include "proxy/io/asio.hpp"
#include "proxy/io/signal.hpp"
#include "proxy/server/reply_queue.hpp"

#include <boost/container/small_vector.hpp>

#include <memory>
#include <string_view>

namespace pgsteer::proxy {

struct ServerConnection;

// Part of a ServerConnection. A session holds the connection that it has leased; the pool one that
// is idle; whoever resets or closes it, for that while. Several may hold it at a time: each message
// that is sent is its holder's who was attached last, and each answer is heard by that one.
// Nobody reads the connection past the Exchange once that has started. Worker-local.
class Exchange {
public:
    // Called by the reader. It may detach, attach another one, or close the connection meanwhile.
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

    // `replies`: of the same connection.
    Exchange(Executor executor, ReplyQueue& replies) : replies_{replies}, changed_{executor} {}

    // Reads from now on. Once, after the login and what else is asked first.
    static void start(std::shared_ptr<ServerConnection> connection);

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
    void closed() { changed_.notify_all(); }
    [[nodiscard]] bool has_started() const { return has_started_; }
    [[nodiscard]] Executor executor() { return changed_.executor(); }

private:
    struct Held {
        HolderId id;
        Holder* by;
    };
    static awaitable<void> read(std::shared_ptr<ServerConnection> connection);
    [[nodiscard]] Holder* hearer() const;
    void pass_on(ServerConnection& connection);
    void tell_end(ServerConnection& connection, error_code error);

    ReplyQueue& replies_;
    boost::container::small_vector<Held, 1> holders_;  // the one that was attached last at the end
    std::uint32_t last_id_ = 0;
    bool is_paused_ = false;
    bool has_started_ = false;
    Signal changed_;
};

// Lets what comes pass by until the server closes the connection, or somebody here does. Nobody
// holds it. Whether or not its Exchange has started.
awaitable<void> until_end(std::shared_ptr<ServerConnection> connection);

// DISCARD ALL behind what is still owed, whose answers are dropped; true if no error came and no
// transaction is open then. Nobody holds the connection; its Exchange has started.
awaitable<bool> discard_all(std::shared_ptr<ServerConnection> connection);

}  // namespace pgsteer::proxy
