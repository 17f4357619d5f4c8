#pragma once

#include "proxy/server/reply_queue.hpp"
#include "proxy/wire/bytes.hpp"
#include "routing/session_state.hpp"

#include <array>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace pgsteer::proxy {

// A prepared statement of one client, and where it is prepared.
struct PreparedStatement {
    std::string name;
    // The client's whole Parse message, or a Query that says PREPARE; empty: too large to be kept.
    wire::Buffer definition;
    bool in_sql = false;                         // by PREPARE
    bool is_certain = false;                     // a server has answered so
    routing::StatementPtr statement;             // null: not classified (too large)
    std::array<std::uint64_t, 2> prepared_on{};  // lease number by slot; 0 = not there
    // Of the unnamed one: ReplyQueue::queries() at that time, because every Query destroys it, also
    // those of our own. PostgreSQL docs, "Extended Query".
    std::array<std::uint64_t, 2> queries_before{};
};

// A Parse or Close of the client's that the server has not answered yet, so that an error can undo
// it.
struct StatementChange {
    PreparedPtr defined;  // by Parse
    PreparedPtr closed;   // by Close, or replaced by Parse (unnamed statement)
};

// The prepared statements of one client session. Worker-local. Memory: at most kMaxBytes of SQL are
// kept; beyond that a statement lives on the primary alone.
class PreparedStatements {
public:
    static constexpr std::size_t kMaxBytes = 16 * 1024 * 1024;
    static constexpr std::size_t kMaxStatements = 65'536;

    // Valid until that name is defined or closed.
    [[nodiscard]] const PreparedPtr& find(std::string_view name) const;
    [[nodiscard]] bool has_unnamed() const { return unnamed_ != nullptr; }
    [[nodiscard]] bool may_keep(std::size_t bytes) const;  // of a Parse message
    // Parse: `message` is whole. A named statement must not exist yet.
    StatementChange define(std::string_view name,
                           wire::Bytes message,
                           routing::StatementPtr statement);
    // PREPARE: `message` is a Query that repeats it. The name must not exist yet.
    StatementChange define_in_sql(std::string_view name,
                                  wire::Bytes message,
                                  routing::StatementPtr statement);
    StatementChange close(std::string_view name);
    std::vector<StatementChange> close_all();  // of the named ones
    void undo(const StatementChange& change);
    // The same for one that may have reached `slot`, whether or not it was answered: what that
    // connection has of it is no longer known.
    void withdraw(const StatementChange& change, routing::Slot slot);

    // DEALLOCATE ALL or DISCARD ALL completed on `slot`.
    void deallocated_all(routing::Slot slot);

    // Statements that the client has closed and that are still prepared on the other connection:
    // their names, to be closed there before its next use, unless they are in use again by then.
    // `all`: DEALLOCATE ALL is due there.
    struct Leftovers {
        std::vector<std::string> names;
        bool all = false;
        [[nodiscard]] bool empty() const { return names.empty() && !all; }
    };
    [[nodiscard]] Leftovers& leftovers(routing::Slot slot) {
        return leftovers_[static_cast<std::size_t>(slot)];
    }
    void disconnected(routing::Slot slot);
    // A closed statement has been answered with CloseComplete by `slot`: the other one may still
    // hold it.
    void closed_on(const PreparedStatement& statement, routing::Slot slot);

private:
    struct Hash {
        using is_transparent = void;
        std::size_t operator()(std::string_view text) const {
            return std::hash<std::string_view>{}(text);
        }
    };
    void forget(const PreparedPtr& statement);

    std::unordered_map<std::string, PreparedPtr, Hash, std::equal_to<>> named_;
    PreparedPtr unnamed_;
    std::size_t bytes_ = 0;
    std::array<Leftovers, 2> leftovers_;
};

}  // namespace pgsteer::proxy
