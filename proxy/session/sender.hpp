// What goes to a server: the settings and statements that its connection lacks, then the client's
// own bytes; and what the server will answer to each of them.
#pragma once

#include "proxy/session/batch_facts.hpp"
#include "proxy/session/last_route.hpp"
#include "proxy/session/memory.hpp"
#include "proxy/session/preparing.hpp"
#include "proxy/session/questions.hpp"
#include "proxy/session/repetition.hpp"
#include "proxy/session/sides.hpp"
#include "proxy/session/transaction_control.hpp"

#include <span>
#include <string>
#include <utility>
#include <vector>

namespace pgsteer::proxy {

// For Dispatch, and for Recovery what runs again. Waits for nothing. Worker-local.
class Sender {
public:
    Sender(Memory& memory,
           Sides& sides,
           Questions& questions,
           LastRoute& last_route,
           TransactionControl& control)
        : memory_{memory},
          sides_{sides},
          questions_{questions},
          last_route_{last_route},
          control_{control} {}
    Sender(const Sender&) = delete;
    Sender& operator=(const Sender&) = delete;

    // What is sent: messages of the client, and what is known of them.
    struct Sent {
        const Batch& batch;
        wire::Bytes bytes;
        const BatchFacts& facts;
        bool continues = false;  // its request has begun on this connection before
    };
    // Writes everything in one go: settings and statements that the connection lacks, the client's
    // own bytes, a sample. `request` is the newest in flight; it is open no more if the batch ends
    // it. There is a connection on `slot`.
    void send(const Sent& sent, routing::Slot slot, Request& request);
    // Right before that, if `request` goes on where it has not been: what it has made elsewhere is
    // made here, by `again`, of the messages in `sent`. `next`: what goes on. Rows that are fetched
    // again are told to Request::fetches, and asked for.
    void repeat(const Repetition& again,
                const WholeBatch& sent,
                const Batch& next,
                routing::Slot slot,
                Request& request);
    // Asks what columns these statements have there, as they would be prepared now: prepares them,
    // behind what a request would find done in front of it. `continues`: a request is open there.
    // Side::tellings have the answers; nothing is owed behind them.
    void look(std::span<const PreparedTextPtr> statements, routing::Slot slot, bool continues);

private:
    // The statement that was named last, where nothing is under way that touches names, here or
    // there: the server has it, and what its name means cannot change within the batch before a
    // message says so.
    struct Settled {
        std::string_view name;
        const PreparedTextPtr* text = nullptr;  // null: there is none
    };
    // Of one batch, on its way to one connection.
    struct Target {
        wire::Bytes bytes;
        routing::Slot slot;
        ServerConnection& connection;
        Request& request;
        mutable Settled settled{};
        bool has_others = false;  // Expected::has_others of the message that is next
    };
    void add_prelude(const Target& to, bool continues, wire::Buffer& out);
    void add_items(const Sent& sent, Target& to, wire::Buffer& front, std::size_t& placed);
    void add_names_of_query(const Target& to, const Batch& batch, wire::Buffer& out) const;
    [[nodiscard]] bool add_lacking(const Target& to,
                                   const BatchItem& item,
                                   wire::Buffer& out) const;
    [[nodiscard]] bool add_statement(const Target& to,
                                     std::string_view name,
                                     wire::Buffer& out) const;
    [[nodiscard]] bool is_quiet(const Target& to) const;
    [[nodiscard]] const PreparedTextPtr& meant_by(const Target& to, std::string_view name) const;
    [[nodiscard]] Preparing preparing(const Target& to) const;
    ClientStatements::Sent tell(const Target& to,
                                MessageKind kind,
                                const routing::StatementPtr& runs = nullptr);
    void note_closed(const Target& to, const routing::StatementPtr& runs);
    [[nodiscard]] Ledger* other_ledger(const Target& to);
    static bool push(const Target& to,
                     Expect what,
                     const ClientStatements::Sent& sent,
                     routing::StatementPtr effects = nullptr,
                     bool limited = false);
    void expect_plain(const Target& to, Expect what);
    [[nodiscard]] bool expect_item(const Target& to, const BatchItem& item);
    [[nodiscard]] bool expect_malformed(const Target& to, const BatchItem& item);
    [[nodiscard]] bool expect_query(const Target& to, const routing::StatementPtr& statement);
    void expect_parse(const Target& to, const BatchItem& item);
    void expect_close(const Target& to, const BatchItem& item);
    void expect_execute(const Target& to, const BatchItem& item);
    void bind_portal(const Target& to, const BatchItem& item);
    void expect_describe(const Target& to, const BatchItem& item);
    [[nodiscard]] routing::StatementPtr effects_of(const Target& to,
                                                   const routing::StatementPtr& statement);
    void note_kept(const Target& to, const routing::Kept& kept);
    void note_kept(const Target& to, const routing::Statement& statement);

    // All of them outlive it.
    Memory& memory_;
    Sides& sides_;
    Questions& questions_;
    LastRoute& last_route_;
    TransactionControl& control_;

    // Portals of statements of whose columns the client was told nothing yet.
    std::vector<std::pair<std::string, PreparedTextPtr>> untold_;
};

}  // namespace pgsteer::proxy
