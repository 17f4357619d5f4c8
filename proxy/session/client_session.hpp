// One client and the server connections that serve it. proxy/README.md tells the life of a request.
#pragma once

#include "proxy/io/asio.hpp"
#include "proxy/io/deadline.hpp"
#include "proxy/io/signal.hpp"
#include "proxy/io/stream.hpp"
#include "proxy/login/login.hpp"
#include "proxy/pool/pool.hpp"
#include "proxy/session/batch_facts.hpp"
#include "proxy/session/batcher.hpp"
#include "proxy/session/catalog_view.hpp"
#include "proxy/session/flight.hpp"
#include "proxy/session/freshness.hpp"
#include "proxy/session/outbox.hpp"
#include "proxy/session/parameter_status.hpp"
#include "proxy/session/patience.hpp"
#include "proxy/session/prepared_statements.hpp"
#include "proxy/session/preparing.hpp"
#include "proxy/session/request.hpp"
#include "proxy/session/transaction.hpp"
#include "proxy/shared/generation.hpp"
#include "proxy/shared/sessions.hpp"
#include "proxy/shared/shared_writes.hpp"
#include "proxy/wire/startup.hpp"
#include "routing/decide.hpp"
#include "routing/session_state.hpp"

#include <array>
#include <memory>
#include <string>
#include <vector>

namespace pgsteer::proxy {

class Surroundings;

// Worker-local. Lives as long as one of its coroutines. serve() reads the client and sends requests
// on; what its server connections say is heard by one Ear each, and passed to the client.
class ClientSession final : public Sessions::Member,
                            public std::enable_shared_from_this<ClientSession> {
public:
    ClientSession(Surroundings& worker, GenerationPtr generation, Socket socket);
    ~ClientSession();

    void start();  // detaches; the session ends by itself

    // --- called by the worker: see Sessions::Member ---
    void cancel_requested(std::uint32_t secret_key) override;
    void servers_changed(const routing::Topology& topology) override;
    void outdate_replica(routing::ServerId server) override;
    void outdate_replica(const SessionKind& kind) override;
    void check_timeouts(routing::TimePoint now) override;
    [[nodiscard]] bool is_reading() const override { return reading_; }
    void look_for_client() override;
    void drain() override;  // with 57P01
    void stop() override;
    [[nodiscard]] std::uint32_t process_id() const override { return key_.process_id; }
    std::shared_ptr<Sessions::Member> keep_alive() override { return shared_from_this(); }

private:
    using Slot = routing::Slot;
    using Step = Batcher::Step;
    enum class Verdict : std::uint8_t { forward, swallow, run_again, broken };
    enum class Outcome : std::uint8_t { ok, run_again, broken };

    // A server connection of this session and what is going on on it.
    struct Side {
        Lease lease;
        std::uint64_t partial = 0;  // bytes still to come of a message that is passed on in pieces
        bool partial_swallowed = false;
        ProxyErrc lost_because = ProxyErrc::server_lost;  // what a closed connection means
        bool discarding = false;  // requests run elsewhere: what is still answered here is dropped
        bool setting_failed = false;          // one of our own settings was refused
        bool opening_failed = false;          // of a transaction: an error came in its place
        std::vector<std::string> row_values;  // of the row that says what set_config() has set
        bool asked_about_syncs = false;       // see find_out_about_syncs
        wire::Buffer last_words;              // ErrorResponse that came without a request
        bool has_said_farewell = false;       // a FATAL, which the client has been told
        bool sample_pending = false;          // primary: where its WAL ends is being asked
        routing::TimePoint sampled_at = routing::kNever;  // before it was asked
        SharedWrites::Awaited awaited;                    // of a write, behind which it is
        bool verifying = false;                           // replica: how far it has replayed is
        bool behind = false;                              // and it has not got far enough
        std::optional<routing::Lsn> told_position;        // what it answered
    };

    // Holds the connection of its side.
    struct Ear final : Exchange::Holder {
        Ear(ClientSession& owner, Slot where) : session{owner}, slot{where} {}
        void received(ServerConnection&) override { session.received(slot); }
        void ended(ServerConnection&, error_code error) override { session.ended(slot, error); }
        ClientSession& session;
        Slot slot;
    };

    // --- client_session.cpp: life ---
    awaitable<void> run();
    awaitable<void> serve();
    awaitable<bool> more_comes();
    awaitable<void> finish_writes();
    void leave();                                               // closes everything; idempotent
    void die(ProxyErrc reason, std::string_view message = {});  // FATAL to the client, then leave()
    void send_error(std::string_view severity, ProxyErrc reason, std::string_view message = {});
    void send_ready();
    void release(Slot slot);
    void outdate_replica();
    void transaction_has_ended();
    void tell_new_values(const ServerConnection& replica);
    void pass_cancel_on();

    // --- startup_phase.cpp ---
    awaitable<bool> start_up();
    awaitable<bool> learn_parameters();
    awaitable<void> learn_catalog();

    // --- raw_relay.cpp: replication connections ---
    struct RawRelay;
    awaitable<void> relay_raw();
    [[nodiscard]] bool may_speak() const;  // it is not in the middle of a server's message
    [[nodiscard]] std::optional<routing::ServerId> raw_server() const;
    void cancel_raw();

    // --- client_messages.cpp: from bytes to batches ---
    Step next_step();
    [[nodiscard]] routing::StatementPtr classify(std::string_view sql) const;
    [[nodiscard]] Batch parse_batch(
        wire::Bytes bytes) const;  // of messages that were collected before
    awaitable<void> end_at_violation();
    void stream_on();
    void copy_on();
    [[nodiscard]] bool is_copying_in() const;

    // --- dispatch.cpp: from batches to a server ---
    struct Choice {
        Slot slot{};
        routing::Reason reason{};
        std::optional<ConnectFailure> failure = {};
        routing::WalPosition needed = {};  // see Request::needed
        PrimaryRead primary_read = {};
    };
    // What a request needs to know of itself while a server is looked for.
    struct Demand {
        bool again = false;         // it is being run again, and nobody else waits for that
        bool primary_only = false;  // it failed on a replica
        routing::ServerSet avoid = {};
        bool may_verify = false;  // its answer can be thrown away
        bool ties = false;  // it leaves something that its transaction needs on the same connection
        routing::TimePoint arrived = routing::kNever;
    };
    // What look() has come to. All but the first are waited for, by choose(): the usual case needs
    // no coroutine, which is dear.
    enum class Next : std::uint8_t {
        chosen,          // Search::choice says what
        chosen_in_turn,  // when all before it has been answered
        look_again,      // otherwise
        answer,          // a server has said something
        answers,         // all before it has been answered
        open_request,    // the same for the one that has no Sync yet, and moves
        freshness,       // replicas have replayed more
        probe,           // Search::next_look: the primary has been asked
        connection,      // to Search::server, as Choice::slot
    };
    // For a server, by one request.
    struct Search {
        const routing::CachedStatement& statement;  // outlives it
        Demand demand = {};
        Choice choice = {};
        Patience patience = {};
        routing::TimePoint next_look = {};
        routing::ServerId server = {};
    };
    awaitable<void> dispatch();
    [[nodiscard]] std::size_t max_read_bytes() const;
    [[nodiscard]] routing::SessionView view(const routing::Statement& statement,
                                            const routing::Topology& topology,
                                            const Demand& demand) const;
    [[nodiscard]] bool deallocates_unknown(const routing::Statement& statement) const;
    [[nodiscard]] Next begin_search(Search& search, const BatchFacts& facts);
    [[nodiscard]] Next look(Search& search);
    [[nodiscard]] Next wait_or_ask(const Search& search,
                                   routing::Route& route,
                                   const routing::Topology& topology,
                                   routing::TimePoint now);
    [[nodiscard]] Next look_for_connection(Search& search,
                                           const routing::Route& route,
                                           Slot slot,
                                           const routing::Topology& topology);
    [[nodiscard]] Next connection_failed(Search& search, ConnectFailure failure);
    static Next chosen(Search& search, Slot slot, routing::Reason reason);
    static Next fail(Search& search, ConnectFailure failure);
    static Next fail(Search& search, ProxyErrc reason);
    [[nodiscard]] static Next fail_in_turn(Search& search, ProxyErrc reason);
    awaitable<void> choose(Search& search, Next next);
    enum class Fallback : std::uint8_t { allowed, waits, stale, refused };
    [[nodiscard]] Fallback fall_back(routing::Route& route,
                                     const routing::Statement& statement,
                                     const routing::Topology& topology,
                                     const Demand& demand,
                                     PrimaryRead& primary_read);
    [[nodiscard]] bool is_primary_in_doubt(const routing::Topology& topology,
                                           const Demand& demand) const;
    [[nodiscard]] bool waits_for_probe(Search& search,
                                       Slot slot,
                                       const routing::Topology& topology);
    [[nodiscard]] bool may_look_again(Search& search) const;
    // Inlined, GCC 12 takes the coroutine's own operator delete for a wrong one.
    [[gnu::noinline]] awaitable<void> wait_for_probe(routing::TimePoint next_look);
    [[nodiscard]] routing::Candidates without_exhausted(const routing::Candidates& candidates);
    static bool avoid_all(const routing::Candidates& candidates, Demand& demand);
    [[nodiscard]] PoolTarget target(Slot slot, routing::ServerId server) const;
    [[nodiscard]] bool leave_out_refused(const routing::Candidates& candidates);
    awaitable<void> make_way(routing::StatementPtr statement);
    awaitable<ConnectFailure> take_lease(Slot slot, routing::ServerId server);
    awaitable<void> leave_open_request();
    void place(Search& search, const BatchFacts& facts);
    void start_request(const Choice& choice);
    [[nodiscard]] BatchFacts facts_of(const Batch& batch, wire::Bytes bytes) const;
    void send_batch(const Batch& batch,
                    wire::Bytes bytes,
                    const BatchFacts& facts,
                    Slot slot,
                    Request& request,
                    bool continues);
    void add_prelude(Slot slot, wire::Buffer& out, Request& request, bool starts_request);
    void add_settings(Slot slot, wire::Buffer& out);
    [[nodiscard]] Destination destination(Slot slot);
    void add_lacking(
        const BatchItem& item, wire::Bytes bytes, Slot slot, bool is_first, wire::Buffer& out);
    [[nodiscard]] bool expect_item(const BatchItem& item,
                                   wire::Bytes bytes,
                                   Slot slot,
                                   Request& request);
    [[nodiscard]] bool expect_query(const routing::StatementPtr& statement,
                                    Slot slot,
                                    Request& request);
    void expect_parse(const BatchItem& item, wire::Bytes bytes, Slot slot, Request& request);
    void bind_portal(const BatchItem& item, wire::Bytes bytes);
    void expect_execute(std::string_view portal, Slot slot, Request& request);
    [[nodiscard]] routing::StatementPtr effects_of(const routing::StatementPtr& statement,
                                                   Slot slot);
    [[nodiscard]] bool is_pipeline_full() const;
    [[nodiscard]] bool is_answered() const;
    awaitable<void> answered();  // until no request is in flight and none is being run again, or
                                 // more of the client is needed for that
    void ask_for_answers(const Request& request);
    awaitable<void> doubt_settled();
    [[nodiscard]] bool waits_for_names() const;
    [[nodiscard]] bool follows_its_request() const;
    void refuse(const Batch& batch, const ConnectFailure& failure);

    // --- replies.cpp: from the server to the client ---
    void received(Slot slot);
    void ended(Slot slot, error_code error);
    void discarded_run_has_ended(Slot slot);
    awaitable<void> resume_when_drained(ServerConnectionPtr connection);
    [[nodiscard]] Outcome process_replies(Slot slot);
    Verdict handle_reply(Slot slot, std::uint8_t type, wire::Bytes body);
    [[nodiscard]] bool answers_us(Slot slot);
    Verdict handle_discarded(Slot slot, std::uint8_t type, wire::Bytes body);
    Verdict on_asynchronous(Slot slot, std::uint8_t type, wire::Bytes body);
    Verdict on_parse_or_close_complete(Slot slot);
    Verdict on_complete(Slot slot, wire::Bytes body, std::uint8_t type);
    Verdict on_error(Slot slot, wire::Bytes body);
    Verdict on_own_error(Slot slot,
                         const Expected& owed,
                         std::string_view sqlstate,
                         wire::Bytes body);
    Verdict answer_with_own_error();
    void undo_changes(Request& request, const Expected& failed);
    void note_confirmed(PreparedStatement& statement, Slot slot);
    Verdict on_ready(Slot slot, wire::Bytes body);
    Verdict on_parameter(Slot slot, wire::Bytes body);
    void show_own_key(Slot slot, wire::Bytes body);
    void note_set_values(Slot slot, wire::Bytes body);
    void note_kept(Slot slot, const routing::Kept& kept);
    void note_kept(Slot slot, const routing::Statement& statement);
    void deallocated(std::string_view name, Slot slot);
    void deallocated_all(Slot slot);
    void prepared_in_sql(const std::string& name, Slot slot);
    void note_unnamed_dropped(Expected& query);
    void expect_prepared(const routing::StatementPtr& statement, Request& request);
    static void expect_deallocations(PreparedStatements& prepared,
                                     const routing::StatementPtr& statement,
                                     Request& request);
    void apply_effects(Slot slot,
                       const routing::Statement& statement,
                       std::uint16_t index,
                       std::string_view tag);
    void release_replies(std::size_t complete, std::size_t end);
    void hold_replies();
    void release_held();
    void die_of_another_answer();
    void quiet(error_code ec);
    void watch_discarded_run(std::chrono::milliseconds patience);
    void end_discarded_run();
    void finish_front(Slot slot);
    UnansweredEnds skip_to_sync(Slot slot);
    void end_skipping(Slot slot);
    void find_out_about_syncs(Slot slot);

    // --- questions.cpp: samples of the primary's position, verification of a replica's ---
    [[nodiscard]] static routing::Consistency level_of(conf::Consistency level);
    [[nodiscard]] routing::ReadOptions options_for(const routing::Statement& statement) const;
    [[nodiscard]] std::string bad_option(const Batch& batch) const;
    [[nodiscard]] bool start_options();
    [[nodiscard]] routing::TimePoint wait_until(const routing::Statement& statement,
                                                routing::TimePoint arrived) const;
    awaitable<void> wait_for_freshness();
    [[nodiscard]] bool may_verify(const Batch& batch) const;
    [[nodiscard]] routing::Candidates worth_asking(const routing::Candidates& unproven,
                                                   const routing::Topology& topology,
                                                   routing::TimePoint now);
    void add_verification(Slot slot, wire::Buffer& out);
    void add_sample(const BatchFacts& facts, const Request& request, wire::Buffer& out);
    [[nodiscard]] bool ends_outside_transaction(const BatchFacts& facts) const;
    [[nodiscard]] bool may_flush() const;
    void send_flushing_sample();
    void note_written(Slot slot, routing::TransactionStatus status);
    void add_shown(Slot slot, wire::Buffer& out, const Request& request);
    void note_route(Slot slot, const Request& request);
    [[nodiscard]] std::string last_route_text() const;
    void explain_route(const Choice& choice);
    void note_position(Slot slot, wire::Bytes row);
    Verdict on_position_told(Slot slot, Purpose purpose);

    // --- transactions.cpp: BEGIN answered at once, opened later, opened again elsewhere ---
    [[nodiscard]] routing::DefaultModes default_modes() const;
    awaitable<bool> answer_transaction_control(const BatchFacts& facts);
    void answer_batch(std::string_view tag);
    void open_transaction(Slot slot, wire::Buffer& out);
    void roll_back_on_replica();
    void fail_transaction();

    // --- recovery.cpp: when a server is lost, or a replica could not do it ---
    void note_loss(const ServerConnection& connection, ProxyErrc reason);
    struct Loss {  // of a connection: what it was in the middle of
        Slot slot{};
        routing::ServerId server;
        ProxyErrc reason{};
        bool busy = false;
        bool is_irreplaceable = false;
        bool in_transaction = false;
        bool cut_mid_message = false;
        bool cursor_lost = false;
        bool has_said_farewell = false;
        wire::Buffer last_words;
    };
    awaitable<void> look_into(Loss loss);
    awaitable<bool> has_front_crashed(routing::ServerId server);
    void server_lost(Slot slot, ProxyErrc reason);
    void go_on_after(Loss loss, bool crashed);
    void lose_transaction(bool busy, bool crashed);
    void leave_with(const wire::Buffer& last_words);
    enum class Why : std::uint8_t { lost, failed, behind };
    void run_again(Why why, routing::ServerSet avoid);
    awaitable<void> run_elsewhere(Why why, routing::ServerSet avoid);
    void place_again(Flight::Requests again, Choice& choice, Why why);
    void fail_front(ProxyErrc reason);
    void fail_cancelled();
    void withdraw_changes();

    Side& side(Slot slot) { return sides_[static_cast<std::size_t>(slot)]; }
    [[nodiscard]] const Side& side(Slot slot) const {
        return sides_[static_cast<std::size_t>(slot)];
    }
    [[nodiscard]] bool is_idle() const { return requests_.empty() && !running_again_; }

    Surroundings& worker_;
    GenerationPtr generation_;
    Stream client_;
    InputBuffer in_;
    Batcher batcher_{in_};
    Slot streamed_to_ = Slot::primary;
    bool reading_ = false;                  // waits for the client, so that its end is noticed
    bool terminating_ = false;              // it has said good-bye, and need not be there any more
    std::optional<std::uint64_t> gone_at_;  // bytes received when it was first seen to have gone
    routing::TimePoint received_at_{};

    // Who the client is.
    Identity who_;
    ParameterView parameter_view_;
    wire::BackendKeyData key_;
    std::shared_ptr<health::DatabaseCounters> counters_;  // since the login has succeeded
    bool registered_ = false;
    std::optional<Login> login_;  // stays as long as its deadline
    std::optional<Deadline> login_deadline_;
    std::shared_ptr<RawRelay> raw_;  // of a replication connection, while it is relayed

    // What it is doing.
    std::array<Side, 2> sides_;
    std::array<Ear, 2> ears_{Ear{*this, Slot::primary}, Ear{*this, Slot::replica}};
    Pool::Place place_in_pool_;
    Flight requests_;
    routing::SessionState state_;
    Transaction transaction_{state_};
    Freshness freshness_;
    struct LastRoute {  // what SHOW pgsteer.last_route says
        routing::ServerId server;
        Slot slot = Slot::primary;
        routing::Reason reason{};
        bool retried = false;
        routing::Clock::duration staleness{-1};  // of the replica; negative: not known
    };
    std::optional<LastRoute> last_route_;
    std::optional<Slot> last_used_;
    PreparedStatements prepared_;
    Preparing preparing_;
    wire::Buffer own_error_;  // of Request::own_error
    Portals portals_;
    SessionCatalog catalog_;
    bool names_may_change_ = false;  // by what is in flight
    Outbox outbox_;
    routing::TimePoint held_since_{};
    routing::TimePoint replies_at_{};  // read after the last recv from a server
    bool hold_timer_armed_ = false;
    Timer hold_timer_;
    Signal answered_;
    std::optional<Request> moved_;  // the open request, between two servers
    bool running_again_ = false;
    bool choosing_ = false;  // a batch is being dispatched
    // The client has asked to cancel its oldest request, or the batch that is being dispatched: it
    // holds for whatever is done about that.
    enum class Cancel : std::uint8_t { none, asked, passed_on };
    Cancel cancel_ = Cancel::none;
    std::optional<routing::Pin> counted_pin_;
    routing::ServerSet refused_;          // replicas that do not let this session in
    routing::TimePoint refused_until_{};  // then they are looked at again
    struct AtTransactionEnd {             // bits
        static constexpr std::uint8_t changes_logins = 1;  // by what it has done
        static constexpr std::uint8_t outdates_replica = 2;
    };
    std::uint8_t at_transaction_end_ = 0;
    bool replica_was_outdated_ = false;
    bool draining_ = false;
    bool closing_ = false;
};

}  // namespace pgsteer::proxy
