// The prepared statements that a client has, wherever its requests run. Pure.
#pragma once

#include "proxy/server/ledger.hpp"
#include "proxy/session/columns.hpp"
#include "proxy/wire/bytes.hpp"
#include "routing/statement_cache.hpp"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace pgsteer::proxy {

// What a client has prepared, once. Immutable but for what is learnt of its columns.
struct PreparedText {
    std::uint64_t id = 0;  // unique in this process, above Ledger::kUnknown
    std::string name;      // as the server has it
    // The client's whole Parse message, or a Query that says PREPARE; empty: it cannot be prepared
    // on another connection, because it was too large to be kept.
    wire::Buffer definition;
    bool in_sql = false;              // by PREPARE
    routing::StatementPtr statement;  // null: not classified

    // Of its result. The client's own, and the copies of it.
    mutable Columns columns;

    // Texts that are kept, in bytes: of the session.
    std::shared_ptr<std::size_t> kept_bytes;

    PreparedText() = default;
    PreparedText(const PreparedText&) = delete;
    PreparedText& operator=(const PreparedText&) = delete;
    ~PreparedText() {
        if (kept_bytes) *kept_bytes -= definition.size();
    }
};
using PreparedTextPtr = std::shared_ptr<const PreparedText>;

// One for each session: the log of its client's requests, in their order, whichever connection each
// of them is sent to. What it says of a name is what one server would say that had them all. A
// request that is taken back to be run elsewhere has never been sent: withdraw(), then it is sent
// again. So the client's messages alone are told, not ours; and of answers what the client gets to
// see, not what a discarded run is answered.
//
// Bounds: kMaxBytes of texts are kept, also of those that are only needed until a request is over;
// kMaxStatements names. Worker-local.
class ClientStatements {
public:
    static constexpr std::size_t kMaxBytes = 16 * 1024 * 1024;
    static constexpr std::size_t kMaxStatements = 65'536;

    // What the client means by this name, when all that is under way has been answered. Null:
    // nothing, or unknown: is_complete(). Valid until anything is sent or answered.
    [[nodiscard]] const PreparedTextPtr& find(std::string_view name) const {
        return names_.after(name).text;
    }
    // False: wait for the answers to what is under way before a decision depends on it.
    [[nodiscard]] bool is_certain(std::string_view name) const { return names_.is_certain(name); }
    // Both for the next message. Settled is what is certain; and what messages before it in its own
    // request make certain, since the server skips them all or none.
    struct Known {
        const PreparedTextPtr& text;  // as find()
        bool is_settled;
    };
    [[nodiscard]] Known look(std::string_view name) const {
        const auto meaning = names_.look(name);
        return {meaning.after.text, meaning.next != nullptr};
    }
    // No message is under way that changes what a name means.
    [[nodiscard]] bool is_quiet() const { return names_.is_quiet(); }
    // False: it has had too many. What it does not know may be on the primary.
    [[nodiscard]] bool is_complete() const { return names_.is_complete(); }
    // A text of as many bytes can be prepared on another connection later on. One that cannot has
    // to live on the primary.
    [[nodiscard]] bool may_keep(std::size_t bytes) const {
        return *kept_bytes_ + bytes <= kMaxBytes && names_.size() < kMaxStatements;
    }

    // What is sent, for each message of the client's that is answered by itself: told here, and to
    // the connection that it is sent on.
    struct Sent {
        SentMessage of_client;
        SentMessage on_server;
    };
    // Parse. `message`: all of it, or nothing: it has not arrived whole, or its statement was not
    // classified.
    Sent parse(std::string_view name,
               wire::Bytes message,
               routing::StatementPtr statement,
               Ledger& on);
    Sent close(std::string_view name, Ledger& on);  // of a statement
    // `runs`: what a Query or an Execute does, as far as that is known; else null.
    Sent send(MessageKind kind, const routing::StatementPtr& runs, Ledger& on) {
        const Sent sent{names_.send(kind), on.names().send(kind)};
        if (runs && !runs->statement.effects.empty()) note_effects(runs, on);
        return sent;
    }

    // The same for what is answered in a server's place: at once, and nothing is in flight.
    void parse_here(std::string_view name, wire::Bytes message, routing::StatementPtr statement);
    void query_here();
    void sync_here();

    // What has come of it: as in StatementNames.
    void completed(const SentMessage& message,
                   std::uint16_t index = StatementNames::kAllStatements) {
        names_.completed(message, index);
    }
    void failed(const SentMessage& message) { names_.failed(message); }
    void skipped(const SentMessage& message) { names_.skipped(message); }
    void fail_up_to(const SentMessage& last) { names_.fail_up_to(last); }
    void commit() { names_.commit(); }
    void withdraw() { names_.withdraw(); }

    // What is needed on that connection, right in front of a message that uses this name: for
    // Lack::parse that text, told to `on` as a copy of its id. To be asked where it is settled.
    // Else nothing can be right: what other requests under way make of the name is not known before
    // they are answered, and that has to be waited for, also where requests run again.
    struct Needed {
        Lack lack;
        const PreparedTextPtr& text;  // as find()
    };
    [[nodiscard]] Needed needed(std::string_view name, const Ledger& on) const;  // Bind, Describe
    // The same where it is known which connection that is, and when: a copy may be too old.
    [[nodiscard]] Needed needed(std::string_view name,
                                const Ledger& on,
                                const Columns::On& where,
                                std::uint32_t changes) const;
    // Parse, PREPARE, DEALLOCATE: Lack::parse of an empty text, told as Ledger::kUnknown.
    [[nodiscard]] Lack lack_of_any(std::string_view name, const Ledger& on) const;

private:
    void note_effects(const routing::StatementPtr& runs, Ledger& on);
    PreparedTextPtr make(std::string_view name,
                         wire::Bytes definition,
                         routing::StatementPtr statement,
                         bool in_sql);
    void prepare(const routing::Effect& effect, const routing::StatementPtr& prepares, Ledger& on);

    StatementNames names_{kMaxStatements};
    std::shared_ptr<std::size_t> kept_bytes_ = std::make_shared<std::size_t>(0);
};

}  // namespace pgsteer::proxy
