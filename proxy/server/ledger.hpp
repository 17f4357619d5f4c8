// What one server connection has: prepared statements, told by its own answers alone; and what the
// session that holds it has made there besides (routing::ConnectionState). Pure.
#pragma once

#include "proxy/server/statement_names.hpp"
#include "routing/connection_state.hpp"

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace pgsteer::proxy {

// What has to be said of a name right in front of a message that needs it, up to the same Sync.
enum class Lack : std::uint8_t {
    nothing,
    parse,
    close,            // what is there, or may be, is another client's statement, or an older one
    close_and_parse,  // Close is of no error where nothing is
};

// One for each server connection, for its life. Every message on it is told to names(), ours and
// the client's; what comes of it is told here. Holds no texts. Worker-local.
//
// Nothing of it is ever withdrawn: requests that run elsewhere instead run here as well, and are
// answered, even if nobody listens.
class Ledger {
public:
    // What a client may have (ClientStatements), twice: its own, and what it had and has closed on
    // its other connection.
    static constexpr std::size_t kMaxNames = 2 * 65'536;

    // What is sent, and questions.
    [[nodiscard]] StatementNames& names() { return names_; }
    [[nodiscard]] const StatementNames& names() const { return names_; }

    // What the session that holds the connection has made there besides.
    [[nodiscard]] routing::ConnectionState& state() { return state_; }

    // What has come of it. As StatementNames has it, and final at once.
    void completed(const SentMessage& message,
                   std::uint16_t index = StatementNames::kAllStatements) {
        names_.completed(message, index);
        names_.commit();
    }
    void failed(const SentMessage& message) {
        names_.failed(message);
        names_.commit();
    }
    void skipped(const SentMessage& message) {
        names_.skipped(message);
        names_.commit();
    }

    // In front of the next message: for one that needs this statement under this name (Bind,
    // Describe, EXECUTE), ...
    [[nodiscard]] Lack lack_of(std::string_view name, std::uint64_t id) const;
    // ... for one that fails, or does something, because there is one, whichever (Parse, PREPARE,
    // DEALLOCATE of what the client has): Lack::parse wants any text, also an empty one, ...
    [[nodiscard]] Lack lack_of_any(std::string_view name) const;
    // ... for one that is to find none there: what the client has not got.
    [[nodiscard]] Lack lack_of_none(std::string_view name) const;

    // The client has closed this name on another connection: it is left over here, if it is here.
    void left_over(std::string_view name);
    void all_left_over();  // DEALLOCATE ALL
    // What is to be closed, while nothing is under way here, as far as `is_in_use(name, id)` is
    // false: the client has not got it, or has it again. They are forgotten.
    struct Leftovers {
        std::vector<std::string> names;
        bool all = false;  // DEALLOCATE ALL is due, and does for all names
        [[nodiscard]] bool empty() const { return names.empty() && !all; }
    };
    template <class IsInUse>
    [[nodiscard]] Leftovers take_leftovers(IsInUse&& is_in_use);
    [[nodiscard]] bool has_leftovers() const { return !leftovers_.empty(); }

    // A statement of which nothing is known but its name: the text is unread, or an empty one that
    // was prepared for lack_of_any(). Ids of others are above it.
    static constexpr std::uint64_t kUnknown = 1;

private:
    StatementNames names_{kMaxNames};
    routing::ConnectionState state_;
    Leftovers leftovers_;
};

template <class IsInUse>
Ledger::Leftovers Ledger::take_leftovers(IsInUse&& is_in_use) {
    auto taken = std::exchange(leftovers_, {});
    std::erase_if(taken.names, [&](const std::string& name) {
        const auto& has = names_.now(name);
        return !has || is_in_use(name, has.id);
    });
    return taken;
}

}  // namespace pgsteer::proxy
