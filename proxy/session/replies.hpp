// From the servers' bytes to the client's: hops from message to message, forwards the same bytes,
// drops what answers our own messages, and holds back what may still have to be fetched from
// another server.
#pragma once

#include "proxy/io/asio.hpp"
#include "proxy/session/answers.hpp"
#include "proxy/session/cancelling.hpp"
#include "proxy/session/client.hpp"
#include "proxy/session/course.hpp"
#include "proxy/session/ending.hpp"
#include "proxy/session/error_answers.hpp"
#include "proxy/session/holding.hpp"
#include "proxy/session/lodging.hpp"
#include "proxy/session/recovery.hpp"
#include "proxy/session/sides.hpp"

namespace pgsteer::proxy {

// Hears the connections that the session holds, from the first lease on; nobody else calls it. Does
// not wait: while the client has much unread its server is not read. Worker-local.
class Replies {
public:
    Replies(const Lodging& lodging,
            Client& client,
            Course& course,
            Sides& sides,
            Ending& ending,
            Holding& holding,
            Recovery& recovery,
            ErrorAnswers& errors,
            Answers& answers,
            Cancelling& cancelling)
        : lodging_{lodging},
          client_{client},
          course_{course},
          sides_{sides},
          ending_{ending},
          holding_{holding},
          recovery_{recovery},
          errors_{errors},
          answers_{answers},
          cancelling_{cancelling} {
        sides.heard_by(primary_, replica_);
    }
    Replies(const Replies&) = delete;
    Replies& operator=(const Replies&) = delete;

private:
    enum class Outcome : std::uint8_t { ok, broken };
    // Holds the connection of its side.
    struct Ear final : Exchange::Holder {
        Ear(Replies& owner, routing::Slot where) : replies{owner}, slot{where} {}
        void received(ServerConnection&) override { replies.received(slot); }
        void ended(ServerConnection&, error_code error) override { replies.ended(slot, error); }
        Replies& replies;
        routing::Slot slot;
    };

    void received(routing::Slot slot);
    void ended(routing::Slot slot, error_code error);
    void discarded_run_has_ended(routing::Slot slot);
    awaitable<void> resume_when_drained(ServerConnectionPtr connection);
    [[nodiscard]] Outcome process_replies(routing::Slot slot);
    [[nodiscard]] std::size_t pass_partial(routing::Slot slot,
                                           std::size_t position,
                                           std::size_t end);
    void go_on_with(routing::Slot slot);
    [[nodiscard]] Verdict handle_discarded(routing::Slot slot, std::uint8_t type, wire::Bytes body);

    // All of them outlive it.
    const Lodging& lodging_;
    Client& client_;
    Course& course_;
    Sides& sides_;
    Ending& ending_;
    Holding& holding_;
    Recovery& recovery_;
    ErrorAnswers& errors_;
    Answers& answers_;
    Cancelling& cancelling_;

    Ear primary_{*this, routing::Slot::primary};
    Ear replica_{*this, routing::Slot::replica};
};

}  // namespace pgsteer::proxy
