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
    // All of them outlive it.
    Preparing(const ClientStatements& client, Ledger& ledger, ReplyQueue& replies)
        : client_{client}, ledger_{ledger}, replies_{replies} {}

    // For Bind, Describe and EXECUTE: what this name means to the client, and nothing else; with
    // the names in it. Returns the former, as ClientStatements::needed().
    const PreparedTextPtr& statement(std::string_view name, wire::Buffer& out);
    // For what only asks whether there is one of that name: Parse, PREPARE, DEALLOCATE. Its text is
    // not needed, which may be wrong by now.
    void name(std::string_view name, wire::Buffer& out);
    // For all names in a statement of the client's.
    void names_in(const routing::StatementPtr& said, wire::Buffer& out);
    // The unnamed portal, as it is when a statement without rows has been executed by it. In a
    // transaction.
    void portal_at_end(wire::Buffer& out);
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
    void expect(Expect what, SentMessage sent);
    void close(std::uint8_t kind, std::string_view name, wire::Buffer& out);
    void parse(const PreparedText& text, wire::Buffer& out);
    void run(const PreparedText& text, wire::Buffer& out);
    SentMessage execute_ours(std::string_view sql, std::string_view portal, wire::Buffer& out);

    const ClientStatements& client_;
    Ledger& ledger_;
    ReplyQueue& replies_;
};

}  // namespace pgsteer::proxy
