// One client and the server connections that serve it. proxy/README.md tells the life of a request.
#pragma once

#include "proxy/session/cancelling.hpp"
#include "proxy/session/dispatch.hpp"
#include "proxy/session/effects.hpp"
#include "proxy/session/replies.hpp"
#include "proxy/session/startup.hpp"

#include <memory>

namespace pgsteer::proxy {

class Worker;

// Worker-local. Lives as long as one of its coroutines. serve() reads the client and sends requests
// on; what its server connections say is heard by Replies, and passed to the client. It builds the
// rooms that do the work, each from those before it, and has no state of its own.
class ClientSession : public std::enable_shared_from_this<ClientSession> {
public:
    ClientSession(Worker& worker, Socket socket);
    ~ClientSession();
    ClientSession(const ClientSession&) = delete;
    ClientSession& operator=(const ClientSession&) = delete;

    void start();  // detaches; the session ends by itself

    // --- called by the worker ---
    void cancel_requested(std::uint32_t secret_key);
    void servers_changed(const routing::Topology& topology);
    // See TransactionEnd.
    template <class Which>
    void outdate_replica(const Which& which) {
        common_.transaction_end.outdate_replica(which);
    }
    void check_timeouts(routing::TimePoint now);
    [[nodiscard]] bool is_reading() const { return client_.reading; }  // then it notices by itself
    void look_for_client();  // a client that has gone ends what its session waits for
    void drain() { common_.ending.drain(); }
    void stop() { common_.ending.stop(); }
    [[nodiscard]] std::uint32_t process_id() const { return who_.key.process_id; }

private:
    awaitable<void> run();
    awaitable<void> serve();
    awaitable<void> do_step(Batcher::Step step);
    awaitable<bool> more_comes();
    awaitable<void> finish_writes();

    // What both ways need: to the servers and back.
    struct Common {
        explicit Common(ClientSession& session);
        TransactionEnd transaction_end;
        Ending ending;
        Holding holding;
        Options options;
        Questions questions;
        LastRoute last_route;
        RequestEnd request_end;
        Progress progress;
        TransactionControl control;
    };
    // To the servers, and again.
    struct Sending {
        explicit Sending(ClientSession& session);
        Judge judge;
        Sender sender;
        Seek seek;
        Recovery recovery;
        Dispatch dispatch;
    };
    // And back.
    struct Answering {
        explicit Answering(ClientSession& session);
        Effects effects;
        ErrorAnswers errors;
        Answers answers;
        Cancelling cancelling;
        Replies replies;
    };

    Worker& worker_;
    Client client_;
    Who who_;
    Course course_;
    Memory memory_;
    Sides sides_{memory_};
    Common common_{*this};
    Sending sending_{*this};
    Answering answering_{*this};
    RawRelay raw_relay_;
    Startup startup_;
};

}  // namespace pgsteer::proxy
