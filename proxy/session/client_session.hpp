// One client and the server connections that serve it. proxy/README.md tells the life of a request.
#pragma once

#include "proxy/session/cancelling.hpp"
#include "proxy/session/dispatch.hpp"
#include "proxy/session/effects.hpp"
#include "proxy/session/lodging.hpp"
#include "proxy/session/replies.hpp"
#include "proxy/session/startup.hpp"

#include <memory>
#include <optional>

namespace pgsteer::proxy {

// Worker-local. Lives as long as it waits for its client, or one of its coroutines runs. It builds
// the rooms that do the work, each from those before it, reads the client, and has no state of its
// own; its servers are heard by Replies.
class ClientSession final : public Sessions::Member,
                            Stream::Reader,
                            public std::enable_shared_from_this<ClientSession> {
public:
    // `around` outlives it. `socket`: just accepted.
    ClientSession(Surroundings& around, GenerationPtr generation, Socket socket);
    ~ClientSession();

    void start();  // detaches; the session ends by itself

    // --- called by the worker: see Sessions::Member ---
    void cancel_requested(std::uint32_t secret_key) override;
    void servers_changed(const routing::Topology& topology) override;
    void outdate_replica(routing::ServerId server) override {
        common_.transaction_end.outdate_replica(server);
    }
    void outdate_replica(const SessionKind& kind) override {
        common_.transaction_end.outdate_replica(kind);
    }
    void check_timeouts(routing::TimePoint now) override;
    [[nodiscard]] bool is_reading() const override { return client_.reading; }
    void look_for_client() override;
    void drain() override { common_.ending.drain(); }
    void stop() override { common_.ending.stop(); }
    [[nodiscard]] std::uint32_t process_id() const override { return who_.key.process_id; }
    std::shared_ptr<Sessions::Member> keep_alive() override { return shared_from_this(); }

private:
    awaitable<void> run();
    awaitable<bool> start_up();
    void readable(error_code error) override;
    void go_on();
    using Due = std::optional<Batcher::Step>;
    [[nodiscard]] bool serve_at_once(Due& due);
    awaitable<void> serve(Due due);
    awaitable<bool> take_steps(Due due);
    Batcher::Step next_step();
    [[nodiscard]] bool is_backlogged(routing::Slot slot) const;
    void wait_for_client();
    void check_questions(routing::TimePoint now);
    void close_late(routing::Slot slot);
    void fail(const std::exception& failure);
    void end();
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
        Fitting fitting;
        KeptBack kept_back;
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

    const Lodging lodging_;
    Client client_;
    Who who_;
    Course course_;
    Memory memory_;
    Sides sides_{memory_};
    Common common_{*this};
    Sending sending_{*this};
    Answering answering_{*this};
    RawRelay raw_relay_;
};

}  // namespace pgsteer::proxy
