// What a session's statements have done to its state: transaction, settings, savepoints, pins. Pure: told
// by the relay what completed, asked by decide and by whoever opens or uses a server connection.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "routing/statement.hpp"

namespace pgsteer::routing {

// A session holds at most one connection to the primary and one to a replica.
enum class Slot : std::uint8_t { primary, replica };

class SessionState {
public:
    // --- told by the relay, in the order of the server's answers ---
    // Statement `index` of `statement` completed on `slot`; `command_tag` as in CommandComplete (COMMIT of a
    // failed transaction answers "ROLLBACK").
    void completed(Slot slot, const Statement& statement, std::uint16_t index, std::string_view command_tag);
    // An ErrorResponse arrived: what the current implicit transaction staged is undone by ready('I'); in an
    // open transaction only ROLLBACK [TO] can follow.
    void failed();
    // ReadyForQuery with status 'I', 'T' or 'E' arrived from `slot`.
    void ready(Slot slot, std::uint8_t status);
    void connected(Slot slot);     // a new server connection: none of the session's settings applied yet
    void disconnected(Slot slot);  // its state is gone

    // --- transaction ---
    [[nodiscard]] std::uint8_t transaction_status() const { return status_; }
    [[nodiscard]] std::optional<Slot> transaction_on() const;  // nullopt: no open transaction

    // --- state that lives on one connection only ---
    // Set while reads have to run on the primary connection.
    [[nodiscard]] std::optional<Pin> pin() const;
    // True if losing the connection of `slot` loses what cannot be rebuilt elsewhere: an open transaction,
    // temporary tables, LISTEN, holdable cursors.
    [[nodiscard]] bool irreplaceable(Slot slot) const;
    // Where FETCH, MOVE and CLOSE outside of a transaction have to run. nullopt: no holdable cursor open.
    [[nodiscard]] std::optional<Slot> cursor_on() const;

    // --- settings: what was set on one connection and has to be repeated on the other ---
    [[nodiscard]] bool settings_pending(Slot slot) const;
    // SQL statements in the order they have to run; views are valid until the next call that is not const.
    // Never called while a transaction is open.
    [[nodiscard]] std::vector<std::string_view> pending_settings(Slot slot) const;
    void settings_applied(Slot slot);
    void settings_not_applicable();  // the replica refused one: from now on reads are pinned to the primary
    [[nodiscard]] std::size_t memory_bytes() const { return memory_bytes_; }

private:
    struct Setting {
        std::uint64_t number = 0;  // grows; larger than applied_[slot]: not yet applied there
        std::string name;
        std::string sql;
    };
    struct Staged {  // an effect of the open transaction, explicit or implicit
        Effect effect;
        Slot slot;
    };
    struct Savepoint {
        std::string name;
        std::size_t staged_size;
    };
    void stage(Slot slot, const Effect& effect);
    void commit_staged();
    void drop_staged();
    void apply(const Staged& staged);
    void remember(Slot slot, const Effect& effect);

    std::uint8_t status_ = 'I';
    Slot transaction_slot_ = Slot::primary;
    bool failed_ = false;  // an error since the last ReadyForQuery
    std::vector<Staged> staged_;
    std::vector<Savepoint> savepoints_;
    std::vector<Setting> settings_;
    std::uint64_t last_number_ = 0;
    std::array<std::uint64_t, 2> applied_{};
    std::array<std::vector<std::string>, 2> hold_cursors_;
    bool temporary_ = false;
    bool listening_ = false;
    bool opaque_settings_ = false;
    bool settings_failed_ = false;
    std::size_t memory_bytes_ = 0;
};

}  // namespace pgsteer::routing
