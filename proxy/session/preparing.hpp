// Statements that a server connection lacks, because they were prepared on the session's other one:
// prepared there by messages of ours right in front of the client's that need them, so that an
// error comes where the server itself would report it. Pure.
#pragma once

#include "proxy/server/reply_queue.hpp"
#include "proxy/session/batch.hpp"
#include "proxy/session/client_statements.hpp"

#include <string_view>

namespace pgsteer::proxy {

// To one connection, of one client. Every function appends messages and puts into the queue what
// they are answered with; where the server skips to a Sync, nothing.
class Preparing {
public:
    // All of them outlive it. `on`: which connection of the session's this is. `changes`: of its
    // catalog.
    Preparing(const ClientStatements& client,
              Ledger& ledger,
              ReplyQueue& replies,
              Columns::On on = {},
              std::uint32_t changes = 0)
        : client_{client}, ledger_{ledger}, replies_{replies}, on_{on}, changes_{changes} {}

    // For Bind, Describe and EXECUTE: what this name means to the client, and nothing else; with
    // the names in it.
    struct Supplied {
        const PreparedTextPtr& text;  // as ClientStatements::needed()
        bool has_others;  // as it is there now it has other columns than the client was told
    };
    Supplied statement(std::string_view name, wire::Buffer& out);
    // The same anew, whatever is there, and a question for its columns: the message that is
    // answered with them; none where the server skips.
    [[nodiscard]] SentMessage described(std::string_view name, wire::Buffer& out);
    // For what only asks whether there is one of that name: Parse, PREPARE, DEALLOCATE. Its text is
    // not needed, which may be wrong by now.
    void name(std::string_view name, wire::Buffer& out);
    // A statement of our own that returns no rows, in messages of the extended protocol: a Query
    // would end what the client has open.
    void command(std::string_view sql, wire::Buffer& out) { command(sql, nullptr, out); }
    // For all names in a statement of the client's.
    void names_in(const routing::StatementPtr& said, wire::Buffer& out);
    // This portal, as it is when a statement without rows has been executed by it.
    void portal_at_end(std::string_view name, wire::Buffer& out);
    // Something has been executed before what follows.
    void executed(wire::Buffer& out);
    // Behind what was appended, if anything was: a Query must not be skipped with it.
    void sync(wire::Buffer& out);
    // What the client has closed on the other connection. Nothing is in flight on this one.
    void close_leftovers(wire::Buffer& out);

    // Of a request that goes on here (Repetition). This Parse, for the Bind behind it alone: the
    // name means something else.
    void parse_again(std::string_view name, wire::Bytes message, wire::Buffer& out);
    // This Bind or Execute.
    void repeat(const BatchItem& item, wire::Bytes message, wire::Buffer& out);
    void close_portal(std::string_view name, wire::Buffer& out) { close('P', name, out); }

private:
    const PreparedTextPtr& supply(std::string_view name, wire::Buffer& out);
    void prepare(const PreparedText& text, wire::Buffer& out);
    void expect(Expect what, SentMessage sent);
    void close(std::uint8_t kind, std::string_view name, wire::Buffer& out);
    void parse(const PreparedText& text, wire::Buffer& out);
    void run(const PreparedText& text, wire::Buffer& out);
    void command(std::string_view sql, const PreparedText* prepares, wire::Buffer& out);
    SentMessage execute_ours(std::string_view sql, std::string_view portal, wire::Buffer& out);

    const ClientStatements& client_;
    Ledger& ledger_;
    ReplyQueue& replies_;
    Columns::On on_;
    std::uint32_t changes_;
    bool is_to_end_ = false;  // by sync()
};

}  // namespace pgsteer::proxy
